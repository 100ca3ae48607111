/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for children.  One that is named is watched by a descriptor of its own; for any of several, a thread waits. */
#include "runtime/hooks/hooks.h"

#include <sys/syscall.h>

/* A child may be waited for by its descriptor if it is its end that is waited for, and nothing else. */
static int open_child(pid_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    (void)pid;
    errno = ENOSYS;
    return -1;
#endif
}

/* Suspend until the child has ended.  @return 1; 0: it cannot be watched; -1: errno is the answer */
static int until_ready(int fd)
{
    int r = fj__green_wait(fd, POLLIN, FJ__NEVER);

    return r > 0 ? 1 : errno == ECANCELED || errno == ETIMEDOUT || errno == EDEADLK ? -1 : 0;
}

static int until_it_ends(pid_t pid)
{
    int fd = open_child(pid), r = 0, error = 0;

    if (fd < 0)
        return 0;
    r = until_ready(fd);
    error = errno;
    REAL(close)(fd);
    errno = error;
    return r;
}

typedef struct {
    pid_t pid, answer;
    int *status;
    int options;
    struct rusage *usage;
} wait_job;

static void wait_there(void *arg)
{
    wait_job *j = arg;

    j->answer = REAL(wait4)(j->pid, j->status, j->options, j->usage);
}

static pid_t green_wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    wait_job job = { .pid = pid, .status = status, .options = options, .usage = usage };
    int saved = errno, watched = 1;
    pid_t r = -1;

    if (!fj__green_breath())
        return -1;
    r = REAL(wait4)(pid, status, options | WNOHANG, usage);
    while (r == 0 && pid > 0 && (options & (WUNTRACED | WCONTINUED)) == 0 && watched > 0) {
        watched = until_it_ends(pid);
        if (watched < 0)
            return -1;
        r = watched > 0 ? REAL(wait4)(pid, status, options | WNOHANG, usage) : 0;
    }
    if (r == 0)
        r = fj__green_offload_long(wait_there, &job) ? job.answer : -1;
    return (pid_t)fj__green_done(r, saved);
}

FJ__HOOK pid_t waitpid(pid_t pid, int *status, int options)
{
    if (!fj__green(FJ_PATCH_PROCESS) || (options & WNOHANG) != 0)
        return REAL(waitpid)(pid, status, options);
    return green_wait4(pid, status, options, NULL);
}

FJ__HOOK pid_t wait(int *status)
{
    return fj__green(FJ_PATCH_PROCESS) ? green_wait4(-1, status, 0, NULL) : REAL(wait)(status);
}

FJ__HOOK pid_t wait3(int *status, int options, struct rusage *usage)
{
    if (!fj__green(FJ_PATCH_PROCESS) || (options & WNOHANG) != 0)
        return REAL(wait3)(status, options, usage);
    return green_wait4(-1, status, options, usage);
}

FJ__HOOK pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    if (!fj__green(FJ_PATCH_PROCESS) || (options & WNOHANG) != 0)
        return REAL(wait4)(pid, status, options, usage);
    return green_wait4(pid, status, options, usage);
}

typedef struct {
    idtype_t type;
    id_t id;
    siginfo_t *info;
    int options, answer;
} waitid_job;

static void waitid_there(void *arg)
{
    waitid_job *j = arg;

    j->answer = REAL(waitid)(j->type, j->id, j->info, j->options);
}

/* Suspend until it is worth asking again.  @return as until_it_ends() */
static int until_one_ends(const waitid_job *j)
{
    if ((j->options & (WSTOPPED | WCONTINUED)) != 0)
        return 0;
    if (j->type == P_PIDFD)
        return until_ready((int)j->id);
    return j->type == P_PID ? until_it_ends((pid_t)j->id) : 0;
}

static int green_waitid(waitid_job *j)
{
    int saved = errno, watched = 1;
    siginfo_t now = { 0 };

    for (;;) {
        if (REAL(waitid)(j->type, j->id, &now, j->options | WNOHANG) != 0)
            return -1;
        if (now.si_pid != 0)
            break;
        watched = until_one_ends(j);
        if (watched > 0)
            continue;
        if (watched < 0 || !fj__green_offload_long(waitid_there, j))
            return -1;
        return (int)fj__green_done(j->answer, saved);
    }
    if (j->info != NULL)
        *j->info = now;
    return (int)fj__green_done(0, saved);
}

FJ__HOOK int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    waitid_job job = { .type = type, .id = id, .info = info, .options = options };

    if (!fj__green(FJ_PATCH_PROCESS) || (options & WNOHANG) != 0)
        return REAL(waitid)(type, id, info, options);
    if (!fj__green_breath())
        return -1;
    return green_waitid(&job);
}
