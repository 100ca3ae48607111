/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_FAKE_H
#define FJORD_FAKE_H
/*
 * The fake transport: a broker within the process, as RabbitMQ is seen through the API.  Queues stand under their names
 * and outlive their listeners; exchanges are no more than the first half of a binding's key.
 *
 * One lock guards the whole broker and is never held over a call-back, a completion or a wait.  Functions
 * whose comment says @locks need it held.
 */
#include <fjord/driver.h>

#include <pthread.h>
#include <stdatomic.h>

typedef struct fj__fake_queue fj__fake_queue;
typedef struct fj__fake_msg fj__fake_msg;
typedef struct fj__fake_call fj__fake_call;
typedef struct fj__fake_driver_s fj__fake_driver_s;
typedef struct fj__fake_listener fj__fake_listener;

/* ---- calls.c: calls that wait for their answer, and their deadlines ----------------------------- */

struct fj__fake_call {
    atomic_uint refs;
    char id[33];
    fj__fake_driver_s *driver; /* valid while pending */
    fj_future *future;         /* one reference while pending; NULL once the call is over */
    fj_deadline by, due;       /* due: by, or sooner while no server shows a sign of life */
    double monitor;            /* seconds; 0: none */
    fj_deadline began;
    const char *method, *topic; /* for who looks; may be NULL */
    fj__fake_call *next, *prev;
};

/** The clients' half: calls in the order they are due, and the thread that ends those whose time is up. */
struct fj__fake_driver_s {
    fj_driver base;
    char *exchange;
    bool closed, keeping, leave;
    pthread_t keeper;
    pthread_cond_t changed;
    fj__fake_call *first, *last;
    fj__fake_listener *listeners; /* that are not closed */
    fj__fake_driver_s *next;      /* of all that are open, the oldest first */
};

/** A call, pending from now on.  @param ret gives; @param future gives   @errors CLOSED, NOMEM, SYSTEM   @locks none */
fj_code fj__fake_call_new(fj__fake_driver_s *d, const fj_send *send, fj__fake_call **ret, fj_future **future,
                          fj_error **err);
/** @return @p call */
fj__fake_call *fj__fake_call_ref(fj__fake_call *call);
void fj__fake_call_unref(fj__fake_call *call);
/** Take the future out of a pending call: it is over.  Gives, or NULL when it was over before.  @locks broker */
fj_future *fj__fake_call_end(fj__fake_call *call);
/** A server has taken the call (heartbeats come from now on), or has given it back.  @locks broker */
void fj__fake_call_alive(fj__fake_call *call, bool alive);
/** How many are pending, and the first @p max of them in @p ret: valid while the lock is held.  @locks broker */
size_t fj__fake_calls(fj__fake_driver_s *d, size_t max, const fj__fake_call **ret);
void fj__fake_calls_close(fj__fake_driver_s *d);
void fj__fake_calls_join(fj__fake_driver_s *d);

/* ---- broker.c: queues, bindings, consumers ------------------------------------------------------ */

struct fj__fake_msg {
    fj__fake_msg *next;
    fj__fake_queue *queue; /* where it came from; a reference while in a consumer's hands */
    unsigned source;       /* the consumer's index in the listener */
    json_t *message, *context;
    fj__fake_call *call; /* NULL for a cast */
    bool redelivered;
    fj_deadline arrived;
    uint64_t serial; /* given once it is in a queue; the same when it is delivered again */
};

/** One of the queues a listener takes from. */
typedef struct fj__fake_consumer {
    struct fj__fake_consumer *next;
    fj__fake_listener *listener;
    fj__fake_queue *queue;
    unsigned unacked, prefetch;
} fj__fake_consumer;

void fj__fake_lock(void);
void fj__fake_unlock(void);
/** Sleep without the lock until signalled or @p by.  @locks broker */
void fj__fake_sleep(pthread_cond_t *cond, fj_deadline by);

/** The queue of that name, made if need be, bound to (exchange, key).  @return NULL without memory  @locks broker */
fj__fake_queue *fj__fake_queue_bind(const char *exchange, const char *name, const char *key);
/** Begin to give the queue's messages to the consumer.  @locks broker */
void fj__fake_consume(fj__fake_queue *q, fj__fake_consumer *c);
void fj__fake_unconsume(fj__fake_consumer *c);
/** Delete a queue and its bindings.  @locks broker */
void fj__fake_queue_delete(fj__fake_queue *q);
/** Put one copy in every queue bound to (exchange, key).
 *  @param msg takes-on-ok   @return OK; UNDELIVERABLE when there is none; NOMEM   @locks broker */
fj_code fj__fake_route(const char *exchange, const char *key, fj__fake_msg *msg);
/** A consumer is done with a message, which leaves its queue for good: more may come.  @locks broker */
void fj__fake_acked(fj__fake_consumer *c, fj__fake_msg *msg);
/** Back to the front of its queue, which does not give it out before fj__fake_deliver().
 *  @param msg takes   @locks broker */
void fj__fake_back(fj__fake_consumer *c, fj__fake_msg *msg);
/** Give out what its consumers have room for.  @locks broker */
void fj__fake_deliver(fj__fake_queue *q);
/** The same message for another delivery, answered to the same caller.  @return NULL without memory  @locks broker */
fj__fake_msg *fj__fake_msg_again(const fj__fake_msg *msg);
/** @return @p q   @locks broker */
fj__fake_queue *fj__fake_queue_ref(fj__fake_queue *q);
/** Accepts NULL.  @locks broker */
void fj__fake_queue_unref(fj__fake_queue *q);
void fj__fake_msg_free(fj__fake_msg *msg);
/** What is seen of a queue. */
typedef struct {
    char name[256];
    size_t waiting, in_hand, capacity, consumers;
} fj__fake_seen;
/** The first @p max queues.  @return how many there are   @locks broker */
size_t fj__fake_queues(size_t max, fj__fake_seen *ret);
/** Drivers in the order of their opening: the first tells of the broker's queues.  @locks broker, each */
void fj__fake_enter(fj__fake_driver_s *d);
void fj__fake_leave(fj__fake_driver_s *d);
bool fj__fake_is_first(const fj__fake_driver_s *d);

/* ---- listener.c --------------------------------------------------------------------------------- */

/** A message for a listener.  @param msg takes   @locks broker */
void fj__fake_arrive(fj__fake_consumer *c, fj__fake_msg *msg);
fj_code fj__fake_listen(fj_driver *d, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                        fj_listener **ret, fj_error **err);

fj_code fj__fake_listen_notifications(fj_driver *d, const fj_notify_source *sources, size_t n,
                                      const fj_listen_opts *opts, fj_deadline by, fj_listener **ret,
                                      fj_error **err);

/* ---- inspect.c ---------------------------------------------------------------------------------- */

/** As fj_driver_ops.inspect. */
json_t *fj__fake_inspect(fj_driver *driver, const char *kind, fj_deadline by);

/* ---- lost.c ------------------------------------------------------------------------------------- */

/** See fj_fake_disconnect().  @locks none */
fj_code fj__fake_lose(fj_driver *driver, fj_error **err);

/* ---- value.c: JSON values change hands as if they had gone over the wire ------------------------ */

/** A value of the receiver's own: @p value itself (a new reference) when nobody else holds any part of it,
 *  else a deep copy.  @errors TOO_DEEP, NOMEM */
fj_code fj__fake_hand_over(json_t *value, json_t **ret, fj_error **err);

#endif
