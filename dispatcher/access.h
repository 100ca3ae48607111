/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DISPATCHER_ACCESS_H
#define FJORD_DISPATCHER_ACCESS_H
#include <fjord/access.h>
#include <fjord/endpoint.h>

/** Whether a peer may call @p method by @p name under @p policy. */
bool fj__access_allows(fj_access policy, const fj_method *method, const char *name);

#endif
