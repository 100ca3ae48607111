/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/native.h"
#include "runtime/waiting.h"

#include <fjord/sync.h>
#include <limits.h>

struct fj_semaphore {
    pthread_mutex_t lock;
    fj__waiters waiters;
    unsigned value; /* 0 while somebody waits */
    unsigned bound;
    fj__wanted wanted;
};

fj_code fj_semaphore_new(const char *name, unsigned value, unsigned bound, fj_semaphore **ret)
{
    if (bound != 0 && value > bound)
        return FJ_BAD_VALUE;
    fj_semaphore *s = fj__zalloc(sizeof *s);
    if (s == NULL)
        return FJ_NOMEM;
    (void)pthread_mutex_init(&s->lock, NULL);
    s->value = value;
    s->bound = bound != 0 ? bound : UINT_MAX;
    s->wanted = (fj__wanted){ .what = name != NULL ? name : "semaphore", .kind = "semaphore", .object = s };
    *ret = s;
    return FJ_OK;
}

fj_semaphore *fj_semaphore_free(fj_semaphore *s)
{
    if (s == NULL)
        return NULL;
    (void)pthread_mutex_destroy(&s->lock);
    fj__free(s);
    return NULL;
}

static void give(fj_semaphore *s)
{
    if (s->waiters.first != NULL)
        fj__grant(&s->waiters, s->waiters.first);
    else
        s->value++;
}

fj_code fj_semaphore_acquire(fj_semaphore *s, fj_deadline by)
{
    fj_code code = FJ_OK;
    bool granted;

    (void)fj__native.pthread_mutex_lock(&s->lock);
    if (s->value > 0) {
        s->value--;
    } else {
        code = fj__wait_in_line(&s->waiters, &s->lock, &s->wanted, NULL, by, &granted);
        if (code != FJ_OK && granted)
            give(s);
    }
    (void)fj__native.pthread_mutex_unlock(&s->lock);
    return code;
}

bool fj_semaphore_try(fj_semaphore *s)
{
    (void)fj__native.pthread_mutex_lock(&s->lock);
    bool taken = s->value > 0;
    if (taken)
        s->value--;
    (void)fj__native.pthread_mutex_unlock(&s->lock);
    return taken;
}

fj_code fj_semaphore_release(fj_semaphore *s)
{
    (void)fj__native.pthread_mutex_lock(&s->lock);
    bool room = s->value < s->bound;
    if (room)
        give(s);
    (void)fj__native.pthread_mutex_unlock(&s->lock);
    return room ? FJ_OK : FJ_STATE;
}

unsigned fj_semaphore_value(fj_semaphore *s)
{
    (void)fj__native.pthread_mutex_lock(&s->lock);
    unsigned value = s->value;
    (void)fj__native.pthread_mutex_unlock(&s->lock);
    return value;
}
