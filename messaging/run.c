/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fj_run(): every started server of the process.  Those whose executor steps are polled and run here; the others have
 * threads of their own and are only waited for.  An eventfd wakes it: from signal handlers, from fj_run_stop() and
 * when a server stops.
 */
#include <fjord/server.h>

#include "base/alloc.h"
#include "base/log.h"
#include "internal.h"
#include "runtime/sync.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SLICE_MS = 50 }; /* while draining: how soon a second signal is seen */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t unpinned = PTHREAD_COND_INITIALIZER;
static fj__running *first;
static atomic_int wake_fd = -1; /* kept for the process's life: handlers may write to it at any time */
static atomic_uint signals;
static atomic_bool stop_asked, busy;

/* ---- the list ----------------------------------------------------------------------------------- */

void fj__run_add(fj__running *r)
{
    (void)pthread_mutex_lock(&lock);
    r->next = first;
    first = r;
    r->listed = true;
    (void)pthread_mutex_unlock(&lock);
    fj__run_wake();
}

void fj__run_remove(fj__running *r)
{
    (void)pthread_mutex_lock(&lock);
    for (fj__running **at = &first; *at != NULL; at = &(*at)->next) {
        if (*at == r) {
            *at = r->next;
            break;
        }
    }
    r->listed = false;
    while (r->pins > 0)
        (void)pthread_cond_wait(&unpinned, &lock);
    (void)pthread_mutex_unlock(&lock);
}

unsigned fj__run_full(const char *topic)
{
    unsigned full = 0;

    (void)pthread_mutex_lock(&lock);
    for (fj__running *r = first; r != NULL && full == 0; r = r->next) {
        unsigned slots = 0;
        if (fj__server_on(r->server, topic) && fj__server_taken(r->server, &slots) >= slots)
            full = slots;
    }
    (void)pthread_mutex_unlock(&lock);
    return full;
}

static void unpin(fj__running *r)
{
    (void)pthread_mutex_lock(&lock);
    if (--r->pins == 0)
        (void)pthread_cond_broadcast(&unpinned);
    (void)pthread_mutex_unlock(&lock);
}

/* ---- waking ------------------------------------------------------------------------------------- */

void fj__run_wake(void)
{
    const uint64_t one = 1;
    int fd = atomic_load(&wake_fd), saved = errno;

    if (fd >= 0) {
        ssize_t n = write(fd, &one, sizeof one);
        (void)n; /* a full counter wakes, too */
    }
    errno = saved;
}

void fj_run_stop(void)
{
    atomic_store(&stop_asked, true);
    fj__run_wake();
}

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
    fj__run_wake();
}

static void sleep_again(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);

    (void)n; /* nothing to read is what is wanted */
}

/* A forked child has inherited the parent's: it needs its own. */
static fj_code open_wake(fj_error **err)
{
    static unsigned generation;
    static bool known;

    if (known && generation == fj__fork_generation())
        return FJ_OK;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return fj_fail(err, FJ_SYSTEM, "no descriptor to be woken by: %s", strerror(errno));
    int old = atomic_exchange(&wake_fd, fd);
    if (old >= 0)
        (void)close(old);
    generation = fj__fork_generation();
    known = true;
    return FJ_OK;
}

/* ---- the loop ----------------------------------------------------------------------------------- */

/* What one turn of the loop looks at. */
struct turn {
    fj__running **servers; /* pinned */
    size_t n, capacity;
    struct pollfd *fds;
    size_t fds_capacity;
};

static fj_code pin_all(struct turn *t, fj_error **err)
{
    fj_code code = FJ_OK;

    t->n = 0;
    (void)pthread_mutex_lock(&lock);
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
    (void)pthread_mutex_unlock(&lock);
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
        if (!fj__server_steps(t->servers[i]->server) ||
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
    (void)poll(t->fds, (nfds_t)n, fj_left_ms(by)); /* whatever ended it, everybody is looked at */
    return FJ_OK;
}

static bool told_to_end(void)
{
    return atomic_load(&signals) > 0 || atomic_load(&stop_asked);
}

static fj_code serve(fj_error **err)
{
    struct turn t = { .n = 0 };
    fj_code code = FJ_OK;

    while (!told_to_end()) {
        code = pin_all(&t, err);
        if (code == FJ_OK && t.n > 0)
            code = sleep_turn(&t, err);
        bool none = t.n == 0;
        sleep_again(atomic_load(&wake_fd));
        for (; code == FJ_OK && t.n > 0; unpin(t.servers[--t.n]))
            if (!told_to_end() && fj__server_steps(t.servers[t.n - 1]->server))
                fj__server_turn(t.servers[t.n - 1]->server);
        unpin_all(&t);
        if (code != FJ_OK || none)
            break;
    }
    fj__free(t.servers);
    fj__free(t.fds);
    return code;
}

/* ---- the end ------------------------------------------------------------------------------------ */

/* Wait for one server; a second signal cuts it short. */
static fj_code drain_one(fj_server *s, fj_error **err)
{
    fj_deadline by = fj_in_seconds(fj__server_drain(s));

    for (;;) {
        fj_code code = fj_server_wait(s, fj_sooner(by, fj_in_ms(SLICE_MS)), err);
        if (code == FJ_OK || code == FJ_STATE)
            return FJ_OK;
        if (code != FJ_TIMEOUT || fj_passed(by) || atomic_load(&signals) > 1)
            return code;
    }
}

static fj_code stop_all(fj_error **err)
{
    fj_code result = FJ_OK;

    (void)pthread_mutex_lock(&lock);
    for (fj__running *r = first; r != NULL; r = r->next)
        fj_server_stop(r->server);
    fj__running **left = NULL;
    size_t n = 0, capacity = 0;
    for (fj__running *r = first; r != NULL; r = r->next) {
        fj__running **grown = fj__grow(left, &capacity, n + 1, sizeof *left);
        if (grown == NULL)
            break;
        left = grown;
        left[n++] = r;
    }
    (void)pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < n; i++) {
        fj_error *error = NULL;
        fj_code code = drain_one(left[i]->server, &error);
        if (code == FJ_OK) {
            error = fj_error_free(error);
            continue;
        }
        fj__log(FJ_LOG_WARNING, "rpc", "given up: %s", fj_error_text(error));
        if (result == FJ_OK)
            result = error != NULL ? fj_error_move(error, err) : code;
        else
            fj_error_free(error);
    }
    fj__free(left);
    return result;
}

fj_code fj_run(fj_error **err)
{
    struct sigaction mine, old_int, old_term;

    if (atomic_exchange(&busy, true))
        return fj_fail(err, FJ_STATE, "another thread is in fj_run()");
    fj_code code = open_wake(err);
    if (code != FJ_OK) {
        atomic_store(&busy, false);
        return code;
    }
    atomic_store(&signals, 0);
    memset(&mine, 0, sizeof mine);
    mine.sa_handler = on_signal;
    (void)sigemptyset(&mine.sa_mask);
    (void)sigaction(SIGINT, &mine, &old_int);
    (void)sigaction(SIGTERM, &mine, &old_term);
    code = serve(err);
    fj_code ended = stop_all(code == FJ_OK ? err : NULL);
    (void)sigaction(SIGINT, &old_int, NULL);
    (void)sigaction(SIGTERM, &old_term, NULL);
    atomic_store(&stop_asked, false);
    atomic_store(&busy, false);
    return code != FJ_OK ? code : ended;
}
