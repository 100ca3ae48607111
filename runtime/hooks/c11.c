/* SPDX-License-Identifier: Apache-2.0 */
/* C11's names of the same: in libc they are the same objects, but its functions call each other past us. */
#include "runtime/hooks/locks.h"

#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t),
               "glibc's are pthread's");

static int answer(int error)
{
    switch (error) {
    case 0:
        return thrd_success;
    case EBUSY:
        return thrd_busy;
    case ETIMEDOUT:
        return thrd_timedout;
    case ENOMEM:
        return thrd_nomem;
    default:
        return thrd_error;
    }
}

FJ__HOOK int mtx_lock(mtx_t *m)
{
    return fj__locks_live() ? answer(pthread_mutex_lock((pthread_mutex_t *)m)) : REAL(mtx_lock)(m);
}

FJ__HOOK int mtx_trylock(mtx_t *m)
{
    return fj__locks_live() ? answer(pthread_mutex_trylock((pthread_mutex_t *)m)) : REAL(mtx_trylock)(m);
}

FJ__HOOK int mtx_timedlock(mtx_t *restrict m, const struct timespec *restrict t)
{
    return fj__locks_live() ? answer(pthread_mutex_timedlock((pthread_mutex_t *)m, t))
                            : REAL(mtx_timedlock)(m, t);
}

FJ__HOOK int mtx_unlock(mtx_t *m)
{
    return fj__locks_live() ? answer(pthread_mutex_unlock((pthread_mutex_t *)m)) : REAL(mtx_unlock)(m);
}

FJ__HOOK int cnd_wait(cnd_t *c, mtx_t *m)
{
    return fj__locks_live() ? answer(pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m))
                            : REAL(cnd_wait)(c, m);
}

FJ__HOOK int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict t)
{
    if (!fj__locks_live())
        return REAL(cnd_timedwait)(c, m, t);
    return answer(pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, t));
}

FJ__HOOK int cnd_signal(cnd_t *c)
{
    return fj__locks_live() ? answer(pthread_cond_signal((pthread_cond_t *)c)) : REAL(cnd_signal)(c);
}

FJ__HOOK int cnd_broadcast(cnd_t *c)
{
    return fj__locks_live() ? answer(pthread_cond_broadcast((pthread_cond_t *)c)) : REAL(cnd_broadcast)(c);
}

FJ__HOOK int thrd_join(thrd_t thread, int *ret)
{
    void *value = NULL;
    int error = 0;

    if (!fj__locks_green())
        return REAL(thrd_join)(thread, ret);
    error = pthread_join(thread, &value);
    if (error == 0 && ret != NULL)
        *ret = (int)(intptr_t)value;
    return answer(error);
}
