/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_CAPTURE_H
#define FJORD_RUNTIME_CAPTURE_H
/*
 * Where another thread is: it is sent SIGURG, whose handler takes a backtrace and nothing else.  The handler is there as long as
 * somebody may want one; SIGURGs of others go on to the handler that was there before.
 *
 * A system call that the signal interrupts is restarted, but for those that never are (poll, nanosleep: signal(7)): they answer
 * EINTR.
 */
#include "runtime/trace.h"

#include <fjord/clock.h>
#include <sys/types.h>

enum { FJ__CAPTURE_NAME = 64 };

typedef struct {
    void *frames[FJ__TRACE_FRAMES];
    int n;
    char name[FJ__CAPTURE_NAME]; /* of the call-back or task that runs there; "": nobody knows */
} fj__capture;

/** From now on there is a handler.  Once for each fj__capture_uninstall(). */
void fj__capture_install(void);
void fj__capture_uninstall(void);
/** What runs on this thread (lends) until the next call; NULL: the task that does, if any. */
void fj__capture_name(const char *name);
/** Ask thread @p tid of this process.
 *  @param still  asked while it has not answered, and once it has: whether the answer is still wanted; may be NULL
 *  @return whether it answered by @p by, real time, and was wanted   @blocks until then at most   @thread any, but not @p tid */
bool fj__capture_take(pid_t tid, fj__capture *ret, bool (*still)(void *user), void *user, fj_deadline by);
/** The number of this thread. */
pid_t fj__thread_id(void);

#endif
