/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_MUTEX_H
#define FJORD_RUNTIME_MUTEX_H
/* What a condition needs of a mutex. */
#include <fjord/sync.h>

/** Unlock it, however often its owner has locked it.  @return how often; 0 unless the caller owns it */
unsigned fj__mutex_leave(fj_mutex *m);
/** Lock it again as often, not cut short by cancellation or timeouts. */
fj_code fj__mutex_return(fj_mutex *m, unsigned depth);

#endif
