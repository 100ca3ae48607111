/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_BODIES_H
#define FJORD_BENCH_BODIES_H
/* Requests as oslo.messaging's services send them: records with text, numbers and lists. */
#include <fjord/body.h>

/** Arguments with which a request has @p size bytes, or just more.  A new reference.  Ends the process without memory. */
json_t *bodies_args(size_t size, const fj_json_opts *opts);
/** The request with them.  @param ret gives; free() */
void bodies_write(const json_t *args, const fj_json_opts *opts, char **ret, size_t *n);

#endif
