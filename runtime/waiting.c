/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/waiting.h"

#include "base/native.h"
#include "runtime/task.h"

fj_code fj__wait_for_grant(fj__waiter *w, fj_deadline by)
{
    fj_code code = fj__waiter_wait(w, by);

    /* Woken and cancelled before it ran: a park does not suspend then, but tells. */
    if (code == FJ_OK && w->task != NULL && fj__task_interrupted(w->task))
        code = fj__task_park(w->what, by);
    return code;
}

fj_code fj__wait_in_line(fj__waiters *line, pthread_mutex_t *lock, const fj__wanted *wanted, void *user,
                         fj_deadline by, bool *ret_granted)
{
    fj__waiter w;
    fj_code code = fj__waiter_init(&w, wanted->what);

    *ret_granted = false;
    if (code != FJ_OK)
        return code;
    w.wanted = wanted;
    w.user = user;
    fj__waiters_push(line, &w);
    (void)fj__native.pthread_mutex_unlock(lock);
    code = fj__wait_for_grant(&w, by);
    /* Locked when woken, too: the granter may still be inside, and the object is freed only after it has left. */
    (void)fj__native.pthread_mutex_lock(lock);
    if (fj__waiters_has(line, &w))
        fj__waiters_remove(line, &w);
    else
        *ret_granted = true;
    return code;
}

void fj__grant(fj__waiters *line, fj__waiter *w)
{
    fj__waiters_remove(line, w);
    fj__waiter_wake(w);
}
