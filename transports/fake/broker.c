/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker within the process.  As on RabbitMQ a queue is known by its name alone, so that the same topic under two
 * exchanges is one queue with two bindings, and messages wait in it while nobody listens.
 */
#include "fake.h"

#include "base/alloc.h"
#include "base/native.h"
#include "base/text.h"
#include "runtime/sync.h"

#include <string.h>

struct fj__fake_queue {
    fj__fake_queue *next;
    char *name;
    unsigned refs; /* the list of queues, consumers, and messages in consumers' hands */
    bool deleted;
    fj__fake_msg *first, **last;
    size_t waiting;
    fj__fake_consumer *consumers; /* in the order of their next turn */
};

struct binding {
    struct binding *next;
    char *exchange, *key;
    fj__fake_queue *queue;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static fj__fake_queue *queues;
static struct binding *bindings;
static uint64_t serial;
static fj__fake_driver_s *drivers;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A forked child has a broker of its own: the listeners in this one, and who holds the lock, are the parent's. */
static void in_child(void)
{
    (void)pthread_mutex_init(&lock, NULL);
    queues = NULL;
    bindings = NULL;
    drivers = NULL;
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

void fj__fake_lock(void)
{
    (void)pthread_once(&once, watch_forks);
    (void)fj__native.pthread_mutex_lock(&lock);
}

void fj__fake_unlock(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

void fj__fake_sleep(pthread_cond_t *cond, fj_deadline by)
{
    (void)fj__cond_wait(cond, &lock, by);
}

void fj__fake_msg_free(fj__fake_msg *msg)
{
    if (msg == NULL)
        return;
    json_decref(msg->message);
    json_decref(msg->context);
    if (msg->call != NULL)
        fj__fake_call_unref(msg->call);
    fj__free(msg);
}

fj__fake_queue *fj__fake_queue_ref(fj__fake_queue *q)
{
    q->refs++;
    return q;
}

void fj__fake_queue_unref(fj__fake_queue *q)
{
    if (q == NULL || --q->refs > 0)
        return;
    while (q->first != NULL) {
        fj__fake_msg *msg = q->first;
        q->first = msg->next;
        fj__fake_msg_free(msg);
    }
    fj__free(q->name);
    fj__free(q);
}

static fj__fake_queue *queue_of(const char *name)
{
    fj__fake_queue *q = queues;

    while (q != NULL && strcmp(q->name, name) != 0)
        q = q->next;
    if (q != NULL)
        return q;
    q = fj__zalloc(sizeof *q);
    char *copy = fj__strdup(name);
    if (q == NULL || copy == NULL) {
        fj__free(q);
        fj__free(copy);
        return NULL;
    }
    q->name = copy;
    q->refs = 1;
    q->last = &q->first;
    q->next = queues;
    queues = q;
    return q;
}

static bool bound(const struct binding *b, const char *exchange, const char *key)
{
    return strcmp(b->exchange, exchange) == 0 && strcmp(b->key, key) == 0;
}

static void binding_free(struct binding *b)
{
    if (b == NULL)
        return;
    fj__free(b->exchange);
    fj__free(b->key);
    fj__free(b);
}

fj__fake_queue *fj__fake_queue_bind(const char *exchange, const char *name, const char *key)
{
    fj__fake_queue *q = queue_of(name);

    if (q == NULL)
        return NULL;
    for (struct binding *b = bindings; b != NULL; b = b->next)
        if (b->queue == q && bound(b, exchange, key))
            return q;
    struct binding *b = fj__zalloc(sizeof *b);
    if (b == NULL)
        return NULL;
    b->exchange = fj__strdup(exchange);
    b->key = fj__strdup(key);
    b->queue = q;
    if (b->exchange == NULL || b->key == NULL) {
        binding_free(b);
        return NULL;
    }
    b->next = bindings;
    bindings = b;
    return q;
}

void fj__fake_queue_delete(fj__fake_queue *q)
{
    for (struct binding **at = &bindings; *at != NULL;) {
        struct binding *b = *at;
        if (b->queue != q) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        binding_free(b);
    }
    for (fj__fake_queue **at = &queues; *at != NULL; at = &(*at)->next) {
        if (*at == q) {
            *at = q->next;
            q->deleted = true;
            fj__fake_queue_unref(q);
            return;
        }
    }
}

/* The broker drops a call that nobody took before its caller's time was up. */
static void drop_expired(fj__fake_queue *q)
{
    while (q->first != NULL && q->first->call != NULL && fj_passed(q->first->call->by)) {
        fj__fake_msg *msg = q->first;
        q->first = msg->next;
        q->waiting--;
        if (q->first == NULL)
            q->last = &q->first;
        fj__fake_msg_free(msg);
    }
}

/* The consumer whose turn it is, moved to the end of the row; NULL when all have their hands full. */
static fj__fake_consumer *next_consumer(fj__fake_queue *q)
{
    fj__fake_consumer **at = &q->consumers;

    while (*at != NULL && (*at)->unacked >= (*at)->prefetch)
        at = &(*at)->next;
    fj__fake_consumer *c = *at;
    if (c == NULL)
        return NULL;
    *at = c->next;
    c->next = NULL;
    fj__fake_consumer **end = &q->consumers;
    while (*end != NULL)
        end = &(*end)->next;
    *end = c;
    return c;
}

void fj__fake_deliver(fj__fake_queue *q)
{
    for (;;) {
        drop_expired(q);
        fj__fake_consumer *c = q->first != NULL ? next_consumer(q) : NULL;
        if (c == NULL)
            return;
        fj__fake_msg *msg = q->first;
        q->first = msg->next;
        q->waiting--;
        if (q->first == NULL)
            q->last = &q->first;
        msg->next = NULL;
        msg->queue = q;
        q->refs++;
        c->unacked++;
        fj__fake_arrive(c, msg);
    }
}

void fj__fake_consume(fj__fake_queue *q, fj__fake_consumer *c)
{
    fj__fake_consumer **end = &q->consumers;

    while (*end != NULL)
        end = &(*end)->next;
    *end = c;
    c->queue = q;
    q->refs++;
    fj__fake_deliver(q);
}

void fj__fake_unconsume(fj__fake_consumer *c)
{
    fj__fake_queue *q = c->queue;

    if (q == NULL)
        return;
    for (fj__fake_consumer **at = &q->consumers; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    c->next = NULL;
    c->queue = NULL;
    fj__fake_queue_unref(q);
}

static void append(fj__fake_queue *q, fj__fake_msg *msg)
{
    msg->next = NULL;
    msg->serial = ++serial;
    *q->last = msg;
    q->last = &msg->next;
    q->waiting++;
    fj__fake_deliver(q);
}

static fj__fake_msg *copy_of(const fj__fake_msg *msg)
{
    fj__fake_msg *copy = fj__zalloc(sizeof *copy);

    if (copy == NULL)
        return NULL;
    copy->arrived = msg->arrived;
    copy->message = json_deep_copy(msg->message);
    copy->context = json_deep_copy(msg->context);
    if (copy->message != NULL && copy->context != NULL)
        return copy;
    fj__fake_msg_free(copy);
    return NULL;
}

fj__fake_msg *fj__fake_msg_again(const fj__fake_msg *msg)
{
    fj__fake_msg *again = copy_of(msg);

    if (again == NULL)
        return NULL;
    again->serial = msg->serial;
    again->source = msg->source;
    again->call = msg->call != NULL ? fj__fake_call_ref(msg->call) : NULL;
    return again;
}

/* Copies for all queues but the last, made before the first is put in: the message reaches all or none. */
static fj_code copies_of(const fj__fake_msg *msg, size_t n, fj__fake_msg **ret)
{
    *ret = NULL;
    for (size_t i = 0; i < n; i++) {
        fj__fake_msg *copy = copy_of(msg);
        if (copy == NULL) {
            while (*ret != NULL) {
                copy = *ret;
                *ret = copy->next;
                fj__fake_msg_free(copy);
            }
            return FJ_NOMEM;
        }
        copy->next = *ret;
        *ret = copy;
    }
    return FJ_OK;
}

fj_code fj__fake_route(const char *exchange, const char *key, fj__fake_msg *msg)
{
    fj__fake_msg *spare = NULL;
    size_t n = 0;

    for (struct binding *b = bindings; b != NULL; b = b->next)
        n += bound(b, exchange, key) ? 1u : 0u;
    if (n == 0)
        return FJ_UNDELIVERABLE;
    if (copies_of(msg, n - 1, &spare) != FJ_OK)
        return FJ_NOMEM;
    for (struct binding *b = bindings; b != NULL; b = b->next) {
        if (!bound(b, exchange, key))
            continue;
        fj__fake_msg *one = spare != NULL ? spare : msg;
        if (spare != NULL)
            spare = spare->next;
        append(b->queue, one);
    }
    return FJ_OK;
}

void fj__fake_acked(fj__fake_consumer *c, fj__fake_msg *msg)
{
    fj__fake_queue *q = msg->queue;

    msg->queue = NULL;
    c->unacked--;
    if (c->queue != NULL)
        fj__fake_deliver(c->queue);
    fj__fake_queue_unref(q);
}

void fj__fake_back(fj__fake_consumer *c, fj__fake_msg *msg)
{
    fj__fake_queue *q = msg->queue;

    c->unacked--;
    msg->queue = NULL;
    msg->redelivered = true;
    if (q->deleted) {
        fj__fake_msg_free(msg);
    } else {
        msg->next = q->first;
        q->first = msg;
        q->waiting++;
        if (msg->next == NULL)
            q->last = &msg->next;
    }
    fj__fake_queue_unref(q);
}

/* ---- for who looks ---------------------------------------------------------------------------------- */

static fj__fake_seen see(const fj__fake_queue *q)
{
    fj__fake_seen seen = { .waiting = q->waiting };

    fj__text_cut(seen.name, sizeof seen.name, q->name);
    for (const fj__fake_consumer *c = q->consumers; c != NULL; c = c->next) {
        seen.in_hand += c->unacked;
        seen.capacity += c->prefetch;
        seen.consumers++;
    }
    return seen;
}

size_t fj__fake_queues(size_t max, fj__fake_seen *ret)
{
    size_t n = 0;

    for (const fj__fake_queue *q = queues; q != NULL; q = q->next) {
        if (n < max)
            ret[n] = see(q);
        n++;
    }
    return n;
}

void fj__fake_enter(fj__fake_driver_s *d)
{
    fj__fake_driver_s **end = &drivers;

    while (*end != NULL)
        end = &(*end)->next;
    *end = d;
}

void fj__fake_leave(fj__fake_driver_s *d)
{
    fj__fake_driver_s **at = &drivers;

    while (*at != NULL && *at != d)
        at = &(*at)->next;
    if (*at == d)
        *at = d->next;
}

bool fj__fake_is_first(const fj__fake_driver_s *d)
{
    return drivers == d;
}
