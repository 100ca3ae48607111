/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/life.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- forks ------------------------------------------------------------------------------------------------- */

static fj_transport *my_transport;
static fj_client *my_client;
static fj_server *my_server;
static const char *my_topic;

void life_has(fj_transport *transport, fj_client *client, fj_server *server, const char *topic)
{
    my_transport = transport;
    my_client = client;
    my_server = server;
    my_topic = topic;
}

static bool use_all(void)
{
    const fj_target there = FJ_TARGET(.topic = my_topic);
    fj_client *c = NULL;
    bool good = fj_client_new(my_transport, &there, NULL, &c, NULL) == FJ_FORKED;

    if (my_client != NULL)
        good = fj_client_call(my_client, "run_it", NULL, NULL, NULL, NULL) == FJ_FORKED &&
               fj_client_cast(my_client, "run_it", NULL, NULL, NULL) == FJ_FORKED && good;
    if (my_server != NULL) {
        fj_server_stop(my_server);
        good = fj_server_wait(my_server, fj_in_seconds(5), NULL) == FJ_FORKED && good;
    }
    return good;
}

static void close_all(void)
{
    my_server = fj_server_free(my_server);
    my_client = fj_client_free(my_client);
    my_transport = fj_transport_free(my_transport);
}

/* Sockets, and what wakes threads, are not for whoever is executed. */
static void exec_looks(void)
{
    (void)execl("/bin/sh", "sh", "-c", "! ls -l /proc/$$/fd | grep -E -q 'socket:|eventfd|eventpoll|timerfd'",
                (char *)NULL);
    _exit(1);
}

static void child(const char *how)
{
    bool good = true;

    (void)alarm(20); /* a child that hangs is a failure, not the end of the row's time */
    if (strcmp(how, "use") == 0)
        good = use_all();
    else if (strcmp(how, "close") == 0)
        close_all();
    else if (strcmp(how, "exec") == 0)
        exec_looks();
    else
        exit(0);
    _exit(good ? 0 : 1);
}

bool life_fork(const char *how)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        child(how);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static fj_code fork_in_method(const char *how, json_t *args, json_t **ret, fj_error **err)
{
    life_ran(args);
    if (!life_fork(how))
        return fj_fail(err, FJ_STATE, "the child that was to %s did not end well", how);
    *ret = json_incref(json_object_get(args, "seq"));
    return FJ_OK;
}

fj_code life_fork_use(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    return fork_in_method("use", args, ret, err);
}

fj_code life_fork_exit(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    return fork_in_method("exit", args, ret, err);
}

fj_code life_fork_close(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    return fork_in_method("close", args, ret, err);
}

fj_code life_fork_exec(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    return fork_in_method("exec", args, ret, err);
}

/* ---- itself ------------------------------------------------------------------------------------------------ */

fj_code life_nested(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const fj_target itself = FJ_TARGET(.topic = my_topic);
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_client *c = NULL;
    fj_code code = fj_client_new(my_transport, &itself, NULL, &c, err);

    (void)req;
    life_ran(args);
    o.by = fj_in_seconds(1);
    if (code == FJ_OK)
        code = fj_client_call(c, "echo", json_incref(args), &o, ret, err);
    if (code != FJ_OK)
        fj_error_prefix(err, "%s", fj_code_name(code));
    fj_client_free(c);
    return code;
}

/* ---- its configuration ------------------------------------------------------------------------------------- */

static sigset_t hup(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGHUP);
    return set;
}

void life_block_hup(void)
{
    sigset_t set = hup();

    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void (*tell_reloaded)(json_t *event);

static void *reload(void *user)
{
    sigset_t set = hup();
    int which = 0;

    while (sigwait(&set, &which) == 0) {
        fj_error *err = NULL;
        fj_code code = fj_transport_reload(user, NULL, NULL, &err);
        tell_reloaded(json_pack("{s:s, s:s, s:s}", "ev", "reloaded", "code", fj_code_name(code), "text",
                                fj_error_text(err)));
        fj_error_free(err);
    }
    return NULL;
}

void life_reload_at_hup(fj_transport *transport, void (*tell)(json_t *event))
{
    pthread_t thread;

    tell_reloaded = tell;
    if (pthread_create(&thread, NULL, reload, transport) != 0)
        exit(3);
    (void)pthread_detach(thread);
}

/* ---- its beginnings and ends ------------------------------------------------------------------------------- */

static json_int_t entries(const char *path)
{
    DIR *d = opendir(path);
    json_int_t n = 0;

    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL)
        (void)closedir(d);
    return n - 2;
}

/* What it has that is its own, and not shared with its file. */
static json_int_t memory(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long pages = 0, shared = 0;

    if (f == NULL || fscanf(f, "%*d %ld %ld", &pages, &shared) != 2)
        pages = shared = 0;
    if (f != NULL)
        (void)fclose(f);
    return (json_int_t)(pages - shared) * (json_int_t)(sysconf(_SC_PAGESIZE) / 1024);
}

static json_t *what_it_has(unsigned done)
{
    return json_pack("{s:s, s:i, s:I, s:I, s:I}", "ev", "cycle", "done", (int)done, "kib", memory(), "fds",
                     entries("/proc/self/fd"), "threads", entries("/proc/self/task"));
}

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_incref(json_object_get(args, "seq"));
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);

/* A call that is answered; executors that wait for their thread to run them are given it. */
static fj_code call(fj_client *client, fj_server *server, unsigned n, fj_error **err)
{
    bool by_itself = strcmp(fj_server_executor(server), "threading") == 0;
    fj_future *f = NULL;
    json_t *ret = NULL;
    fj_code code = fj_client_call_async(client, "echo", json_pack("{s:i}", "seq", (int)n), NULL, &f, err);

    while (code == FJ_OK && !by_itself && !fj_future_done(f)) {
        code = fj_server_step(server, fj_in_ms(20), err);
        if (code == FJ_TIMEOUT || code == FJ_AGAIN) {
            *err = fj_error_free(*err);
            code = FJ_OK;
        }
    }
    if (code == FJ_OK)
        code = fj_future_wait(f, fj_in_seconds(10), &ret, err);
    if (code == FJ_OK && json_integer_value(ret) != (json_int_t)n)
        code = fj_fail(err, FJ_INTERNAL, "another's answer");
    json_decref(ret);
    fj_future_unref(f);
    return code;
}

struct scene {
    const fj_conf *conf;
    const char *executor, *url, *topic;
    fj_transport *transport;
    fj_server *server;
};

static fj_code begin(struct scene *s, fj_error **err)
{
    const fj_target here = FJ_TARGET(.topic = s->topic, .server = "cycle");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_code code = fj_transport_open(s->conf, s->url, &s->transport, err);

    opts.executor = s->executor;
    if (code == FJ_OK)
        code = fj_server_new(s->transport, &here, &opts, &s->server, err);
    if (code == FJ_OK)
        code = fj_server_add(s->server, &endpoint, NULL, err);
    if (code == FJ_OK)
        code = fj_server_start(s->server, err);
    return code;
}

static fj_code a_client(struct scene *s, unsigned n, fj_error **err)
{
    const fj_target there = FJ_TARGET(.topic = s->topic);
    fj_client *c = NULL;
    fj_code code = fj_client_new(s->transport, &there, NULL, &c, err);

    if (code == FJ_OK)
        code = call(c, s->server, n, err);
    fj_client_free(c);
    return code;
}

/* @param code is what was before: of two failures the first counts */
static fj_code end(struct scene *s, fj_code code, fj_error **err)
{
    if (code == FJ_OK) {
        fj_server_stop(s->server);
        code = fj_server_wait(s->server, fj_in_seconds(10), err);
    }
    s->server = fj_server_free(s->server);
    s->transport = fj_transport_free(s->transport);
    return code;
}

fj_code life_cycles(const fj_conf *conf, const char *executor, const char *url, const char *topic, unsigned n,
                    bool clients_only, void (*tell)(json_t *event), fj_error **err)
{
    struct scene s = { .conf = conf, .executor = executor, .url = url, .topic = topic };
    unsigned part = n >= 10 ? n / 10 : 1;
    fj_code code = clients_only ? begin(&s, err) : FJ_OK;

    for (unsigned i = 0; i < n && code == FJ_OK; i++) {
        if (!clients_only)
            code = begin(&s, err);
        if (code == FJ_OK)
            code = a_client(&s, i, err);
        if (!clients_only)
            code = end(&s, code, err);
        if (code == FJ_OK && (i + 1) % part == 0)
            tell(what_it_has(i + 1));
    }
    return clients_only ? end(&s, code, err) : code;
}
