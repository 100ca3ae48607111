/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_BROKER_H
#define TESTS_SUPPORT_BROKER_H
/*
 * A small AMQP 0-9-1 broker on a thread of the test's process, at 127.0.0.1 and a port of the system's choice: direct, topic,
 * fanout and default exchanges, queues, consumers with prefetch, acks, confirms, mandatory returns, expiration, heartbeats.  Left alone it behaves as
 * RabbitMQ does for what Fjord uses; told to, it misbehaves at a named point.  broker_impl.h says which file has what.
 *
 * All functions may be called from any thread, but not after fork() in the child: the thread is not there.
 */
#include <amqp.h>
#include <amqp_framing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct broker broker;

/** NULL when no socket or thread could be had. */
broker *broker_new(void);
/** At the port of one that was freed. */
broker *broker_new_at(uint16_t port);
uint16_t broker_port(const broker *b);
/** Hang up on everyone and end the thread.  NULL is fine.  @return NULL */
broker *broker_free(broker *b);

typedef enum {
    BROKER_REFUSE_LOGIN,     /* connection.close 403; best at AMQP_CONNECTION_START_OK_METHOD */
    BROKER_HANG_UP,          /* close the socket without a word */
    BROKER_NO_VHOST,         /* connection.close 530 not found; at AMQP_CONNECTION_OPEN_METHOD */
    BROKER_CLOSE_CONNECTION, /* connection.close with code (320) and text */
    BROKER_CLOSE_CHANNEL,    /* channel.close with code (406) and text on the channel of the method, or all */
    BROKER_STALL,            /* read no more from the connection, and write no more */
    BROKER_RESUME,           /* take BROKER_STALL and BROKER_MUTE back */
    BROKER_MUTE,             /* go on reading and doing, but say nothing */
    BROKER_IGNORE,           /* as if the method had never come */
    BROKER_SEND,             /* send the rule's bytes instead of doing what the method asks */
    BROKER_SEND_THEN,        /* send the bytes, then do it */
    BROKER_CANCEL,           /* delete the queues that have consumers here: basic.cancel to each consumer */
    BROKER_NACK,             /* nack the publish, do not route it; at AMQP_BASIC_PUBLISH_METHOD */
    BROKER_RETURN,           /* return the publish (312) and ack it, do not route it */
    BROKER_NO_CONFIRM,       /* route it, but never confirm it */
    BROKER_LOSE,             /* confirm it, but do not route it */
    BROKER_HANG_UP_AFTER,    /* do what the method asks, send the answers, then close the socket */
    BROKER_CANCEL_ONLY,      /* basic.cancel to each consumer; their queues stay */
    BROKER_DELAY,            /* answer it ms later; what comes meanwhile is answered before */
    BROKER_TWICE,            /* answer it twice */
    BROKER_RETURN_LATE,      /* confirm the publish, then return it; do not route it */
    BROKER_CONFIRM_TWICE,    /* confirm it twice */
    BROKER_CONFIRM_UNKNOWN,  /* confirm another one, which nobody published, and then it */
    BROKER_CONFIRM_BEYOND,   /* confirm all up to one that nobody published yet */
    BROKER_CONFIRM_HELD,     /* route it; it is confirmed by broker_confirm_held() */
    BROKER_BLOCK,            /* connection.blocked with text */
    BROKER_UNBLOCK
} broker_fault_kind;

typedef struct {
    broker_fault_kind kind;
    amqp_method_number_t at; /* strikes when this method comes; 0: at once, on every connection */
    unsigned skip;           /* let that many pass first */
    unsigned times;          /* strike that often (0: once) */
    uint16_t code;           /* 0: the kind's own */
    const char *text;        /* copied */
    const void *bytes;       /* of BROKER_SEND: copied */
    size_t n;
    unsigned ms;             /* of BROKER_DELAY */
    const char *consumer_of; /* only connections that consume this queue; NULL: any.  Copied */
    bool publisher;          /* only connections with a channel in confirm mode */
} broker_rule;

/** Misbehave once, when method @p at comes next (0: at once). */
void broker_fault(broker *b, broker_fault_kind kind, amqp_method_number_t at);
void broker_rule_add(broker *b, const broker_rule *rule);
/** Take back what has not yet struck. */
void broker_rules_clear(broker *b);

/* How it is from now on, for connections made later. */
/** The values of connection.tune (2047, 131072, 0 in the beginning). */
void broker_tune(broker *b, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat);
/** Write at most @p n bytes at a time (0: as many as go). */
void broker_split(broker *b, size_t n);
/** Read and write at most so many bytes every @p ms (0: no limit). */
void broker_pace(broker *b, size_t read_most, size_t write_most, int ms);
/** Bytes instead of connection.start to whoever connects; n = 0 with bytes: nothing at all; NULL: as usual. */
void broker_greet(broker *b, const void *bytes, size_t n);
/** "PLAIN AMQPLAIN" in the beginning. */
void broker_mechanisms(broker *b, const char *list);
/** Let in nobody but this user. */
void broker_user(broker *b, const char *user, const char *password);

/* What it saw. */
/** How often a method came. */
unsigned broker_seen(broker *b, amqp_method_number_t id);
/** Wait until a method came @p count times.  @return false after @p ms */
bool broker_wait(broker *b, amqp_method_number_t id, unsigned count, int ms);
/** Bytes of output that have not been written yet, of all connections. */
size_t broker_unsaid(broker *b);
unsigned broker_connections(broker *b); /* open now */
unsigned broker_accepted(broker *b);    /* ever */
/** Wait until so many were accepted.  @return false after @p ms */
bool broker_wait_accepted(broker *b, unsigned count, int ms);
/** Ready messages of a queue, or -1 when there is no such queue. */
int broker_queue_ready(broker *b, const char *queue);
/** Messages handed out and not yet acked, of all queues. */
unsigned broker_unacked(broker *b);
unsigned broker_consumers(broker *b, const char *queue);
bool broker_has_exchange(broker *b, const char *exchange);
bool broker_has_binding(broker *b, const char *exchange, const char *queue, const char *key);

/** Wait until a queue has so many ready messages.  @return false after @p ms */
bool broker_wait_ready(broker *b, const char *queue, int n, int ms);
/** How many messages it was ever given. */
unsigned broker_routed(broker *b, const char *queue);
/** Heartbeats that came, over all connections.  Takes no lock. */
unsigned broker_beats(broker *b);
/** Connections that it closed because nothing came for two heartbeats. */
unsigned broker_silent(broker *b);
/** Acks and rejects of what was not handed out, or of what was settled before. */
unsigned broker_bad_acks(broker *b);
/** Messages dropped because they came back more often than x-delivery-limit allows. */
unsigned broker_dead(broker *b);
/** Whether the last client that logged in announced this capability. */
bool broker_capable(broker *b, const char *what);

/* What other clients and operators do. */
/** Publish as some other client would. @return how many queues took it */
unsigned broker_publish(broker *b, const char *exchange, const char *key,
                        const amqp_basic_properties_t *properties, const void *body, size_t n);
/** The same with the properties as on the wire, from the flags on. */
unsigned broker_publish_with(broker *b, const char *exchange, const char *key, const void *properties,
                             size_t properties_n, const void *body, size_t n);
/** A queue that nobody owns, bound unless @p exchange is NULL. */
void broker_queue_add(broker *b, const char *queue, const char *exchange, const char *key);
/** Take the first ready message of a queue; wait for one up to @p ms.  @return gives (free()) its body, or NULL */
char *broker_get(broker *b, const char *queue, int ms);
/** Confirm what was kept back, in order or the last one first. */
void broker_confirm_held(broker *b, bool backwards);
void broker_exchange_delete(broker *b, const char *exchange);
void broker_unbind(broker *b, const char *exchange, const char *queue, const char *key);
/** Delete a queue as an operator would: its consumers are cancelled. */
void broker_queue_delete(broker *b, const char *queue);
/** Forget exchanges, queues and messages, as a broker does that starts anew; connections stay. */
void broker_forget(broker *b);

#endif
