/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent of a service: one thread that sleeps in one poll, on a signalfd and the workers' sockets.  The signals are blocked
 * from before the first fork, so that a worker, too, has none before it can count it.
 */
#include "backdoor_impl.h"
#include "service_impl.h"

#include "base/alloc.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/native.h"
#include "internal.h"

#include <fjord/clock.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a worker has beside [fjord] drain to end in: two seconds each for its servers, its transports and the program's own. */
enum { FAREWELL_S = 6 };

/* ---- the end ------------------------------------------------------------------------------------ */

static void give_up(fj_service *s, fj_code code, const fj__slot *slot, const char *why)
{
    fj__log(FJ_LOG_ERROR, "service", "worker %s/%u: %s", slot->kind->name, slot->number, why);
    if (s->code != FJ_OK)
        return;
    s->code = fj_fail(&s->error, code, "worker %s/%u: %s", slot->kind->name, slot->number, why);
}

static void hurry(fj_service *s)
{
    if (s->hurried)
        return;
    s->hurried = true;
    s->drain = 0;
    s->kill_at = fj_in_seconds(FAREWELL_S);
    for (size_t i = 0; i < s->n_slots; i++)
        fj__service_ask(&s->slots[i], FJ__ASK_HURRY);
}

static void stop(fj_service *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->drain = fj_conf_float(s->conf, "fjord", "drain");
    s->kill_at = fj_in_seconds(s->drain + FAREWELL_S);
    fj__notify_tell(&s->notify, "STOPPING=1\nSTATUS=Draining, for up to %g s", s->drain);
    for (size_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i].pid != 0)
            (void)kill(s->slots[i].pid, SIGTERM);
    }
}

static void kill_late(fj_service *s)
{
    if (!s->stopping || !fj_passed(s->kill_at))
        return;
    for (size_t i = 0; i < s->n_slots; i++) {
        fj__slot *slot = &s->slots[i];
        if (slot->pid == 0 || slot->killed)
            continue;
        char *why = fj__format("killed: it did not end within %g s", s->drain + FAREWELL_S);
        give_up(s, FJ_TIMEOUT, slot, why != NULL ? why : "killed");
        fj__free(why);
        slot->killed = true;
        (void)kill(slot->pid, SIGKILL);
    }
    s->kill_at = fj_never();
}

/* ---- what systemd is told ----------------------------------------------------------------------- */

static bool every(const fj_service *s, bool (*is)(const fj__slot *slot))
{
    for (size_t i = 0; i < s->n_slots; i++) {
        if (!is(&s->slots[i]))
            return false;
    }
    return true;
}

static bool is_ready(const fj__slot *slot)
{
    return slot->ready;
}

static bool has_beaten(const fj__slot *slot)
{
    return slot->ready && slot->beat;
}

static bool has_reloaded(const fj__slot *slot)
{
    return !slot->reloading;
}

static void tell_state(fj_service *s)
{
    unsigned serving = 0;

    if (s->stopping)
        return;
    for (size_t i = 0; i < s->n_slots; i++)
        serving += s->slots[i].ready && !s->slots[i].deaf ? 1 : 0;
    if (serving != s->serving_told)
        fj__notify_tell(&s->notify, "STATUS=%u of %zu workers serve", serving, s->n_slots);
    s->serving_told = serving;
    if (!s->announced && every(s, is_ready)) {
        s->announced = true;
        fj__notify_tell(&s->notify, "READY=1");
        if (s->at_ready != NULL)
            s->at_ready(s->ready_user);
        fj__log(FJ_LOG_INFO, "service", "ready: %zu workers", s->n_slots);
    }
    if (s->reloading && every(s, has_reloaded)) {
        s->reloading = false;
        fj__notify_tell(&s->notify, "READY=1");
    }
}

/* In each round every worker is asked once; when all have answered that they turn and have their broker, systemd is told. */
static void watch_over(fj_service *s)
{
    if (s->notify.watchdog_ns == 0 || !s->announced || s->stopping)
        return;
    if (s->round_open && !s->round_told && every(s, has_beaten)) {
        s->round_told = true;
        fj__notify_tell(&s->notify, "WATCHDOG=1");
    }
    if (s->round_open && !fj_passed(s->round_at))
        return;
    for (size_t i = 0; i < s->n_slots; i++) {
        fj__slot *slot = &s->slots[i];
        if (s->round_open && !s->round_told && !has_beaten(slot))
            fj__log(FJ_LOG_WARNING, "service", "systemd's watchdog is not told: worker %s/%u %s",
                    slot->kind->name, slot->number,
                    !slot->ready ? "is being started"
                    : slot->deaf ? "has lost its broker"
                                 : "does not turn");
        slot->beat = false;
        fj__service_ask(slot, FJ__ASK_BEAT);
    }
    s->round_open = true;
    s->round_told = false;
    s->round_at = fj__notify_round(&s->notify);
}

/* ---- the configuration -------------------------------------------------------------------------- */

static void option_changed(void *user, const char *group, const char *key, bool now)
{
    (void)user;
    fj__log(FJ_LOG_INFO, "service", "[%s] %s is %s", group, key,
            now ? "reloaded" : "as it was until the service is started again");
}

/* The parent reads the files first: the workers are told only of good ones. */
static void reload(fj_service *s)
{
    fj_error *error = NULL;

    if (s->stopping)
        return;
    fj_log_reopen();
    if (s->announced)
        fj__notify_reloading(&s->notify);
    fj_code code = fj_conf_reload(s->conf, option_changed, NULL, &error);
    if (code == FJ_OK)
        code = fj__log_configure(s->conf, &error);
    if (code == FJ_OK) {
        for (size_t i = 0; i < s->n_slots; i++) {
            fj__service_ask(&s->slots[i], FJ__ASK_RELOAD);
            s->slots[i].reloading = s->slots[i].ready;
        }
        s->reloading = s->announced;
    } else {
        fj__log(FJ_LOG_ERROR, "service", "not reloaded, nothing is changed: %s", fj_error_text(error));
        if (s->announced)
            fj__notify_tell(&s->notify, "READY=1\nSTATUS=Not reloaded: %s", fj_error_text(error));
    }
    fj_error_free(error);
}

/* ---- workers ------------------------------------------------------------------------------------ */

static void failed(fj_service *s, const fj__slot *slot, const char *text)
{
    char *end = NULL;
    fj_code code = (fj_code)strtol(text, &end, 10);
    const char *why = *end == ' ' ? end + 1 : end;

    if (s->announced || s->stopping || fj_code_retriable(code)) {
        fj__log(FJ_LOG_ERROR, "service", "worker %s/%u did not come up: %s", slot->kind->name, slot->number,
                why);
        return;
    }
    give_up(s, code, slot, why); /* it would be so for ever */
    stop(s);
}

static void heard(fj_service *s, fj__slot *slot, const char *text)
{
    char *end = NULL;

    switch (text[0]) {
    case FJ__SAY_READY:
        slot->ready = true;
        break;
    case FJ__SAY_BEAT:
    case FJ__SAY_DEAF:
        slot->deaf = text[0] == FJ__SAY_DEAF;
        slot->beat = !slot->deaf;
        break;
    case FJ__SAY_RELOADED:
        slot->reloading = false;
        break;
    case FJ__SAY_FAILED:
        failed(s, slot, text + 1);
        break;
    case FJ__SAY_GIVEN_UP:
        (void)strtol(text + 1, &end, 10);
        give_up(s, FJ_TIMEOUT, slot, *end == ' ' ? end + 1 : end);
        break;
    default:
        break;
    }
}

static void hear(fj_service *s, fj__slot *slot)
{
    char text[FJ__SAY_MAX + 1];

    while (slot->fd >= 0) {
        ssize_t n = fj__native.recv(slot->fd, text, FJ__SAY_MAX, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) { /* it is at its end, or closed what was not its own */
            (void)fj__native.close(slot->fd);
            slot->fd = -1;
            return;
        }
        text[n] = '\0';
        heard(s, slot, text);
    }
}

static void start_later(fj_service *s, fj__slot *slot)
{
    const double delay = fj_conf_float(s->conf, "fjord", "respawn_delay");

    slot->due = fj__throttle_next(&slot->kind->throttle, fj_now(), slot->kind->workers, (int64_t)(delay * 1e9));
}

static void bury(fj_service *s, fj__slot *slot)
{
    char how[64];
    pid_t pid = slot->pid;

    if (pid == 0)
        return;
    hear(s, slot);
    if (!fj__service_reap(slot, how, sizeof how))
        return;
    if (s->stopping) {
        if (how[0] != '\0' && !slot->killed)
            give_up(s, FJ_TIMEOUT, slot, how);
        return;
    }
    start_later(s, slot);
    fj__log(FJ_LOG_WARNING, "service", "worker %s/%u, process %d, %s: started again in %d ms", slot->kind->name,
            slot->number, (int)pid, how[0] != '\0' ? how : "ended", fj_left_ms(slot->due));
}

static void start_due(fj_service *s)
{
    for (size_t i = 0; i < s->n_slots && !s->stopping; i++) {
        fj__slot *slot = &s->slots[i];
        fj_error *error = NULL;
        if (slot->pid != 0 || !fj_passed(slot->due))
            continue;
        if (fj__service_spawn(s, slot, &error) != FJ_OK) { /* may go the next time */
            fj__log(FJ_LOG_ERROR, "service", "%s", fj_error_text(error));
            fj_error_free(error);
            slot->due = fj_in_seconds(1);
        }
    }
}

/* ---- the loop ----------------------------------------------------------------------------------- */

static void read_signals(fj_service *s)
{
    struct signalfd_siginfo info;

    while (fj__native.read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reload(s);
        if (info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT)
            continue;
        s->stops += info.ssi_signo == SIGINT ? 2 : 1;
        stop(s);
        if (s->stops > 1)
            hurry(s);
    }
}

static bool any_lives(const fj_service *s)
{
    for (size_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i].pid != 0)
            return true;
    }
    return false;
}

static void sleep_(fj_service *s, struct pollfd *fds)
{
    fj_deadline by = s->stopping ? s->kill_at : fj_never();
    nfds_t n = 0;

    if (s->round_open && !s->stopping)
        by = fj_sooner(by, s->round_at);
    fds[n++] = (struct pollfd){ .fd = s->signal_fd, .events = POLLIN };
    for (size_t i = 0; i < s->n_slots; i++) {
        fds[n++] = (struct pollfd){ .fd = s->slots[i].fd, .events = POLLIN };
        if (s->slots[i].pid == 0 && !s->stopping)
            by = fj_sooner(by, s->slots[i].due);
    }
    (void)fj__native.poll(fds, n, fj_left_ms(by));
}

static void run(fj_service *s, struct pollfd *fds)
{
    start_due(s);
    while (!s->stopping || any_lives(s)) {
        sleep_(s, fds);
        read_signals(s);
        for (size_t i = 0; i < s->n_slots; i++) {
            hear(s, &s->slots[i]);
            bury(s, &s->slots[i]);
        }
        start_due(s);
        kill_late(s);
        tell_state(s);
        watch_over(s);
    }
}

/* @return NULL: no memory */
static struct pollfd *make_slots(fj_service *s)
{
    s->n_slots = 0;
    for (size_t k = 0; k < s->n_kinds; k++)
        s->n_slots += s->kinds[k].workers;
    struct pollfd *fds = fj__zalloc((s->n_slots + 1) * sizeof *fds);
    s->slots = fds != NULL ? fj__zalloc(s->n_slots * sizeof *s->slots) : NULL;
    if (s->slots == NULL) {
        fj__free(fds);
        return NULL;
    }
    fj__slot *slot = s->slots;
    for (size_t k = 0; k < s->n_kinds; k++) {
        s->kinds[k].throttle = (fj__throttle){ 0 };
        for (unsigned i = 0; i < s->kinds[k].workers; i++, slot++) {
            *slot = (fj__slot){ .kind = &s->kinds[k], .number = i, .fd = -1, .due = fj_now() };
            fj__id_hex(slot->instance);
        }
    }
    return fds;
}

/* @param chld  what SIGCHLD did before: where it is ignored, who ends cannot be waited for */
static fj_code take_signals(fj_service *s, struct sigaction *chld, fj_error **err)
{
    struct sigaction plain;
    sigset_t taken;

    (void)sigemptyset(&taken);
    (void)sigaddset(&taken, SIGTERM);
    (void)sigaddset(&taken, SIGINT);
    (void)sigaddset(&taken, SIGHUP);
    (void)sigaddset(&taken, SIGCHLD);
    (void)pthread_sigmask(SIG_BLOCK, &taken, &s->mask_before);
    memset(&plain, 0, sizeof plain);
    plain.sa_handler = SIG_DFL;
    (void)sigemptyset(&plain.sa_mask);
    (void)sigaction(SIGCHLD, &plain, chld);
    s->signal_fd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd >= 0 ? FJ_OK
                             : fj_fail(err, FJ_SYSTEM, "no descriptor for signals: %s", strerror(errno));
}

static void give_signals_back(fj_service *s, const struct sigaction *chld)
{
    if (s->signal_fd >= 0)
        (void)fj__native.close(s->signal_fd);
    s->signal_fd = -1;
    (void)sigaction(SIGCHLD, chld, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &s->mask_before, NULL);
}

fj_code fj__supervise(fj_service *s, fj_error **err)
{
    struct sigaction chld;
    struct pollfd *fds = make_slots(s);

    if (fds == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for the list of workers");
    s->stops = 0;
    s->stopping = s->hurried = s->announced = s->reloading = s->round_open = s->round_told = false;
    s->serving_told = 0;
    s->code = FJ_OK;
    s->error = NULL;
    fj__notify_open(&s->notify);
    fj_code code = take_signals(s, &chld, err);
    if (code == FJ_OK) {
        fj__backdoor_configured(s->conf, s->kinds[0].name, "parent");
        run(s, fds);
        fj_backdoor_stop();
    }
    give_signals_back(s, &chld);
    fj__free(s->slots);
    s->slots = NULL;
    s->n_slots = 0;
    fj__free(fds);
    if (code != FJ_OK)
        return code;
    return s->error != NULL ? fj_error_move(s->error, err) : s->code;
}
