/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DISPATCHER_FAILURE_H
#define FJORD_DISPATCHER_FAILURE_H
/* Failures on their way out: what a Python peer expects to find in one, and the server's log line. */
#include <fjord/driver.h>
#include <fjord/error.h>

/** Give @p failure a traceback unless it has one (a failure that was relayed keeps its own).
 *  @param place  the endpoint's namespace, or what stands for it   @param method what was called */
void fj__failure_complete(fj_error *failure, const char *place, const char *method);
/** At error level; at debug level when it is expected. */
void fj__failure_log(const fj_error *failure, const char *method);
/** Send @p result (lends; NULL: null) or @p failure (lends) as the answer to @p in.  When that cannot be encoded a
 *  failure that says so takes its place, so that the caller does not wait in vain.
 *  @return the first attempt's code */
fj_code fj__answer_send(fj_incoming *in, const json_t *result, const fj_error *failure, const char *method,
                        fj_error **err);

#endif
