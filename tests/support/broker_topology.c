/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, exchanges, queues and bindings of the broker of tests, and which way a message goes. */
#include "tests/support/broker_impl.h"

/* ---- messages ---- */

message *bk_message_free(message *m)
{
    if (m == NULL)
        return NULL;
    free(m->exchange);
    free(m->key);
    free(m->properties);
    free(m->body);
    free(m);
    return NULL;
}

message *bk_message_copy(const message *m)
{
    message *copy = bk_must(calloc(1, sizeof *copy));

    copy->exchange = bk_must(strdup(m->exchange));
    copy->key = bk_must(strdup(m->key));
    copy->properties = bk_must(malloc(m->properties_len + 1));
    memcpy(copy->properties, m->properties, m->properties_len);
    copy->properties_len = m->properties_len;
    copy->body = bk_must(malloc(m->body_len + 1));
    memcpy(copy->body, m->body, m->body_len);
    copy->body_len = m->body_len;
    copy->expires = m->expires;
    return copy;
}

void bk_push(queue *q, message *m)
{
    m->next = NULL;
    *q->last = m;
    q->last = &m->next;
}

void bk_push_front(queue *q, message *m)
{
    m->next = q->first;
    if (q->first == NULL)
        q->last = &m->next;
    q->first = m;
}

message *bk_pop(queue *q)
{
    message *m = q->first;

    if (m != NULL && (q->first = m->next) == NULL)
        q->last = &q->first;
    return m;
}

/* ---- exchanges, queues, bindings ---- */

exchange *bk_exchange_of(broker *b, const char *name)
{
    exchange *x = b->exchanges;

    while (x != NULL && strcmp(x->name, name) != 0)
        x = x->next;
    return x;
}

queue *bk_queue_of(broker *b, const char *name)
{
    queue *q = b->queues;

    while (q != NULL && strcmp(q->name, name) != 0)
        q = q->next;
    return q;
}

void bk_exchange_delete(broker *b, const char *name)
{
    for (exchange **at = &b->exchanges; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->name, name) == 0) {
            exchange *x = *at;
            *at = x->next;
            free(x->name);
            free(x->type);
            free(x);
            return;
        }
    }
}

binding **bk_binding_of(broker *b, const char *x, const char *q, const char *key)
{
    binding **at = &b->bindings;

    while (*at != NULL &&
           (strcmp((*at)->exchange, x) != 0 || strcmp((*at)->queue, q) != 0 || strcmp((*at)->key, key) != 0))
        at = &(*at)->next;
    return at;
}

void bk_unbind(broker *b, binding **at)
{
    binding *gone = *at;

    *at = gone->next;
    bool more = false;
    for (const binding *other = b->bindings; other != NULL; other = other->next)
        more = more || strcmp(other->exchange, gone->exchange) == 0;
    const exchange *x = bk_exchange_of(b, gone->exchange);
    if (!more && x != NULL && x->auto_delete)
        bk_exchange_delete(b, gone->exchange);
    free(gone->exchange);
    free(gone->queue);
    free(gone->key);
    free(gone);
}

void bk_consumer_drop(consumer **at)
{
    consumer *gone = *at;

    *at = gone->next;
    free(gone->tag);
    free(gone->queue);
    free(gone);
}

static void queue_free(queue *q)
{
    for (message *m = bk_pop(q); m != NULL; m = bk_pop(q))
        bk_message_free(m);
    free(q->name);
    free(q);
}

void bk_queue_delete(broker *b, const char *name_lent)
{
    char *name = bk_must(strdup(name_lent));

    for (queue **at = &b->queues; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->name, name) == 0) {
            queue *q = *at;
            *at = q->next;
            queue_free(q);
            break;
        }
    }
    for (binding **at = &b->bindings; *at != NULL;) {
        if (strcmp((*at)->queue, name) == 0)
            bk_unbind(b, at);
        else
            at = &(*at)->next;
    }
    for (consumer **at = &b->consumers; *at != NULL;) {
        if (strcmp((*at)->queue, name) == 0) {
            amqp_basic_cancel_t cancel = { amqp_cstring_bytes((*at)->tag), 1 };
            bk_say((*at)->conn, (*at)->channel, AMQP_BASIC_CANCEL_METHOD, &cancel);
            bk_consumer_drop(at);
        } else {
            at = &(*at)->next;
        }
    }
    free(name);
}

void bk_auto_delete(broker *b, const char *name)
{
    const queue *q = bk_queue_of(b, name);

    for (const consumer *k = b->consumers; k != NULL; k = k->next) {
        if (strcmp(k->queue, name) == 0)
            return;
    }
    if (q != NULL && q->auto_delete)
        bk_queue_delete(b, name);
}

/* Words between dots; '*' is one of them, '#' any number. */
static bool topic_fits(const char *pattern, const char *key)
{
    if (*pattern == '\0')
        return *key == '\0';
    size_t p = strcspn(pattern, "."), k = strcspn(key, ".");
    const char *next = pattern + p + (pattern[p] == '.');
    const char *key_next = key + k + (key[k] == '.');
    if (p == 1 && *pattern == '#')
        return (pattern[p] == '\0') || topic_fits(next, key) || (*key != '\0' && topic_fits(pattern, key_next));
    if (*key == '\0')
        return false;
    if (!(p == 1 && *pattern == '*') && (p != k || memcmp(pattern, key, p) != 0))
        return false;
    if (pattern[p] == '\0' || key[k] == '\0')
        return pattern[p] == key[k] || (key[k] == '\0' && strcmp(next, "#") == 0);
    return topic_fits(next, key_next);
}

static bool routes(const exchange *x, const binding *bound, const char *key)
{
    if (strcmp(bound->exchange, x->name) != 0)
        return false;
    if (strcmp(x->type, "fanout") == 0)
        return true;
    return strcmp(x->type, "topic") == 0 ? topic_fits(bound->key, key) : strcmp(bound->key, key) == 0;
}

/* The property is a number of milliseconds, written out. */
static int64_t expires(broker *b, const message *m)
{
    amqp_basic_properties_t *p;
    void *decoded = NULL;
    char text[24] = "";

    if (fj__properties_check(m->properties, m->properties_len) != NULL ||
        amqp_decode_properties(AMQP_BASIC_CLASS, &b->pool, (amqp_bytes_t){ m->properties_len, m->properties },
                               &decoded) < 0)
        return 0;
    p = decoded;
    if ((p->_flags & AMQP_BASIC_EXPIRATION_FLAG) == 0 || p->expiration.len >= sizeof text)
        return 0;
    memcpy(text, p->expiration.bytes, p->expiration.len);
    return bk_now_ms() + strtoll(text, NULL, 10);
}

/* Gone are the first ones whose time is over, as RabbitMQ does it: what lies behind another waits for that. */
void bk_expire(queue *q)
{
    while (q->first != NULL && q->first->expires != 0 && q->first->expires <= bk_now_ms())
        bk_message_free(bk_pop(q));
}

/* One copy for each queue, however many bindings lead to it. */
unsigned bk_route(broker *b, message *m)
{
    m->expires = expires(b, m);

    unsigned taken = 0;
    const exchange *x = bk_exchange_of(b, m->exchange);

    for (queue *q = b->queues; q != NULL; q = q->next) {
        bool fits = m->exchange[0] == '\0' && strcmp(q->name, m->key) == 0;
        for (const binding *bound = b->bindings; bound != NULL && x != NULL && !fits; bound = bound->next)
            fits = strcmp(bound->queue, q->name) == 0 && routes(x, bound, m->key);
        if (fits) {
            bk_push(q, bk_message_copy(m));
            q->routed++;
            taken++;
        }
    }
    return taken;
}
