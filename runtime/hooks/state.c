/* SPDX-License-Identifier: Apache-2.0 */
/* What the library keeps: each thread's switch, the groups that are live, the runtime's half, and the table it offers. */
#include "runtime/hooks/locks.h"

#include <pthread.h>
#include <string.h>

FJ__THREAD int fj__green_on;
FJ__THREAD pid_t fj__green_tid;

static unsigned groups;
static const fj__green_runtime *runtime;
static pthread_mutex_t flags_lock = PTHREAD_MUTEX_INITIALIZER;
static fj__green_hooks_table table;

const fj__green_runtime *fj__green_rt(void)
{
    return __atomic_load_n(&runtime, __ATOMIC_ACQUIRE);
}

bool fj__green_live(unsigned group)
{
    return (__atomic_load_n(&groups, __ATOMIC_RELAXED) & group) != 0 && fj__green_rt() != NULL;
}

void fj__green_closing(int fd)
{
    const fj__green_runtime *rt = fj__green_rt();

    if (rt != NULL && fd >= 0)
        rt->closing((unsigned)fd, (unsigned)fd);
}

void fj__green_lock_flags(void)
{
    table.native.pthread_mutex_lock(&flags_lock);
}

void fj__green_unlock_flags(void)
{
    table.native.pthread_mutex_unlock(&flags_lock);
}

/* The child has one thread, with no loop: until a runtime is there again its calls are libc's. */
static void in_child(void)
{
    fj__green_unlock_flags();
    fj__green_on = 0;
    fj__green_tid = 0;
    fj__conditions_in_child();
}

static void take_runtime(const fj__green_runtime *half)
{
    static bool watching_forks;

    if (half != NULL && (half->abi != FJ__GREEN_ABI || half->size < sizeof *half))
        return;
    if (!watching_forks)
        watching_forks = pthread_atfork(fj__green_lock_flags, fj__green_unlock_flags, in_child) == 0;
    __atomic_store_n(&runtime, half, __ATOMIC_RELEASE);
}

static int *switch_of_thread(void)
{
    return &fj__green_on;
}

static void patch(unsigned what)
{
    __atomic_store_n(&groups, what, __ATOMIC_RELAXED);
}

static unsigned patched(void)
{
    return __atomic_load_n(&groups, __ATOMIC_RELAXED);
}

static fj__green_hooks_table table = {
    .abi = FJ__GREEN_ABI,
    .size = sizeof table,
    .version = FJ_VERSION,
    .connect = take_runtime,
    .on = switch_of_thread,
    .patch = patch,
    .patched = patched,
    .is_hooked = fj__green_is_hooked,
    .original = fj__real_find,
};

static void fill(void)
{
    void *found = NULL;

#define X(type, name, args)       \
    found = fj__real_find(#name); \
    memcpy(&table.native.name, &found, sizeof found);
    FJ__NATIVE_CALLS(X)
#undef X
}

FJ_API const fj__green_hooks_table *fj__green_hooks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fill);
    return &table;
}
