/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_VERSION_H
#define FJORD_BASE_VERSION_H
/* RPC versions, compared as oslo.messaging compares them (wire.md section 10). */
#include <fjord/error.h>

/** Whether what implements @p implemented (NULL: anything) serves @p requested (NULL: nothing does).
 *  Parts are looked at from the left and only as far as needed, as in Python.
 *  @param err set, and the answer is false, when a part that is needed cannot be read: BAD_VALUE (builtins.ValueError)
 *             for one that is no number, RAISED (builtins.IndexError) for one that is missing; may be NULL
 *  @thread any */
bool fj__version_compatible(const char *implemented, const char *requested, fj_error **err);

#endif
