/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of a worker that listens to the parent: it asks the main thread to show that it turns, reloads the configuration,
 * and sees the parent die.  In a service without processes it waits for SIGHUP, and asks for systemd.
 */
#include "service_impl.h"

#include "base/log.h"
#include "base/native.h"
#include "internal.h"
#include "runtime/thread.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void reload(fj_worker *w)
{
    fj_error *error = NULL;

    fj_log_reopen();
    if (w->inside)
        fj__notify_reloading(&w->notify);
    (void)fj__native.pthread_mutex_lock(&w->lock);
    fj_code code = fj_conf_reload(w->conf, NULL, NULL, &error);
    for (size_t i = 0; code == FJ_OK && i < w->n_transports; i++)
        code = fj_transport_reload(w->transports[i], NULL, NULL, &error);
    if (code == FJ_OK && w->reload != NULL)
        w->reload(w, w->reload_user);
    (void)fj__native.pthread_mutex_unlock(&w->lock);
    if (code != FJ_OK)
        fj__log(FJ_LOG_ERROR, "service", "the configuration is as it was: %s", fj_error_text(error));
    fj__worker_say(w, FJ__SAY_RELOADED, code != FJ_OK ? fj_error_text(error) : "");
    fj_error_free(error);
}

/* In order once it runs; one that is still coming up has nothing to finish. */
static void hurry(fj_worker *w)
{
    if (!atomic_load(&w->runs))
        _exit(0);
    fj__run_hurry();
}

/* @return false when nobody will say anything any more */
static bool hear_parent(fj_worker *w)
{
    char what[FJ__SAY_MAX];
    ssize_t n = fj__native.recv(w->control, what, sizeof what, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0) { /* ECONNRESET: it had something of ours to read */
        fj__log(FJ_LOG_ERROR, "service", "the parent of %s/%u is gone: it drains and ends", w->kind->name,
                w->number);
        fj_run_stop();
        return false;
    }
    switch (what[0]) {
    case FJ__ASK_BEAT:
        fj__run_ask_beat();
        break;
    case FJ__ASK_RELOAD:
        reload(w);
        break;
    case FJ__ASK_HURRY:
        hurry(w);
        break;
    default:
        break;
    }
    return true;
}

static bool hear_signal(fj_worker *w)
{
    struct signalfd_siginfo info;

    if (fj__native.read(w->control, &info, sizeof info) == (ssize_t)sizeof info)
        reload(w);
    return true;
}

/* Without processes nobody else asks: a round of the watchdog is over.
 * @param asked  whether anything was asked in it   @return whether anything is in the next */
static bool ask_beat(fj_worker *w, bool asked)
{
    char answer = atomic_exchange(&w->answer, 0);

    if (!atomic_load(&w->runs) || atomic_load(&w->drains))
        return false;
    if (asked && answer != FJ__SAY_BEAT)
        fj__log(FJ_LOG_WARNING, "service", "systemd's watchdog is not told: %s",
                answer == FJ__SAY_DEAF ? "the broker is lost" : "the main thread does not turn");
    fj__run_ask_beat();
    return true;
}

static void *listen_(void *user)
{
    fj_worker *w = user;
    struct pollfd fds[2] = { { .fd = w->quit, .events = POLLIN }, { .fd = w->control, .events = POLLIN } };
    fj_deadline round = fj__notify_round(&w->notify);
    bool asked = false;

    for (;;) {
        if (fj_passed(round)) {
            asked = ask_beat(w, asked);
            round = fj__notify_round(&w->notify);
        }
        (void)fj__native.poll(fds, 2, fj_left_ms(round));
        if (fds[0].revents != 0)
            return NULL;
        if (fds[1].revents != 0 && !(w->inside ? hear_signal(w) : hear_parent(w)))
            fds[1].fd = -1;
    }
}

fj_code fj__control_start(fj_worker *w, fj_error **err)
{
    w->quit = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = w->quit >= 0 ? fj__thread_new(&w->thread, "fj-worker", listen_, w) : errno;
    if (rc != 0)
        return fj__thread_refused(rc, "for the worker", err);
    w->has_thread = true;
    return FJ_OK;
}

void fj__control_end(fj_worker *w)
{
    if (w->has_thread) {
        ssize_t n = fj__native.write(w->quit, &(uint64_t){ 1 }, sizeof(uint64_t));
        (void)n; /* an eventfd takes its first */
        (void)fj__native.pthread_join(w->thread, NULL);
    }
    w->has_thread = false;
    if (w->quit >= 0)
        (void)fj__native.close(w->quit);
    w->quit = -1;
}
