/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for descriptors wherever a method may run: poll(2) on a thread, readers and writers of the loop in a task. */
#include "tools/common.h"
#include <errno.h>
#include <string.h>

static void on_ready(fj_loop *loop, int fd, void *user)
{
    (void)loop, (void)fd;
    fj_event_set(user);
}

static fj_code watch(fj_loop *loop, const struct pollfd *p, fj_event *any, fj_error **err)
{
    if (p->fd < 0)
        return FJ_OK;
    return (p->events & POLLOUT) != 0 ? fj_loop_add_writer(loop, p->fd, on_ready, any, err)
                                      : fj_loop_add_reader(loop, p->fd, on_ready, any, err);
}

static void unwatch(fj_loop *loop, const struct pollfd *p)
{
    if (p->fd < 0)
        return;
    (void)((p->events & POLLOUT) != 0 ? fj_loop_remove_writer(loop, p->fd)
                                      : fj_loop_remove_reader(loop, p->fd));
}

/* The task is suspended, and the loop tells it that one is ready; poll(2) then says which. */
static FJ_AWAITS fj_code wait_in_task(struct pollfd *p, nfds_t n, fj_deadline by, fj_error **err)
{
    fj_loop *loop = fj_loop_running();
    fj_event *any = NULL;
    nfds_t watched = 0;
    fj_code rc = fj_event_new("a program", &any);

    if (rc != FJ_OK)
        return fj_fail(err, rc, "out of memory");
    while (rc == FJ_OK && watched < n) {
        rc = watch(loop, &p[watched], any, err);
        watched += rc == FJ_OK ? 1 : 0;
    }
    if (rc == FJ_OK) {
        rc = fj_event_wait(any, by);
        if (rc != FJ_OK && rc != FJ_TIMEOUT)
            (void)fj_fail(err, rc, "the wait for the program was given up");
    }
    for (nfds_t i = 0; i < watched; i++)
        unwatch(loop, &p[i]);
    fj_event_free(any);
    return rc == FJ_TIMEOUT ? FJ_OK : rc;
}

fj_code tool_wait(struct pollfd *p, nfds_t n, fj_deadline by, fj_error **err)
{
    fj_code rc = FJ_OK;
    int left = 0;

    if (fj_task_current() != NULL)
        rc = wait_in_task(p, n, by, err);
    else
        left = fj_left_ms(by);
    if (rc == FJ_OK && poll(p, n, left) < 0) {
        for (nfds_t i = 0; i < n; i++)
            p[i].revents = 0;
        if (errno != EINTR)
            rc = fj_fail(err, FJ_SYSTEM, "waiting for the program failed: %s", strerror(errno));
    }
    return rc;
}
