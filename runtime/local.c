/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/local.h"

#include "base/alloc.h"
#include "runtime/task_impl.h"

struct fj__local_value {
    void *value;
    void (*freed)(void *value);
};

static _Thread_local void *thread_own[FJ__LOCAL_COUNT];

static _Thread_local fj__locals thread_locals;
static pthread_key_t at_exit; /* its destructor frees a thread's values */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool at_exit_made;

__attribute__((noinline)) void **fj__local(fj__local_id id)
{
    fj_task *task = fj_task_current();

    return task != NULL ? &task->own[id] : &thread_own[id];
}

/* ---- what is inherited --------------------------------------------------------------------------- */

static _Atomic(fj__heritage *(*)(void *)) maker;

void fj__heritage_maker(fj__heritage *(*make)(void *request))
{
    atomic_store(&maker, make);
}

fj__heritage *fj__heritage_here(void)
{
    return *fj__local(FJ__LOCAL_HERITAGE);
}

fj__heritage *fj__heritage_take(void)
{
    void *request = *fj__local(FJ__LOCAL_REQUEST);
    fj__heritage *(*make)(void *) = atomic_load(&maker);

    if (request != NULL && make != NULL)
        return make(request);
    fj__heritage *h = fj__heritage_here();
    if (h != NULL)
        atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void fj__heritage_drop(fj__heritage *h)
{
    if (h != NULL && atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1)
        h->freed(h);
}

void fj__heritage_shed(void)
{
    void **here = fj__local(FJ__LOCAL_HERITAGE);

    fj__heritage_drop(*here);
    *here = NULL;
}

/* ---- values of users --------------------------------------------------------------------------- */

static void thread_ends(void *arg)
{
    fj__locals_fini(arg);
}

static void make_key(void)
{
    at_exit_made = pthread_key_create(&at_exit, thread_ends) == 0;
}

static __attribute__((noinline)) fj__locals *here(void)
{
    fj_task *task = fj_task_current();

    return task != NULL ? &task->locals : &thread_locals;
}

void fj__locals_fini(fj__locals *locals)
{
    /* Freeing one may set another, as with the keys of threads, and as there not for ever. */
    enum { ROUNDS = 4 };
    bool again = locals->values != NULL;

    if (!again)
        return;
    for (int round = 0; again && round < ROUNDS; round++) {
        again = false;
        for (size_t i = 0; i < locals->n; i++) {
            struct fj__local_value v = locals->values[i];
            locals->values[i].value = NULL;
            if (v.value != NULL && v.freed != NULL) {
                v.freed(v.value);
                again = true;
            }
        }
    }
    fj__free(locals->values);
    *locals = (fj__locals){ 0 };
}

/* Slots are given out once each, for ever; 0 is none. */
static unsigned slot_of(fj_local *key)
{
    static atomic_uint given;
    unsigned slot = __atomic_load_n(&key->slot, __ATOMIC_ACQUIRE);

    if (slot != 0)
        return slot;
    unsigned mine = atomic_fetch_add(&given, 1) + 1;
    return __atomic_compare_exchange_n(&key->slot, &slot, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
               ? mine
               : slot;
}

void *fj_local_get(fj_local *key)
{
    const fj__locals *locals = here();
    unsigned slot = __atomic_load_n(&key->slot, __ATOMIC_ACQUIRE);

    return slot != 0 && slot <= locals->n ? locals->values[slot - 1].value : NULL;
}

fj_code fj_local_set(fj_local *key, void *value)
{
    fj__locals *locals = here();
    unsigned slot = slot_of(key);

    if (slot > locals->n) {
        if (value == NULL)
            return FJ_OK;
        if (locals == &thread_locals) {
            (void)pthread_once(&once, make_key);
            if (!at_exit_made || pthread_setspecific(at_exit, locals) != 0)
                return FJ_NOMEM;
        }
        struct fj__local_value *values =
            fj__grow(locals->values, &locals->capacity, slot, sizeof(struct fj__local_value));
        if (values == NULL)
            return FJ_NOMEM;
        locals->values = values;
        while (locals->n < slot)
            locals->values[locals->n++] = (struct fj__local_value){ 0 };
    }
    locals->values[slot - 1] = (struct fj__local_value){ .value = value, .freed = key->freed };
    return FJ_OK;
}
