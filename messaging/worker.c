/* SPDX-License-Identifier: Apache-2.0 */
/* A worker, from the fork to its end: the factory builds, the worker starts, serves, and takes down. */
#include "backdoor_impl.h"
#include "service_impl.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "internal.h"
#include "notes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what a factory uses ------------------------------------------------------------------------ */

const char *fj_worker_name(const fj_worker *w)
{
    return w->kind->name;
}

unsigned fj_worker_number(const fj_worker *w)
{
    return w->number;
}

const fj_conf *fj_worker_conf(const fj_worker *w)
{
    return w->conf;
}

fj_code fj_worker_transport(fj_worker *w, const char *url, fj_transport **ret, fj_error **err)
{
    fj_transport *t = NULL;
    fj_code code = fj_transport_open(w->conf, url, &t, err);

    if (code != FJ_OK)
        return code;
    (void)fj__native.pthread_mutex_lock(&w->lock);
    fj_transport **grown =
        fj__grow(w->transports, &w->transports_capacity, w->n_transports + 1, sizeof(fj_transport *));
    if (grown != NULL) {
        w->transports = grown;
        w->transports[w->n_transports++] = t;
    }
    (void)fj__native.pthread_mutex_unlock(&w->lock);
    if (grown == NULL) {
        fj_transport_free(t);
        return fj_fail(err, FJ_NOMEM, "no memory for the list of transports");
    }
    *ret = t;
    return FJ_OK;
}

/* The place of one more server.  @return NULL: no memory */
static fj_server **place(fj_worker *w, fj_error **err)
{
    fj_server **grown = fj__grow(w->servers, &w->servers_capacity, w->n_servers + 1, sizeof(fj_server *));

    if (grown == NULL) {
        (void)fj_fail(err, FJ_NOMEM, "no memory for the list of servers");
        return NULL;
    }
    w->servers = grown;
    return &grown[w->n_servers];
}

static void keep(fj_worker *w)
{
    if (w->instance != NULL)
        fj__server_is(w->servers[w->n_servers], w->instance, (unsigned)w->n_servers);
    w->n_servers++;
}

fj_code fj_worker_server(fj_worker *w, fj_transport *transport, const fj_target *target,
                         const fj_server_opts *opts, fj_server **ret, fj_error **err)
{
    fj_server **at = place(w, err);
    fj_code code = at != NULL ? fj_server_new(transport, target, opts, at, err) : FJ_NOMEM;

    if (code != FJ_OK)
        return code;
    *ret = *at;
    keep(w);
    return FJ_OK;
}

fj_code fj_worker_listener(fj_worker *w, fj_transport *transport, const fj_target *targets, size_t n,
                           const fj_notify_listener_opts *opts, fj_notify_listener **ret, fj_error **err)
{
    fj_server **at = place(w, err);
    fj_code code = at != NULL ? fj_notify_listener_new(transport, targets, n, opts, ret, err) : FJ_NOMEM;

    if (code != FJ_OK)
        return code;
    *at = fj__listener_server(*ret);
    keep(w);
    return FJ_OK;
}

void fj_worker_at_reload(fj_worker *w, fj_worker_hook fn, void *user)
{
    (void)fj__native.pthread_mutex_lock(&w->lock);
    w->reload = fn;
    w->reload_user = user;
    (void)fj__native.pthread_mutex_unlock(&w->lock);
}

void fj_worker_at_stop(fj_worker *w, fj_worker_hook fn, void *user)
{
    w->stop = fn;
    w->stop_user = user;
}

void fj_worker_at_end(fj_worker *w, fj_worker_hook fn, void *user)
{
    w->end = fn;
    w->end_user = user;
}

/* ---- what is told ------------------------------------------------------------------------------- */

/* There is no parent: systemd is told. */
static void say_inside(fj_worker *w, char what, const char *text)
{
    const bool beats = what == FJ__SAY_BEAT, deaf = what == FJ__SAY_DEAF;

    if (what == FJ__SAY_READY || what == FJ__SAY_RELOADED)
        fj__notify_tell(&w->notify, "READY=1\nSTATUS=%s", text);
    if (beats)
        fj__notify_tell(&w->notify, "WATCHDOG=1");
    if ((beats || deaf) && deaf != w->deaf)
        fj__notify_tell(&w->notify, "STATUS=%s", deaf ? "The broker is lost" : "");
    if (beats || deaf) {
        w->deaf = deaf;
        atomic_store(&w->answer, what);
    }
}

void fj__worker_say(fj_worker *w, char what, const char *text)
{
    char line[FJ__SAY_MAX];

    if (w->inside) {
        say_inside(w, what, text);
        return;
    }
    int n = snprintf(line, sizeof line, "%c%s", what, text);
    size_t size = n < (int)sizeof line ? (size_t)n : sizeof line - 1;
    ssize_t sent = fj__native.send(w->control, line, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* a parent that is gone, or reads no more, has no use for it */
}

static void say_beat(void *user)
{
    fj_worker *w = user;
    bool all = true;

    for (size_t i = 0; i < w->n_servers && all; i++)
        all = fj__server_listens(w->servers[i]);
    fj__worker_say(w, all ? FJ__SAY_BEAT : FJ__SAY_DEAF, "");
}

static void say_drains(void *user)
{
    fj_worker *w = user;

    atomic_store(&w->drains, true);
    if (w->inside)
        fj__notify_tell(&w->notify, "STOPPING=1");
}

/* ---- its life ----------------------------------------------------------------------------------- */

/* Does nothing, and unlike SIG_IGN is not inherited by programs that methods start: a signal that comes once fj_run() has
 * ended must not end what is being taken down. */
static void ignored(int number)
{
    (void)number;
}

static void take_signals(void)
{
    struct sigaction mine;
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

    memset(&mine, 0, sizeof mine);
    mine.sa_handler = ignored;
    (void)sigemptyset(&mine.sa_mask);
    for (size_t i = 0; i < fj__countof(numbers); i++)
        (void)sigaction(numbers[i], &mine, NULL);
}

static fj_code start_all(fj_worker *w, fj_error **err)
{
    fj_code code = FJ_OK;

    if (w->n_servers == 0)
        return fj_fail(err, FJ_STATE, "its factory made neither a server nor a listener");
    for (size_t i = 0; i < w->n_servers && code == FJ_OK && !fj__run_told(); i++)
        code = fj_server_start(w->servers[i], err);
    return code;
}

/* Serve until told to end.  @param came_up  whether everything was started */
static fj_code serve(fj_worker *w, bool *came_up, fj_error **err)
{
    const fj__run_watcher watcher = { say_beat, say_drains, w };
    fj_code code = start_all(w, err);

    *came_up = code == FJ_OK;
    if (code != FJ_OK)
        return code;
    fj__run_watch(&watcher);
    atomic_store(&w->runs, true);
    if (!fj__run_told()) {
        fj__worker_say(w, FJ__SAY_READY, "");
        if (w->at_ready != NULL)
            w->at_ready(w->ready_user);
    }
    code = fj_run(err);
    fj__run_watch(NULL);
    return code;
}

/* Something still runs, and may run for ever: what it uses stays.  Who can still be answered is, and the answers are let out;
 * a method that is just returning is waited for, as long as an abort says, but at the broker nothing stays in any case. */
static void leave_behind(fj_worker *w)
{
    for (size_t i = 0; i < w->n_servers; i++)
        (void)fj__server_abort(w->servers[i]);
    const fj_deadline by = fj_in_ms(2000);
    for (size_t i = 0; i < w->n_servers; i++) {
        fj_error *error = NULL;
        if (fj_server_wait(w->servers[i], by, &error) != FJ_OK) {
            fj__log(FJ_LOG_DEBUG, "service", "left behind: %s", fj_error_text(error));
            fj__server_leave(w->servers[i], by);
        }
        fj_error_free(error);
    }
    for (size_t i = 0; i < w->n_transports; i++) {
        fj_driver *d = w->transports[i]->driver;
        (void)d->ops->flush(d, fj_in_ms(1000), NULL);
    }
    fj__control_end(w);
}

static void free_all(fj_worker *w)
{
    for (size_t i = 0; i < w->n_servers; i++)
        fj_server_free(w->servers[i]);
    fj__control_end(w);
    for (size_t i = 0; i < w->n_transports; i++)
        fj_transport_free(w->transports[i]);
    if (w->end != NULL)
        w->end(w, w->end_user);
}

static void take_down(fj_worker *w, bool given_up)
{
    if (w->stop != NULL)
        w->stop(w, w->stop_user);
    if (given_up)
        leave_behind(w);
    else
        free_all(w);
    fj__free(w->servers);
    fj__free(w->transports);
    (void)pthread_mutex_destroy(&w->lock);
}

int fj__worker_process(fj_service *s, const fj__slot *slot)
{
    fj_worker w = { .kind = slot->kind,
                    .number = slot->number,
                    .instance = slot->instance,
                    .conf = s->conf,
                    .control = slot->fd,
                    .quit = -1 };
    fj_error *error = NULL;
    bool came_up = false;
    char number[16];

    (void)pthread_mutex_init(&w.lock, NULL);
    fj__notify_forget();
    take_signals();
    fj_code code = fj_run_signals(&error); /* they count from here on: none is lost */
    (void)pthread_sigmask(SIG_SETMASK, &s->mask_before, NULL);
    if (code == FJ_OK)
        code = fj__control_start(&w, &error);
    if (code == FJ_OK) {
        (void)snprintf(number, sizeof number, "%u", slot->number);
        fj__backdoor_configured(s->conf, slot->kind->name, number);
        code = slot->kind->factory(&w, slot->kind->user, &error);
    }
    if (code == FJ_OK)
        code = serve(&w, &came_up, &error);
    if (code != FJ_OK) {
        char *text = fj__format("%d %s", (int)code, fj_error_text(error));
        fj__worker_say(&w, came_up ? FJ__SAY_GIVEN_UP : FJ__SAY_FAILED, text != NULL ? text : "");
        fj__free(text);
    }
    take_down(&w, came_up && code != FJ_OK);
    fj_backdoor_stop(); /* last: a drain that hangs can be looked into */
    fj_error_free(error);
    return code == FJ_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- without processes -------------------------------------------------------------------------- */

/* SIGHUP comes to a descriptor.  @param before  the mask as it was */
static fj_code take_hup(fj_worker *w, sigset_t *before, fj_error **err)
{
    sigset_t hup;

    (void)sigemptyset(&hup);
    (void)sigaddset(&hup, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &hup, before);
    w->control = signalfd(-1, &hup, SFD_CLOEXEC | SFD_NONBLOCK);
    return w->control >= 0 ? FJ_OK : fj_fail(err, FJ_SYSTEM, "no descriptor for signals: %s", strerror(errno));
}

fj_code fj__worker_inside(fj_service *s, fj_error **err)
{
    fj_worker w = { .kind = &s->kinds[0],
                    .conf = s->conf,
                    .control = -1,
                    .quit = -1,
                    .inside = true,
                    .at_ready = s->at_ready,
                    .ready_user = s->ready_user };
    bool came_up = false;
    sigset_t before;

    (void)pthread_mutex_init(&w.lock, NULL);
    fj__notify_open(&w.notify);
    fj_code code = take_hup(&w, &before, err);
    if (code == FJ_OK)
        code = fj_run_signals(err);
    if (code == FJ_OK)
        code = fj__control_start(&w, err);
    if (code == FJ_OK)
        fj__backdoor_configured(s->conf, s->kinds[0].name, "");
    for (size_t i = 0; i < s->n_kinds && code == FJ_OK; i++) {
        w.kind = &s->kinds[i];
        code = w.kind->factory(&w, w.kind->user, err);
    }
    if (code == FJ_OK)
        code = serve(&w, &came_up, err);
    take_down(&w, came_up && code != FJ_OK);
    fj_backdoor_stop();
    if (w.control >= 0)
        (void)fj__native.close(w.control);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}
