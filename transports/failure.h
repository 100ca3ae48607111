/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TRANSPORTS_FAILURE_H
#define FJORD_TRANSPORTS_FAILURE_H
/* The failure inside a reply: an error to JSON text and back (wire.md section 8). */
#include <fjord/error.h>
#include <fjord/json.h>

/** The JSON text of a failure.  Text of the error that is not UTF-8 is mended, for a failure must reach its caller.
 *  @param ret gives; free()   @errors TOO_DEEP, TOO_BIG, NOMEM */
fj_code fj__failure_write(const fj_error *failure, const fj_json_opts *opts, char **ret, size_t *ret_n,
                          fj_error **err);

/** What stands under "failure" in a reply as an error of code REMOTE, sent = yes.  What cannot be read becomes such
 *  an error too, which says so.
 *  @param failure lends; NULL, null, "" and whatever else Python takes for false is no failure
 *  @param ret gives; NULL for no failure   @errors NOMEM */
fj_code fj__failure_read(const json_t *failure, const fj_json_opts *opts, fj_error **ret, fj_error **err);

/** Whether Python takes the value for true. */
bool fj__json_truthy(const json_t *value);

#endif
