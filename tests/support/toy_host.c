/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/toy_host.h"

#include <check.h>
#include <poll.h>
#include <string.h>

/* ---- the six ---- */

static bool add(toy_host *h, bool *flags, int fd)
{
    ck_assert_int_ge(fd, 0);
    ck_assert_int_lt(fd, TOY_FDS);
    ck_assert_msg(!flags[fd], "descriptor %d is added twice", fd);
    h->asked++;
    if (h->refuse)
        return false;
    h->watches++;
    return flags[fd] = true;
}

static void del(toy_host *h, bool *flags, int fd)
{
    ck_assert_msg(flags[fd], "descriptor %d is deleted, and was not added", fd);
    h->asked++;
    h->watches--;
    flags[fd] = false;
}

static bool add_read(void *user, int fd)
{
    toy_host *h = user;

    return add(h, h->read, fd);
}

static void del_read(void *user, int fd)
{
    toy_host *h = user;

    del(h, h->read, fd);
}

static bool add_write(void *user, int fd)
{
    toy_host *h = user;

    return add(h, h->write, fd);
}

static void del_write(void *user, int fd)
{
    toy_host *h = user;

    del(h, h->write, fd);
}

static void timer(void *user, fj_deadline at)
{
    toy_host *h = user;

    h->asked++;
    h->at = at;
}

static void cleanup(void *user)
{
    toy_host *h = user;

    ck_assert(!h->cleaned);
    h->cleaned = true;
}

static const fj_host_ops ops = {
    sizeof(fj_host_ops), add_read, del_read, add_write, del_write, timer, cleanup,
};

/* ---- its life ---- */

void toy_up(toy_host *h, toy_way way)
{
    fj_error *err = NULL;

    memset(h, 0, sizeof *h);
    h->way = way;
    h->at = fj_never();
    fj_code code =
        way == TOY_DRIVES ? fj_loop_new_hosted(&ops, h, &h->loop, &err) : fj_loop_new(&h->loop, &err);
    ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
    fj_loop_set_current(h->loop);
    if (way != TOY_DRIVES)
        ck_assert_int_ge(fj_loop_fd(h->loop), 0); /* a host knows what it watches before it begins */
}

void toy_down(toy_host *h)
{
    fj_loop_free(h->loop);
    h->loop = NULL;
    ck_assert_int_eq(h->cleaned, h->way == TOY_DRIVES);
    ck_assert_int_eq(h->watches, 0);
    ck_assert(fj_is_never(h->at));
}

/* ---- its turn ---- */

static int sooner(int ms, fj_deadline by)
{
    int left = fj_left_ms(by);

    return ms < 0 || (left >= 0 && left < ms) ? left : ms;
}

static bool once_watching(toy_host *h, int ms)
{
    struct pollfd p = { .fd = fj_loop_fd(h->loop), .events = POLLIN };
    fj_deadline due = fj_loop_due(h->loop);

    ck_assert_int_ge(p.fd, 0);
    if (poll(&p, 1, sooner(ms, due)) <= 0 && !fj_passed(due))
        return false;
    h->turns++;
    fj_loop_dispatch(h->loop);
    return true;
}

static bool once_driving(toy_host *h, int ms)
{
    struct pollfd fds[TOY_FDS];
    unsigned n = 0, before = h->turns;

    for (int fd = 0; fd < TOY_FDS; fd++) {
        if (h->read[fd] || h->write[fd])
            fds[n++] =
                (struct pollfd){ .fd = fd,
                                 .events = (short)((h->read[fd] ? POLLIN : 0) | (h->write[fd] ? POLLOUT : 0)) };
    }
    int ready = poll(fds, n, sooner(ms, h->at));
    for (unsigned i = 0; ready > 0 && i < n; i++) {
        bool failed = (fds[i].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
        /* As hosts do: what was there before the first call, if it is still wanted. */
        if (h->read[fds[i].fd] && (failed || (fds[i].revents & POLLIN) != 0)) {
            h->turns++;
            fj_loop_readable(h->loop, fds[i].fd);
        }
        if (h->write[fds[i].fd] && (failed || (fds[i].revents & POLLOUT) != 0)) {
            h->turns++;
            fj_loop_writable(h->loop, fds[i].fd);
        }
    }
    if (fj_passed(h->at)) {
        h->at = fj_never();
        h->turns++;
        fj_loop_timeout(h->loop);
    }
    return h->turns != before;
}

bool toy_once(toy_host *h, int ms)
{
    return h->way == TOY_DRIVES ? once_driving(h, ms) : once_watching(h, ms);
}
