/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_HOST_H
#define FJORD_HOST_H
/*
 * A loop that its host drives.  It watches nothing itself: it asks the host for six things, and the host calls when something
 * happens.  The other way, a loop that a host watches as one descriptor and a time, is in <fjord/loop.h>;
 * docs/hosts.md says which to take, and <fjord/adapters/...> are both ways for GLib, libuv and sd-event.
 *
 * All is done on one thread, the host's.  What other threads do (letters, completed futures) arrives by a descriptor that is watched
 * as all others are.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>
#include <fjord/loop.h>

FJ_BEGIN_DECLS

/**
 * What the loop asks of its host.  All slots are there.  They are called on the loop's thread, perhaps on the stack of a task, which
 * may be of 32 KiB; they must not block, nor call the loop.  Watches are level-triggered and last until deleted; each is
 * added once and deleted once.  A descriptor is deleted before the library closes it.
 */
typedef struct {
    size_t size;
    /** Call fj_loop_readable() whenever @p fd is readable, in error or hung up.  @return false when it cannot be watched */
    bool (*add_read)(void *user, int fd);
    void (*del_read)(void *user, int fd);
    /** Call fj_loop_writable() likewise.  */
    bool (*add_write)(void *user, int fd);
    void (*del_write)(void *user, int fd);
    /** Call fj_loop_timeout() once, not before @p at, in place of what was asked before; never: not at all.  A time
     *  that has passed means as soon as the host is back in its loop, and not from within this. */
    void (*timer)(void *user, fj_deadline at);
    /** The loop is gone: the last call, after every watch was deleted. */
    void (*cleanup)(void *user);
} fj_host_ops;

/** A loop that @p ops drive.  Freed by fj_loop_free(), before the host's loop is.
 *  What runs a loop (fj_loop_turn(), fj_server_wait(), a free with tasks that have to end) works while the host stands still: it then
 *  looks by poll(2) at what the host watches.  In a forked child none of @p ops is called any more.
 *  @param ops lends, for the loop's life   @param ret gives; without one nothing is cleaned up
 *  @errors BAD_VALUE (a slot is missing), NOMEM, SYSTEM (no descriptors left, or the host refuses the first) */
FJ_API FJ_MUST_USE fj_code fj_loop_new_hosted(const fj_host_ops *ops, void *user, fj_loop **ret,
                                              fj_error **err);

/* Each does a turn, which is bounded: what is left asks for the timer at once.  A word that is out of date does no harm, for the
 * descriptor is looked at.  From within the loop's own call-backs, on another thread's loop's, or in a forked child they do nothing. */
FJ_API void fj_loop_readable(fj_loop *loop, int fd);
FJ_API void fj_loop_writable(fj_loop *loop, int fd);
FJ_API void fj_loop_timeout(fj_loop *loop);

FJ_END_DECLS
#endif
