/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children.  A pidfd is readable when its process has ended; where the kernel has none, or a filter of system calls refuses it,
 * a thread waits instead and posts a letter.  Either way the loop's thread reaps.
 */
#include "base/native.h"
#include "runtime/loop_impl.h"

#include "base/alloc.h"
#include "runtime/thread.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* What the thread and the loop share. */
struct sentry {
    pthread_mutex_t lock;
    unsigned refs;
    pid_t pid;
    struct fj__child *child; /* NULL once nobody wants to know */
};

struct fj__child {
    struct fj__child *next;
    fj_loop *loop;
    pid_t pid;
    fj_child_fn fn;
    void *user;
    int pidfd; /* -1: a thread waits */
    ev_io io;
    struct sentry *sentry;
    fj__letter letter;
    bool gone; /* removed; freed when its letter is read */
};

static int status_of(const siginfo_t *info)
{
    int status = info->si_status;

    if (info->si_code == CLD_EXITED)
        return (status & 0xff) << 8;
    return (status & 0x7f) | (info->si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

/* @return false while it lives.  @p *status is that of exit(255), as asyncio's, when somebody else has reaped it */
static bool reap(const struct fj__child *c, int *status)
{
    siginfo_t info = { 0 };

    if (waitid(c->pidfd >= 0 ? P_PIDFD : P_PID, (id_t)(c->pidfd >= 0 ? c->pidfd : c->pid), &info,
               WEXITED | WNOHANG) != 0) {
        *status = 255 << 8;
        return errno == ECHILD;
    }
    *status = status_of(&info);
    return info.si_pid != 0;
}

/* ---- the thread ---- */

static void sentry_unref(struct sentry *s)
{
    (void)fj__native.pthread_mutex_lock(&s->lock);
    unsigned left = --s->refs;
    (void)fj__native.pthread_mutex_unlock(&s->lock);
    if (left != 0)
        return;
    (void)pthread_mutex_destroy(&s->lock);
    fj__free(s);
}

static void *watch(void *arg)
{
    struct sentry *s = arg;
    siginfo_t info;

    while (waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
        ;
    (void)fj__native.pthread_mutex_lock(&s->lock);
    if (s->child != NULL)
        (void)fj__loop_post(s->child->loop, &s->child->letter);
    (void)fj__native.pthread_mutex_unlock(&s->lock);
    sentry_unref(s);
    return NULL;
}

static fj_code post_sentry(struct fj__child *c, fj_error **err)
{
    struct sentry *s = fj__alloc(sizeof *s);
    pthread_t thread;

    if (s == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to watch process %d", (int)c->pid);
    *s = (struct sentry){ .lock = PTHREAD_MUTEX_INITIALIZER, .refs = 2, .pid = c->pid, .child = c };
    int failed = fj__thread_new(&thread, "fjord-child", watch, s);
    if (failed != 0) {
        fj__free(s);
        return fj__thread_refused(failed, "to watch a process", err);
    }
    (void)pthread_detach(thread);
    c->sentry = s;
    return FJ_OK;
}

/* ---- the loop ---- */

static void let_go(struct fj__child *c)
{
    struct fj__child **at = &c->loop->children;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->pidfd >= 0) {
        fj__io_stop(c->loop, &c->io);
        (void)fj__native.close(c->pidfd);
    }
    if (c->sentry != NULL) {
        (void)fj__native.pthread_mutex_lock(&c->sentry->lock);
        c->sentry->child = NULL;
        (void)fj__native.pthread_mutex_unlock(&c->sentry->lock);
        sentry_unref(c->sentry);
    }
    if (atomic_load(&c->letter.posted))
        c->gone = true;
    else
        fj__free(c);
}

static void ended(struct fj__child *c)
{
    struct fj__child child = { .loop = c->loop, .pid = c->pid, .fn = c->fn, .user = c->user };
    int status;

    if (!reap(c, &status))
        return;
    let_go(c);
    child.loop->called = true;
    fj__loop_enter(child.loop, "child");
    child.fn(child.loop, child.pid, status, child.user);
    fj__loop_leave(child.loop);
}

static void on_pidfd(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev;
    (void)events;
    ended(fj__container(io, struct fj__child, io));
}

static void on_letter(fj__letter *letter)
{
    struct fj__child *c = fj__container(letter, struct fj__child, letter);

    if (c->gone)
        fj__free(c);
    else
        ended(c);
}

static struct fj__child *find(fj_loop *loop, pid_t pid)
{
    struct fj__child *c = loop->children;

    while (c != NULL && c->pid != pid)
        c = c->next;
    return c;
}

static fj_code begin(struct fj__child *c, fj_error **err)
{
    siginfo_t info;

    if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
        return fj_fail(err, FJ_SYSTEM, "process %d: %s", (int)c->pid, strerror(errno));
    c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0); /* closed on exec */
    if (c->pidfd < 0)
        return post_sentry(c, err);
    ev_io_init(&c->io, on_pidfd, c->pidfd, EV_READ);
    fj__io_start(c->loop, &c->io);
    return FJ_OK;
}

fj_code fj_loop_add_child(fj_loop *loop, pid_t pid, fj_child_fn fn, void *user, fj_error **err)
{
    if (fj__loop_refuses(loop, "fj_loop_add_child"))
        return fj_fail(err, FJ_WRONG_CONTEXT, "fj_loop_add_child() from another thread than the loop's");
    struct fj__child *c = find(loop, pid);
    if (c != NULL) { /* another call-back replaces the first */
        c->fn = fn;
        c->user = user;
        return FJ_OK;
    }
    c = fj__zalloc(sizeof *c);
    if (c == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to watch process %d", (int)pid);
    c->loop = loop;
    c->pid = pid;
    c->fn = fn;
    c->user = user;
    c->letter.read = on_letter;
    fj_code code = begin(c, err);
    if (code != FJ_OK) {
        fj__free(c);
        return code;
    }
    c->next = loop->children;
    loop->children = c;
    return FJ_OK;
}

bool fj_loop_remove_child(fj_loop *loop, pid_t pid)
{
    struct fj__child *c = fj__loop_refuses(loop, "fj_loop_remove_child") ? NULL : find(loop, pid);

    if (c == NULL)
        return false;
    let_go(c);
    return true;
}

void fj__children_drop(fj_loop *loop)
{
    while (loop->children != NULL)
        let_go(loop->children);
}
