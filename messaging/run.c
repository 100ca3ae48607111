/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fj_run(): every started server of the process.  Those whose executor steps are polled and run here; the others have
 * threads of their own and are only waited for; loops of this thread are turned.  An eventfd wakes it: from signal handlers, from fj_run_stop() and
 * when a server stops.  At the end a thread waits for the servers, so that this one can wait for a second signal.
 */
#include <fjord/server.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "internal.h"
#include "runtime/loop.h"
#include "runtime/sync.h"
#include "runtime/thread.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t unpinned = PTHREAD_COND_INITIALIZER;
static fj__running *first;
static atomic_int wake_fd = -1; /* kept for the process's life: handlers may write to it at any time */
static atomic_uint signals;
static atomic_bool stop_asked, busy, beat_asked;
static const fj__run_watcher *watcher; /* set before fj_run() */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction old_int, old_term; /* what the two signals did before, while `taken` */
static struct sigaction old_hup;
static bool hup_taken; /* under the lock, as is old_hup */
static bool taken;     /* under the lock */

/* A child of fork has none of the parent's servers, nor is it in fj_run().  Signals stay taken, as dispositions are
 * inherited: they count for its own run. */
static void in_child(void)
{
    int fd = atomic_exchange(&wake_fd, -1);

    if (fd >= 0)
        (void)fj__native.close(fd); /* its count is the parent's */
    (void)pthread_mutex_init(&lock, NULL);
    (void)pthread_cond_init(&unpinned, NULL);
    first = NULL;
    atomic_store(&signals, 0);
    atomic_store(&stop_asked, false);
    atomic_store(&busy, false);
    atomic_store(&beat_asked, false);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

/* ---- the list ----------------------------------------------------------------------------------- */

void fj__run_add(fj__running *r)
{
    (void)pthread_once(&once, watch_forks);
    (void)fj__native.pthread_mutex_lock(&lock);
    r->next = first;
    first = r;
    r->listed = true;
    (void)fj__native.pthread_mutex_unlock(&lock);
    fj__run_wake();
}

void fj__run_remove(fj__running *r)
{
    (void)fj__native.pthread_mutex_lock(&lock);
    for (fj__running **at = &first; *at != NULL; at = &(*at)->next) {
        if (*at == r) {
            *at = r->next;
            break;
        }
    }
    r->listed = false;
    while (r->pins > 0)
        (void)fj__native.pthread_cond_wait(&unpinned, &lock);
    (void)fj__native.pthread_mutex_unlock(&lock);
}

unsigned fj__run_full(const char *topic)
{
    unsigned full = 0;

    (void)fj__native.pthread_mutex_lock(&lock);
    for (fj__running *r = first; r != NULL && full == 0; r = r->next) {
        unsigned slots = 0;
        if (fj__server_on(r->server, topic) && fj__server_taken(r->server, &slots) >= slots)
            full = slots;
    }
    (void)fj__native.pthread_mutex_unlock(&lock);
    return full;
}

static void unpin(fj__running *r)
{
    (void)fj__native.pthread_mutex_lock(&lock);
    if (--r->pins == 0)
        (void)fj__native.pthread_cond_broadcast(&unpinned);
    (void)fj__native.pthread_mutex_unlock(&lock);
}

/* ---- waking ------------------------------------------------------------------------------------- */

void fj__run_wake(void)
{
    const uint64_t one = 1;
    int fd = atomic_load(&wake_fd), saved = errno;

    if (fd >= 0) {
        ssize_t n = fj__native.write(fd, &one, sizeof one);
        (void)n; /* a full counter wakes, too */
    }
    errno = saved;
}

void fj_run_stop(void)
{
    atomic_store(&stop_asked, true);
    fj__run_wake();
}

void fj__run_hurry(void)
{
    atomic_fetch_add(&signals, 2);
    fj__run_wake();
}

void fj__run_watch(const fj__run_watcher *w)
{
    watcher = w;
}

void fj__run_ask_beat(void)
{
    atomic_store(&beat_asked, true);
    fj__run_wake();
}

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
    fj__run_wake();
}

static void on_hup(int number)
{
    (void)number;
    fj_log_reopen();
}

static void sleep_again(int fd)
{
    uint64_t count;
    ssize_t n = fj__native.read(fd, &count, sizeof count);

    (void)n; /* nothing to read is what is wanted */
}

/* @locks needs the lock */
static fj_code open_wake(fj_error **err)
{
    if (atomic_load(&wake_fd) >= 0)
        return FJ_OK;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return fj_fail(err, FJ_SYSTEM, "no descriptor to be woken by: %s", strerror(errno));
    atomic_store(&wake_fd, fd);
    return FJ_OK;
}

/* Only where it would end the process, and there is a file to open anew: else it means something else to the program, or to its user.
 * @locks needs the lock */
static void take_hup(void)
{
    struct sigaction mine = { .sa_handler = on_hup, .sa_flags = SA_RESTART };

    if (!fj__log_has_file() || sigaction(SIGHUP, NULL, &old_hup) != 0)
        return;
    if ((old_hup.sa_flags & SA_SIGINFO) != 0 || old_hup.sa_handler != SIG_DFL)
        return;
    (void)sigemptyset(&mine.sa_mask);
    hup_taken = sigaction(SIGHUP, &mine, NULL) == 0;
}

fj_code fj_run_signals(fj_error **err)
{
    struct sigaction mine;

    (void)pthread_once(&once, watch_forks);
    (void)fj__native.pthread_mutex_lock(&lock);
    fj_code code = open_wake(err);
    if (code == FJ_OK && !taken) {
        memset(&mine, 0, sizeof mine);
        mine.sa_handler = on_signal;
        (void)sigemptyset(&mine.sa_mask);
        (void)sigaction(SIGINT, &mine, &old_int);
        (void)sigaction(SIGTERM, &mine, &old_term);
        taken = true;
    }
    if (code == FJ_OK && !hup_taken)
        take_hup(); /* the log's file may have been opened since the last time */
    (void)fj__native.pthread_mutex_unlock(&lock);
    return code;
}

static void give_signals_back(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
    (void)sigaction(SIGINT, &old_int, NULL);
    (void)sigaction(SIGTERM, &old_term, NULL);
    taken = false;
    if (hup_taken)
        (void)sigaction(SIGHUP, &old_hup, NULL);
    hup_taken = false;
    (void)fj__native.pthread_mutex_unlock(&lock);
    atomic_store(&signals, 0);
}

/* ---- the loop ----------------------------------------------------------------------------------- */

/* What one turn of the loop looks at. */
struct turn {
    fj__running **servers; /* pinned */
    size_t n, capacity;
    struct pollfd *fds;
    size_t fds_capacity;
    fj_loop *reading; /* which loop is woken by wake_fd, or NULL */
};

static fj_code pin_all(struct turn *t, fj_error **err)
{
    fj_code code = FJ_OK;

    t->n = 0;
    (void)fj__native.pthread_mutex_lock(&lock);
    for (fj__running *r = first; r != NULL; r = r->next) {
        if (!fj__server_runs(r->server))
            continue;
        fj__running **grown = fj__grow(t->servers, &t->capacity, t->n + 1, sizeof *t->servers);
        if (grown == NULL) {
            code = FJ_NOMEM;
            break;
        }
        t->servers = grown;
        r->pins++;
        t->servers[t->n++] = r;
    }
    (void)fj__native.pthread_mutex_unlock(&lock);
    return code == FJ_OK ? FJ_OK : fj_fail(err, code, "no memory for the list of servers");
}

static void unpin_all(struct turn *t)
{
    while (t->n > 0)
        unpin(t->servers[--t->n]);
}

static fj_code sleep_turn(struct turn *t, fj_error **err)
{
    size_t n = 0;
    fj_deadline by = fj_never();
    struct pollfd *grown = fj__grow(t->fds, &t->fds_capacity, 1 + t->n * (FJ_WATCH_MAX + 1), sizeof *t->fds);

    if (grown == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for the list of descriptors");
    t->fds = grown;
    t->fds[n++] = (struct pollfd){ .fd = atomic_load(&wake_fd), .events = POLLIN };
    for (size_t i = 0; i < t->n; i++) {
        fj_watch w = { .n = 0 };
        unsigned slots = 0;
        if (!fj__server_steps(t->servers[i]->server))
            continue;
        if (fj__server_loop(t->servers[i]->server) == NULL &&
            fj__server_taken(t->servers[i]->server, &slots) >= slots)
            continue; /* a slot that is given back wakes us */
        w.by = fj_never();
        fj__server_watch(t->servers[i]->server, &w);
        by = fj_sooner(by, w.by);
        t->fds[n++] = (struct pollfd){ .fd = fj__server_ready(t->servers[i]->server), .events = POLLIN };
        for (unsigned f = 0; f < w.n; f++)
            t->fds[n++] = (struct pollfd){ .fd = w.fds[f].fd,
                                           .events = (short)((w.fds[f].read ? POLLIN : 0) |
                                                             (w.fds[f].write ? POLLOUT : 0)) };
    }
    (void)fj__native.poll(t->fds, (nfds_t)n, fj_left_ms(by)); /* whatever ended it, everybody is looked at */
    return FJ_OK;
}

bool fj__run_told(void)
{
    return atomic_load(&signals) > 0 || atomic_load(&stop_asked);
}

/* No loop has a reader of ours when another way of turning is gone over to. */
static void stop_reading(struct turn *t)
{
    if (t->reading != NULL)
        (void)fj_loop_remove_reader(t->reading, atomic_load(&wake_fd));
    t->reading = NULL;
}

/* The loop of all servers that are driven here, when that is one loop and nothing else; else NULL. */
static fj_loop *only_loop(const struct turn *t)
{
    fj_loop *only = NULL;

    for (size_t i = 0; i < t->n; i++) {
        if (!fj__server_steps(t->servers[i]->server))
            continue;
        fj_loop *loop = fj__server_loop(t->servers[i]->server);
        if (loop == NULL || (only != NULL && loop != only))
            return NULL;
        only = loop;
    }
    return only;
}

static void woken(fj_loop *loop, int fd, void *user)
{
    (void)loop, (void)user;
    sleep_again(fd);
}

/* One turn of a loop that has this thread for itself. */
static fj_code turn_loop(struct turn *t, fj_loop *loop, fj_error **err)
{
    fj_code code = FJ_OK;

    if (t->reading != loop) {
        stop_reading(t);
        code = fj_loop_add_reader(loop, atomic_load(&wake_fd), woken, NULL, err);
        t->reading = code == FJ_OK ? loop : NULL;
    }
    if (code == FJ_OK)
        code = fj_loop_turn(loop, fj_never(), err);
    return code == FJ_TIMEOUT ? FJ_OK : code;
}

static fj_code one_turn(struct turn *t, fj_error **err)
{
    fj_loop *loop = only_loop(t);

    if (loop != NULL)
        return turn_loop(t, loop, err);
    stop_reading(t);
    fj_code code = sleep_turn(t, err);
    sleep_again(atomic_load(&wake_fd));
    for (size_t i = 0; i < t->n && code == FJ_OK && !fj__run_told(); i++) {
        if (fj__server_steps(t->servers[i]->server))
            fj__server_turn(t->servers[i]->server);
    }
    return code;
}

static fj_code serve(fj_error **err)
{
    struct turn t = { .n = 0 };
    fj_code code = FJ_OK;
    bool some = true;

    while (some && code == FJ_OK && !fj__run_told()) {
        code = pin_all(&t, err);
        some = t.n > 0;
        if (code == FJ_OK && some)
            code = one_turn(&t, err);
        if (watcher != NULL && atomic_exchange(&beat_asked, false))
            watcher->beats(watcher->user);
        unpin_all(&t);
    }
    stop_reading(&t);
    fj__free(t.servers);
    fj__free(t.fds);
    return code;
}

/* ---- the end ------------------------------------------------------------------------------------ */

/* The servers that are left, and the thread that waits for them. */
struct drain {
    fj_server **servers;
    fj_deadline *by;
    size_t n;
    fj_code code;
    fj_error *error; /* the first */
    atomic_bool done;
    fj_loop **loops; /* that this thread turns meanwhile */
    size_t n_loops;
    struct pollfd *fds;
};

static void *drain(void *user)
{
    struct drain *d = user;

    for (size_t i = 0; i < d->n; i++) {
        fj_error *error = NULL;
        fj_code code = fj_server_wait(d->servers[i], d->by[i], &error);
        if (code == FJ_OK || code == FJ_STATE) { /* or another thread has waited for it, and reset it */
            fj_error_free(error);
            continue;
        }
        fj__log(FJ_LOG_WARNING, "rpc", "given up: %s", fj_error_text(error));
        if (d->code == FJ_OK) {
            d->code = code;
            d->error = error;
        } else {
            fj_error_free(error);
        }
    }
    atomic_store(&d->done, true);
    fj__run_wake();
    return NULL;
}

static void add_loop(struct drain *d, fj_loop *loop)
{
    if (loop == NULL || fj__loop_gone(loop) || !fj__loop_here(loop))
        return;
    for (size_t i = 0; i < d->n_loops; i++) {
        if (d->loops[i] == loop)
            return;
    }
    d->loops[d->n_loops++] = loop;
}

/* Stop them, and list them with the ends of their drains. */
static fj_code stop_all(struct drain *d, fj_error **err)
{
    size_t n = 0;

    (void)fj__native.pthread_mutex_lock(&lock);
    for (fj__running *r = first; r != NULL; r = r->next) {
        fj_server_stop(r->server);
        n++;
    }
    d->servers = n > 0 ? fj__zalloc(n * sizeof(fj_server *)) : NULL;
    d->by = n > 0 ? fj__zalloc(n * sizeof *d->by) : NULL;
    d->loops = n > 0 ? fj__zalloc(n * sizeof(fj_loop *)) : NULL;
    d->fds = fj__zalloc((1 + n) * sizeof *d->fds);
    bool good = d->fds != NULL && (n == 0 || (d->servers != NULL && d->by != NULL && d->loops != NULL));
    for (fj__running *r = first; good && r != NULL; r = r->next) {
        d->servers[d->n] = r->server;
        d->by[d->n++] = fj_in_seconds(fj__server_drain(r->server));
        add_loop(d, fj__server_loop(r->server));
    }
    (void)fj__native.pthread_mutex_unlock(&lock);
    return good ? FJ_OK : fj_fail(err, FJ_NOMEM, "no memory for the list of servers");
}

/* Sleep until woken, or until a loop of this thread has something to do, and do that. */
static void sleep_in_drain(struct drain *d)
{
    nfds_t n = 0;
    fj_deadline by = fj_never();

    d->fds[n++] = (struct pollfd){ .fd = atomic_load(&wake_fd), .events = POLLIN };
    for (size_t i = 0; i < d->n_loops; i++) {
        d->fds[n++] = (struct pollfd){ .fd = fj_loop_fd(d->loops[i]), .events = POLLIN };
        by = fj_sooner(by, fj_loop_due(d->loops[i]));
    }
    (void)fj__native.poll(d->fds, n, fj_left_ms(by));
    sleep_again(d->fds[0].fd);
    for (size_t i = 0; i < d->n_loops; i++)
        fj_loop_dispatch(d->loops[i]);
}

/* Sleep until the servers are drained; from a second signal on they are given no more time.
 * @return whether that gave something up */
static bool await_drain(struct drain *d)
{
    bool told = false, given_up = false;

    while (!atomic_load(&d->done)) {
        if (!told && atomic_load(&signals) > 1) {
            told = true;
            for (size_t i = 0; i < d->n; i++)
                given_up = fj__server_abort(d->servers[i]) || given_up;
        }
        sleep_in_drain(d);
    }
    return given_up;
}

static fj_code end(fj_error **err)
{
    struct drain d = { .code = FJ_OK };
    pthread_t thread;
    fj_code code = stop_all(&d, err);

    if (d.n > 0 && fj__thread_new(&thread, "fj-drain", drain, &d) == 0) {
        bool given_up = await_drain(&d);
        (void)fj__native.pthread_join(thread, NULL);
        if (given_up && d.code == FJ_OK)
            d.code = fj_fail(&d.error, FJ_TIMEOUT, "a second signal came before all requests were answered");
    } else {
        (void)drain(&d); /* deaf to a second signal, but whole */
    }
    fj__free(d.servers);
    fj__free(d.by);
    fj__free(d.loops);
    fj__free(d.fds);
    if (code != FJ_OK) {
        fj_error_free(d.error);
        return code;
    }
    return d.error != NULL ? fj_error_move(d.error, err) : d.code;
}

/* Whether a loop of this thread is its host's to run. */
static bool hosted_here(void)
{
    bool found = false;

    (void)fj__native.pthread_mutex_lock(&lock);
    for (fj__running *r = first; r != NULL && !found; r = r->next) {
        const fj_loop *loop = fj__server_loop(r->server);
        found = loop != NULL && !fj__loop_gone(loop) && fj__loop_here(loop) && fj__loop_hosted(loop);
    }
    (void)fj__native.pthread_mutex_unlock(&lock);
    return found;
}

fj_code fj_run(fj_error **err)
{
    if (fj_loop_running() != NULL)
        return fj_fail(err, FJ_STATE, "fj_run() runs the loops of its thread, and one of them runs already");
    if (hosted_here())
        return fj_fail(err, FJ_STATE, "a server's loop on this thread belongs to a host: run the host's");
    if (atomic_exchange(&busy, true))
        return fj_fail(err, FJ_STATE, "another thread is in fj_run()");
    fj_code code = fj_run_signals(err);
    if (code == FJ_OK) {
        code = serve(err);
        if (watcher != NULL)
            watcher->drains(watcher->user);
        fj_code ended = end(code == FJ_OK ? err : NULL);
        code = code != FJ_OK ? code : ended;
        give_signals_back();
        atomic_store(&stop_asked, false);
    }
    atomic_store(&busy, false);
    return code;
}
