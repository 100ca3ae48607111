/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/broker.h"

#include "transports/amqp/codec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A broker of tests that has no memory has nothing to say: it ends the test. */
static void *must(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

static void must_ok(bool ok)
{
    if (!ok)
        abort();
}

typedef struct message {
    struct message *next;
    char *exchange, *key;
    uint8_t *properties; /* as on the wire, from the flags on */
    size_t properties_len;
    uint8_t *body;
    size_t body_len;
    bool redelivered;
} message;

typedef struct exchange {
    struct exchange *next;
    char *name, *type;
    bool durable, auto_delete;
} exchange;

typedef struct binding {
    struct binding *next;
    char *exchange, *queue, *key;
} binding;

struct conn;

typedef struct queue {
    struct queue *next;
    char *name;
    bool durable, exclusive, auto_delete;
    struct conn *owner; /* of an exclusive one */
    message *first, **last;
} queue;

typedef struct consumer {
    struct consumer *next;
    struct conn *conn;
    uint16_t channel;
    char *tag, *queue;
    bool no_ack;
    unsigned prefetch, unacked;
} consumer;

typedef struct unacked {
    struct unacked *next;
    uint64_t tag;
    char *queue, *consumer;
    message *message;
} unacked;

typedef struct channel {
    struct channel *next;
    uint16_t number;
    bool confirms, closing;
    uint64_t published, delivered;
    unsigned prefetch;
    unacked *unacked;
    /* a publish on its way in */
    bool publishing;
    bool mandatory;
    int header_seen;
    uint64_t size;
    message *message;
} channel;

typedef struct conn {
    struct conn *next;
    int fd;
    fj__buf in, out;
    bool greeted, stalled, mute, hang_up, tuned;
    uint32_t frame_max;
    uint16_t heartbeat;
    int64_t beat_at;
    channel *channels;
} conn;

typedef struct rule {
    struct rule *next;
    broker_rule is;
    char *text;
    void *bytes;
} rule;

typedef struct {
    amqp_method_number_t id;
    unsigned count;
} seen;

struct broker {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    int listen_fd, wake_fd;
    uint16_t port;
    bool stop;
    conn *conns;
    exchange *exchanges;
    binding *bindings;
    queue *queues;
    consumer *consumers;
    rule *rules;
    seen seen[80];
    size_t seen_count;
    unsigned accepted, names;
    uint16_t channel_max, heartbeat;
    uint32_t frame_max;
    size_t split;
    void *greeting;
    size_t greeting_len;
    char *mechanisms, *user, *password;
    amqp_pool_t pool;
};

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static char *text_of(amqp_bytes_t b)
{
    return must(strndup(b.len != 0 ? b.bytes : "", b.len));
}

static bool same(const char *text, amqp_bytes_t b)
{
    return strlen(text) == b.len && memcmp(text, b.bytes, b.len) == 0;
}

/* ---- output ---- */

static void say(conn *c, uint16_t number, amqp_method_number_t id, void *decoded)
{
    if (!c->mute)
        must_ok(fj__put_method(&c->out, number, id, decoded, c->frame_max) == FJ_OK);
}

static void say_message(conn *c, uint16_t number, amqp_method_number_t id, void *decoded, const message *m)
{
    if (c->mute)
        return;
    say(c, number, id, decoded);
    uint8_t *header = must(calloc(1, 12 + m->properties_len));
    header[1] = AMQP_BASIC_CLASS;
    for (int i = 0; i < 8; i++)
        header[4 + i] = (uint8_t)((uint64_t)m->body_len >> (56 - 8 * i));
    memcpy(header + 12, m->properties, m->properties_len);
    must_ok(fj__put_frame(&c->out, FJ__FRAME_HEADER, number, header, 12 + m->properties_len) == FJ_OK);
    free(header);
    size_t most = c->frame_max - FJ__FRAME_EXTRA;
    for (size_t at = 0; at < m->body_len; at += most) {
        size_t n = m->body_len - at < most ? m->body_len - at : most;
        must_ok(fj__put_frame(&c->out, FJ__FRAME_BODY, number, m->body + at, n) == FJ_OK);
    }
}

static void say_close(conn *c, uint16_t code, const char *text)
{
    amqp_connection_close_t close = { .reply_code = code, .reply_text = amqp_cstring_bytes(text) };

    say(c, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
}

static void say_channel_close(conn *c, channel *ch, uint16_t code, const char *text, amqp_method_number_t cause)
{
    amqp_channel_close_t close = { code, amqp_cstring_bytes(text), (uint16_t)(cause >> 16), (uint16_t)cause };

    ch->closing = true;
    say(c, ch->number, AMQP_CHANNEL_CLOSE_METHOD, &close);
}

static void say_confirm(conn *c, channel *ch, bool nack)
{
    amqp_basic_ack_t ack = { ch->published, 0 };
    amqp_basic_nack_t no = { ch->published, 0, 0 };

    if (ch->confirms)
        say(c, ch->number, nack ? AMQP_BASIC_NACK_METHOD : AMQP_BASIC_ACK_METHOD,
            nack ? (void *)&no : (void *)&ack);
}

/* ---- messages ---- */

static message *message_free(message *m)
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

static message *message_copy(const message *m)
{
    message *copy = must(calloc(1, sizeof *copy));

    copy->exchange = must(strdup(m->exchange));
    copy->key = must(strdup(m->key));
    copy->properties = must(malloc(m->properties_len + 1));
    memcpy(copy->properties, m->properties, m->properties_len);
    copy->properties_len = m->properties_len;
    copy->body = must(malloc(m->body_len + 1));
    memcpy(copy->body, m->body, m->body_len);
    copy->body_len = m->body_len;
    return copy;
}

static void push(queue *q, message *m)
{
    m->next = NULL;
    *q->last = m;
    q->last = &m->next;
}

static void push_front(queue *q, message *m)
{
    m->next = q->first;
    if (q->first == NULL)
        q->last = &m->next;
    q->first = m;
}

static message *pop(queue *q)
{
    message *m = q->first;

    if (m != NULL && (q->first = m->next) == NULL)
        q->last = &q->first;
    return m;
}

/* ---- exchanges, queues, bindings ---- */

static exchange *exchange_of(broker *b, const char *name)
{
    exchange *x = b->exchanges;

    while (x != NULL && strcmp(x->name, name) != 0)
        x = x->next;
    return x;
}

static queue *queue_of(broker *b, const char *name)
{
    queue *q = b->queues;

    while (q != NULL && strcmp(q->name, name) != 0)
        q = q->next;
    return q;
}

static void exchange_delete(broker *b, const char *name)
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

static binding **binding_of(broker *b, const char *x, const char *q, const char *key)
{
    binding **at = &b->bindings;

    while (*at != NULL &&
           (strcmp((*at)->exchange, x) != 0 || strcmp((*at)->queue, q) != 0 || strcmp((*at)->key, key) != 0))
        at = &(*at)->next;
    return at;
}

static void unbind(broker *b, binding **at)
{
    binding *gone = *at;

    *at = gone->next;
    bool more = false;
    for (const binding *other = b->bindings; other != NULL; other = other->next)
        more = more || strcmp(other->exchange, gone->exchange) == 0;
    const exchange *x = exchange_of(b, gone->exchange);
    if (!more && x != NULL && x->auto_delete)
        exchange_delete(b, gone->exchange);
    free(gone->exchange);
    free(gone->queue);
    free(gone->key);
    free(gone);
}

static void consumer_drop(consumer **at)
{
    consumer *gone = *at;

    *at = gone->next;
    free(gone->tag);
    free(gone->queue);
    free(gone);
}

static void queue_free(queue *q)
{
    for (message *m = pop(q); m != NULL; m = pop(q))
        message_free(m);
    free(q->name);
    free(q);
}

static void queue_delete(broker *b, const char *name_lent)
{
    char *name = must(strdup(name_lent));

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
            unbind(b, at);
        else
            at = &(*at)->next;
    }
    for (consumer **at = &b->consumers; *at != NULL;) {
        if (strcmp((*at)->queue, name) == 0) {
            amqp_basic_cancel_t cancel = { amqp_cstring_bytes((*at)->tag), 1 };
            say((*at)->conn, (*at)->channel, AMQP_BASIC_CANCEL_METHOD, &cancel);
            consumer_drop(at);
        } else {
            at = &(*at)->next;
        }
    }
    free(name);
}

static void auto_delete(broker *b, const char *name)
{
    const queue *q = queue_of(b, name);

    for (const consumer *k = b->consumers; k != NULL; k = k->next) {
        if (strcmp(k->queue, name) == 0)
            return;
    }
    if (q != NULL && q->auto_delete)
        queue_delete(b, name);
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

/* One copy for each queue, however many bindings lead to it. */
static unsigned route(broker *b, const message *m)
{
    unsigned taken = 0;
    const exchange *x = exchange_of(b, m->exchange);

    for (queue *q = b->queues; q != NULL; q = q->next) {
        bool fits = m->exchange[0] == '\0' && strcmp(q->name, m->key) == 0;
        for (const binding *bound = b->bindings; bound != NULL && x != NULL && !fits; bound = bound->next)
            fits = strcmp(bound->queue, q->name) == 0 && routes(x, bound, m->key);
        if (fits) {
            push(q, message_copy(m));
            taken++;
        }
    }
    return taken;
}

/* ---- deliveries ---- */

static channel *channel_of(conn *c, uint16_t number)
{
    channel *ch = c->channels;

    while (ch != NULL && ch->number != number)
        ch = ch->next;
    return ch;
}

static void hold(channel *ch, const queue *q, const char *tag, message *m)
{
    unacked *u = must(calloc(1, sizeof *u)), **at = &ch->unacked;

    u->tag = ch->delivered;
    u->queue = must(strdup(q->name));
    u->consumer = must(strdup(tag));
    u->message = m;
    while (*at != NULL)
        at = &(*at)->next;
    *at = u;
}

static void deliver(consumer *k, queue *q)
{
    channel *ch = channel_of(k->conn, k->channel);
    message *m = pop(q);
    amqp_basic_deliver_t d = { amqp_cstring_bytes(k->tag), ++ch->delivered, m->redelivered,
                               amqp_cstring_bytes(m->exchange), amqp_cstring_bytes(m->key) };

    say_message(k->conn, k->channel, AMQP_BASIC_DELIVER_METHOD, &d, m);
    if (k->no_ack) {
        message_free(m);
    } else {
        k->unacked++;
        hold(ch, q, k->tag, m);
    }
}

static consumer *next_consumer(broker *b, const queue *q)
{
    for (consumer **at = &b->consumers; *at != NULL; at = &(*at)->next) {
        consumer *k = *at;
        const channel *ch = channel_of(k->conn, k->channel);

        if (strcmp(k->queue, q->name) != 0 || ch == NULL || ch->closing ||
            (k->prefetch != 0 && k->unacked >= k->prefetch))
            continue;
        *at = k->next; /* to the end: consumers take turns */
        while (*at != NULL)
            at = &(*at)->next;
        k->next = NULL;
        *at = k;
        return k;
    }
    return NULL;
}

static void deliver_all(broker *b)
{
    for (queue *q = b->queues; q != NULL; q = q->next) {
        consumer *k;
        while (q->first != NULL && (k = next_consumer(b, q)) != NULL)
            deliver(k, q);
    }
}

/* The message of @p u back to the head of its queue, or gone. */
static void settle(broker *b, conn *c, unacked **at, bool requeue)
{
    unacked *u = *at;
    queue *q = queue_of(b, u->queue);

    *at = u->next;
    for (consumer *k = b->consumers; k != NULL; k = k->next) {
        if (k->conn == c && strcmp(k->tag, u->consumer) == 0 && k->unacked != 0)
            k->unacked--;
    }
    if (requeue && q != NULL) {
        u->message->redelivered = true;
        push_front(q, u->message);
    } else {
        message_free(u->message);
    }
    free(u->queue);
    free(u->consumer);
    free(u);
}

static void requeue_all(broker *b, conn *c, channel *ch)
{
    while (ch->unacked != NULL) { /* the last one first, so that their order stays */
        unacked **at = &ch->unacked;
        while ((*at)->next != NULL)
            at = &(*at)->next;
        settle(b, c, at, true);
    }
}

static void on_ack(broker *b, conn *c, channel *ch, uint64_t tag, bool multiple, bool drop)
{
    bool found = false;

    if (multiple && !drop) {
        unacked **at;
        do { /* back in order: the greatest tag goes first */
            for (at = &ch->unacked;
                 *at != NULL && (*at)->next != NULL && (tag == 0 || (*at)->next->tag <= tag);)
                at = &(*at)->next;
            if (*at != NULL && (tag == 0 || (*at)->tag <= tag))
                settle(b, c, at, true);
            else
                break;
        } while (true);
        return;
    }
    for (unacked **at = &ch->unacked; *at != NULL;) {
        if ((*at)->tag == tag || (multiple && (tag == 0 || (*at)->tag < tag))) {
            settle(b, c, at, !drop);
            found = true;
        } else {
            at = &(*at)->next;
        }
    }
    if (!found && !multiple)
        say_channel_close(c, ch, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - unknown delivery tag",
                          AMQP_BASIC_ACK_METHOD);
}

/* ---- closing ---- */

static void channel_drop(broker *b, conn *c, uint16_t number)
{
    for (channel **at = &c->channels; *at != NULL; at = &(*at)->next) {
        channel *ch = *at;
        if (ch->number != number)
            continue;
        for (consumer **k = &b->consumers; *k != NULL;) {
            if ((*k)->conn == c && (*k)->channel == number) {
                char *name = must(strdup((*k)->queue));
                consumer_drop(k);
                requeue_all(b, c, ch);
                auto_delete(b, name);
                free(name);
                k = &b->consumers;
            } else {
                k = &(*k)->next;
            }
        }
        requeue_all(b, c, ch);
        *at = ch->next;
        message_free(ch->message);
        free(ch);
        return;
    }
}

static void conn_drop(broker *b, conn **at)
{
    conn *c = *at;

    *at = c->next;
    while (c->channels != NULL)
        channel_drop(b, c, c->channels->number);
    for (queue *q = b->queues; q != NULL;) {
        if (q->owner == c) {
            queue_delete(b, q->name);
            q = b->queues;
        } else {
            q = q->next;
        }
    }
    (void)close(c->fd);
    fj__buf_fini(&c->in);
    fj__buf_fini(&c->out);
    free(c);
    deliver_all(b);
}

/* ---- the handshake ---- */

static void greet(broker *b, conn *c)
{
    amqp_table_entry_t is[2] = { { .key = amqp_cstring_bytes("product") },
                                 { .key = amqp_cstring_bytes("version") } };

    if (b->greeting != NULL) {
        must_ok(fj__buf_append(&c->out, b->greeting, b->greeting_len));
        return;
    }
    is[0].value.kind = is[1].value.kind = AMQP_FIELD_KIND_UTF8;
    is[0].value.value.bytes = amqp_cstring_bytes("TestBroker");
    is[1].value.value.bytes = amqp_cstring_bytes("1.0");
    amqp_connection_start_t start = {
        0, 9, { 2, is }, amqp_cstring_bytes(b->mechanisms), amqp_cstring_bytes("en_US")
    };
    say(c, 0, AMQP_CONNECTION_START_METHOD, &start);
}

static bool contains(amqp_bytes_t in, const char *what)
{
    return memmem(in.bytes, in.len, what, strlen(what)) != NULL;
}

static void on_start_ok(broker *b, conn *c, const amqp_connection_start_ok_t *ok)
{
    amqp_connection_tune_t tune = { b->channel_max, b->frame_max, b->heartbeat };

    if (b->user != NULL && !(contains(ok->response, b->user) && contains(ok->response, b->password)))
        say_close(c, AMQP_ACCESS_REFUSED, "ACCESS_REFUSED - Login was refused");
    else
        say(c, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
}

static void on_tune_ok(conn *c, const amqp_connection_tune_ok_t *ok)
{
    c->frame_max = ok->frame_max != 0 ? ok->frame_max : 131072;
    c->heartbeat = ok->heartbeat;
    c->beat_at = now_ms() + ok->heartbeat * 500;
    c->tuned = true;
}

static void on_connection(broker *b, conn *c, amqp_method_number_t id, void *decoded)
{
    amqp_connection_open_ok_t open_ok = { 0 };
    amqp_connection_close_ok_t close_ok = { 0 };

    switch (id) {
    case AMQP_CONNECTION_START_OK_METHOD:
        on_start_ok(b, c, decoded);
        break;
    case AMQP_CONNECTION_TUNE_OK_METHOD:
        on_tune_ok(c, decoded);
        break;
    case AMQP_CONNECTION_OPEN_METHOD:
        say(c, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &open_ok);
        break;
    case AMQP_CONNECTION_CLOSE_METHOD:
        say(c, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &close_ok);
        c->hang_up = true;
        break;
    default: /* close-ok */
        c->hang_up = true;
        break;
    }
}

/* ---- declarations ---- */

static void on_exchange_declare(broker *b, conn *c, channel *ch, const amqp_exchange_declare_t *m)
{
    amqp_exchange_declare_ok_t ok = { 0 };
    char *name = text_of(m->exchange), text[256];
    exchange *x = exchange_of(b, name);

    if (x == NULL && m->passive) {
        (void)snprintf(text, sizeof text, "NOT_FOUND - no exchange '%.100s' in vhost '/'", name);
        say_channel_close(c, ch, AMQP_NOT_FOUND, text, AMQP_EXCHANGE_DECLARE_METHOD);
    } else if (x != NULL && !m->passive &&
               (!same(x->type, m->type) || x->durable != !!m->durable || x->auto_delete != !!m->auto_delete)) {
        (void)snprintf(text, sizeof text,
                       "PRECONDITION_FAILED - inequivalent arg '%s' for exchange '%.100s' in vhost '/'",
                       !same(x->type, m->type)      ? "type"
                       : x->durable != !!m->durable ? "durable"
                                                    : "auto_delete",
                       name);
        say_channel_close(c, ch, AMQP_PRECONDITION_FAILED, text, AMQP_EXCHANGE_DECLARE_METHOD);
    } else {
        if (x == NULL) {
            x = must(calloc(1, sizeof *x));
            *x = (exchange){ b->exchanges, must(strdup(name)), text_of(m->type), m->durable, m->auto_delete };
            b->exchanges = x;
        }
        if (!m->nowait)
            say(c, ch->number, AMQP_EXCHANGE_DECLARE_OK_METHOD, &ok);
    }
    free(name);
}

static queue *queue_add(broker *b, conn *c, const char *name, const amqp_queue_declare_t *m)
{
    queue *q = must(calloc(1, sizeof *q));

    q->name = must(strdup(name));
    q->durable = m->durable;
    q->exclusive = m->exclusive;
    q->auto_delete = m->auto_delete;
    q->owner = m->exclusive ? c : NULL;
    q->last = &q->first;
    q->next = b->queues;
    b->queues = q;
    return q;
}

static unsigned ready(const queue *q)
{
    unsigned n = 0;

    for (const message *m = q->first; m != NULL; m = m->next)
        n++;
    return n;
}

static unsigned consumers_of(const broker *b, const char *name)
{
    unsigned n = 0;

    for (const consumer *k = b->consumers; k != NULL; k = k->next)
        n += strcmp(k->queue, name) == 0;
    return n;
}

static void on_queue_declare(broker *b, conn *c, channel *ch, const amqp_queue_declare_t *m)
{
    char *name = text_of(m->queue), text[256];

    if (name[0] == '\0') {
        free(name);
        must_ok(asprintf(&name, "amq.gen-%u", ++b->names) > 0);
    }
    queue *q = queue_of(b, name);
    if (q == NULL && m->passive) {
        (void)snprintf(text, sizeof text, "NOT_FOUND - no queue '%.100s' in vhost '/'", name);
        say_channel_close(c, ch, AMQP_NOT_FOUND, text, AMQP_QUEUE_DECLARE_METHOD);
    } else if (q != NULL && q->owner != NULL && q->owner != c) {
        say_channel_close(c, ch, AMQP_RESOURCE_LOCKED, "RESOURCE_LOCKED - exclusive",
                          AMQP_QUEUE_DECLARE_METHOD);
    } else if (q != NULL && !m->passive &&
               (q->durable != !!m->durable || q->auto_delete != !!m->auto_delete ||
                q->exclusive != !!m->exclusive)) {
        (void)snprintf(text, sizeof text,
                       "PRECONDITION_FAILED - inequivalent arg '%s' for queue '%.100s' in vhost '/'",
                       q->durable != !!m->durable ? "durable" : "auto_delete", name);
        say_channel_close(c, ch, AMQP_PRECONDITION_FAILED, text, AMQP_QUEUE_DECLARE_METHOD);
    } else {
        if (q == NULL)
            q = queue_add(b, c, name, m);
        amqp_queue_declare_ok_t ok = { amqp_cstring_bytes(name), ready(q), consumers_of(b, name) };
        if (!m->nowait)
            say(c, ch->number, AMQP_QUEUE_DECLARE_OK_METHOD, &ok);
    }
    free(name);
}

static void not_found(conn *c, channel *ch, const char *what, const char *name, amqp_method_number_t cause)
{
    char text[256];

    (void)snprintf(text, sizeof text, "NOT_FOUND - no %s '%.100s' in vhost '/'", what, name);
    say_channel_close(c, ch, AMQP_NOT_FOUND, text, cause);
}

static void on_bind(broker *b, conn *c, channel *ch, const amqp_queue_bind_t *m)
{
    amqp_queue_bind_ok_t ok = { 0 };
    char *q = text_of(m->queue), *x = text_of(m->exchange), *key = text_of(m->routing_key);

    if (queue_of(b, q) == NULL) {
        not_found(c, ch, "queue", q, AMQP_QUEUE_BIND_METHOD);
    } else if (exchange_of(b, x) == NULL) {
        not_found(c, ch, "exchange", x, AMQP_QUEUE_BIND_METHOD);
    } else {
        if (*binding_of(b, x, q, key) == NULL) {
            binding *made = must(calloc(1, sizeof *made));
            *made = (binding){ b->bindings, must(strdup(x)), must(strdup(q)), must(strdup(key)) };
            b->bindings = made;
        }
        if (!m->nowait)
            say(c, ch->number, AMQP_QUEUE_BIND_OK_METHOD, &ok);
    }
    free(q);
    free(x);
    free(key);
}

static void on_unbind(broker *b, conn *c, channel *ch, const amqp_queue_unbind_t *m)
{
    amqp_queue_unbind_ok_t ok = { 0 };
    char *q = text_of(m->queue), *x = text_of(m->exchange), *key = text_of(m->routing_key);
    binding **at = binding_of(b, x, q, key);

    if (*at != NULL)
        unbind(b, at);
    say(c, ch->number, AMQP_QUEUE_UNBIND_OK_METHOD, &ok);
    free(q);
    free(x);
    free(key);
}

static void on_queue_delete(broker *b, conn *c, channel *ch, const amqp_queue_delete_t *m)
{
    char *name = text_of(m->queue);
    const queue *q = queue_of(b, name);
    amqp_queue_delete_ok_t ok = { q != NULL ? ready(q) : 0 };

    queue_delete(b, name);
    if (!m->nowait)
        say(c, ch->number, AMQP_QUEUE_DELETE_OK_METHOD, &ok);
    free(name);
}

static void on_purge(broker *b, conn *c, channel *ch, const amqp_queue_purge_t *m)
{
    char *name = text_of(m->queue);
    queue *q = queue_of(b, name);

    if (q == NULL) {
        not_found(c, ch, "queue", name, AMQP_QUEUE_PURGE_METHOD);
    } else {
        amqp_queue_purge_ok_t ok = { ready(q) };
        for (message *gone = pop(q); gone != NULL; gone = pop(q))
            message_free(gone);
        say(c, ch->number, AMQP_QUEUE_PURGE_OK_METHOD, &ok);
    }
    free(name);
}

/* ---- consuming and publishing ---- */

static void on_consume(broker *b, conn *c, channel *ch, const amqp_basic_consume_t *m)
{
    char *name = text_of(m->queue), *tag = text_of(m->consumer_tag);

    if (queue_of(b, name) == NULL) {
        not_found(c, ch, "queue", name, AMQP_BASIC_CONSUME_METHOD);
        free(name);
        free(tag);
        return;
    }
    if (tag[0] == '\0') {
        free(tag);
        must_ok(asprintf(&tag, "amq.ctag-%u", ++b->names) > 0);
    }
    consumer *k = must(calloc(1, sizeof *k)), **at = &b->consumers;
    *k = (consumer){ .conn = c,
                     .channel = ch->number,
                     .tag = tag,
                     .queue = name,
                     .no_ack = m->no_ack,
                     .prefetch = ch->prefetch };
    while (*at != NULL)
        at = &(*at)->next;
    *at = k;
    amqp_basic_consume_ok_t ok = { amqp_cstring_bytes(tag) };
    if (!m->nowait)
        say(c, ch->number, AMQP_BASIC_CONSUME_OK_METHOD, &ok);
}

static void on_cancel(broker *b, conn *c, channel *ch, const amqp_basic_cancel_t *m)
{
    amqp_basic_cancel_ok_t ok = { m->consumer_tag };

    for (consumer **at = &b->consumers; *at != NULL; at = &(*at)->next) {
        if ((*at)->conn == c && (*at)->channel == ch->number && same((*at)->tag, m->consumer_tag)) {
            char *name = must(strdup((*at)->queue));
            consumer_drop(at);
            auto_delete(b, name);
            free(name);
            break;
        }
    }
    if (!m->nowait)
        say(c, ch->number, AMQP_BASIC_CANCEL_OK_METHOD, &ok);
}

static void on_get(broker *b, conn *c, channel *ch, const amqp_basic_get_t *m)
{
    char *name = text_of(m->queue);
    queue *q = queue_of(b, name);
    amqp_basic_get_empty_t empty = { 0 };
    message *got = q != NULL ? pop(q) : NULL;

    if (q == NULL) {
        not_found(c, ch, "queue", name, AMQP_BASIC_GET_METHOD);
    } else if (got == NULL) {
        say(c, ch->number, AMQP_BASIC_GET_EMPTY_METHOD, &empty);
    } else {
        amqp_basic_get_ok_t ok = { ++ch->delivered, got->redelivered, amqp_cstring_bytes(got->exchange),
                                   amqp_cstring_bytes(got->key), ready(q) };
        say_message(c, ch->number, AMQP_BASIC_GET_OK_METHOD, &ok, got);
        if (m->no_ack)
            message_free(got);
        else
            hold(ch, q, "", got);
    }
    free(name);
}

static void begin_publish(channel *ch, const amqp_basic_publish_t *m)
{
    message_free(ch->message);
    ch->message = must(calloc(1, sizeof *ch->message));
    ch->message->exchange = text_of(m->exchange);
    ch->message->key = text_of(m->routing_key);
    ch->mandatory = m->mandatory;
    ch->publishing = true;
    ch->header_seen = 0;
}

static void say_return(conn *c, const channel *ch)
{
    const message *m = ch->message;
    amqp_basic_return_t back = { AMQP_NO_ROUTE, amqp_cstring_bytes("NO_ROUTE"), amqp_cstring_bytes(m->exchange),
                                 amqp_cstring_bytes(m->key) };

    say_message(c, ch->number, AMQP_BASIC_RETURN_METHOD, &back, m);
}

/* ---- faults ---- */

static rule *strike(broker *b, amqp_method_number_t id)
{
    for (rule *r = b->rules; r != NULL; r = r->next) {
        if (r->is.at != id || id == 0)
            continue;
        if (r->is.skip != 0) {
            r->is.skip--;
            return NULL;
        }
        if (r->is.times == 0)
            continue;
        r->is.times--;
        return r;
    }
    return NULL;
}

static void cancel_all(broker *b, const conn *c)
{
    for (const consumer *k = b->consumers; k != NULL;) {
        if (k->conn == c) {
            queue_delete(b, k->queue);
            k = b->consumers;
        } else {
            k = k->next;
        }
    }
}

static void close_channels(conn *c, const channel *only, const broker_rule *is, amqp_method_number_t id)
{
    for (channel *ch = c->channels; ch != NULL; ch = ch->next) {
        if (only == NULL || ch == only)
            say_channel_close(c, ch, is->code != 0 ? is->code : AMQP_PRECONDITION_FAILED,
                              is->text != NULL ? is->text : "PRECONDITION_FAILED - told to", id);
    }
}

static void say_blocked(conn *c, const broker_rule *is)
{
    amqp_connection_blocked_t blocked = { amqp_cstring_bytes(is->text != NULL ? is->text : "low on memory") };
    amqp_connection_unblocked_t unblocked = { 0 };

    if (is->kind == BROKER_BLOCK)
        say(c, 0, AMQP_CONNECTION_BLOCKED_METHOD, &blocked);
    else
        say(c, 0, AMQP_CONNECTION_UNBLOCKED_METHOD, &unblocked);
}

/* @return whether the method is still to be done */
static bool misbehave(broker *b, conn *c, channel *ch, const broker_rule *is, amqp_method_number_t id)
{
    switch (is->kind) {
    case BROKER_REFUSE_LOGIN:
        say_close(c, AMQP_ACCESS_REFUSED, "ACCESS_REFUSED - Login was refused using authentication mechanism");
        return false;
    case BROKER_NO_VHOST:
        say_close(c, AMQP_NOT_ALLOWED, "NOT_ALLOWED - vhost not found");
        return false;
    case BROKER_CLOSE_CONNECTION:
        say_close(c, is->code != 0 ? is->code : AMQP_CONNECTION_FORCED,
                  is->text != NULL ? is->text : "CONNECTION_FORCED - told to");
        return false;
    case BROKER_CLOSE_CHANNEL:
        close_channels(c, ch, is, id);
        return false;
    case BROKER_HANG_UP:
        fj__buf_clear(&c->out);
        c->hang_up = true;
        return false;
    case BROKER_HANG_UP_AFTER:
        c->hang_up = true;
        return true;
    case BROKER_STALL:
        c->stalled = true;
        return false;
    case BROKER_RESUME:
        c->stalled = c->mute = false;
        return true;
    case BROKER_MUTE:
        c->mute = true;
        return true;
    case BROKER_SEND:
    case BROKER_SEND_THEN:
        must_ok(fj__buf_append(&c->out, is->bytes, is->n));
        return is->kind == BROKER_SEND_THEN;
    case BROKER_CANCEL:
        cancel_all(b, c);
        return true;
    case BROKER_BLOCK:
    case BROKER_UNBLOCK:
        say_blocked(c, is);
        return true;
    default: /* IGNORE; what a publish only knows elsewhere does nothing */
        return false;
    }
}

static void end_publish(broker *b, conn *c, channel *ch)
{
    const rule *r = strike(b, AMQP_BASIC_PUBLISH_METHOD);
    broker_fault_kind kind = r != NULL ? r->is.kind : BROKER_RESUME;
    message *m = ch->message;

    ch->publishing = false;
    ch->published++;
    bool plain =
        kind == BROKER_NACK || kind == BROKER_RETURN || kind == BROKER_NO_CONFIRM || kind == BROKER_LOSE;
    if (r != NULL && !plain && !misbehave(b, c, ch, &r->is, AMQP_BASIC_PUBLISH_METHOD))
        goto out;
    if (m->exchange[0] != '\0' && exchange_of(b, m->exchange) == NULL) {
        not_found(c, ch, "exchange", m->exchange, AMQP_BASIC_PUBLISH_METHOD);
        goto out;
    }
    bool routed = kind == BROKER_NACK || kind == BROKER_LOSE;
    if (!routed && kind != BROKER_RETURN)
        routed = route(b, m) != 0;
    if (kind == BROKER_RETURN || (!routed && ch->mandatory))
        say_return(c, ch);
    if (kind != BROKER_NO_CONFIRM)
        say_confirm(c, ch, kind == BROKER_NACK);
out:
    ch->message = message_free(m);
}

/* ---- frames in ---- */

static void on_content(broker *b, conn *c, channel *ch, const fj__frame *frame)
{
    message *m = ch->message;

    if (!ch->publishing)
        return;
    if (frame->type == FJ__FRAME_HEADER && frame->len >= 14) {
        ch->size = fj__get64(frame->payload + 4);
        m->properties_len = frame->len - 12;
        m->properties = must(malloc(m->properties_len));
        memcpy(m->properties, frame->payload + 12, m->properties_len);
        m->body = must(malloc((size_t)ch->size + 1));
        ch->header_seen = 1;
    } else if (ch->header_seen && frame->len <= ch->size - m->body_len) {
        memcpy(m->body + m->body_len, frame->payload, frame->len);
        m->body_len += frame->len;
    }
    if (ch->header_seen && m->body_len == ch->size)
        end_publish(b, c, ch);
}

static void on_basic(broker *b, conn *c, channel *ch, amqp_method_number_t id, void *decoded)
{
    amqp_basic_qos_ok_t qos_ok = { 0 };
    amqp_basic_recover_ok_t recover_ok = { 0 };
    const amqp_basic_ack_t *ack = decoded;
    const amqp_basic_nack_t *nack = decoded;
    const amqp_basic_reject_t *reject = decoded;

    switch (id) {
    case AMQP_BASIC_QOS_METHOD:
        ch->prefetch = ((const amqp_basic_qos_t *)decoded)->prefetch_count;
        say(c, ch->number, AMQP_BASIC_QOS_OK_METHOD, &qos_ok);
        break;
    case AMQP_BASIC_CONSUME_METHOD:
        on_consume(b, c, ch, decoded);
        break;
    case AMQP_BASIC_CANCEL_METHOD:
        on_cancel(b, c, ch, decoded);
        break;
    case AMQP_BASIC_GET_METHOD:
        on_get(b, c, ch, decoded);
        break;
    case AMQP_BASIC_ACK_METHOD:
        on_ack(b, c, ch, ack->delivery_tag, ack->multiple, true);
        break;
    case AMQP_BASIC_NACK_METHOD:
        on_ack(b, c, ch, nack->delivery_tag, nack->multiple, !nack->requeue);
        break;
    case AMQP_BASIC_REJECT_METHOD:
        on_ack(b, c, ch, reject->delivery_tag, false, !reject->requeue);
        break;
    case AMQP_BASIC_RECOVER_METHOD:
        requeue_all(b, c, ch);
        say(c, ch->number, AMQP_BASIC_RECOVER_OK_METHOD, &recover_ok);
        break;
    default:
        break;
    }
}

static void on_channel(broker *b, conn *c, channel *ch, amqp_method_number_t id, void *decoded)
{
    amqp_confirm_select_ok_t select_ok = { 0 };
    amqp_exchange_delete_ok_t exchange_ok = { 0 };
    char *name;

    switch (id) {
    case AMQP_EXCHANGE_DECLARE_METHOD:
        on_exchange_declare(b, c, ch, decoded);
        break;
    case AMQP_EXCHANGE_DELETE_METHOD:
        name = text_of(((const amqp_exchange_delete_t *)decoded)->exchange);
        exchange_delete(b, name);
        free(name);
        say(c, ch->number, AMQP_EXCHANGE_DELETE_OK_METHOD, &exchange_ok);
        break;
    case AMQP_QUEUE_DECLARE_METHOD:
        on_queue_declare(b, c, ch, decoded);
        break;
    case AMQP_QUEUE_BIND_METHOD:
        on_bind(b, c, ch, decoded);
        break;
    case AMQP_QUEUE_UNBIND_METHOD:
        on_unbind(b, c, ch, decoded);
        break;
    case AMQP_QUEUE_PURGE_METHOD:
        on_purge(b, c, ch, decoded);
        break;
    case AMQP_QUEUE_DELETE_METHOD:
        on_queue_delete(b, c, ch, decoded);
        break;
    case AMQP_CONFIRM_SELECT_METHOD:
        ch->confirms = true;
        if (!((const amqp_confirm_select_t *)decoded)->nowait)
            say(c, ch->number, AMQP_CONFIRM_SELECT_OK_METHOD, &select_ok);
        break;
    default:
        on_basic(b, c, ch, id, decoded);
        break;
    }
}

static void note(broker *b, amqp_method_number_t id)
{
    size_t i = 0;

    while (i < b->seen_count && b->seen[i].id != id)
        i++;
    if (i == b->seen_count && b->seen_count < sizeof b->seen / sizeof b->seen[0])
        b->seen[b->seen_count++] = (seen){ id, 0 };
    if (i < b->seen_count)
        b->seen[i].count++;
    (void)pthread_cond_broadcast(&b->changed);
}

static void do_method(broker *b, conn *c, uint16_t number, amqp_method_number_t id, void *decoded)
{
    channel *ch = channel_of(c, number);
    amqp_channel_open_ok_t open_ok = { 0 };
    amqp_channel_close_ok_t close_ok = { 0 };

    if (number == 0) {
        on_connection(b, c, id, decoded);
    } else if (id == AMQP_CHANNEL_OPEN_METHOD) {
        if (ch == NULL) {
            ch = must(calloc(1, sizeof *ch));
            ch->number = number;
            ch->next = c->channels;
            c->channels = ch;
        }
        say(c, number, AMQP_CHANNEL_OPEN_OK_METHOD, &open_ok);
    } else if (id == AMQP_CHANNEL_CLOSE_METHOD) {
        channel_drop(b, c, number);
        say(c, number, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok);
    } else if (id == AMQP_CHANNEL_CLOSE_OK_METHOD) {
        channel_drop(b, c, number);
    } else if (ch == NULL) {
        say_close(c, 504, "CHANNEL_ERROR - expected 'channel.open'");
    } else if (!ch->closing) {
        on_channel(b, c, ch, id, decoded);
    }
}

static void on_method(broker *b, conn *c, const fj__frame *frame)
{
    void *decoded = NULL;
    amqp_method_number_t id = fj__get32(frame->payload);
    amqp_bytes_t args = { frame->len - 4, (void *)(uintptr_t)(frame->payload + 4) };
    channel *ch = channel_of(c, frame->channel);

    recycle_amqp_pool(&b->pool);
    if (amqp_decode_method(id, &b->pool, args, &decoded) < 0) {
        say_close(c, AMQP_SYNTAX_ERROR, "SYNTAX_ERROR");
        return;
    }
    note(b, id);
    if (id == AMQP_BASIC_PUBLISH_METHOD) { /* its faults strike when all of it is there */
        if (ch != NULL && !ch->closing)
            begin_publish(ch, decoded);
        return;
    }
    const rule *r = strike(b, id);
    if (r == NULL || misbehave(b, c, ch, &r->is, id))
        do_method(b, c, frame->channel, id, decoded);
}

static void on_frame(broker *b, conn *c, const fj__frame *frame)
{
    channel *ch = channel_of(c, frame->channel);

    if (frame->type == FJ__FRAME_METHOD && frame->len >= 4)
        on_method(b, c, frame);
    else if (frame->type != FJ__FRAME_HEARTBEAT && ch != NULL && !ch->closing)
        on_content(b, c, ch, frame);
}

static void read_frames(broker *b, conn *c)
{
    fj__frame frame;
    char why[96];

    if (!c->greeted) {
        if (fj__buf_len(&c->in) < 8)
            return;
        fj__buf_consume(&c->in, 8);
        c->greeted = true;
        greet(b, c);
    }
    while (!c->hang_up && !c->stalled && fj__buf_len(&c->in) != 0) {
        fj__frame_result r =
            fj__frame_parse(fj__buf_data(&c->in), fj__buf_len(&c->in), c->frame_max, UINT16_MAX, &frame, why);
        if (r == FJ__FRAME_SHORT)
            break;
        if (r == FJ__FRAME_BAD) {
            say_close(c, AMQP_FRAME_ERROR, why);
            c->hang_up = true;
            break;
        }
        on_frame(b, c, &frame);
        fj__buf_consume(&c->in, frame.len + FJ__FRAME_EXTRA);
    }
    deliver_all(b);
}

/* ---- the thread ---- */

static void accept_one(broker *b)
{
    int one = 1, fd = accept4(b->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    conn *c = must(calloc(1, sizeof *c));
    c->fd = fd;
    c->frame_max = 131072;
    c->next = b->conns;
    b->conns = c;
    b->accepted++;
    (void)pthread_cond_broadcast(&b->changed);
}

/* @return false: the peer is gone */
static bool receive(broker *b, conn *c)
{
    ssize_t n;

    do {
        uint8_t *to = must(fj__buf_reserve(&c->in, 65536));
        n = recv(c->fd, to, 65536, 0);
        if (n > 0)
            fj__buf_commit(&c->in, (size_t)n);
    } while (n > 0);
    bool gone = n == 0 || (errno != EAGAIN && errno != EINTR);
    read_frames(b, c);
    return !gone;
}

static bool transmit(const broker *b, conn *c)
{
    while (fj__buf_len(&c->out) != 0) {
        size_t n = fj__buf_len(&c->out);
        if (b->split != 0 && n > b->split)
            n = b->split;
        ssize_t done = send(c->fd, fj__buf_data(&c->out), n, MSG_NOSIGNAL);
        if (done < 0)
            return errno == EAGAIN || errno == EINTR;
        fj__buf_consume(&c->out, (size_t)done);
    }
    return true;
}

static void beat(conn *c)
{
    if (!c->tuned || c->heartbeat == 0 || c->stalled || c->mute || now_ms() < c->beat_at)
        return;
    must_ok(fj__put_frame(&c->out, FJ__FRAME_HEARTBEAT, 0, NULL, 0) == FJ_OK);
    c->beat_at = now_ms() + c->heartbeat * 500;
}

static void serve(broker *b, const struct pollfd *fds)
{
    size_t i = 2;

    for (conn **at = &b->conns; *at != NULL; i++) {
        conn *c = *at;
        bool alive = !(fds[i].revents & (POLLERR | POLLNVAL));

        if (alive && !c->stalled && (fds[i].revents & (POLLIN | POLLHUP)))
            alive = receive(b, c);
        beat(c);
        if (alive && c->stalled && (fds[i].revents & POLLHUP))
            alive = false;
        if (!alive)
            conn_drop(b, at);
        else
            at = &c->next;
    }
    for (conn **at = &b->conns; *at != NULL;) { /* what one did may have made output for another */
        conn *c = *at;
        bool alive = c->stalled || transmit(b, c);

        if (!alive || (c->hang_up && fj__buf_len(&c->out) == 0))
            conn_drop(b, at);
        else
            at = &c->next;
    }
    (void)pthread_cond_broadcast(&b->changed);
}

static struct pollfd *make_fds(const broker *b, size_t *count)
{
    size_t n = 2;

    for (const conn *c = b->conns; c != NULL; c = c->next)
        n++;
    struct pollfd *fds = must(calloc(n, sizeof *fds));
    fds[0] = (struct pollfd){ .fd = b->listen_fd, .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = b->wake_fd, .events = POLLIN };
    n = 2;
    for (const conn *c = b->conns; c != NULL; c = c->next) {
        bool writes = !c->stalled && fj__buf_len(&c->out) != 0;
        fds[n++] = (struct pollfd){ .fd = c->fd,
                                    .events = (short)((c->stalled ? 0 : POLLIN) | (writes ? POLLOUT : 0)) };
    }
    *count = n;
    return fds;
}

static void *run(void *arg)
{
    broker *b = arg;
    uint64_t drained;

    (void)pthread_mutex_lock(&b->lock);
    while (!b->stop) {
        size_t n;
        struct pollfd *fds = make_fds(b, &n);
        (void)pthread_mutex_unlock(&b->lock);
        (void)poll(fds, n, 100);
        (void)pthread_mutex_lock(&b->lock);
        if (fds[1].revents & POLLIN)
            (void)!read(b->wake_fd, &drained, sizeof drained);
        serve(b, fds);
        if (fds[0].revents & POLLIN)
            accept_one(b);
        free(fds);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return NULL;
}

static void lock(broker *b)
{
    (void)pthread_mutex_lock(&b->lock);
}

static void unlock(broker *b)
{
    (void)pthread_mutex_unlock(&b->lock);
}

static void unlock_and_wake(broker *b)
{
    uint64_t one = 1;

    unlock(b);
    (void)!write(b->wake_fd, &one, sizeof one);
}

/* ---- making and ending ---- */

static bool listen_on(broker *b, uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons(port) };
    socklen_t n = sizeof at;
    const int yes = 1;

    b->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (b->listen_fd < 0 || b->wake_fd < 0 ||
        setsockopt(b->listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(b->listen_fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(b->listen_fd, 512) != 0 ||
        getsockname(b->listen_fd, (struct sockaddr *)&at, &n) != 0)
        return false;
    b->port = ntohs(at.sin_port);
    return true;
}

static void forget(broker *b)
{
    while (b->consumers != NULL)
        consumer_drop(&b->consumers);
    while (b->queues != NULL)
        queue_delete(b, b->queues->name);
    while (b->bindings != NULL)
        unbind(b, &b->bindings);
    while (b->exchanges != NULL)
        exchange_delete(b, b->exchanges->name);
}

static void discard(broker *b)
{
    while (b->conns != NULL)
        conn_drop(b, &b->conns);
    forget(b);
    broker_rules_clear(b);
    if (b->listen_fd >= 0)
        (void)close(b->listen_fd);
    if (b->wake_fd >= 0)
        (void)close(b->wake_fd);
    empty_amqp_pool(&b->pool);
    (void)pthread_mutex_destroy(&b->lock);
    (void)pthread_cond_destroy(&b->changed);
    free(b->greeting);
    free(b->mechanisms);
    free(b->user);
    free(b->password);
    free(b);
}

broker *broker_new(void)
{
    return broker_new_at(0);
}

broker *broker_new_at(uint16_t port)
{
    broker *b = must(calloc(1, sizeof *b));
    pthread_condattr_t monotonic;

    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_cond_init(&b->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    init_amqp_pool(&b->pool, 4096);
    b->channel_max = 2047;
    b->frame_max = 131072;
    b->mechanisms = must(strdup("PLAIN AMQPLAIN"));
    if (!listen_on(b, port) || pthread_create(&b->thread, NULL, run, b) != 0) {
        discard(b);
        return NULL;
    }
    return b;
}

uint16_t broker_port(const broker *b)
{
    return b->port;
}

broker *broker_free(broker *b)
{
    if (b == NULL)
        return NULL;
    lock(b);
    b->stop = true;
    unlock_and_wake(b);
    (void)pthread_join(b->thread, NULL);
    discard(b);
    return NULL;
}

/* ---- telling it what to do ---- */

void broker_fault(broker *b, broker_fault_kind kind, amqp_method_number_t at)
{
    broker_rule is = { .kind = kind, .at = at };

    broker_rule_add(b, &is);
}

static rule *keep_rule(const broker_rule *is)
{
    rule *r = must(calloc(1, sizeof *r));

    r->is = *is;
    r->is.times = is->times != 0 ? is->times : 1;
    if (is->text != NULL)
        r->is.text = r->text = must(strdup(is->text));
    if (is->n != 0) {
        r->is.bytes = r->bytes = must(malloc(is->n));
        memcpy(r->bytes, is->bytes, is->n);
    }
    return r;
}

void broker_rule_add(broker *b, const broker_rule *is)
{
    lock(b);
    if (is->at == 0) {
        for (conn *c = b->conns; c != NULL; c = c->next)
            (void)misbehave(b, c, NULL, is, 0);
        for (conn *c = b->conns; c != NULL && is->kind == BROKER_RESUME; c = c->next)
            read_frames(b, c); /* what came before the stall and was left lying */
    } else {
        rule *r = keep_rule(is), **at = &b->rules;
        while (*at != NULL)
            at = &(*at)->next;
        *at = r;
    }
    unlock_and_wake(b);
}

void broker_rules_clear(broker *b)
{
    lock(b);
    while (b->rules != NULL) {
        rule *r = b->rules;
        b->rules = r->next;
        free(r->text);
        free(r->bytes);
        free(r);
    }
    unlock(b);
}

void broker_tune(broker *b, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat)
{
    lock(b);
    b->channel_max = channel_max;
    b->frame_max = frame_max;
    b->heartbeat = heartbeat;
    unlock(b);
}

void broker_split(broker *b, size_t n)
{
    lock(b);
    b->split = n;
    unlock(b);
}

void broker_greet(broker *b, const void *bytes, size_t n)
{
    lock(b);
    free(b->greeting);
    b->greeting = bytes != NULL ? must(malloc(n + 1)) : NULL;
    b->greeting_len = n;
    if (n != 0 && bytes != NULL)
        memcpy(b->greeting, bytes, n);
    unlock(b);
}

void broker_mechanisms(broker *b, const char *list)
{
    lock(b);
    free(b->mechanisms);
    b->mechanisms = must(strdup(list));
    unlock(b);
}

void broker_user(broker *b, const char *user, const char *password)
{
    lock(b);
    free(b->user);
    free(b->password);
    b->user = must(strdup(user));
    b->password = must(strdup(password));
    unlock(b);
}

/* ---- asking it ---- */

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
    lock(b);
    unsigned n = seen_of(b, id);
    unlock(b);
    return n;
}

bool broker_wait(broker *b, amqp_method_number_t id, unsigned count, int ms)
{
    int64_t by = now_ms() + ms;
    struct timespec until = { .tv_sec = by / 1000, .tv_nsec = by % 1000 * 1000000 };

    lock(b);
    while (seen_of(b, id) < count && now_ms() < by)
        (void)pthread_cond_timedwait(&b->changed, &b->lock, &until);
    bool enough = seen_of(b, id) >= count;
    unlock(b);
    return enough;
}

unsigned broker_connections(broker *b)
{
    unsigned n = 0;

    lock(b);
    for (const conn *c = b->conns; c != NULL; c = c->next)
        n++;
    unlock(b);
    return n;
}

unsigned broker_accepted(broker *b)
{
    lock(b);
    unsigned n = b->accepted;
    unlock(b);
    return n;
}

int broker_queue_ready(broker *b, const char *name)
{
    lock(b);
    const queue *q = queue_of(b, name);
    int n = q != NULL ? (int)ready(q) : -1;
    unlock(b);
    return n;
}

unsigned broker_unacked(broker *b)
{
    unsigned n = 0;

    lock(b);
    for (const conn *c = b->conns; c != NULL; c = c->next) {
        for (const channel *ch = c->channels; ch != NULL; ch = ch->next) {
            for (const unacked *u = ch->unacked; u != NULL; u = u->next)
                n++;
        }
    }
    unlock(b);
    return n;
}

unsigned broker_consumers(broker *b, const char *name)
{
    lock(b);
    unsigned n = consumers_of(b, name);
    unlock(b);
    return n;
}

bool broker_has_exchange(broker *b, const char *name)
{
    lock(b);
    bool has = exchange_of(b, name) != NULL;
    unlock(b);
    return has;
}

bool broker_has_binding(broker *b, const char *x, const char *q, const char *key)
{
    lock(b);
    bool has = *binding_of(b, x, q, key) != NULL;
    unlock(b);
    return has;
}

unsigned broker_publish(broker *b, const char *x, const char *key, const amqp_basic_properties_t *properties,
                        const void *body, size_t n)
{
    uint8_t encoded[4096];
    amqp_basic_properties_t none = { 0 };
    int len =
        amqp_encode_properties(AMQP_BASIC_CLASS, (void *)(uintptr_t)(properties != NULL ? properties : &none),
                               (amqp_bytes_t){ sizeof encoded, encoded });
    must_ok(len >= 0);
    message m = { .exchange = (char *)(uintptr_t)x,
                  .key = (char *)(uintptr_t)key,
                  .properties = encoded,
                  .properties_len = (size_t)len,
                  .body = (uint8_t *)(uintptr_t)(n != 0 ? body : ""),
                  .body_len = n };

    lock(b);
    unsigned taken = route(b, &m);
    deliver_all(b);
    unlock_and_wake(b);
    return taken;
}

void broker_queue_delete(broker *b, const char *name)
{
    lock(b);
    queue_delete(b, name);
    unlock_and_wake(b);
}

void broker_forget(broker *b)
{
    lock(b);
    forget(b);
    unlock_and_wake(b);
}
