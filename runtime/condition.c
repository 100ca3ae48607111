/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/native.h"
#include "runtime/mutex.h"
#include "runtime/task.h"
#include "runtime/waiting.h"

struct fj_condition {
    pthread_mutex_t lock;
    fj__waiters waiters; /* the user of one that was notified is &one, or &all */
    fj__wanted wanted;
};

static char one, all;

fj_code fj_condition_new(const char *name, fj_condition **ret)
{
    fj_condition *c = fj__zalloc(sizeof *c);

    if (c == NULL)
        return FJ_NOMEM;
    (void)pthread_mutex_init(&c->lock, NULL);
    c->wanted = (fj__wanted){ .what = name != NULL ? name : "condition", .kind = "condition", .object = c };
    *ret = c;
    return FJ_OK;
}

fj_condition *fj_condition_free(fj_condition *c)
{
    if (c == NULL)
        return NULL;
    (void)pthread_mutex_destroy(&c->lock);
    fj__free(c);
    return NULL;
}

static void notify(fj_condition *c, unsigned n, void *how)
{
    for (fj__waiter *w; n > 0 && (w = c->waiters.first) != NULL; n--) {
        w->user = how;
        fj__grant(&c->waiters, w);
    }
}

/* The end of a wait: out of the line, and a notification meant for one that @p code keeps from it goes to the next. */
static void leave_line(fj_condition *c, fj__waiter *w, fj_code code)
{
    (void)fj__native.pthread_mutex_lock(&c->lock);
    if (fj__waiters_has(&c->waiters, w))
        fj__waiters_remove(&c->waiters, w);
    else if (code != FJ_OK && w->user == &one)
        notify(c, 1, &one);
    (void)fj__native.pthread_mutex_unlock(&c->lock);
}

fj_code fj_condition_wait(fj_condition *c, fj_mutex *m, fj_deadline by)
{
    fj__waiter w;
    fj_code code = fj__waiter_init(&w, c->wanted.what);

    if (code != FJ_OK)
        return code;
    w.wanted = &c->wanted;
    if (w.task != NULL && fj__task_atomic(w.task))
        return fj__waiter_wait(&w, by); /* is refused; with the mutex let go, locking it again would be, too */
    (void)fj__native.pthread_mutex_lock(&c->lock);
    fj__waiters_push(&c->waiters, &w);
    (void)fj__native.pthread_mutex_unlock(&c->lock);
    /* In the line before the mutex is left: nobody can notify in between and be missed. */
    unsigned depth = fj__mutex_leave(m);
    code = depth > 0 ? fj__wait_for_grant(&w, by) : FJ_STATE;
    leave_line(c, &w, code);
    if (depth == 0)
        return code;
    fj_code locked = fj__mutex_return(m, depth);
    return locked != FJ_OK ? locked : code;
}

fj_code fj_condition_wait_for(fj_condition *c, fj_mutex *m, bool (*ready)(void *user), void *user,
                              fj_deadline by)
{
    fj_code code = FJ_OK;

    while (code == FJ_OK && !ready(user))
        code = fj_condition_wait(c, m, by);
    return code;
}

void fj_condition_notify(fj_condition *c, unsigned n)
{
    (void)fj__native.pthread_mutex_lock(&c->lock);
    notify(c, n, &one);
    (void)fj__native.pthread_mutex_unlock(&c->lock);
}

void fj_condition_notify_all(fj_condition *c)
{
    (void)fj__native.pthread_mutex_lock(&c->lock);
    while (c->waiters.first != NULL)
        notify(c, 1, &all);
    (void)fj__native.pthread_mutex_unlock(&c->lock);
}
