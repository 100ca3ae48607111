/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_ENGINE_H
#define FJORD_AMQP_ENGINE_H
/*
 * The AMQP 0-9-1 client protocol of one connection as a passive state machine: it is fed bytes and the time, and
 * gives bytes and events.  No I/O, no clock, no thread, no lock.  librabbitmq serves as the codec of methods, properties
 * and tables; framing, limits and states are ours.
 *
 * Nothing a peer sends can abort, recurse without limit, or make it allocate beyond the limits: such bytes end in
 * FJ__EV_FAILED with a text that says what was wrong.
 */
#include "base/buffer.h"
#include <amqp.h>
#include <amqp_framing.h>
#include <fjord/clock.h>
#include <fjord/error.h>

typedef struct fj__engine fj__engine;

typedef enum {
    FJ__ENGINE_IDLE,    /* not started */
    FJ__ENGINE_HEADER,  /* protocol header sent, waiting for connection.start */
    FJ__ENGINE_AUTH,    /* start-ok sent, waiting for connection.tune (or secure, or close) */
    FJ__ENGINE_OPENING, /* connection.open sent */
    FJ__ENGINE_OPEN,
    FJ__ENGINE_CLOSING, /* our connection.close sent */
    FJ__ENGINE_CLOSED   /* over: by close-ok, by the peer's close, or by a failure */
} fj__engine_state;

typedef struct {
    const char *vhost;
    const char *user, *password; /* lends during engine_new: kept as a secret */
    const char *mechanism;       /* "AMQPLAIN" (default), "PLAIN", "EXTERNAL" */
    const char *connection_name; /* client property */
    uint16_t channel_max;        /* 2047 */
    uint32_t frame_max;          /* 131072 */
    uint16_t heartbeat;          /* seconds; 0: none */
    unsigned heartbeat_rate;     /* how many go out in that time; less than 2: 2 */
    size_t body_max;             /* largest content body taken; a larger one is skipped: FJ__EV_SKIPPED */
    int64_t handshake_ns;        /* from start to open at most */
    int64_t answer_ns;           /* for the answer to one method, once open; 0: no limit */
} fj__engine_opts;

typedef enum {
    FJ__EV_NONE = 0,
    FJ__EV_OPEN,   /* the handshake is done */
    FJ__EV_METHOD, /* a method on a channel > 0 that is none of the below (open-ok, declare-ok, consume-ok...) */
    FJ__EV_DELIVER, /* basic.deliver with its content */
    FJ__EV_RETURN,  /* basic.return with its content; body is NULL when it is too long */
    FJ__EV_SKIPPED, /* a basic.deliver whose body is over body_max, or whose properties cannot be read: text says which; tag is
                      * set, body is empty */
    FJ__EV_CONFIRM, /* basic.ack or basic.nack of a publish: tag, multiple, nack */
    FJ__EV_CANCEL,  /* basic.cancel: the broker cancelled a consumer: text is the consumer tag */
    FJ__EV_CHANNEL_CLOSED, /* by the broker: code, text, method (class << 16 | method that caused it); close-ok was queued */
    FJ__EV_BLOCKED, /* connection.blocked: text is the reason */
    FJ__EV_UNBLOCKED,
    FJ__EV_CLOSED, /* connection.close from the broker (code, text, method; close-ok was queued) or our close is done (code 0) */
    FJ__EV_FAILED /* the peer broke the protocol, refused the login, fell silent: error says what */
} fj__event_kind;

/* Everything pointed to is lent until the next call of an engine function. */
typedef struct {
    fj__event_kind kind;
    uint16_t channel;
    /* METHOD */
    amqp_method_t method;
    /* DELIVER, RETURN, CONFIRM */
    uint64_t tag;
    bool multiple, nack, redelivered;
    amqp_bytes_t consumer_tag, exchange, routing_key;
    const amqp_basic_properties_t *properties;
    const uint8_t *body;
    size_t body_len;
    /* RETURN, SKIPPED, CHANNEL_CLOSED, CLOSED, BLOCKED, CANCEL */
    uint16_t code;
    uint32_t cause;   /* method id */
    const char *text; /* NUL-terminated */
    /* FAILED */
    fj_error *error; /* lent; copy to keep */
} fj__event;

/** @param ret gives   @errors NOMEM, BAD_CONFIG (a mechanism we do not know) */
fj_code fj__engine_new(const fj__engine_opts *opts, fj__engine **ret, fj_error **err);
fj__engine *fj__engine_free(fj__engine *e);

fj__engine_state fj__engine_state_of(const fj__engine *e);
const char *fj__engine_state_name(fj__engine_state state);
/** Put the protocol header into the output. */
fj_code fj__engine_start(fj__engine *e, fj_deadline now);
/** Bytes from the peer (lent), any number.  They are taken whole; events are then to be fetched until NONE.  After CLOSED
 *  they are ignored. */
fj_code fj__engine_feed(fj__engine *e, const void *bytes, size_t n, fj_deadline now);
/** The end of the peer's bytes (a closed or broken socket): FAILED follows unless closed.  @p text says why. */
void fj__engine_eof(fj__engine *e, const char *text);
/** Room to receive into, instead of feeding a copy: at least @p n bytes, or NULL without memory; then feed with bytes = this
 *  pointer. */
uint8_t *fj__engine_room(fj__engine *e, size_t n);
/** The next event.  @return false: none (kind NONE) */
bool fj__engine_next(fj__engine *e, fj__event *ret);
/** Heartbeats out, silence of the peer, handshake timeout.  @p wrote: when bytes last went out to the socket is told by
 *  fj__engine_sent(). */
void fj__engine_tick(fj__engine *e, fj_deadline now);
/** The heartbeat out alone, if it is due; nobody is judged.  For one who does not read. */
void fj__engine_beat(fj__engine *e, fj_deadline now);
fj_deadline fj__engine_beat_due(const fj__engine *e);
/** When tick is due. */
fj_deadline fj__engine_due(const fj__engine *e);

/** Bytes for the peer: take from the front, then say how many were written. */
const fj__buf *fj__engine_output(const fj__engine *e);
void fj__engine_sent(fj__engine *e, size_t n, fj_deadline now);
/** Sum of all bytes ever put into the output, and ever taken: an ack is with the kernel when taken reaches what put was. */
uint64_t fj__engine_put_total(const fj__engine *e);
uint64_t fj__engine_sent_total(const fj__engine *e);

/* Output of methods.  All append to the output, or answer NOMEM and append nothing.  STATE unless open. */
fj_code fj__engine_method(fj__engine *e, uint16_t channel, amqp_method_number_t id, void *decoded);
/** Whether a channel is open or still being closed: its number cannot be opened now. */
bool fj__engine_channel_known(const fj__engine *e, uint16_t number);
/** basic.publish, header and body frames, as one append. */
fj_code fj__engine_publish(fj__engine *e, uint16_t channel, const amqp_basic_publish_t *publish,
                           const amqp_basic_properties_t *properties, const void *body, size_t n);
/** connection.close; CLOSED follows when the peer agrees. */
fj_code fj__engine_close(fj__engine *e, uint16_t code, const char *text);

uint32_t fj__engine_frame_max(const fj__engine *e); /* negotiated; valid once open */
uint16_t fj__engine_channel_max(const fj__engine *e);
uint16_t fj__engine_heartbeat(const fj__engine *e);
/** What went over the connection, frames and bytes, and when something last did. */
typedef struct {
    uint64_t bytes_in, bytes_out, frames_in, frames_out;
    size_t waiting; /* bytes of output */
    fj_deadline last_in, last_out;
} fj__engine_totals;
void fj__engine_totals_of(const fj__engine *e, fj__engine_totals *ret);
/** "RabbitMQ 3.10.8", once connected; else "". */
const char *fj__engine_peer(const fj__engine *e);

#endif
