/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_sink.h"

#include "base/alloc.h"
#include "base/log_ring.h"
#include "base/native.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Pauses between attempts at a place that does not work, in ms; and how long one that was closed tries to get rid of what it has. */
enum { PAUSE_MIN = 50, PAUSE_MAX = 2000, CLOSING_PATIENCE = 1000 };
enum { OUT_MAX = FJ__LOG_HEAD_MAX + 6 * FJ__LOG_TEXT_MAX };

struct fj__log_sink {
    fj__log_sink *next; /* of all */
    const fj__log_place *place;
    fj__log_format format;
    int facility;
    char *path, *ident;
    pthread_mutex_t lock;
    fj__log_ring ring;
    int fd, wake; /* wake: an eventfd, for the writer's thread to wait at */
    bool started; /* it has its thread */
    bool asleep;  /* its thread waits for lines */
    bool closing;
    bool told;         /* of what is wrong with the place, until it works again: the writer's */
    unsigned reopened; /* what `reopens` was when it was opened: the writer's */
    char room[FJ__LOG_ROOM], out[OUT_MAX]; /* the writer's */
};

/* Order of locks: the list's, then a sink's, then the zone's. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static fj__log_sink *all;

/* How often files were asked to be opened anew, and what those who wait for lines wait at, too.  It lives as long as the process, so that a
 * signal's handler can write to it at any time; should there be several files, one of them is woken, and the others look before
 * they write. */
static atomic_uint reopens;
static atomic_int reopen_wake = -1;

/* localtime_r() takes a lock of libc, which a child would find taken for ever if the fork came in the middle: around a fork nobody of
 * ours is there. */
static pthread_mutex_t zone_lock = PTHREAD_MUTEX_INITIALIZER;

static long offset_at(time_t when)
{
    struct tm local = { 0 };

    (void)fj__native.pthread_mutex_lock(&zone_lock);
    (void)localtime_r(&when, &local);
    (void)fj__native.pthread_mutex_unlock(&zone_lock);
    return local.tm_gmtoff;
}

static void hold(fj__log_sink *s)
{
    (void)fj__native.pthread_mutex_lock(&s->lock);
}

static void drop(fj__log_sink *s)
{
    (void)fj__native.pthread_mutex_unlock(&s->lock);
}

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
    if (atomic_load(&reopen_wake) < 0)
        atomic_store(&reopen_wake, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    s->next = all;
    all = s;
    (void)fj__native.pthread_mutex_unlock(&list_lock);
    return s;
}

static void unlink_and_destroy(fj__log_sink *s)
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

/* ---- the writer -------------------------------------------------------------------------------- */

static void drain(int fd)
{
    uint64_t count;
    ssize_t n = fj__native.read(fd, &count, sizeof count);

    (void)n; /* nothing to read is well, too */
}

/* Until the descriptor is writable (@p fd, if not -1), somebody wakes the thread, or @p ms are over. */
static void wait_for(const fj__log_sink *s, int fd, int ms)
{
    struct pollfd fds[3] = { { .fd = s->wake, .events = POLLIN },
                             { .fd = s->place == &fj__log_file ? atomic_load(&reopen_wake) : -1,
                               .events = POLLIN },
                             { .fd = fd, .events = POLLOUT } };

    if (s->wake < 0 && (ms < 0 || ms > PAUSE_MIN))
        ms = PAUSE_MIN; /* a child that found no descriptor left: nobody can wake it */
    (void)fj__native.poll(fds, 3, ms);
    for (int i = 0; i < 2; i++)
        if ((fds[i].revents & POLLIN) != 0)
            drain(fds[i].fd);
}

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool is_closing(fj__log_sink *s)
{
    hold(s);
    bool closing = s->closing;
    drop(s);
    return closing;
}

/* Once, where it may be seen: a log that is silent does not say why. */
static void tell(fj__log_sink *s)
{
    static const char text[] = "is not there, full, or not ours to write to: lines for it wait";
    char message[256], out[1024];
    fj__log_line line = { .level = FJ_LOG_WARNING, .text = message, .component = "log" };

    if (s->told || s->path == NULL)
        return;
    s->told = true;
    line.request = line.message = line.method = line.file = line.function = "";
    (void)clock_gettime(CLOCK_REALTIME, &line.when);
    line.text_n = (size_t)snprintf(message, sizeof message, "%.150s %s", s->path, text);
    (void)fj__log_stderr_try(out, fj__log_render(out, sizeof out, &line, FJ__LOG_TEXT, "", 0));
}

/* Write until it is written.  @return false: the sink was closed, and will not get it done */
static bool write_all(fj__log_sink *s, size_t n)
{
    size_t done = 0;
    int pause = PAUSE_MIN;
    int64_t patience = -1;
    fj__log_result result;

    for (unsigned full = 0; (result = s->place->write(s, s->out, n, &done)) != FJ__LOG_WROTE;) {
        if (is_closing(s)) {
            patience = patience < 0 ? now_ms() + CLOSING_PATIENCE : patience;
            if (now_ms() >= patience)
                return false;
            pause = PAUSE_MIN;
        }
        if (result == FJ__LOG_DOWN)
            tell(s);
        full = result == FJ__LOG_FULL ? full + 1 : 0;
        if (full % 2 == 1) { /* every other time: what is writable may still have no room for so much */
            wait_for(s, s->fd, patience < 0 ? PAUSE_MAX : pause);
            continue;
        }
        wait_for(s, -1, full != 0 ? PAUSE_MIN : pause);
        pause = pause * 2 < PAUSE_MAX ? pause * 2 : PAUSE_MAX;
    }
    s->told = false;
    return true;
}

static bool write_line(fj__log_sink *s, const fj__log_line *line)
{
    fj__log_line l = *line;

    if (s->format == FJ__LOG_SYSLOG)
        l.offset = offset_at(l.when.tv_sec);
    size_t n = fj__log_render(s->out, sizeof s->out, &l, s->format, s->ident, s->facility);

    return n == 0 || write_all(s, n);
}

static bool write_dropped(fj__log_sink *s, unsigned long dropped)
{
    char text[96];
    fj__log_line line = { .level = FJ_LOG_WARNING, .pid = getpid(), .tid = gettid(), .dropped = dropped };

    if (dropped == 0)
        return true;
    (void)clock_gettime(CLOCK_REALTIME, &line.when);
    int n = snprintf(text, sizeof text, "%lu line%s dropped here: this log was not written fast enough",
                     dropped, dropped == 1 ? " was" : "s were");
    line.file = line.function = line.request = line.message = line.method = "";
    line.component = "log";
    line.text = text;
    line.text_n = (size_t)n;
    return write_line(s, &line);
}

/* Wait for a line.  @return 0: there is none, and the sink was closed */
static size_t next_line(fj__log_sink *s, fj__log_line *ret, unsigned long *ret_dropped)
{
    size_t size = 0;

    hold(s);
    for (;;) {
        size = fj__log_ring_peek(&s->ring, ret, s->room);
        *ret_dropped = size != 0 ? ret->dropped : s->ring.dropped;
        if (size == 0)
            s->ring.dropped = 0;
        if (size != 0 || *ret_dropped != 0 || s->closing)
            break;
        s->asleep = true;
        drop(s);
        wait_for(s, -1, -1);
        if (s->reopened != atomic_load(&reopens))
            (void)s->place->write(s, "", 0,
                                  &(size_t){ 0 }); /* which opens it, so that the old one is let go of */
        hold(s);
        s->asleep = false;
    }
    drop(s);
    return size;
}

static void *writer(void *user)
{
    fj__log_sink *s = user;
    fj__log_line line;
    unsigned long dropped;
    bool ok = true;

    (void)pthread_setname_np(pthread_self(), "fj-log");
    while (ok) {
        size_t size = next_line(s, &line, &dropped);
        if (size == 0 && dropped == 0)
            break;
        ok = write_dropped(s, dropped) && (size == 0 || write_line(s, &line));
        hold(s);
        fj__log_ring_pop(&s->ring, size);
        drop(s);
    }
    unlink_and_destroy(s);
    return NULL;
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
    s->started = pthread_create(&thread, &attr, writer, s) == 0; /* else the next line tries again */
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
    hold(s);
    (void)fj__log_ring_push(&s->ring, line);
    if (!s->started)
        start(s);
    bool asleep = s->asleep;
    s->asleep = false;
    drop(s);
    if (asleep)
        wake(s->wake);
}

void fj__log_sink_close(fj__log_sink *s)
{
    hold(s);
    s->closing = true;
    bool started = s->started;
    if (started)
        wake(s->wake); /* with the lock: without it the thread may be gone, and the sink with it */
    drop(s);
    if (!started)
        unlink_and_destroy(s);
}

void fj__log_sinks_reopen(void)
{
    int saved = errno, fd = atomic_load(&reopen_wake);

    atomic_fetch_add(&reopens, 1);
    if (fd >= 0)
        wake(fd);
    errno = saved;
}

/* @locks needs the list's */
static fj__log_sink *find_busy(void)
{
    for (fj__log_sink *s = all; s != NULL; s = s->next) {
        hold(s);
        if (s->started && (s->ring.used != 0 || s->ring.dropped != 0 || s->closing))
            return s;
        drop(s);
    }
    return NULL;
}

bool fj__log_sinks_flush(int ms)
{
    int64_t by = now_ms() + ms;

    for (;;) {
        (void)fj__native.pthread_mutex_lock(&list_lock);
        fj__log_sink *s = find_busy();
        if (s != NULL)
            drop(s);
        (void)fj__native.pthread_mutex_unlock(&list_lock);
        if (s == NULL)
            return true;
        if (now_ms() >= by)
            return false;
        (void)fj__native.nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

/* ---- fork -------------------------------------------------------------------------------------- */

void fj__log_sinks_before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&list_lock);
    for (fj__log_sink *s = all; s != NULL; s = s->next)
        hold(s);
    (void)fj__native.pthread_mutex_lock(&zone_lock);
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
    drop(s);
    (void)init_sync(s);
}

void fj__log_sinks_after_fork(bool child)
{
    fj__log_sink **at = &all, *s;

    (void)fj__native.pthread_mutex_unlock(&zone_lock);
    if (child && atomic_load(&reopen_wake) >= 0) {
        (void)fj__native.close(atomic_load(&reopen_wake));
        atomic_store(&reopen_wake, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    }
    while ((s = *at) != NULL) {
        if (!child) {
            drop(s);
            at = &s->next;
        } else if (s->closing) {
            *at = s->next;
            drop(s);
            destroy(s);
        } else {
            begin_anew(s);
            at = &s->next;
        }
    }
    (void)fj__native.pthread_mutex_unlock(&list_lock);
}

/* ---- for places -------------------------------------------------------------------------------- */

int fj__log_sink_fd(const fj__log_sink *s)
{
    return s->fd;
}

void fj__log_sink_set_fd(fj__log_sink *s, int fd)
{
    hold(s); /* a fork must find what is there */
    int before = s->fd;
    s->fd = fd;
    drop(s);
    if (before >= 0 && before != STDERR_FILENO && before != fd)
        (void)fj__native.close(before);
}

const char *fj__log_sink_path(const fj__log_sink *s)
{
    return s->path;
}

bool fj__log_sink_wants_reopen(fj__log_sink *s)
{
    unsigned now = atomic_load(&reopens);
    bool wants = s->reopened != now;

    s->reopened = now;
    return wants;
}
