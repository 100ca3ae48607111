/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_PROFILE_H
#define FJORD_RUNTIME_PROFILE_H
/*
 * Where the process spends its time, by samples: each thread has a timer of its own processor time, and is sent SIGPROF when that
 * has passed.  The handler writes down the calls that are under way, the task and the method, into memory that is there already;
 * a thread of the profiler counts what is the same.  While it is off there is no timer, and no thread.
 *
 * Threads that block SIGPROF are not seen.  A system call that never is restarted may answer EINTR, as in runtime/capture.h.
 */
#include <fjord/error.h>

enum { FJ__PROFILE_HZ = 99, FJ__PROFILE_HZ_MAX = 1000 };

/** @param hz samples a second of processor time, of each thread; 0: 99   @param seconds when it ends by itself; 0: never
 *  @errors STATE it is on, or the program handles SIGPROF; BAD_VALUE; NOMEM, SYSTEM   @thread any */
fj_code fj__profile_start(unsigned hz, double seconds, fj_error **err);
/** What it has is kept until it starts again.  @return whether it was on   @blocks for a moment */
bool fj__profile_stop(void);
/** @param stacks whether to tell what was seen, or only how much   Gives an object; NULL: no memory.
 *  @thread any but a loop's: it looks names up */
json_t *fj__profile_json(bool stacks);

#endif
