/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a program a request: JSON in, JSON out.  Input is fed and output drained together, so that neither side
 * can wait for the other whatever the sizes. */
#include "base/alloc.h"
#include "base/buffer.h"
#include "tools/common.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX ((size_t)64 << 20)
#define STDERR_MAX ((size_t)16 << 10) /* what of it becomes the failure's text */

#define PIPE_MOST ((size_t)1 << 20) /* /proc/sys/fs/pipe-max-size, as it is unless root has raised it */

extern char **environ;

enum { IN, OUT, ERR, PID, FDS };

typedef struct child {
    struct child *next; /* in `running` */
    const char *input;
    size_t input_n, input_done;
    fj__buf out, err;
    int fds[FDS]; /* our ends of the pipes, and the pidfd; -1: closed */
    pid_t pid;
    bool too_big, expired;
} child;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static child *running; /* those that have not been waited for, so that their numbers are theirs */
static bool over;

/* From here on tool_exec_end() reaches it. */
static void enlist(child *c)
{
    (void)pthread_mutex_lock(&lock);
    c->next = running;
    running = c;
    if (over)
        kill(-c->pid, SIGKILL);
    (void)pthread_mutex_unlock(&lock);
}

static void delist(child *c)
{
    (void)pthread_mutex_lock(&lock);
    for (child **at = &running; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

void tool_exec_end(void)
{
    (void)pthread_mutex_lock(&lock);
    over = true;
    for (child *c = running; c != NULL; c = c->next)
        kill(-c->pid, SIGKILL);
    (void)pthread_mutex_unlock(&lock);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* sh -c program, in its own process group (a terminal's ^C is for us alone) and with default signals. */
static int spawn_shell(const char *program, const int ends[3], pid_t *ret)
{
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)(uintptr_t)program, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc;

    sigemptyset(&none);
    sigemptyset(&all);
    sigaddset(&all, SIGPIPE);
    sigaddset(&all, SIGINT);
    sigaddset(&all, SIGTERM);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    for (int i = 0; i < 3; i++)
        posix_spawn_file_actions_adddup2(&actions, ends[i], i);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    rc = posix_spawn(ret, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static fj_code start(child *c, const char *program, fj_error **err)
{
    int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } }, ends[3], rc = 0;

    for (int i = 0; i < 3 && rc == 0; i++)
        rc = pipe2(pipes[i], O_CLOEXEC) == 0 ? 0 : errno;
    for (int i = 0; i < 3; i++) {
        ends[i] = pipes[i][i == IN ? 0 : 1];
        c->fds[i] = pipes[i][i == IN ? 1 : 0];
        if (c->fds[i] >= 0)
            (void)fcntl(c->fds[i], F_SETFL, O_NONBLOCK);
    }
    if (rc == 0)
        rc = spawn_shell(program, ends, &c->pid);
    for (int i = 0; i < 3; i++)
        close_fd(&ends[i]);
    if (rc != 0)
        return fj_fail(err, FJ_SYSTEM, "sh cannot be started: %s", strerror(rc));
    enlist(c);
    c->fds[PID] = (int)syscall(SYS_pidfd_open, c->pid, 0); /* -1 on an old kernel: then end of file decides */
    return FJ_OK;
}

static void feed(child *c)
{
    while (c->input_done < c->input_n) {
        ssize_t n = write(c->fds[IN], c->input + c->input_done, c->input_n - c->input_done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break; /* it does not want to read it all */
        c->input_done += (size_t)n;
    }
    close_fd(&c->fds[IN]);
}

/* Read what is there, but no more than the largest pipe holds: who writes without end is left to the next turn.  Bytes
 * over @p max are dropped. */
static fj_code drain(child *c, int *fd, fj__buf *buf, size_t max)
{
    char bytes[16384];

    for (size_t left = PIPE_MOST / sizeof(bytes); left > 0; left--) {
        ssize_t n = read(*fd, bytes, sizeof(bytes));
        size_t room = max - fj__buf_len(buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return FJ_OK;
        if (n <= 0) {
            close_fd(fd);
            return FJ_OK;
        }
        if ((size_t)n > room && buf == &c->out)
            c->too_big = true;
        if (!fj__buf_append(buf, bytes, (size_t)n < room ? (size_t)n : room))
            return FJ_NOMEM;
    }
    return FJ_OK;
}

/* Until the program ended, or both its outputs did.  A program it left behind may hold them open for ever. */
static FJ_MAY_AWAIT fj_code pump(child *c, fj_deadline limit, fj_error **err)
{
    fj_code rc = FJ_OK;
    bool ended = false;

    while (rc == FJ_OK && !ended && !c->too_big) {
        struct pollfd p[FDS];
        if (c->fds[OUT] < 0 && c->fds[ERR] < 0 && c->fds[PID] < 0)
            break;
        for (int i = 0; i < FDS; i++)
            p[i] = (struct pollfd){ .fd = c->fds[i], .events = i == IN ? POLLOUT : POLLIN };
        rc = tool_wait(p, FDS, limit, err);
        if (rc == FJ_OK && fj_passed(limit))
            c->expired = true;
        if (rc != FJ_OK || c->expired)
            break;
        ended = p[PID].revents != 0;
        if (p[IN].revents != 0)
            feed(c);
        if (c->fds[OUT] >= 0 && (ended || p[OUT].revents != 0))
            rc = drain(c, &c->fds[OUT], &c->out, OUTPUT_MAX);
        if (rc == FJ_OK && c->fds[ERR] >= 0 && (ended || p[ERR].revents != 0))
            rc = drain(c, &c->fds[ERR], &c->err, STDERR_MAX);
    }
    return rc;
}

/* The program's end, by force if it was cut short.  @return its wait status */
static int finish(child *c, bool kill_it)
{
    int status = 0;

    for (int i = 0; i < FDS; i++)
        close_fd(&c->fds[i]);
    if (kill_it)
        kill(-c->pid, SIGKILL);
    delist(c);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

/* Its standard error as the text of a failure: one that JSON can hold, without the last newline. */
static char *failure_text(const child *c, int status)
{
    size_t n = fj__buf_len(&c->err);
    char *text = n > 0 ? fj__strndup((const char *)fj__buf_data(&c->err), n) : NULL;
    json_t *probe;

    n = text != NULL ? strlen(text) : 0;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        text[--n] = '\0';
    if (n == 0) {
        fj__free(text);
        return WIFSIGNALED(status) ? fj__format("the program died of signal %d", WTERMSIG(status))
                                   : fj__format("the program ended with status %d", WEXITSTATUS(status));
    }
    probe = json_string(text);
    for (size_t i = 0; probe == NULL && i < n; i++)
        if ((unsigned char)text[i] >= 0x80)
            text[i] = '?';
    json_decref(probe);
    return text;
}

static fj_code outcome(child *c, int status, json_t **ret, fj_error **err)
{
    const char *text = (const char *)(c->out.bytes != NULL ? fj__buf_data(&c->out) : (const uint8_t *)"");
    fj_code rc;

    if (c->expired)
        return fj_raise(err, "builtins", "RuntimeError", NULL,
                        "the program was killed: it did not end in time (--timeout)");
    if (c->too_big)
        return fj_fail(err, FJ_TOO_BIG, "the program was killed: it wrote more than %zu bytes", OUTPUT_MAX);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char *why = failure_text(c, status);
        rc = fj_raise(err, "builtins", "RuntimeError", NULL, "%s", why != NULL ? why : "the program failed");
        fj__free(why);
        return rc;
    }
    rc = fj_json_read(text, fj__buf_len(&c->out), NULL, ret, err);
    if (rc != FJ_OK)
        fj_error_prefix(err, "the program's output");
    return rc;
}

fj_code tool_exec(const char *program, const json_t *input, fj_deadline limit, json_t **ret, fj_error **err)
{
    child c = { .fds = { -1, -1, -1, -1 } };
    char *text = NULL;
    fj_code rc = fj_json_write(input, NULL, &text, &c.input_n, err);
    int status;

    c.input = text;
    if (rc == FJ_OK)
        rc = start(&c, program, err);
    if (rc == FJ_OK) {
        rc = pump(&c, limit, err);
        status = finish(&c, rc != FJ_OK || c.expired || c.too_big);
        if (rc == FJ_OK)
            rc = outcome(&c, status, ret, err);
    }
    for (int i = 0; i < FDS; i++)
        close_fd(&c.fds[i]);
    fj__buf_fini(&c.out);
    fj__buf_fini(&c.err);
    free(text);
    return rc;
}
