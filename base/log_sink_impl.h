/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_LOG_SINK_IMPL_H
#define FJORD_BASE_LOG_SINK_IMPL_H
/* A sink, for the files it is made of: log_sink.c, who logs; log_writer.c, who writes.  Nobody else includes this. */
#include "base/log_ring.h"
#include "base/log_sink.h"
#include "base/native.h"

#include <stdatomic.h>

enum { FJ__LOG_OUT_MAX = FJ__LOG_HEAD_MAX + 6 * FJ__LOG_TEXT_MAX };

/* Order of locks: the list's, then a sink's, then the zone's. */
struct fj__log_sink {
    fj__log_sink *next; /* of all */
    const fj__log_place *place;
    fj__log_format format;
    int facility;
    char *path, *ident;
    pthread_mutex_t lock;
    fj__log_ring ring;
    int fd, wake; /* wake: an eventfd, for the writer's thread to wait at */
    bool started; /* it has its thread */
    bool asleep;  /* its thread waits for lines */
    bool closing;
    bool told;         /* of what is wrong with the place, until it works again: the writer's */
    bool is_stream;    /* its socket is one: the writer's */
    unsigned reopened; /* what `reopens` was when it was opened: the writer's */
    char room[FJ__LOG_ROOM], out[FJ__LOG_OUT_MAX]; /* the writer's */
};

static inline void fj__log_sink_hold(fj__log_sink *s)
{
    (void)fj__native.pthread_mutex_lock(&s->lock);
}

static inline void fj__log_sink_drop(fj__log_sink *s)
{
    (void)fj__native.pthread_mutex_unlock(&s->lock);
}

static inline int64_t fj__log_now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- log_sink.c ---- */
/** Take it from the list and free it: nobody uses it any more. */
void fj__log_sink_end(fj__log_sink *s);
/** How often files were asked to be opened anew. */
extern atomic_uint fj__log_reopens;
/** An eventfd at which those who wait for lines wait, too; -1 when there is none. */
extern atomic_int fj__log_reopen_wake;

/* ---- log_writer.c ---- */
/** The thread.  @param user the sink, which it frees in the end */
void *fj__log_writer(void *user);
/** Around a fork nobody of ours is where libc has a lock. */
void fj__log_zone_before_fork(void);
void fj__log_zone_after_fork(void);

#endif
