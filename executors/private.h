/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_PRIVATE_H
#define FJORD_EXECUTORS_PRIVATE_H
/*
 * Explicit and green methods under executors that have no loop: each runs to its end in a task on a loop of its thread's own, made
 * on first use and freed with the thread.  Such a loop has no connections.  As with asyncio.run() the loop's run is the method's:
 * tasks that it spawned and did not wait for are cancelled when it returns, and run to their end before its answer goes out.
 */
#include <fjord/dispatcher.h>

/** Call @p invoke so that the method of @p req finds what its flavour promises.  @blocks as the method does */
fj_code fj__invoke_by_flavour(fj_invoke_fn invoke, void *user, fj_request *req, json_t *args, json_t **ret,
                              fj_error **err);

#endif
