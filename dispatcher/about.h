/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DISPATCHER_ABOUT_H
#define FJORD_DISPATCHER_ABOUT_H
/* Which request the lines of the log are about. */
#include "dispatcher/request.h"

/** From now on each line that is logged while a method runs, in its task or on its thread, or in a task or
 *  a job of the pool that was made there, has its request's ids and name. */
void fj__about_start(void);
/** On this thread lines are about @p req (lends; NULL: what runs) until the next call: not to be kept over a wait.
 *  @return what they were about */
fj_request *fj__about_swap(fj_request *req);

#endif
