/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_LOOP_HOST_H
#define FJORD_RUNTIME_LOOP_HOST_H
/* A loop that a host drives, for the files it is made of: loop_host.c, its life and the host's words; loop_host_fds.c, what is
 * watched; loop_host_look.c, what is ready.  Nobody else includes this. */
#include "runtime/loop_impl.h"

#include <fjord/host.h>
#include <poll.h>

struct fj__host_entry {
    ev_io *first;
    bool read, write; /* what the host watches */
    short hint;       /* what it says is ready: events of poll(2) */
};

struct fj__host {
    const fj_host_ops *ops;
    void *user;
    struct fj__host_entry *entries; /* by descriptor */
    size_t capacity;
    ev_io *lost; /* watchers that could not be watched: called with an error, as libev does */
    struct pollfd *fds;
    size_t n, fds_capacity;
    fj_deadline told; /* the time that the host was asked for */
    bool hinted;      /* a turn of the host's: only hints are looked at */
    bool quiet;       /* the loop was never given to anybody: no cleanup */
};

enum { FJ__HOST_BOTH = EV_READ | EV_WRITE, FJ__HOST_FAILED = EV_READ | EV_WRITE | EV_ERROR };

static inline ev_io *fj__host_next(const ev_io *io)
{
    return (ev_io *)(void *)io->next;
}

/* ---- loop_host_fds.c ---- */
/** Put a watcher at the head of a list. */
void fj__host_link(ev_io **list, ev_io *io);
/** @return whether it was there */
bool fj__host_unlink(ev_io **list, const ev_io *io);
/** What the watchers of a descriptor want: EV_READ, EV_WRITE. */
int fj__host_wanted(const struct fj__host_entry *e);
/** Tell the host what of @p fd is to be watched; in a forked child nobody, for what the host has in the kernel may be the parent's.
 *  @return false when the host refuses */
bool fj__host_tell(const fj_loop *loop, int fd, struct fj__host_entry *e);
static inline bool fj__host_knows(const struct fj__host *h, int fd)
{
    return fd >= 0 && (size_t)fd < h->capacity;
}

#endif
