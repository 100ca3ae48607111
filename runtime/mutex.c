/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mutex.h"

#include "base/alloc.h"
#include "base/native.h"
#include "runtime/task_impl.h"
#include "runtime/waiting.h"

#include <fjord/await.h>

struct fj_mutex {
    pthread_mutex_t lock;
    fj__waiters waiters; /* the user of each is its owner-to-be */
    _Atomic(void *)
        owner; /* NULL: unlocked, and nobody waits; written under the lock, read without it by reports */
    unsigned depth;
    bool recursive;
    fj__wanted wanted;
};

static void *owner_of(const fj_mutex *m)
{
    return atomic_load_explicit(&m->owner, memory_order_relaxed);
}

static void set_owner(fj_mutex *m, void *owner)
{
    atomic_store_explicit(&m->owner, owner, memory_order_relaxed);
}

static void *owner(const void *m)
{
    return owner_of(m);
}

fj_code fj_mutex_new(const char *name, unsigned flags, fj_mutex **ret)
{
    fj_mutex *m = fj__zalloc(sizeof *m);

    if (m == NULL)
        return FJ_NOMEM;
    (void)pthread_mutex_init(&m->lock, NULL);
    m->recursive = (flags & FJ_MUTEX_RECURSIVE) != 0;
    m->wanted = (fj__wanted){ .what = name != NULL ? name : "mutex",
                              .kind = "mutex",
                              .object = m,
                              .owner = owner,
                              .lock = true,
                              .handed = true };
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

/* A task counts what it holds: reports look closer at what such a one waits for. */
static void count(fj_task *task, unsigned by)
{
    if (task != NULL)
        task->held += by;
}

static bool take(fj_mutex *m, void *me, fj_task *task)
{
    if (owner_of(m) == NULL) {
        set_owner(m, me);
        m->depth = 1;
        count(task, 1);
        return true;
    }
    if (owner_of(m) != me || !m->recursive)
        return false;
    m->depth++;
    return true;
}

static void pass_on(fj_mutex *m)
{
    fj__waiter *next = m->waiters.first;

    set_owner(m, next != NULL ? next->user : NULL);
    m->depth = next != NULL;
    if (next != NULL)
        fj__grant(&m->waiters, next);
}

fj_code fj_mutex_lock(fj_mutex *m, fj_deadline by)
{
    fj_task *task = fj_task_current();
    void *me = fj__waiter_self_of(task);
    fj_code code = FJ_OK;
    bool granted;

    (void)fj__native.pthread_mutex_lock(&m->lock);
    if (!take(m, me, task)) {
        if (owner_of(m) == me) {
            code = FJ_STATE;
        } else {
            code = fj__wait_in_line(&m->waiters, &m->lock, &m->wanted, me, by, &granted);
            if (code == FJ_OK)
                count(task, 1);
            else if (granted)
                pass_on(m);
        }
    }
    (void)fj__native.pthread_mutex_unlock(&m->lock);
    return code;
}

bool fj_mutex_trylock(fj_mutex *m)
{
    fj_task *task = fj_task_current();

    (void)fj__native.pthread_mutex_lock(&m->lock);
    bool taken = take(m, fj__waiter_self_of(task), task);
    (void)fj__native.pthread_mutex_unlock(&m->lock);
    return taken;
}

fj_code fj_mutex_unlock(fj_mutex *m)
{
    fj_task *task = fj_task_current();

    (void)fj__native.pthread_mutex_lock(&m->lock);
    bool mine = owner_of(m) == fj__waiter_self_of(task);
    if (mine && --m->depth == 0) {
        pass_on(m);
        count(task, -1U);
    }
    (void)fj__native.pthread_mutex_unlock(&m->lock);
    return mine ? FJ_OK : FJ_STATE;
}

bool fj_mutex_locked(fj_mutex *m)
{
    (void)fj__native.pthread_mutex_lock(&m->lock);
    bool locked = owner_of(m) != NULL;
    (void)fj__native.pthread_mutex_unlock(&m->lock);
    return locked;
}

unsigned fj__mutex_leave(fj_mutex *m)
{
    fj_task *task = fj_task_current();

    (void)fj__native.pthread_mutex_lock(&m->lock);
    unsigned depth = owner_of(m) == fj__waiter_self_of(task) ? m->depth : 0;
    if (depth > 0) {
        pass_on(m);
        count(task, -1U);
    }
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
