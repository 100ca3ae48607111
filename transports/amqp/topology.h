/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_TOPOLOGY_H
#define FJORD_AMQP_TOPOLOGY_H
/*
 * What is declared on the broker, name by name and argument by argument as oslo.messaging does (wire.md section 3), so
 * that C and Python share a topic without a 406.  Each function appends one method to the engine's output and
 * answers false when memory ran out (or the engine is not open).
 */
#include "transports/amqp/engine.h"
#include "transports/amqp/settings.h"

bool fj__channel_open(fj__engine *e, uint16_t channel);
bool fj__confirm_select(fj__engine *e, uint16_t channel);
bool fj__qos(fj__engine *e, uint16_t channel, uint16_t prefetch);
/** The control exchange: type topic.  @param durable the settings', or false after a peer's exchange was found so */
bool fj__declare_exchange(fj__engine *e, uint16_t channel, const char *name, bool durable, bool auto_delete);
/** `<topic>_fanout`: type fanout, auto-delete.  @param durable with the settings' transient_quorum, but for peers as above */
bool fj__declare_fanout(fj__engine *e, uint16_t channel, const char *name, bool durable);
/** An RPC topic or server queue. */
bool fj__declare_queue(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *name,
                       bool durable);
/** A reply or fanout queue: with x-expires.   @param durable the settings' transient_quorum, or false as above */
bool fj__declare_transient(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *name,
                           bool durable);
/** The stream of a fanout, one for all servers. */
bool fj__declare_stream(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *name);
bool fj__bind(fj__engine *e, uint16_t channel, const char *queue, const char *exchange, const char *key);
bool fj__consume(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *queue,
                 const char *tag);
/** From a stream.  @param offset of the first message wanted; < 0: those written last */
bool fj__consume_stream(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *queue,
                        const char *tag, int64_t offset);
bool fj__delete_queue(fj__engine *e, uint16_t channel, const char *queue);
bool fj__close_channel(fj__engine *e, uint16_t channel);

/* refusals.c */
/** The error for a channel.close of the broker: code, what was wanted and found, and the configuration key to look at. */
fj_error *fj__channel_error(const fj__event *ev);
/** Whether the broker closed the channel because an exchange exists with another durability. */
bool fj__is_durable_mismatch(const fj__event *ev);
/** The same, of the exchange @p name. */
bool fj__is_durable_mismatch_of(const fj__event *ev, const char *name);

#endif
