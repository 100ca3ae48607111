/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/stack.h"
#include "base/alloc.h"
#include "base/native.h"
#include "runtime/guard.h"
#include "runtime/sanitize.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CLASSES 17                           /* FJ__STACK_MIN << 0 .. 16 */
#define SLAB_BYTES ((size_t)4 * 1024 * 1024) /* address space; of memory only what is touched */
#define SLAB_SLOTS 64                        /* at most */
#define HOT 512                              /* idle stacks of a size whose pages are kept */
#define COLOURS 16
#define LINE 64 /* bytes of a line of the cache */

typedef struct {
    fj__slot *idle; /* the last one put back first */
    fj__slot *cold; /* idle, with their pages given back */
    size_t idle_count;
    fj__slab *slabs; /* the first is the one with slots that were never used */
} size_class;

struct fj__slab {
    fj__slab *next, *prev; /* of all slabs of the process, for debuggers */
    fj__slab *sibling;     /* of the same class */
    size_class *home;      /* in its thread; NULL: that has ended */
    char *map;
    size_t map_size, guard, size; /* each slot is a guard and so many bytes */
    size_t room, carved;          /* slots there is room for, and those that have a guard */
    size_t splits;                /* guards that took mappings */
    atomic_size_t held;           /* stacks that are out, once the thread has ended */
    fj__slot slots[];
};

typedef struct {
    size_class classes[CLASSES];
    bool kept; /* freed when the thread ends */
} pool;

/* Static TLS: found without a call, and it is small. */
static _Thread_local pool mine __attribute__((tls_model("initial-exec")));

/* Of all threads.  gdb/fjord-gdb.py walks it. */
static fj__slab *fj__slabs;
static pthread_mutex_t slabs_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t key;
static int key_failed;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void lock_slabs(void)
{
    (void)fj__native.pthread_mutex_lock(&slabs_lock);
}

static void unlock_slabs(void)
{
    (void)fj__native.pthread_mutex_unlock(&slabs_lock);
}

/* ---- slabs ----------------------------------------------------------------------------------------- */

static unsigned class_of(size_t size)
{
    if (size <= FJ__STACK_MIN)
        return 0;
    return (unsigned)(64 - __builtin_clzll((unsigned long long)(size - 1))) - 14;
}

static void slab_free(fj__slab *slab)
{
    lock_slabs();
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        fj__slabs = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
    unlock_slabs();
#ifdef FJ__VALGRIND
    for (size_t i = 0; i < slab->carved; i++)
        VALGRIND_STACK_DEREGISTER(slab->slots[i].valgrind_id);
#endif
    (void)munmap(slab->map, slab->map_size);
    fj__guards_gone(slab->splits);
    fj__free(slab);
}

static void slab_list(fj__slab *slab, size_class *home)
{
    slab->home = home;
    slab->sibling = home->slabs;
    home->slabs = slab;
    lock_slabs();
    slab->next = fj__slabs;
    if (fj__slabs != NULL)
        fj__slabs->prev = slab;
    fj__slabs = slab;
    unlock_slabs();
}

static fj_code slab_new(size_class *home, size_t size, fj_error **err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t guard = FJ__GUARD < page ? page : FJ__GUARD;

    size = size < page ? page : size;
    size_t room = SLAB_BYTES / (guard + size);
    room = room < 1 ? 1 : room > SLAB_SLOTS ? SLAB_SLOTS : room;
    fj__slab *slab = fj__zalloc(sizeof *slab + room * sizeof slab->slots[0]);
    if (slab == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for stacks");
    slab->map_size = room * (guard + size);
    slab->map = mmap(NULL, slab->map_size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (slab->map == MAP_FAILED) {
        fj__free(slab);
        return fj_fail(err, FJ_SYSTEM, "no memory for stacks: mmap: %s", strerror(errno));
    }
    (void)madvise(slab->map, slab->map_size, MADV_NOHUGEPAGE); /* else a stack touched once holds 2 MiB */
    slab->guard = guard;
    slab->size = size;
    slab->room = room;
    slab_list(slab, home);
    return FJ_OK;
}

/* A slot that was never used. */
static fj_code carve(fj__slab *slab, fj__slot **ret, fj_error **err)
{
    fj__slot *slot = &slab->slots[slab->carved];
    char *at = slab->map + slab->carved * (slab->guard + slab->size);
    bool split = false;

    fj_code code = fj__guard_set(at, slab->guard, &split, err);
    if (code != FJ_OK)
        return code;
    slab->splits += split;
    slot->slab = slab;
    slot->base = at + slab->guard;
    slot->size = slab->size - slab->carved % COLOURS * LINE;
#ifdef FJ__VALGRIND
    slot->valgrind_id = VALGRIND_STACK_REGISTER(slot->base, slot->base + slot->size);
#endif
    slab->carved++;
    *ret = slot;
    return FJ_OK;
}

/* ---- the pool of a thread -------------------------------------------------------------------------- */

static void trim(fj__slot *slot)
{
    (void)madvise(slot->base, slot->slab->size, MADV_DONTNEED);
}

/* Keep the @p keep hottest of the idle stacks; the pages of the others go back. */
static void trim_class(size_class *c, size_t keep)
{
    fj__slot **at = &c->idle;

    for (size_t i = 0; i < keep && *at != NULL; i++)
        at = &(*at)->next;
    while (*at != NULL) {
        fj__slot *slot = *at;
        *at = slot->next;
        trim(slot);
        slot->next = c->cold;
        c->cold = slot;
        c->idle_count--;
    }
}

void fj__stack_trim(void)
{
    for (size_t k = 0; k < CLASSES; k++)
        trim_class(&mine.classes[k], 0);
}

/* How many slots of each of the thread's slabs are out. */
static void count_held(size_class *c)
{
    for (fj__slab *slab = c->slabs; slab != NULL; slab = slab->sibling)
        slab->held = slab->carved;
    for (fj__slot *slot = c->idle; slot != NULL; slot = slot->next)
        slot->slab->held--;
    for (fj__slot *slot = c->cold; slot != NULL; slot = slot->next)
        slot->slab->held--;
}

/* The thread ends.  A stack that is still out keeps its slab until it is put back. */
static void pool_end(void *arg)
{
    pool *p = arg;

    for (size_t k = 0; k < CLASSES; k++) {
        size_class *c = &p->classes[k];
        count_held(c);
        for (fj__slab *slab = c->slabs, *next; slab != NULL; slab = next) {
            next = slab->sibling;
            slab->home = NULL;
            if (slab->held == 0)
                slab_free(slab);
        }
    }
    memset(p, 0, sizeof *p);
}

static void begin(void)
{
    key_failed = pthread_key_create(&key, pool_end);
    (void)pthread_atfork(lock_slabs, unlock_slabs, unlock_slabs);
}

static fj_code keep_pool(fj_error **err)
{
    if (mine.kept)
        return FJ_OK;
    (void)pthread_once(&once, begin);
    if (key_failed != 0 || pthread_setspecific(key, &mine) != 0)
        return fj_fail(err, FJ_NOMEM, "no memory for a thread's stacks");
    mine.kept = true;
    return FJ_OK;
}

/* None is idle with its pages. */
static fj_code get_slowly(size_class *c, size_t size, fj__slot **ret, fj_error **err)
{
    fj_code code = FJ_OK;

    if (c->cold != NULL) {
        *ret = c->cold;
        c->cold = c->cold->next;
        return FJ_OK;
    }
    code = keep_pool(err);
    if (code == FJ_OK && (c->slabs == NULL || c->slabs->carved == c->slabs->room))
        code = slab_new(c, size, err);
    return code == FJ_OK ? carve(c->slabs, ret, err) : code;
}

/* ---- what fibres call ------------------------------------------------------------------------------ */

fj_code fj__stack_get(size_t size, fj__stack *ret, fj_error **err)
{
    if (size > FJ__STACK_MAX)
        return fj_fail(err, FJ_BAD_VALUE, "a stack of %zu bytes: the most is %zu", size, FJ__STACK_MAX);
    unsigned k = class_of(size);
    size_class *c = &mine.classes[k];
    fj__slot *slot = c->idle;
    if (slot != NULL) {
        c->idle = slot->next;
        c->idle_count--;
    } else {
        fj_code code = get_slowly(c, FJ__STACK_MIN << k, &slot, err);
        if (code != FJ_OK)
            return code;
    }
    *ret = (fj__stack){ slot->base, slot->size, slot };
    return FJ_OK;
}

void fj__stack_put(fj__stack *stack)
{
    fj__slot *slot = stack->slot;
    fj__slab *slab = slot->slab;
    size_class *c = slab->home;

#ifdef FJ__ASAN
    __asan_unpoison_memory_region(slot->base, slot->size);
#endif
    slot->owner = NULL;
    stack->slot = NULL;
    if (c == NULL) { /* the thread has ended */
        if (atomic_fetch_sub(&slab->held, 1) == 1)
            slab_free(slab);
        return;
    }
    slot->next = c->idle;
    c->idle = slot;
    if (++c->idle_count > HOT)
        trim_class(c, HOT / 2);
}

bool fj__stack_in_guard(const fj__stack *stack, const void *at)
{
    uintptr_t base = (uintptr_t)stack->base, where = (uintptr_t)at;

    return where < base && where >= base - stack->slot->slab->guard;
}
