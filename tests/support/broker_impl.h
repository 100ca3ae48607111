/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_BROKER_IMPL_H
#define TESTS_SUPPORT_BROKER_IMPL_H
/*
 * What the files of the broker of tests share; all of it needs its lock.
 *
 *   broker_loop.c      the thread, sockets, time, beginning and end
 *   broker_methods.c   frames in, the handshake, which method does what
 *   broker_declare.c   declaring, binding, deleting
 *   broker_topology.c  messages, queues, bindings, and which way a message goes
 *   broker_deliver.c   consumers, deliveries, acks
 *   broker_publish.c   a publish on its way in, confirms, returns
 *   broker_rules.c     misbehaving
 *   broker_say.c       output
 *   broker_ask.c, broker_tell.c   what tests ask and tell
 */
#include "tests/support/broker.h"

#include "transports/amqp/codec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct message {
    struct message *next;
    char *exchange, *key;
    uint8_t *properties; /* as on the wire, from the flags on */
    size_t properties_len;
    uint8_t *body;
    size_t body_len;
    bool redelivered;
    unsigned returned; /* how often it came back to its queue */
    int64_t expires;   /* 0: never */
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
    unsigned routed;
    int64_t limit; /* x-delivery-limit; negative: none */
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

/* A confirm that is kept back. */
typedef struct held {
    struct held *next;
    uint64_t tag;
} held;

/* Output that is to go out later. */
typedef struct late {
    struct late *next;
    int64_t due;
    size_t n;
    uint8_t bytes[];
} late;

typedef struct channel {
    struct channel *next;
    uint16_t number;
    bool confirms, closing;
    uint64_t published, delivered;
    unsigned prefetch;
    unacked *unacked;
    held *held; /* the latest first */
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
    int64_t beat_at, heard_at;
    int64_t read_at, write_at; /* not before, when it is slow */
    late *late;
    channel *channels;
} conn;

typedef struct rule {
    struct rule *next;
    broker_rule is;
    char *text, *consumer_of;
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
    unsigned accepted, names, bad_acks, silent, dead;
    atomic_uint beats;
    char *capabilities;           /* those that the last client announced, each between commas */
    size_t read_most, write_most; /* bytes each pause_ms; 0: no limit */
    int pause_ms;
    uint16_t channel_max, heartbeat;
    uint32_t frame_max;
    size_t split;
    void *greeting;
    size_t greeting_len;
    char *mechanisms, *user, *password;
    amqp_pool_t pool;
};

/* broker_say.c */
void *bk_must(void *p);
void bk_must_ok(bool ok);
int64_t bk_now_ms(void);
char *bk_text_of(amqp_bytes_t b);
bool bk_same(const char *text, amqp_bytes_t b);
void bk_say(conn *c, uint16_t number, amqp_method_number_t id, void *decoded);
void bk_say_message(conn *c, uint16_t number, amqp_method_number_t id, void *decoded, const message *m);
void bk_say_close(conn *c, uint16_t code, const char *text);
void bk_say_channel_close(conn *c, channel *ch, uint16_t code, const char *text, amqp_method_number_t cause);
void bk_say_confirm(conn *c, const channel *ch, uint64_t tag, bool multiple, bool nack);

/* broker_topology.c */
message *bk_message_free(message *m);
message *bk_message_copy(const message *m);
void bk_push(queue *q, message *m);
void bk_push_front(queue *q, message *m);
message *bk_pop(queue *q);
exchange *bk_exchange_of(broker *b, const char *name);
queue *bk_queue_of(broker *b, const char *name);
void bk_exchange_delete(broker *b, const char *name);
binding **bk_binding_of(broker *b, const char *x, const char *q, const char *key);
void bk_unbind(broker *b, binding **at);
void bk_consumer_drop(consumer **at);
void bk_queue_delete(broker *b, const char *name_lent);
void bk_auto_delete(broker *b, const char *name);
unsigned bk_route(broker *b, message *m);
void bk_expire(queue *q);

/* broker_declare.c */
void bk_on_exchange_declare(broker *b, conn *c, channel *ch, const amqp_exchange_declare_t *m);
queue *bk_queue_add(broker *b, conn *c, const char *name, const amqp_queue_declare_t *m);
unsigned bk_ready(const queue *q);
unsigned bk_consumers_of(const broker *b, const char *name);
void bk_on_queue_declare(broker *b, conn *c, channel *ch, const amqp_queue_declare_t *m);
void bk_not_found(conn *c, channel *ch, const char *what, const char *name, amqp_method_number_t cause);
void bk_on_bind(broker *b, conn *c, channel *ch, const amqp_queue_bind_t *m);
void bk_on_unbind(broker *b, conn *c, channel *ch, const amqp_queue_unbind_t *m);
void bk_on_queue_delete(broker *b, conn *c, channel *ch, const amqp_queue_delete_t *m);
void bk_on_purge(broker *b, conn *c, channel *ch, const amqp_queue_purge_t *m);

/* broker_deliver.c */
channel *bk_channel_of(conn *c, uint16_t number);
void bk_hold(channel *ch, const queue *q, const char *tag, message *m);
void bk_deliver_all(broker *b);
void bk_requeue_all(broker *b, conn *c, channel *ch);
void bk_on_ack(broker *b, conn *c, channel *ch, uint64_t tag, bool multiple, bool drop);
void bk_on_consume(broker *b, conn *c, channel *ch, const amqp_basic_consume_t *m);
void bk_on_cancel(broker *b, conn *c, channel *ch, const amqp_basic_cancel_t *m);
void bk_on_get(broker *b, conn *c, channel *ch, const amqp_basic_get_t *m);

/* broker_publish.c */
void bk_begin_publish(channel *ch, const amqp_basic_publish_t *m);
void bk_on_content(broker *b, conn *c, channel *ch, const fj__frame *frame);

/* broker_rules.c */
rule *bk_strike(broker *b, const conn *c, amqp_method_number_t id);
void bk_spoil_answers(conn *c, const broker_rule *is, size_t before);
bool bk_misbehave(broker *b, conn *c, channel *ch, const broker_rule *is, amqp_method_number_t id);

/* broker_methods.c */
void bk_channel_drop(broker *b, conn *c, uint16_t number);
void bk_conn_drop(broker *b, conn **at);
void bk_read_frames(broker *b, conn *c);

/* broker_loop.c */
void bk_forget(broker *b);

/* broker_ask.c */
void bk_lock(broker *b);
void bk_unlock(broker *b);
void bk_unlock_and_wake(broker *b);

#endif
