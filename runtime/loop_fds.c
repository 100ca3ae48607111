/* SPDX-License-Identifier: Apache-2.0 */
/* Readers and writers: at most one of each for a descriptor, found by its number. */
#include "runtime/loop_impl.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct fj__fd {
    ev_io io;
    fj_loop *loop;
    fj_fd_fn fn;
    void *user;
};

static void ready(struct ev_loop *ev, ev_io *io, int events)
{
    struct fj__fd *fd = fj__container(io, struct fj__fd, io);
    fj_loop *loop = fd->loop;

    (void)ev;
    (void)events;
    loop->called = true;
    fj__loop_enter(loop, io->events & EV_READ ? "reader" : "writer");
    fd->fn(loop, io->fd, fd->user); /* which may remove it */
    fj__loop_leave(loop);
}

/* epoll would refuse them at the next turn, where nobody can be told. */
static fj_code check(int fd, fj_error **err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return fj_fail(err, FJ_SYSTEM, "descriptor %d: %s", fd, strerror(errno));
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return fj_fail(err, FJ_SYSTEM, "descriptor %d is a file: it cannot be watched", fd);
    return FJ_OK;
}

/* @return where a descriptor's watcher is kept, or NULL when memory ran out */
static struct fj__fd **place(fj_loop *loop, int fd, int event)
{
    size_t before = loop->fds_capacity;
    size_t i = (size_t)fd;

    if (i >= before) {
        struct fj__fd_pair *fds = fj__grow(loop->fds, &loop->fds_capacity, i + 1, sizeof *fds);
        if (fds == NULL)
            return NULL;
        memset(fds + before, 0, (loop->fds_capacity - before) * sizeof *fds);
        loop->fds = fds;
    }
    return event == EV_READ ? &loop->fds[i].reader : &loop->fds[i].writer;
}

static bool drop(fj_loop *loop, struct fj__fd **at)
{
    if (*at == NULL)
        return false;
    fj__io_stop(loop, &(*at)->io);
    loop->watched--;
    fj__free(*at);
    *at = NULL;
    return true;
}

static fj_code add(fj_loop *loop, int fd, int event, fj_fd_fn fn, void *user, fj_error **err)
{
    fj_code code = check(fd, err);

    if (code != FJ_OK)
        return code;
    struct fj__fd *made = fj__alloc(sizeof *made);
    struct fj__fd **at = made != NULL ? place(loop, fd, event) : NULL;
    if (at == NULL) {
        fj__free(made);
        return fj_fail(err, FJ_NOMEM, "no memory to watch descriptor %d", fd);
    }
    (void)drop(loop, at);
    made->loop = loop;
    made->fn = fn;
    made->user = user;
    ev_io_init(&made->io, ready, fd, event);
    fj__io_start(loop, &made->io);
    loop->watched++;
    *at = made;
    return FJ_OK;
}

fj_code fj_loop_add_reader(fj_loop *loop, int fd, fj_fd_fn fn, void *user, fj_error **err)
{
    if (fj__loop_refuses(loop, "fj_loop_add_reader"))
        return fj_fail(err, FJ_WRONG_CONTEXT, "fj_loop_add_reader() from another thread than the loop's");
    return add(loop, fd, EV_READ, fn, user, err);
}

fj_code fj_loop_add_writer(fj_loop *loop, int fd, fj_fd_fn fn, void *user, fj_error **err)
{
    if (fj__loop_refuses(loop, "fj_loop_add_writer"))
        return fj_fail(err, FJ_WRONG_CONTEXT, "fj_loop_add_writer() from another thread than the loop's");
    return add(loop, fd, EV_WRITE, fn, user, err);
}

static bool removed(fj_loop *loop, int fd, int event)
{
    return fd >= 0 && (size_t)fd < loop->fds_capacity && drop(loop, place(loop, fd, event));
}

bool fj_loop_remove_reader(fj_loop *loop, int fd)
{
    return !fj__loop_refuses(loop, "fj_loop_remove_reader") && removed(loop, fd, EV_READ);
}

bool fj_loop_remove_writer(fj_loop *loop, int fd)
{
    return !fj__loop_refuses(loop, "fj_loop_remove_writer") && removed(loop, fd, EV_WRITE);
}

void fj__fds_each(fj_loop *loop, fj__watched_fn fn, void *user)
{
    for (size_t i = 0; i < loop->fds_capacity; i++) {
        const struct fj__fd_pair *p = &loop->fds[i];
        if (p->reader != NULL || p->writer != NULL)
            fn(user, (int)i, p->reader != NULL, p->writer != NULL, "call-back");
    }
}

void fj__fds_drop(fj_loop *loop)
{
    for (size_t i = 0; i < loop->fds_capacity; i++) {
        (void)drop(loop, &loop->fds[i].reader);
        (void)drop(loop, &loop->fds[i].writer);
    }
    fj__free(loop->fds);
    loop->fds = NULL;
    loop->fds_capacity = 0;
}
