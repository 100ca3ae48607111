/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/namer.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHARED "/dev/shm" /* oslo.messaging's, as are the files' names */

enum {
    LOCK_TRIES =
        1000, /* each a millisecond: who holds it needs microseconds, unless it was stopped amid them */
    NAME_MAX_LEN = 64,
    STAT_START = 22 /* proc(5): starttime */
};

struct fj__namer {
    char *host, *process;
    char *counter, *lock; /* files */
};

/* What the counter's file says. */
typedef struct {
    pid_t group;
    unsigned long n;
    uint64_t started; /* when the group's leader did, in ticks of the kernel; 0: not known */
} record;

/* ---- the files ---- */

/* A whole small file.  @return bytes, or -1 */
static ssize_t slurp(int fd, char *text, size_t room)
{
    size_t n = 0;

    for (ssize_t got = 1; got > 0 && n < room - 1;) {
        got = fj__native.read(fd, text + n, room - 1 - n);
        if (got < 0 && errno != EINTR)
            return -1;
        n += got > 0 ? (size_t)got : 0;
        got = got < 0 ? 1 : got;
    }
    text[n] = '\0';
    return (ssize_t)n;
}

/* 0: the process is gone, and with it what it is known by. */
static uint64_t started(pid_t pid)
{
    char path[32], text[1024];
    const char *at = NULL;

    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && slurp(fd, text, sizeof text) > 0)
        at = strrchr(text, ')'); /* the program's name may hold anything */
    if (fd >= 0)
        (void)fj__native.close(fd);
    for (int field = 2; at != NULL && field < STAT_START; field++)
        at = strchr(at + 1, ' ');
    return at != NULL ? strtoull(at, NULL, 10) : 0;
}

static fj_code failed(const char *what, const char *path, fj_error **err)
{
    char text[128];

    return fj_fail(err, FJ_SYSTEM, "use_queue_manager: %s %s: %s", what, path,
                   strerror_r(errno, text, sizeof text));
}

/* A lock of the open file, not of the process: threads exclude each other by it, too, and what Python locks by lockf() keeps it out. */
static fj_code lock(const fj__namer *n, int *ret, fj_error **err)
{
    struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct timespec pause = { .tv_nsec = 1000000 };
    int fd = open(n->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd < 0)
        return failed("opening", n->lock, err);
    for (int i = 0; fcntl(fd, F_OFD_SETLK, &all) != 0; i++) {
        if (i >= LOCK_TRIES || (errno != EAGAIN && errno != EACCES && errno != EINTR)) {
            fj_code rc = failed("locking", n->lock, err);
            (void)fj__native.close(fd);
            return rc;
        }
        (void)fj__native.nanosleep(&pause, NULL);
    }
    *ret = fd;
    return FJ_OK;
}

static bool parse(const char *text, record *ret)
{
    long group = 0;

    *ret = (record){ .group = 0 };
    bool whole = sscanf(text, "%ld:%lu:%" SCNu64, &group, &ret->n, &ret->started) >= 2;
    ret->group = (pid_t)group;
    return whole;
}

static fj_code write_back(int fd, const record *r, const char *path, fj_error **err)
{
    char text[NAME_MAX_LEN];
    int n = snprintf(text, sizeof text, "%ld:%lu:%" PRIu64, (long)r->group, r->n, r->started);

    if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0 || fj__native.write(fd, text, (size_t)n) != n)
        return failed("writing", path, err);
    return FJ_OK;
}

/* ---- counting ---- */

/* Two groups with one name take each other's replies. */
static void warn_of_other(const fj__namer *n, const record *old)
{
    if (old->started != 0 && started(old->group) == old->started)
        fj__log(FJ_LOG_WARNING, "amqp",
                "process group %ld runs under the same [oslo_messaging_rabbit] hostname and processname, %s "
                "and %s: its "
                "queues have the same names as this one's",
                (long)old->group, n->host, n->process);
}

static record count(const fj__namer *n, const char *text)
{
    record old, now = { .group = getpgrp(), .n = 1 };
    bool found = parse(text, &old);

    now.started =
        started(now.group); /* the leader may be gone, but while its group lives no other gets its number */
    bool same =
        found && old.group == now.group && (now.started == 0 || old.started == 0 || old.started == now.started);
    if (same) {
        now.n = old.n + 1;
        now.started = now.started != 0 ? now.started : old.started;
    } else if (found && old.group != now.group) {
        warn_of_other(n, &old);
    }
    return now;
}

static fj_code next_number(const fj__namer *n, unsigned long *ret, fj_error **err)
{
    char text[NAME_MAX_LEN];
    int fd = open(n->counter, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    fj_code rc = FJ_OK;

    if (fd < 0)
        return failed("opening", n->counter, err);
    if (slurp(fd, text, sizeof text) < 0) {
        rc = failed("reading", n->counter, err);
    } else {
        record now = count(n, text);
        rc = write_back(fd, &now, n->counter, err);
        *ret = now.n;
    }
    (void)fj__native.close(fd);
    return rc;
}

fj_code fj__namer_next(const fj__namer *n, char **ret, fj_error **err)
{
    unsigned long number = 0;
    int locked = -1;
    fj_code rc = lock(n, &locked, err);

    if (rc != FJ_OK)
        return rc;
    rc = next_number(n, &number, err);
    (void)fj__native.close(locked);
    if (rc != FJ_OK)
        return rc;
    *ret = fj__format("%s:%s:%lu", n->host, n->process, number);
    return *ret != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}

/* ---- life ---- */

static bool is_of_file(const char *name)
{
    return *name != '\0' && strchr(name, '/') == NULL && strlen(name) <= NAME_MAX_LEN;
}

fj_code fj__namer_new(const char *host, const char *process, const char *lock_path, fj__namer **ret,
                      fj_error **err)
{
    char machine[NAME_MAX_LEN + 1] = "";
    fj__namer *n = fj__zalloc(sizeof *n);

    if (n == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    if (host == NULL || *host == '\0') {
        (void)gethostname(machine, sizeof machine - 1);
        host = machine;
    }
    if (process == NULL || *process == '\0')
        process = program_invocation_short_name;
    if (!is_of_file(host) || !is_of_file(process)) {
        (void)fj__namer_free(n);
        return fj_fail(
            err, FJ_BAD_CONFIG,
            "use_queue_manager needs hostname and processname of 1 to %d characters without slashes, "
            "not '%s' and '%s'",
            NAME_MAX_LEN, host, process);
    }
    n->host = fj__strdup(host);
    n->process = fj__strdup(process);
    n->counter = fj__format(SHARED "/%s_%s_qmanager", host, process);
    n->lock = fj__format("%s/oslo_read_shm_%s_%s", lock_path != NULL && *lock_path != '\0' ? lock_path : SHARED,
                         host, process);
    if (n->host == NULL || n->process == NULL || n->counter == NULL || n->lock == NULL) {
        (void)fj__namer_free(n);
        return fj_fail(err, FJ_NOMEM, "out of memory");
    }
    *ret = n;
    return FJ_OK;
}

fj__namer *fj__namer_free(fj__namer *n)
{
    if (n == NULL)
        return NULL;
    fj__free(n->host);
    fj__free(n->process);
    fj__free(n->counter);
    fj__free(n->lock);
    fj__free(n);
    return NULL;
}
