/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_TWO_THREADS_H
#define FJORD_BENCH_TWO_THREADS_H
/* What two threads can do at best: the floor for calls from one thread to another. */

/** @p n round trips of an eventfd each way.  @return the seconds */
double two_threads_eventfds(long n);
/** @p n numbers through a queue under a mutex to the other thread and through one back, @p window of them under way.  @return the seconds */
double two_threads_queues(long n, long window);

#endif
