/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_FAKE_TRANSPORT_H
#define FJORD_FAKE_TRANSPORT_H
/* For tests of one's own code on fake://: what a broker does to a program now and then. */
#include <fjord/base.h>
#include <fjord/error.h>
#include <fjord/transport.h>

FJ_BEGIN_DECLS

/** Lose the transport's connection, which is there again at once.  What its servers have fetched or taken and not acked is
 *  delivered again, marked so, to other transports' servers first.  A server that is at work on such a message goes on, and
 *  its answer reaches the caller if it is the first, but its ack is stale; a message that comes back to a server that has
 *  it in work or has done it is not run twice.  Calls wait on for their answers.
 *  @errors BAD_ARGS: the transport is another than fake://; NOMEM: some messages were not delivered again; FORKED
 *  @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_fake_disconnect(fj_transport *transport, fj_error **err);

FJ_END_DECLS
#endif
