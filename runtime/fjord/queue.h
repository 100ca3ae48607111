/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_QUEUE_H
#define FJORD_QUEUE_H
/* Queues between tasks and threads; who may wait where is as in <fjord/sync.h>. */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

typedef struct fj_queue fj_queue;
typedef enum { FJ_QUEUE_FIFO = 0, FJ_QUEUE_LIFO, FJ_QUEUE_PRIORITY } fj_queue_order;

typedef struct {
    size_t size;
    const char *name; /**< lends for ever */
    size_t bound;     /**< how many it holds at most; 0: no limit */
    fj_queue_order order;
    /** For FJ_QUEUE_PRIORITY: below 0 when @p a comes before @p b; equal ones keep their order.  Called with the
     *  queue locked: it must not use the queue, nor wait. */
    int (*compare)(const void *a, const void *b);
    void (*freed)(void *item); /**< for items left when the queue is freed; may be NULL */
} fj_queue_opts;
#define FJ_QUEUE_OPTS_INIT                                        \
    {                                                             \
        sizeof(fj_queue_opts), NULL, 0, FJ_QUEUE_FIFO, NULL, NULL \
    }

/** @param opts may be NULL   @param ret gives
 *  @errors BAD_VALUE (no such order; FJ_QUEUE_PRIORITY and nothing to compare by), NOMEM */
FJ_API FJ_MUST_USE fj_code fj_queue_new(const fj_queue_opts *opts, fj_queue **ret, fj_error **err);
/** Free it when nobody uses it.  Accepts NULL, answers NULL. */
FJ_API fj_queue *fj_queue_free(fj_queue *q);
/** @param item takes-on-ok   @return OK; TIMEOUT, CANCELLED while it is full; CLOSED; NOMEM */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_queue_put(fj_queue *q, void *item, fj_deadline by);
/** @errors AGAIN when full, CLOSED, NOMEM   @thread any */
FJ_API FJ_MUST_USE fj_code fj_queue_put_nowait(fj_queue *q, void *item);
/** @param ret gives   @return OK; TIMEOUT, CANCELLED; CLOSED when it is closed and empty */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_queue_get(fj_queue *q, fj_deadline by, void **ret);
/** @errors AGAIN when empty, CLOSED when closed and empty   @thread any */
FJ_API FJ_MUST_USE fj_code fj_queue_get_nowait(fj_queue *q, void **ret);
/** With the items that were given to waiters who have not run since.  @thread any */
FJ_API size_t fj_queue_size(fj_queue *q);
/** Take nothing more; who waits to put answers CLOSED, who waits to get does when nothing is left.
 *  @thread any */
FJ_API void fj_queue_close(fj_queue *q);
/** One item that was got is dealt with.  @errors STATE when there were not so many   @thread any */
FJ_API fj_code fj_queue_task_done(fj_queue *q);
/** Wait until every item that was put is dealt with.  @return OK; TIMEOUT; CANCELLED */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_queue_join(fj_queue *q, fj_deadline by);

FJ_END_DECLS
#endif
