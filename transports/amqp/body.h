/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_BODY_H
#define FJORD_AMQP_BODY_H
/* A body as it came over AMQP: perhaps compressed (wire.md section 4), then oslo.messaging's envelope. */
#include "transports/amqp/packing.h"

#include <amqp.h>

#include <amqp_framing.h>
#include <fjord/error.h>
#include <fjord/json.h>

/** What the header `compression` says. */
fj__body_form fj__body_form_of(const amqp_basic_properties_t *properties);
/** Unpack and unwrap.  What it unpacks to is bounded by opts->max_bytes.  @param ret gives the inner message
 *  @errors those of fj__message_open(); BAD_MESSAGE for a compression that is unknown or broken, TOO_BIG */
fj_code fj__body_read(fj__body_form form, const char *body, size_t n, const fj_json_opts *opts, json_t **ret,
                      fj_error **err);

#endif
