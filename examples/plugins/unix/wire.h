/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UNIX_WIRE_H
#define UNIX_WIRE_H
/*
 * What goes over the socket, in both directions: frames, each a head of fixed size, a key, and a body that the broker does not look
 * into.  Both ends are on one machine, so numbers are in its own order and times are of its monotonic clock.
 *
 * A session outlives its connections.  Frames with a number (seq) belong to it: its sender keeps each until the other side has
 * SEEN it, sends those again over the next connection, and the other side drops what it has seen; so each arrives once and in order.
 * Frames without belong to the connection: what they say is void when that is lost.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* to the broker (>), from it (<); what of a frame counts beside its type */
enum frame_type {
    HELLO = 1, /* >  key: the session; id: the last seq seen of the broker's */
    WELCOME,   /* <  id: the last seq seen of the session's; FRAME_KNOWN: the broker knows the session */
    SEEN,      /* <> id: all up to this seq have been seen */
    PUBLISH, /* >  seq; key: EXCHANGE/TOPIC[.SERVER]; by: drop it then; body: a request; FRAME_FANOUT, FRAME_MANDATORY */
    RETURNED,  /* <  seq; id: the seq of a mandatory PUBLISH that no queue takes */
    REPLY,     /* <> seq; key, to the broker: the session that gets it; body: an answer */
    SUBSCRIBE, /* >  id: the listener; key: EXCHANGE/TOPIC; body: the server; by: how many it takes unacknowledged of each queue */
    SUBSCRIBED,   /* <  id: the listener */
    UNSUBSCRIBE,  /* >  id: the listener */
    UNSUBSCRIBED, /* < id: the listener; nothing more comes for it */
    DELIVER,      /* <  id: the message; by: the listener; body: a request; FRAME_AGAIN */
    ACK,          /* >  id: the message, which the broker forgets */
    REQUEUE,      /* >  id: the message, which goes back to its queue */
    BYE           /* >  the session is over */
};
enum { FRAME_KNOWN = 1, FRAME_FANOUT = 2, FRAME_MANDATORY = 4, FRAME_AGAIN = 8 };
enum { FRAME_MAX = 128 << 20, KEY_MAX_SIZE = 1024 }; /* bytes, with the head; of the key, with its NUL */

struct frame {
    enum frame_type type;
    unsigned flags;
    uint64_t seq, id;
    int64_t by;
    const char *key;  /* NULL: "" */
    const char *body; /* n bytes */
    size_t n;
};

/* Bytes that are put in behind and taken out in front. */
struct bytes {
    char *data;
    size_t at, end, room; /* those between at and end are there */
};
static inline size_t bytes_left(const struct bytes *b)
{
    return b->end - b->at;
}
/* Room for @p n more at data + end.  @return false without memory */
bool bytes_reserve(struct bytes *b, size_t n);
bool bytes_put(struct bytes *b, const void *data, size_t n);
void bytes_take(struct bytes *b, size_t n);
void bytes_free(struct bytes *b);

/* @return false without memory, or for a frame that is too big */
bool frame_put(struct bytes *b, const struct frame *f);
/* The first frame of @p b, which stays there.  @param ret lends from @p b
 * @return its size, for bytes_take(); 0: it is not whole yet; -1: it is none */
long frame_get(const struct bytes *b, struct frame *ret);
/* The number of a frame that stands alone in @p b. */
void frame_renumber(struct bytes *b, uint64_t seq);

#endif
