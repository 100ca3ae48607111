/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/native.h"
#include "runtime/waiting.h"

#include <fjord/sync.h>

struct fj_rwlock {
    pthread_mutex_t lock;
    fj__waiters waiters; /* the user of each is how it wants the lock: &reads or &writes */
    unsigned readers;
    bool writing;
    _Atomic(void *) writer; /* who writes, once it knows: for reports; read without the lock */
    fj__wanted wanted;
};

static char reads, writes;

/* Of readers there may be many: whose they are nobody keeps. */
static void *owner(const void *l)
{
    return atomic_load_explicit(&((const fj_rwlock *)l)->writer, memory_order_relaxed);
}

static void set_writer(fj_rwlock *l, void *writer)
{
    atomic_store_explicit(&l->writer, writer, memory_order_relaxed);
}

fj_code fj_rwlock_new(const char *name, fj_rwlock **ret)
{
    fj_rwlock *l = fj__zalloc(sizeof *l);

    if (l == NULL)
        return FJ_NOMEM;
    (void)pthread_mutex_init(&l->lock, NULL);
    l->wanted = (fj__wanted){
        .what = name != NULL ? name : "rwlock", .kind = "rwlock", .object = l, .owner = owner, .lock = true
    };
    *ret = l;
    return FJ_OK;
}

fj_rwlock *fj_rwlock_free(fj_rwlock *l)
{
    if (l == NULL)
        return NULL;
    (void)pthread_mutex_destroy(&l->lock);
    fj__free(l);
    return NULL;
}

static bool take(fj_rwlock *l, const char *how)
{
    if (l->writing || (how == &writes && l->readers > 0))
        return false;
    if (how == &writes)
        l->writing = true;
    else
        l->readers++;
    return true;
}

/* Let in whoever is first, as long as there is room: one writer, or all readers up to the next writer. */
static void admit(fj_rwlock *l)
{
    while (l->waiters.first != NULL && take(l, l->waiters.first->user))
        fj__grant(&l->waiters, l->waiters.first);
}

static void leave(fj_rwlock *l)
{
    if (!l->writing)
        l->readers--;
    l->writing = false;
    set_writer(l, NULL);
    admit(l);
}

static fj_code lock(fj_rwlock *l, char *how, fj_deadline by)
{
    fj_code code = FJ_OK;
    bool granted;

    (void)fj__native.pthread_mutex_lock(&l->lock);
    if (l->waiters.first != NULL || !take(l, how)) {
        code = fj__wait_in_line(&l->waiters, &l->lock, &l->wanted, how, by, &granted);
        if (code != FJ_OK && granted)
            leave(l);
        else if (code != FJ_OK)
            admit(l); /* a writer that gave up may have been all that readers waited for */
    }
    if (code == FJ_OK && how == &writes)
        set_writer(l, fj__waiter_self_of(fj_task_current()));
    (void)fj__native.pthread_mutex_unlock(&l->lock);
    return code;
}

fj_code fj_rwlock_read(fj_rwlock *l, fj_deadline by)
{
    return lock(l, &reads, by);
}

fj_code fj_rwlock_write(fj_rwlock *l, fj_deadline by)
{
    return lock(l, &writes, by);
}

fj_code fj_rwlock_unlock(fj_rwlock *l)
{
    (void)fj__native.pthread_mutex_lock(&l->lock);
    bool locked = l->writing || l->readers > 0;
    if (locked)
        leave(l);
    (void)fj__native.pthread_mutex_unlock(&l->lock);
    return locked ? FJ_OK : FJ_STATE;
}
