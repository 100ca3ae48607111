/* SPDX-License-Identifier: Apache-2.0 */
/* A service that is judged while its end, or its crashes, come at any moment: `judged_service FILE WORKERS RUNS [TRAP]`.
 * RUNS counts what ran (judged_runs.h).  A worker whose factory finds the file TRAP takes it away, and dies. */
#include "tests/interop/judged_runs.h"

#include <fjord/fjord.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static judged_runs runs;
static const char *trap;

static json_int_t number(json_t *args, const char *name)
{
    return json_integer_value(json_object_get(args, name));
}

static void ran(json_t *args)
{
    json_int_t seq = number(args, "seq");

    if (seq >= 0 && (size_t)seq < runs.n)
        (void)atomic_fetch_add(&runs.count[seq], 1);
}

static json_t *answer(json_t *args)
{
    return json_integer(number(args, "seq"));
}

/* ---- what answers later ------------------------------------------------------------------------- */

/* A request that somebody else answers, on a thread of the worker's. */
struct late {
    struct late *next;
    fj_request *req;
    json_t *result;
    fj_deadline at;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct late *first;
    pthread_t thread;
    bool over;
} later = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static void answer_late(struct late *l)
{
    struct timespec t = { 0, (long)(fj_left_ns(l->at) % 1000000000) };

    (void)nanosleep(&t, NULL);
    (void)!fj_request_reply(l->req, l->result, NULL);
    fj_request_unref(l->req);
    free(l);
}

static void *answer_all(void *unused)
{
    (void)pthread_mutex_lock(&later.lock);
    while (!later.over || later.first != NULL) {
        struct late *l = later.first;
        if (l == NULL) {
            (void)pthread_cond_wait(&later.more, &later.lock);
            continue;
        }
        later.first = l->next;
        (void)pthread_mutex_unlock(&later.lock);
        answer_late(l);
        (void)pthread_mutex_lock(&later.lock);
    }
    (void)pthread_mutex_unlock(&later.lock);
    return unused;
}

static void end_later(fj_worker *w, void *user)
{
    (void)w, (void)user;
    (void)pthread_mutex_lock(&later.lock);
    later.over = true;
    (void)pthread_cond_signal(&later.more);
    (void)pthread_mutex_unlock(&later.lock);
    (void)pthread_join(later.thread, NULL);
}

/* ---- methods ------------------------------------------------------------------------------------ */

static fj_code run(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    ran(args);
    *ret = answer(args);
    return FJ_OK;
}

/* Waits as C does. */
static fj_code nap(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct timespec t = { .tv_nsec = (long)number(args, "ms") * 1000000 };

    (void)req, (void)err;
    ran(args);
    (void)nanosleep(&t, NULL);
    *ret = answer(args);
    return FJ_OK;
}

static fj_code wait_(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    ran(args);
    if (fj_sleep(fj_in_ms(number(args, "ms"))) != FJ_OK)
        return fj_fail(err, FJ_CANCELLED, "woken early");
    *ret = answer(args);
    return FJ_OK;
}

static fj_code defer(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct late *l = malloc(sizeof *l);

    (void)ret;
    if (l == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory");
    ran(args);
    *l = (struct late){ NULL, fj_request_ref(req), answer(args), fj_in_ms(number(args, "ms")) };
    (void)pthread_mutex_lock(&later.lock);
    struct late **at = &later.first;
    while (*at != NULL)
        at = &(*at)->next;
    *at = l;
    (void)pthread_cond_signal(&later.more);
    (void)pthread_mutex_unlock(&later.lock);
    return FJ_DEFERRED;
}

static volatile int *volatile nothing;

/* The ways to die.  A signal that is raised would wait where a thread has it blocked, as one that is met does not. */
static fj_code crash(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const char *how = json_string_value(json_object_get(args, "how"));

    (void)req, (void)ret;
    if (how != NULL && strcmp(how, "segv") == 0)
        *nothing = 1;
    if (how != NULL && strcmp(how, "kill") == 0)
        (void)raise(SIGKILL);
    if (how != NULL && strcmp(how, "abort") == 0)
        abort();
    if (how != NULL && strcmp(how, "exit") == 0)
        exit(3);
    return fj_fail(err, FJ_BAD_ARGS, "no such way to die");
}

static const fj_method methods[] = { FJ_METHOD("run", FJ_PLAIN, run), FJ_METHOD("nap", FJ_GREEN, nap),
                                     FJ_METHOD("wait", FJ_CORO, wait_), FJ_METHOD("defer", FJ_PLAIN, defer),
                                     FJ_METHOD("crash", FJ_PLAIN, crash) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

/* ---- the service -------------------------------------------------------------------------------- */

static fj_code build(fj_worker *worker, void *user, fj_error **err)
{
    const fj_target here = FJ_TARGET(.topic = "judged", .server = "one");
    fj_transport *transport = NULL;
    fj_server *server = NULL;

    (void)user;
    if (trap != NULL && unlink(trap) == 0)
        _exit(4);
    if (pthread_create(&later.thread, NULL, answer_all, NULL) != 0)
        return fj_fail(err, FJ_SYSTEM, "no thread");
    fj_worker_at_stop(worker, end_later, NULL);
    fj_code code = fj_worker_transport(worker, NULL, &transport, err);
    if (code == FJ_OK)
        code = fj_worker_server(worker, transport, &here, NULL, &server, err);
    return code == FJ_OK ? fj_server_add(server, &endpoint, NULL, err) : code;
}

static void say_ready(void *user)
{
    (void)user;
    (void)puts("ready");
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct rlimit none = { 0, 0 };
    fj_service *service = NULL;
    fj_conf *conf = NULL;
    fj_error *err = NULL;

    if (argc < 4 || !judged_runs_open(&runs, argv[3]))
        return 2;
    trap = argc > 4 ? argv[4] : NULL;
    (void)setrlimit(RLIMIT_CORE, &none);
    fj_code code = fj_conf_load(argv[1], &conf, &err);
    if (code == FJ_OK)
        code = fj_service_new(conf, &service, &err);
    if (code == FJ_OK)
        code = fj_service_add(service, "judged", build, NULL, (unsigned)strtoul(argv[2], NULL, 10), &err);
    if (code == FJ_OK) {
        fj_service_at_ready(service, say_ready, NULL);
        code = fj_service_run(service, &err);
    }
    if (code != FJ_OK)
        (void)fprintf(stderr, "judged_service: %s: %s\n", fj_code_name(code), fj_error_text(err));
    fj_error_free(err);
    fj_service_free(service);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : 1;
}
