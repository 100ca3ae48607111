/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_POOL_H
#define FJORD_RUNTIME_POOL_H
/* The process's pool of threads, from inside the library and its tests. */

/** Cancel what has not begun, wait for what has, and end every thread.  The pool can be used again after it.
 *  @blocks as long as the jobs run   @thread any but the pool's */
void fj__pool_stop(void);
/** How many jobs run, or wait for a thread. */
unsigned fj__pool_jobs(void);
/** How many threads there are.  @param ret_busy how many of them run a job; may be NULL */
unsigned fj__pool_threads(unsigned *ret_busy);

/** Let the pool have @p n threads more than its size, or fewer again (negative): for jobs that only wait for somebody, who
 *  may need the pool.  @thread any */
void fj__pool_lend(int n);

#endif
