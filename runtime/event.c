/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/native.h"
#include "runtime/waiting.h"

#include <fjord/sync.h>

struct fj_event {
    pthread_mutex_t lock;
    fj__waiters waiters; /* nobody while it is set */
    bool set;
    fj__wanted wanted;
};

fj_code fj_event_new(const char *name, fj_event **ret)
{
    fj_event *e = fj__zalloc(sizeof *e);

    if (e == NULL)
        return FJ_NOMEM;
    (void)pthread_mutex_init(&e->lock, NULL);
    e->wanted = (fj__wanted){ .what = name != NULL ? name : "event", .kind = "event", .object = e };
    *ret = e;
    return FJ_OK;
}

fj_event *fj_event_free(fj_event *e)
{
    if (e == NULL)
        return NULL;
    (void)pthread_mutex_destroy(&e->lock);
    fj__free(e);
    return NULL;
}

fj_code fj_event_wait(fj_event *e, fj_deadline by)
{
    fj_code code = FJ_OK;
    bool granted; /* an event is for all: nothing to pass on */

    (void)fj__native.pthread_mutex_lock(&e->lock);
    if (!e->set)
        code = fj__wait_in_line(&e->waiters, &e->lock, &e->wanted, NULL, by, &granted);
    (void)fj__native.pthread_mutex_unlock(&e->lock);
    return code;
}

void fj_event_set(fj_event *e)
{
    (void)fj__native.pthread_mutex_lock(&e->lock);
    e->set = true;
    while (e->waiters.first != NULL)
        fj__grant(&e->waiters, e->waiters.first);
    (void)fj__native.pthread_mutex_unlock(&e->lock);
}

void fj_event_clear(fj_event *e)
{
    (void)fj__native.pthread_mutex_lock(&e->lock);
    e->set = false;
    (void)fj__native.pthread_mutex_unlock(&e->lock);
}

bool fj_event_is_set(fj_event *e)
{
    (void)fj__native.pthread_mutex_lock(&e->lock);
    bool set = e->set;
    (void)fj__native.pthread_mutex_unlock(&e->lock);
    return set;
}
