/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that writes what waits for one place. */
#include "base/log_sink_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Pauses between attempts at a place that does not work, in ms; and how long one that was closed tries to get rid of what it has. */
enum { PAUSE_MIN = 50, PAUSE_MAX = 2000, CLOSING_PATIENCE = 1000 };

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

void fj__log_zone_before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&zone_lock);
}

void fj__log_zone_after_fork(void)
{
    (void)fj__native.pthread_mutex_unlock(&zone_lock);
}

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
                             { .fd = s->place == &fj__log_file ? atomic_load(&fj__log_reopen_wake) : -1,
                               .events = POLLIN },
                             { .fd = fd, .events = POLLOUT } };

    if (s->wake < 0 && (ms < 0 || ms > PAUSE_MIN))
        ms = PAUSE_MIN; /* a child that found no descriptor left: nobody can wake it */
    (void)fj__native.poll(fds, 3, ms);
    for (int i = 0; i < 2; i++)
        if ((fds[i].revents & POLLIN) != 0)
            drain(fds[i].fd);
}

static bool is_closing(fj__log_sink *s)
{
    fj__log_sink_hold(s);
    bool closing = s->closing;
    fj__log_sink_drop(s);
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
            patience = patience < 0 ? fj__log_now_ms() + CLOSING_PATIENCE : patience;
            if (fj__log_now_ms() >= patience)
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

    fj__log_sink_hold(s);
    for (;;) {
        size = fj__log_ring_peek(&s->ring, ret, s->room);
        *ret_dropped = size != 0 ? ret->dropped : s->ring.dropped;
        if (size == 0)
            s->ring.dropped = 0;
        if (size != 0 || *ret_dropped != 0 || s->closing)
            break;
        s->asleep = true;
        fj__log_sink_drop(s);
        wait_for(s, -1, -1);
        if (s->reopened != atomic_load(&fj__log_reopens))
            (void)s->place->write(s, "", 0,
                                  &(size_t){ 0 }); /* which opens it, so that the old one is let go of */
        fj__log_sink_hold(s);
        s->asleep = false;
    }
    fj__log_sink_drop(s);
    return size;
}

void *fj__log_writer(void *user)
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
        fj__log_sink_hold(s);
        fj__log_ring_pop(&s->ring, size);
        fj__log_sink_drop(s);
    }
    fj__log_sink_end(s);
    return NULL;
}

/* ---- for places -------------------------------------------------------------------------------- */

int fj__log_sink_fd(const fj__log_sink *s)
{
    return s->fd;
}

void fj__log_sink_set_fd(fj__log_sink *s, int fd)
{
    fj__log_sink_hold(s); /* a fork must find what is there */
    int before = s->fd;
    s->fd = fd;
    fj__log_sink_drop(s);
    if (before >= 0 && before != STDERR_FILENO && before != fd)
        (void)fj__native.close(before);
}

const char *fj__log_sink_path(const fj__log_sink *s)
{
    return s->path;
}

bool fj__log_sink_wants_reopen(fj__log_sink *s)
{
    unsigned now = atomic_load(&fj__log_reopens);
    bool wants = s->reopened != now;

    s->reopened = now;
    return wants;
}
