/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_SASL_H
#define FJORD_AMQP_SASL_H
/* The login: AMQPLAIN, PLAIN and EXTERNAL, as the response of connection.start-ok. */
#include "base/buffer.h"
#include "base/log.h"
#include <amqp.h>
#include <fjord/error.h>

/** Whether fj__sasl_response() knows the mechanism (exact case, as on the wire). */
bool fj__sasl_known(const char *mechanism);
/** Whether the broker's list (words between spaces) has it. */
bool fj__sasl_offered(const char *mechanism, amqp_bytes_t list);
/** Append the response.  It holds the password: the caller wipes it with fj__sasl_wipe().
 *  @errors NOMEM, BAD_CONFIG (unknown mechanism) */
fj_code fj__sasl_response(const char *mechanism, const char *user, const fj__secret *password, fj__buf *out);
/** Overwrite what the buffer ever held, and free it. */
void fj__sasl_wipe(fj__buf *b);

#endif
