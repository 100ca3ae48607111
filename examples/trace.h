/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRACE_H
#define TRACE_H
/* An interceptor that follows a call from process to process. */
#include <fjord/interceptor.h>

/** Gives each call an id, `trace_id` in its context, that the calls which its method makes have, too; and logs, on both sides and with
 *  that id, how it ended and how long it took. */
extern const fj_interceptor trace_interceptor;

#endif
