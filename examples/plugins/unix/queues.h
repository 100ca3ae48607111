/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UNIX_QUEUES_H
#define UNIX_QUEUES_H
/* The broker's queues, who takes from them, and what is in whose hands.  One thread, no locks. */
#include "wire.h"

struct hand; /* a message that was delivered and neither acknowledged nor given back */

/* Who may take from queues: a connection. */
struct taker {
    struct bytes out; /* what it is to be sent */
    struct hand *hands;
    bool broken; /* it gets nothing more */
};

/* Make and take from the three queues of a listener: @p key, @p key.@p server, and one of its own of @p key's fanout.
 * @param owner  that one's name for whom is connected again   @return false without memory */
bool queues_subscribe(struct taker *t, const char *owner, uint64_t listener, const char *key,
                      const char *server, unsigned prefetch);
/* What is in its hands stays there; the listener's queue of the fanout goes when nothing of it is in hands. */
void queues_unsubscribe(struct taker *t, const char *owner, uint64_t listener);
/* It takes from nothing any more, and what is in its hands goes back to the front of the queues. */
void queues_leave(struct taker *t);
/* A message into the queue of its key, or those of its fanout.  @return false: there is none */
bool queues_publish(const struct frame *f);
void queues_ack(struct taker *t, uint64_t id);
void queues_requeue(struct taker *t, uint64_t id);
/* Forget the queues that nobody has taken from for a long time. */
void queues_sweep(int64_t now);
void queues_free(void);

int64_t monotonic(void);

#endif
