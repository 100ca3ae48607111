/* SPDX-License-Identifier: Apache-2.0 */
/* Threads and their loops: which one runs, which one is current, and who makes one. */
#include "runtime/loop_impl.h"

#include "base/alloc.h"

#include <pthread.h>

/* A thread's own.  After a fork they may name a loop of the parent's, which is left alone. */
static _Thread_local struct {
    fj_loop *running, *set, *made;
    unsigned number;
} here;

static _Atomic(const fj_loop_policy *) policy;
static atomic_uint threads;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_made;

static fj_loop *ours(fj_loop *loop)
{
    return loop != NULL && fj__loop_ours(loop) ? loop : NULL;
}

unsigned fj__loop_thread(void)
{
    if (here.number == 0)
        here.number = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    return here.number;
}

bool fj__loop_here(const fj_loop *loop)
{
    return atomic_load_explicit(&loop->owner, memory_order_relaxed) == fj__loop_thread();
}

fj_loop *fj__loop_set_running(fj_loop *loop)
{
    fj_loop *outer = here.running;

    here.running = loop;
    return outer;
}

void fj__loop_forget(fj_loop *loop)
{
    if (here.set == loop)
        here.set = NULL;
    if (here.made == loop) {
        here.made = NULL;
        (void)pthread_setspecific(key, NULL);
    }
}

static void thread_ends(void *made)
{
    fj_loop_free(made);
}

static void make_key(void)
{
    key_made = pthread_key_create(&key, thread_ends) == 0;
}

static fj_code make(fj_loop **ret, fj_error **err)
{
    const fj_loop_policy *p = atomic_load_explicit(&policy, memory_order_acquire);
    fj_loop *loop = NULL;

    (void)pthread_once(&once, make_key);
    if (!key_made)
        return fj_fail(err, FJ_SYSTEM, "no thread-specific key is left");
    fj_code code = p != NULL && p->make != NULL ? p->make(p->user, &loop, err) : fj_loop_new(&loop, err);
    if (code != FJ_OK)
        return code;
    if (pthread_setspecific(key, loop) != 0) {
        fj_loop_free(loop);
        return fj_fail(err, FJ_NOMEM, "no memory for a thread's loop");
    }
    here.made = loop;
    *ret = loop;
    return FJ_OK;
}

fj_code fj_loop_current(fj_loop **ret, fj_error **err)
{
    fj_loop *loop = fj_loop_running();

    if (loop == NULL)
        loop = ours(here.set);
    if (loop == NULL)
        loop = ours(here.made);
    if (loop == NULL)
        return make(ret, err);
    *ret = loop;
    return FJ_OK;
}

fj_loop *fj_loop_running(void)
{
    return ours(here.running);
}

void fj_loop_set_current(fj_loop *loop)
{
    here.set = loop;
}

void fj_loop_policy_set(const fj_loop_policy *p)
{
    atomic_store_explicit(&policy, p, memory_order_release);
}

/* The loop of this thread that a host turns, which therefore comes to what is given to it outside of its turns. */
static fj_loop *hosted_here(void)
{
    fj_loop *loop = ours(here.set);

    if (loop == NULL)
        loop = ours(here.made);
    if (loop == NULL || (loop->host == NULL && loop->host_fd < 0) || !fj__loop_here(loop))
        return NULL;
    fj__host_stir(loop);
    return loop;
}

fj_loop *fj__loop_domain(void)
{
    fj_loop *loop = fj_loop_running();

    if (loop == NULL)
        loop = hosted_here();
    return loop != NULL && !loop->is_private ? loop : NULL;
}
