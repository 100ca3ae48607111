/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_INSPECT_H
#define FJORD_INSPECT_H
/*
 * What a running program is doing: its loops and their tasks, its connections, queues, calls and counters, as JSON.  It is what
 * `fjord inspect` prints of another process; docs/inspect.md has every member.
 *
 * Kinds: "loop", "connection", "queue", "call", "counters".
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

/** What all there is of @p kind says of itself.
 *  @param by   a loop that has not answered by then is described from outside: that it is blocked, since when, and where
 *  @param ret  gives; an array of objects, perhaps empty
 *  @errors NOT_FOUND (no such kind), NOMEM
 *  @thread any but a loop's   @blocks until @p by at most, for one answer of each loop and a few locks */
FJ_API FJ_MUST_USE fj_code fj_inspect(const char *kind, fj_deadline by, json_t **ret, fj_error **err);

FJ_END_DECLS
#endif
