/* SPDX-License-Identifier: Apache-2.0 */
#include "queues.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND INT64_C(1000000000)
/* How long a queue stays that nobody takes from: one of a listener that may connect again, and one of a topic, as a
 * RabbitMQ's of oslo.messaging. */
#define KEPT_FANOUT (60 * SECOND)
#define KEPT_TOPIC (1800 * SECOND)

struct message {
    struct message *next;
    uint64_t id; /* they count up: the order of each queue */
    int64_t by;
    bool again;
    size_t n;
    char body[];
};

struct consumer {
    struct consumer *next;
    struct taker *taker;
    uint64_t listener;
    unsigned hands, prefetch;
};

struct queue {
    struct queue *next;
    char *name, *fanout;          /* fanout: the key whose fanout it is of, or NULL */
    struct message *first, *last; /* last: while there is a first */
    struct consumer *consumers;   /* in the order of their next turn */
    unsigned hands;               /* messages of it in anybody's hands */
    bool gone;                    /* it takes nothing more */
    int64_t idle;                 /* since when nobody takes from it; 0: not yet looked at */
};

struct hand {
    struct hand *next;
    struct message *message;
    struct queue *queue;
    uint64_t listener; /* whose prefetch it counts for, if that is still there */
};

static struct queue *queues;
static uint64_t
    last_id; /* a broker that is started again does not begin where the one before did: listeners remember them */

int64_t monotonic(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static struct queue *queue_named(const char *name)
{
    struct queue *q = queues;

    while (q != NULL && (q->gone || strcmp(q->name, name) != 0))
        q = q->next;
    return q;
}

static struct queue *queue_make(const char *name, const char *fanout)
{
    struct queue *q = queue_named(name);

    if (q != NULL || (q = calloc(1, sizeof *q)) == NULL)
        return q;
    q->name = strdup(name);
    q->fanout = fanout != NULL ? strdup(fanout) : NULL;
    if (q->name == NULL || (fanout != NULL && q->fanout == NULL)) {
        free(q->name);
        free(q->fanout);
        free(q);
        return NULL;
    }
    q->next = queues;
    return queues = q;
}

static void queue_free(struct queue *q)
{
    for (struct message *m; (m = q->first) != NULL; free(m))
        q->first = m->next;
    for (struct consumer *c; (c = q->consumers) != NULL; free(c))
        q->consumers = c->next;
    free(q->name);
    free(q->fanout);
    free(q);
}

/* ---- delivering --------------------------------------------------------------------------------- */

/* Whose turn it is, moved to the end of the row. */
static struct consumer *next_consumer(struct queue *q)
{
    struct consumer **at = &q->consumers;

    while (*at != NULL && ((*at)->hands >= (*at)->prefetch || (*at)->taker->broken))
        at = &(*at)->next;
    struct consumer *c = *at;
    if (c == NULL)
        return NULL;
    *at = c->next;
    c->next = NULL;
    while (*at != NULL)
        at = &(*at)->next;
    return *at = c;
}

static bool hand_over(struct queue *q, struct consumer *c)
{
    struct message *m = q->first;
    struct hand *h = calloc(1, sizeof *h);
    const struct frame f = { .type = DELIVER,
                             .flags = m->again ? FRAME_AGAIN : 0,
                             .id = m->id,
                             .by = (int64_t)c->listener,
                             .body = m->body,
                             .n = m->n };

    if (h == NULL || !frame_put(&c->taker->out, &f)) {
        free(h);
        return false; /* it stays where it is, until something else happens to the queue */
    }
    q->first = m->next;
    q->hands++;
    c->hands++;
    *h = (struct hand){ .next = c->taker->hands, .message = m, .queue = q, .listener = c->listener };
    c->taker->hands = h;
    return true;
}

static void deliver(struct queue *q)
{
    for (;;) {
        struct message *m = q->first;
        if (m != NULL && m->by <= monotonic()) { /* its caller has given up */
            q->first = m->next;
            free(m);
            continue;
        }
        struct consumer *c = m != NULL ? next_consumer(q) : NULL;
        if (c == NULL || !hand_over(q, c))
            return;
    }
}

static void put_in(struct queue *q, struct message *m)
{
    struct message **at = &q->first;

    if (q->first != NULL && q->last->id < m->id)
        at = &q->last->next;
    while (*at != NULL && (*at)->id < m->id)
        at = &(*at)->next;
    m->next = *at;
    *at = m;
    if (m->next == NULL)
        q->last = m;
}

static bool put_copy(struct queue *q, const struct frame *f)
{
    struct message *m = calloc(1, sizeof *m + f->n);

    if (m == NULL)
        return false;
    if (last_id == 0)
        last_id = (uint64_t)monotonic();
    m->id = ++last_id;
    m->by = f->by;
    m->n = f->n;
    memcpy(m->body, f->body, f->n);
    put_in(q, m);
    deliver(q);
    return true;
}

bool queues_publish(const struct frame *f)
{
    bool any = false;

    if ((f->flags & FRAME_FANOUT) == 0) {
        struct queue *q = queue_named(f->key);
        return q != NULL && put_copy(q, f);
    }
    for (struct queue *q = queues; q != NULL; q = q->next)
        if (!q->gone && q->fanout != NULL && strcmp(q->fanout, f->key) == 0)
            any = put_copy(q, f) || any;
    return any;
}

/* ---- what was delivered ------------------------------------------------------------------------- */

static struct hand *take_hand(struct taker *t, uint64_t id)
{
    for (struct hand **at = &t->hands; *at != NULL; at = &(*at)->next) {
        struct hand *h = *at;
        if (h->message->id == id) {
            *at = h->next;
            return h;
        }
    }
    return NULL;
}

/* The hand is empty. */
static void hand_free(struct taker *t, struct hand *h)
{
    h->queue->hands--;
    for (struct consumer *c = h->queue->consumers; c != NULL; c = c->next)
        if (c->taker == t && c->listener == h->listener)
            c->hands--;
    free(h);
}

void queues_ack(struct taker *t, uint64_t id)
{
    struct hand *h = take_hand(t, id);

    if (h == NULL)
        return; /* it came over a connection that is lost */
    struct queue *q = h->queue;
    free(h->message);
    hand_free(t, h);
    deliver(q);
}

static void put_back(struct taker *t, struct hand *h)
{
    h->message->again = true;
    put_in(h->queue, h->message);
    hand_free(t, h);
}

void queues_requeue(struct taker *t, uint64_t id)
{
    struct hand *h = take_hand(t, id);

    if (h == NULL)
        return;
    struct queue *q = h->queue;
    put_back(t, h);
    deliver(q);
}

/* ---- who takes ---------------------------------------------------------------------------------- */

static bool consume(struct taker *t, uint64_t listener, struct queue *q, unsigned prefetch)
{
    struct consumer *c = q != NULL ? calloc(1, sizeof *c) : NULL;

    if (c == NULL)
        return false;
    *c = (struct consumer){ .next = q->consumers, .taker = t, .listener = listener, .prefetch = prefetch };
    q->consumers = c;
    q->idle = 0;
    deliver(q);
    return true;
}

/* @p listener 0: all of the taker's */
static void consume_no_more(struct taker *t, struct queue *q, uint64_t listener)
{
    for (struct consumer **at = &q->consumers; *at != NULL;) {
        struct consumer *c = *at;
        if (c->taker != t || (listener != 0 && c->listener != listener)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        free(c);
    }
}

static void name_of_fanout(char *name, size_t size, const char *owner, uint64_t listener)
{
    (void)snprintf(name, size, " %s %llu", owner, (unsigned long long)listener); /* no topic begins so */
}

bool queues_subscribe(struct taker *t, const char *owner, uint64_t listener, const char *key,
                      const char *server, unsigned prefetch)
{
    char direct[2 * KEY_MAX_SIZE], own[KEY_MAX_SIZE];

    (void)snprintf(direct, sizeof direct, "%s.%s", key, server);
    name_of_fanout(own, sizeof own, owner, listener);
    return consume(t, listener, queue_make(key, NULL), prefetch) &&
           consume(t, listener, queue_make(direct, NULL), prefetch) &&
           consume(t, listener, queue_make(own, key), prefetch);
}

void queues_unsubscribe(struct taker *t, const char *owner, uint64_t listener)
{
    char own[KEY_MAX_SIZE];

    for (struct queue *q = queues; q != NULL; q = q->next)
        consume_no_more(t, q, listener);
    name_of_fanout(own, sizeof own, owner, listener);
    struct queue *q = queue_named(own);
    if (q != NULL)
        q->gone = true;
}

void queues_leave(struct taker *t)
{
    for (struct queue *q = queues; q != NULL; q = q->next)
        consume_no_more(t, q, 0);
    if (t->hands == NULL)
        return;
    for (struct hand *h; (h = t->hands) != NULL;) {
        t->hands = h->next;
        put_back(t, h);
    }
    for (struct queue *q = queues; q != NULL; q = q->next)
        deliver(q);
}

/* ---- the end ------------------------------------------------------------------------------------ */

static bool is_over(struct queue *q, int64_t now)
{
    if (q->consumers != NULL || q->hands > 0)
        return false;
    if (q->idle == 0)
        q->idle = now;
    return q->gone || now - q->idle >= (q->fanout != NULL ? KEPT_FANOUT : KEPT_TOPIC);
}

void queues_sweep(int64_t now)
{
    for (struct queue **at = &queues; *at != NULL;) {
        struct queue *q = *at;
        if (!is_over(q, now)) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        queue_free(q);
    }
}

void queues_free(void)
{
    for (struct queue *q; (q = queues) != NULL; queue_free(q))
        queues = q->next;
}
