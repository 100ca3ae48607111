/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_sink_impl.h"

#include "base/alloc.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static fj__log_sink *all;

/* How often files were asked to be opened anew, and what those who wait for lines wait at, too.  It lives as long as the process, so that a
 * signal's handler can write to it at any time; should there be several files, one of them is woken, and the others look before
 * they write. */
atomic_uint fj__log_reopens;
atomic_int fj__log_reopen_wake = -1;

static bool init_sync(fj__log_sink *s)
{
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&s->lock, NULL);
    return s->wake >= 0;
}

static void destroy(fj__log_sink *s)
{
    fj__log_ring_fini(&s->ring);
    if (s->fd >= 0 && s->fd != STDERR_FILENO)
        (void)fj__native.close(s->fd);
    if (s->wake >= 0)
        (void)fj__native.close(s->wake);
    fj__free(s->path);
    fj__free(s->ident);
    fj__free(s);
}

fj__log_sink *fj__log_sink_new(const fj__log_sink_opts *opts)
{
    fj__log_sink *s = fj__zalloc(sizeof *s);

    if (s == NULL)
        return NULL;
    s->place = opts->place;
    s->format = opts->format;
    s->facility = opts->facility;
    s->fd = -1;
    s->path = fj__strdup(opts->path);
    s->ident = fj__strdup(opts->ident != NULL ? opts->ident : "fjord");
    if (!init_sync(s) || s->ident == NULL || (opts->path != NULL && s->path == NULL) ||
        !fj__log_ring_init(&s->ring, opts->ring)) {
        destroy(s);
        return NULL;
    }
    (void)fj__native.pthread_mutex_lock(&list_lock);
    if (atomic_load(&fj__log_reopen_wake) < 0)
        atomic_store(&fj__log_reopen_wake, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    s->next = all;
    all = s;
    (void)fj__native.pthread_mutex_unlock(&list_lock);
    return s;
}

void fj__log_sink_end(fj__log_sink *s)
{
    (void)fj__native.pthread_mutex_lock(&list_lock);
    for (fj__log_sink **at = &all; *at != NULL; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    (void)fj__native.pthread_mutex_unlock(&list_lock);
    destroy(s);
}

/* Without a signal: those are the program's own.  @locks needs the sink's */
static void start(fj__log_sink *s)
{
    sigset_t every, before;
    pthread_attr_t attr;
    pthread_t thread;

    (void)sigfillset(&every);
    (void)pthread_sigmask(SIG_SETMASK, &every, &before);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    s->started = pthread_create(&thread, &attr, fj__log_writer, s) == 0; /* else the next line tries again */
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- who logs ---------------------------------------------------------------------------------- */

static void wake(int fd)
{
    uint64_t one = 1;
    ssize_t n = fj__native.write(fd, &one, sizeof one);

    (void)n; /* when it is full the thread is awake anyway */
}

void fj__log_sink_push(fj__log_sink *s, const fj__log_line *line)
{
    fj__log_sink_hold(s);
    (void)fj__log_ring_push(&s->ring, line);
    if (!s->started)
        start(s);
    bool asleep = s->asleep;
    s->asleep = false;
    fj__log_sink_drop(s);
    if (asleep)
        wake(s->wake);
}

void fj__log_sink_close(fj__log_sink *s)
{
    fj__log_sink_hold(s);
    s->closing = true;
    bool started = s->started;
    if (started)
        wake(s->wake); /* with the lock: without it the thread may be gone, and the sink with it */
    fj__log_sink_drop(s);
    if (!started)
        fj__log_sink_end(s);
}

void fj__log_sinks_reopen(void)
{
    int saved = errno, fd = atomic_load(&fj__log_reopen_wake);

    atomic_fetch_add(&fj__log_reopens, 1);
    if (fd >= 0)
        wake(fd);
    errno = saved;
}

/* @locks needs the list's */
static fj__log_sink *find_busy(void)
{
    for (fj__log_sink *s = all; s != NULL; s = s->next) {
        fj__log_sink_hold(s);
        if (s->started && (s->ring.used != 0 || s->ring.dropped != 0 || s->closing))
            return s;
        fj__log_sink_drop(s);
    }
    return NULL;
}

bool fj__log_sinks_flush(int ms)
{
    int64_t by = fj__log_now_ms() + ms;

    for (;;) {
        (void)fj__native.pthread_mutex_lock(&list_lock);
        fj__log_sink *s = find_busy();
        if (s != NULL)
            fj__log_sink_drop(s);
        (void)fj__native.pthread_mutex_unlock(&list_lock);
        if (s == NULL)
            return true;
        if (fj__log_now_ms() >= by)
            return false;
        (void)fj__native.nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

/* ---- fork -------------------------------------------------------------------------------------- */

void fj__log_sinks_before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&list_lock);
    for (fj__log_sink *s = all; s != NULL; s = s->next)
        fj__log_sink_hold(s);
    fj__log_zone_before_fork();
}

/* The descriptor is the child's own from now on; a socket would be shared, and a file's may be behind a rename. */
static void begin_anew(fj__log_sink *s)
{
    if (s->fd >= 0 && s->fd != STDERR_FILENO)
        (void)fj__native.close(s->fd);
    (void)fj__native.close(s->wake);
    s->fd = -1;
    s->ring.begin = s->ring.used = 0;
    s->ring.dropped = 0;
    s->started = s->asleep = false;
    fj__log_sink_drop(s);
    (void)init_sync(s);
}

void fj__log_sinks_after_fork(bool child)
{
    fj__log_sink **at = &all, *s;

    fj__log_zone_after_fork();
    if (child && atomic_load(&fj__log_reopen_wake) >= 0) {
        (void)fj__native.close(atomic_load(&fj__log_reopen_wake));
        atomic_store(&fj__log_reopen_wake, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    }
    while ((s = *at) != NULL) {
        if (!child) {
            fj__log_sink_drop(s);
            at = &s->next;
        } else if (s->closing) {
            *at = s->next;
            fj__log_sink_drop(s);
            destroy(s);
        } else {
            begin_anew(s);
            at = &s->next;
        }
    }
    (void)fj__native.pthread_mutex_unlock(&list_lock);
}
