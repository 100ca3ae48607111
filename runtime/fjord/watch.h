/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_WATCH_H
#define FJORD_WATCH_H
/*
 * What something passive needs of the one who drives it: descriptors to watch and a time by which it wants to be
 * looked at.  The same struct goes both ways: asked for with the interests, handed back with what is ready.
 */
#include <fjord/base.h>
#include <fjord/clock.h>

FJ_BEGIN_DECLS

#define FJ_WATCH_MAX 8

typedef struct {
    struct {
        int fd;
        unsigned opened;  /**< how many were opened before it: tells those of one number apart */
        bool read, write; /**< interest; handed back: readiness (errors and hang-ups count as both) */
    } fds[FJ_WATCH_MAX];
    unsigned n;
    fj_deadline by; /**< it wants to be pumped then even if nothing is ready; a time passed: at once */
} fj_watch;

/** Something passive on a loop: see fj_loop_attach(). */
typedef struct fj_source fj_source;
struct fj_source {
    /** Fill in what to watch now.  Asked before each sleep of the loop; must be quick, never blocks.
     *  @p ret has n = 0 and by = never. */
    void (*watch)(fj_source *source, fj_watch *ret);
    /** Something is ready or the time has come: go as far as is possible without blocking.
     *  @param ready lends: as watch() gave it, with what is ready */
    void (*pump)(fj_source *source, const fj_watch *ready, fj_deadline now);
    /** Write what was held back for more to go with it: called before the loop looks at descriptors, sleeps, or is left.
     *  Never blocks, attaches and detaches nothing.  NULL: nothing is held back. */
    void (*flush)(fj_source *source);
    void *attached; /**< the loop's own, NULL while detached */
};

FJ_END_DECLS
#endif
