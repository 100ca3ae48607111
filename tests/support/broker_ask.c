/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the broker of tests what it saw, and what it has. */
#include "tests/support/broker_impl.h"

static unsigned seen_of(const broker *b, amqp_method_number_t id)
{
    for (size_t i = 0; i < b->seen_count; i++) {
        if (b->seen[i].id == id)
            return b->seen[i].count;
    }
    return 0;
}

unsigned broker_seen(broker *b, amqp_method_number_t id)
{
    bk_lock(b);
    unsigned n = seen_of(b, id);
    bk_unlock(b);
    return n;
}

bool broker_wait(broker *b, amqp_method_number_t id, unsigned count, int ms)
{
    int64_t by = bk_now_ms() + ms;
    struct timespec until = { .tv_sec = by / 1000, .tv_nsec = by % 1000 * 1000000 };

    bk_lock(b);
    while (seen_of(b, id) < count && bk_now_ms() < by)
        (void)pthread_cond_timedwait(&b->changed, &b->lock, &until);
    bool enough = seen_of(b, id) >= count;
    bk_unlock(b);
    return enough;
}

unsigned broker_connections(broker *b)
{
    unsigned n = 0;

    bk_lock(b);
    for (const conn *c = b->conns; c != NULL; c = c->next)
        n++;
    bk_unlock(b);
    return n;
}

unsigned broker_accepted(broker *b)
{
    bk_lock(b);
    unsigned n = b->accepted;
    bk_unlock(b);
    return n;
}

unsigned broker_unacked(broker *b)
{
    unsigned n = 0;

    bk_lock(b);
    for (const conn *c = b->conns; c != NULL; c = c->next) {
        for (const channel *ch = c->channels; ch != NULL; ch = ch->next) {
            for (const unacked *u = ch->unacked; u != NULL; u = u->next)
                n++;
        }
    }
    bk_unlock(b);
    return n;
}

unsigned broker_consumers(broker *b, const char *name)
{
    bk_lock(b);
    unsigned n = bk_consumers_of(b, name);
    bk_unlock(b);
    return n;
}

bool broker_has_exchange(broker *b, const char *name)
{
    bk_lock(b);
    bool has = bk_exchange_of(b, name) != NULL;
    bk_unlock(b);
    return has;
}

bool broker_has_binding(broker *b, const char *x, const char *q, const char *key)
{
    bk_lock(b);
    bool has = *bk_binding_of(b, x, q, key) != NULL;
    bk_unlock(b);
    return has;
}

unsigned broker_beats(broker *b)
{
    return atomic_load(&b->beats);
}

unsigned broker_silent(broker *b)
{
    bk_lock(b);
    unsigned n = b->silent;
    bk_unlock(b);
    return n;
}

unsigned broker_bad_acks(broker *b)
{
    bk_lock(b);
    unsigned n = b->bad_acks;
    bk_unlock(b);
    return n;
}

unsigned broker_dead(broker *b)
{
    bk_lock(b);
    unsigned n = b->dead;
    bk_unlock(b);
    return n;
}

bool broker_capable(broker *b, const char *what)
{
    char text[80];

    (void)snprintf(text, sizeof text, ",%s,", what);
    bk_lock(b);
    bool has = b->capabilities != NULL && strstr(b->capabilities, text) != NULL;
    bk_unlock(b);
    return has;
}

unsigned broker_routed(broker *b, const char *name)
{
    bk_lock(b);
    const queue *q = bk_queue_of(b, name);
    unsigned n = q != NULL ? q->routed : 0;
    bk_unlock(b);
    return n;
}

static int ready_of(broker *b, const char *name)
{
    queue *q = bk_queue_of(b, name);

    if (q == NULL)
        return -1;
    bk_expire(q);
    return (int)bk_ready(q);
}

int broker_queue_ready(broker *b, const char *name)
{
    bk_lock(b);
    int n = ready_of(b, name);
    bk_unlock(b);
    return n;
}

bool broker_wait_ready(broker *b, const char *name, int n, int ms)
{
    int64_t by = bk_now_ms() + ms;
    struct timespec until = { .tv_sec = by / 1000, .tv_nsec = by % 1000 * 1000000 };

    bk_lock(b);
    while (ready_of(b, name) < n && bk_now_ms() < by)
        (void)pthread_cond_timedwait(&b->changed, &b->lock, &until);
    bool enough = ready_of(b, name) >= n;
    bk_unlock(b);
    return enough;
}

size_t broker_unsaid(broker *b)
{
    size_t n = 0;

    bk_lock(b);
    for (const conn *c = b->conns; c != NULL; c = c->next)
        n += fj__buf_len(&c->out);
    bk_unlock(b);
    return n;
}

bool broker_wait_accepted(broker *b, unsigned count, int ms)
{
    int64_t by = bk_now_ms() + ms;
    struct timespec until = { .tv_sec = by / 1000, .tv_nsec = by % 1000 * 1000000 };

    bk_lock(b);
    while (b->accepted < count && bk_now_ms() < by)
        (void)pthread_cond_timedwait(&b->changed, &b->lock, &until);
    bool enough = b->accepted >= count;
    bk_unlock(b);
    return enough;
}
