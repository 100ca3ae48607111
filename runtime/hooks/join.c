/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits for other threads as such: joins, on the pool, for nothing tells of a thread's end but a join; and barriers, at
 * which threads and tasks meet alike, for libc's own has no way to arrive without waiting.
 */
#include "runtime/hooks/locks.h"

#include <string.h>

typedef struct {
    pthread_t thread;
    void **ret;
    bool timed;
    fj__until until;
    int answer;
} job;

static void join_there(void *arg)
{
    job *j = arg;

    if (!j->timed)
        j->answer = REAL(pthread_join)(j->thread, j->ret);
    else if (j->until.clock == CLOCK_REALTIME)
        j->answer = REAL(pthread_timedjoin_np)(j->thread, j->ret, j->until.t);
    else
        j->answer = REAL(pthread_clockjoin_np)(j->thread, j->ret, j->until.clock, j->until.t);
}

static int join(job j)
{
    int saved = errno;

    if (pthread_equal(j.thread, pthread_self())) {
        join_there(&j); /* which says that this cannot be */
        return j.answer;
    }
    j.answer = pthread_tryjoin_np(j.thread, j.ret);
    if (j.answer == EBUSY && !fj__green_offload_long(join_there, &j))
        j.answer = errno;
    errno = saved;
    return j.answer;
}

FJ__HOOK int pthread_join(pthread_t thread, void **ret)
{
    if (!fj__locks_green())
        return REAL(pthread_join)(thread, ret);
    return join((job){ .thread = thread, .ret = ret });
}

FJ__HOOK int pthread_timedjoin_np(pthread_t thread, void **ret, const struct timespec *t)
{
    if (!fj__locks_green())
        return REAL(pthread_timedjoin_np)(thread, ret, t);
    return join((job){ .thread = thread, .ret = ret, .timed = true, .until = { CLOCK_REALTIME, t } });
}

FJ__HOOK int pthread_clockjoin_np(pthread_t thread, void **ret, clockid_t clock, const struct timespec *t)
{
    if (!fj__locks_green())
        return REAL(pthread_clockjoin_np)(thread, ret, clock, t);
    return join((job){ .thread = thread, .ret = ret, .timed = true, .until = { clock, t } });
}

_Static_assert(sizeof(pthread_barrier_t) == 32,
               "glibc's barrier: two counters, how many meet, whether it is shared");

FJ__HOOK int pthread_barrier_wait(pthread_barrier_t *b)
{
    unsigned word[4];

    memcpy(word, b, sizeof word);
    if (!fj__locks_live() || fj__locks_alone(word[3] != 0, "barrier that is shared between processes"))
        return REAL(pthread_barrier_wait)(b);
    return fj__green_rt()->meet(b, word[2], fj__locks_green() ? 0 : FJ__PARK_THREAD, "pthread_barrier_t");
}
