/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_ENGINE_STATE_H
#define FJORD_AMQP_ENGINE_STATE_H
/*
 * What the engine's own files share, and nobody else sees:
 *
 *   engine.c      its life and states; bytes in, time, events
 *   output.c      bytes out: methods, messages, and the channels that our methods open and close
 *   handshake.c   until it is open: the first bytes, start, tune; and the broker's close
 *   methods.c     which method may come when, and what each is told as
 *   content.c     messages: header and body frames
 *   questions.c   what the broker has not answered yet
 */
#include "base/log.h"
#include "transports/amqp/codec.h"
#include "transports/amqp/engine.h"

#define FJ__IN(state) (1u << (state))

/* Where a channel is within the content it receives. */
typedef enum { FJ__STAGE_METHOD, FJ__STAGE_HEADER, FJ__STAGE_BODY } fj__stage;

typedef struct {
    uint16_t number;
    bool closing; /* our channel.close is out: all but the answer is dropped */
    fj__stage stage;
    amqp_method_number_t method; /* that the content belongs to */
    bool skip;                   /* its body is counted, not kept */
    const char *why;             /* its properties cannot be read; NULL: they can */
    fj__buf args, header, body;
    uint64_t body_size, body_have;
    amqp_method_number_t *asked; /* questions.c: from asked_first on, in the order of their answers */
    size_t asked_first, asked_n, asked_capacity;
    /* when the first of them was written, or the one before it answered; never: not yet */
    fj_deadline asked_since;
} fj__engine_channel;

struct fj__engine {
    fj__engine_state state;
    char *vhost, *user, *mechanism, *connection_name;
    fj__secret password;
    uint16_t channel_max, heartbeat;
    unsigned heartbeat_rate;
    uint32_t frame_max;
    size_t body_max;
    int64_t handshake_ns, answer_ns;

    fj__buf in, out;
    size_t taken; /* bytes at the front of `in` that the last event still points into */
    uint64_t put_total, sent_total, fed_total;
    uint64_t frames_in, frames_out;
    fj_deadline last_sent, last_fed, give_up; /* give_up: the handshake's or the close's end */
    fj_deadline frame_since;                  /* when the frame that is not whole yet began to come */
    size_t asked;                             /* questions without an answer, of all channels */
    /* where in the output the last that opens a channel's row ends; 0: all are written */
    uint64_t unsent_question;
    bool blocked; /* by the broker: it reads nothing */

    amqp_pool_t pool; /* what the codec decoded for the last event */
    fj__engine_channel *channels;
    size_t channel_count, channel_capacity;
    uint16_t delivered; /* the channel whose buffers the last event points into; 0: none */

    fj_error *error;
    bool failed; /* FAILED is still to be told */
    bool closed; /* CLOSED by silence or end of our own close is still to be told */
    bool eof;
    char *eof_text;
    char text[512]; /* the text of the last event */
    char peer[128];
};

static inline fj_deadline fj__later(fj_deadline t, int64_t ns)
{
    return (fj_deadline){ ns > FJ_NEVER_NS - t.ns ? FJ_NEVER_NS : t.ns + ns };
}

/* engine.c */
/** The only writer of the state.  @return false: there is no such edge */
bool fj__engine_go(fj__engine *e, fj__engine_state to);
/** CLOSED, and FAILED is told; the first reason stands. */
void fj__engine_fail(fj__engine *e, fj_code code, const char *format, ...) FJ_PRINTF(3, 4);
/** A text of the peer as one that can be shown: cut, without control characters.  @return lends e->text */
const char *fj__shown_text(fj__engine *e, amqp_bytes_t from);
/** The same without our password: for what is said about the connection. */
const char *fj__peer_text(fj__engine *e, amqp_bytes_t from);

/* output.c */
/** Put a method of the engine's own into the output.  @return false: failed */
bool fj__engine_answer(fj__engine *e, uint16_t number, amqp_method_number_t id, void *decoded);
/** NULL: it is not open. */
fj__engine_channel *fj__channel_of(fj__engine *e, uint16_t number);
void fj__drop_channel(fj__engine *e, uint16_t number);
void fj__end_content(fj__engine_channel *c);
void fj__channel_fini(fj__engine_channel *c);

/* handshake.c */
/** @return whether frames may be read: the first byte is that of one */
bool fj__look_at_first_bytes(fj__engine *e);
/** Name some of what came instead of AMQP.  @param n  not 0 */
void fj__fail_not_amqp(fj__engine *e, const uint8_t *p, size_t n);
void fj__on_start(fj__engine *e, const amqp_connection_start_t *start);
void fj__on_tune(fj__engine *e, const amqp_connection_tune_t *tune);
/** @return whether there is an event */
bool fj__on_connection_close(fj__engine *e, const amqp_connection_close_t *close, fj__event *ret);

/* methods.c */
/** @return whether there is an event */
bool fj__on_method(fj__engine *e, const fj__frame *frame, fj__event *ret);
/** Whether a frame on this channel is to be read; else it was dropped or the connection failed.  @param id 0: content */
bool fj__channel_reads(fj__engine *e, const fj__frame *frame, const fj__engine_channel *c,
                       amqp_method_number_t id);
/** The codec, on arguments that are known to be sound in depth.  NULL: failed */
void *fj__engine_decode(fj__engine *e, amqp_method_number_t id, const uint8_t *args, size_t n);

/* questions.c */
/** Make room for the question @p id, if it is one.  @return false when memory ran out */
bool fj__question_room(fj__engine_channel *c, amqp_method_number_t id);
/** It is in the output; there is room. */
void fj__question_put(fj__engine *e, fj__engine_channel *c, amqp_method_number_t id);
/** Output was written: their time runs. */
void fj__questions_sent(fj__engine *e, fj_deadline now);
/** Method @p id came: whether it answers something is looked at here. */
void fj__question_answered(fj__engine *e, fj__engine_channel *c, amqp_method_number_t id);
void fj__questions_blocked(fj__engine *e, bool on);
/** The channel ends. */
void fj__questions_drop(fj__engine *e, fj__engine_channel *c);
fj_deadline fj__questions_due(const fj__engine *e);
/** They are due: fail, and say what was asked. */
void fj__questions_fail(fj__engine *e);

/* content.c */
void fj__begin_content(fj__engine *e, fj__engine_channel *c, amqp_method_number_t id, const uint8_t *args,
                       size_t n);
/** @return whether there is an event */
bool fj__on_content(fj__engine *e, const fj__frame *frame, fj__event *ret);

#endif
