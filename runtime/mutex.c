/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mutex.h"

#include "base/alloc.h"
#include "base/native.h"
#include "runtime/waiting.h"

#include <fjord/await.h>

struct fj_mutex {
    pthread_mutex_t lock;
    fj__waiters waiters; /* the user of each is its owner-to-be */
    void *owner;         /* NULL: unlocked, and nobody waits */
    unsigned depth;
    bool recursive;
    const char *what;
};

fj_code fj_mutex_new(const char *name, unsigned flags, fj_mutex **ret)
{
    fj_mutex *m = fj__zalloc(sizeof *m);

    if (m == NULL)
        return FJ_NOMEM;
    (void)pthread_mutex_init(&m->lock, NULL);
    m->recursive = (flags & FJ_MUTEX_RECURSIVE) != 0;
    m->what = name != NULL ? name : "mutex";
    *ret = m;
    return FJ_OK;
}

fj_mutex *fj_mutex_free(fj_mutex *m)
{
    if (m == NULL)
        return NULL;
    (void)pthread_mutex_destroy(&m->lock);
    fj__free(m);
    return NULL;
}

/* Who calls: the task, or else the thread, for which an address of its own stands. */
static void *self(void)
{
    static _Thread_local char thread;
    fj_task *task = fj_task_current();

    return task != NULL ? (void *)task : &thread;
}

static bool take(fj_mutex *m, void *me)
{
    if (m->owner == NULL) {
        m->owner = me;
        m->depth = 1;
        return true;
    }
    if (m->owner != me || !m->recursive)
        return false;
    m->depth++;
    return true;
}

static void pass_on(fj_mutex *m)
{
    fj__waiter *next = m->waiters.first;

    m->owner = next != NULL ? next->user : NULL;
    m->depth = next != NULL;
    if (next != NULL)
        fj__grant(&m->waiters, next);
}

fj_code fj_mutex_lock(fj_mutex *m, fj_deadline by)
{
    void *me = self();
    fj_code code = FJ_OK;
    bool granted;

    (void)fj__native.pthread_mutex_lock(&m->lock);
    if (!take(m, me)) {
        if (m->owner == me) {
            code = FJ_STATE;
        } else {
            code = fj__wait_in_line(&m->waiters, &m->lock, m->what, me, by, &granted);
            if (code != FJ_OK && granted)
                pass_on(m);
        }
    }
    (void)fj__native.pthread_mutex_unlock(&m->lock);
    return code;
}

bool fj_mutex_trylock(fj_mutex *m)
{
    (void)fj__native.pthread_mutex_lock(&m->lock);
    bool taken = take(m, self());
    (void)fj__native.pthread_mutex_unlock(&m->lock);
    return taken;
}

fj_code fj_mutex_unlock(fj_mutex *m)
{
    (void)fj__native.pthread_mutex_lock(&m->lock);
    bool mine = m->owner == self();
    if (mine && --m->depth == 0)
        pass_on(m);
    (void)fj__native.pthread_mutex_unlock(&m->lock);
    return mine ? FJ_OK : FJ_STATE;
}

bool fj_mutex_locked(fj_mutex *m)
{
    (void)fj__native.pthread_mutex_lock(&m->lock);
    bool locked = m->owner != NULL;
    (void)fj__native.pthread_mutex_unlock(&m->lock);
    return locked;
}

unsigned fj__mutex_leave(fj_mutex *m)
{
    (void)fj__native.pthread_mutex_lock(&m->lock);
    unsigned depth = m->owner == self() ? m->depth : 0;
    if (depth > 0)
        pass_on(m);
    (void)fj__native.pthread_mutex_unlock(&m->lock);
    return depth;
}

fj_code fj__mutex_return(fj_mutex *m, unsigned depth)
{
    fj_shield_begin();
    fj_code code = fj_mutex_lock(m, fj_never());
    fj_shield_end();
    if (code == FJ_OK) {
        (void)fj__native.pthread_mutex_lock(&m->lock);
        m->depth = depth;
        (void)fj__native.pthread_mutex_unlock(&m->lock);
    }
    return code;
}
