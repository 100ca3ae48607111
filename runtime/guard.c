/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guard.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* linux/mman.h of Linux 6.13; not yet in every libc. */
#define GUARD_INSTALL 102
#define NO_SUCH_ADVICE 9999

static atomic_size_t splits; /* guards of this process that took mappings */
static atomic_size_t pretended_limit;
static atomic_bool pretended;

static size_t max_map_count(void)
{
    size_t limit = atomic_load(&pretended_limit);

    if (limit != 0)
        return limit;
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    if (f == NULL || fscanf(f, "%zu", &limit) != 1)
        limit = SIZE_MAX; /* the system will say so itself */
    if (f != NULL)
        (void)fclose(f);
    return limit;
}

/* The libraries, heaps and thread stacks of the process need mappings, too: an eighth is left to them. */
static bool fits(size_t guards)
{
    static atomic_size_t known;
    size_t limit = atomic_load(&pretended_limit) != 0 ? max_map_count() : atomic_load(&known);

    if (limit == 0) {
        limit = max_map_count();
        atomic_store(&known, limit);
    }
    return guards <= (limit - limit / 8) / 2;
}

static fj_code no_more(size_t guards, fj_error **err)
{
    return fj_fail(
        err, FJ_SYSTEM,
        "no guard for one more stack beside %zu: each takes two of the mappings that vm.max_map_count "
        "(%zu) allows this process; raise it with sysctl, or run fewer tasks at once",
        guards, max_map_count());
}

static fj_code split(char *at, size_t size, fj_error **err)
{
    size_t others = atomic_fetch_add(&splits, 1);
    fj_code code = FJ_OK;

    if (!fits(others + 1))
        code = no_more(others, err);
    else if (mprotect(at, size, PROT_NONE) != 0)
        code = errno == ENOMEM ? no_more(others, err)
                               : fj_fail(err, FJ_SYSTEM, "the guard of a stack: mprotect: %s", strerror(errno));
    if (code != FJ_OK)
        fj__guards_gone(1);
    return code;
}

/* qemu-user answers success to advice it has never heard of: then success of ours would mean nothing. */
static bool advice_is_honest(char *at, size_t size)
{
    static atomic_int known; /* 1 yes, 2 no */

    if (atomic_load(&known) == 0)
        atomic_store(&known, madvise(at, size, NO_SUCH_ADVICE) != 0 ? 1 : 2);
    return atomic_load(&known) == 1;
}

fj_code fj__guard_set(char *at, size_t size, bool *ret_split, fj_error **err)
{
    bool old = atomic_load(&pretended) || !advice_is_honest(at, size);

    if (!old && madvise(at, size, GUARD_INSTALL) == 0) {
        *ret_split = false;
        return FJ_OK;
    }
    if (!old && errno != EINVAL) /* what an older kernel, and one asked for locked memory, says */
        return fj_fail(err, FJ_SYSTEM, "the guard of a stack: madvise: %s", strerror(errno));
    fj_code code = split(at, size, err);
    if (code == FJ_OK)
        *ret_split = true;
    return code;
}

void fj__guards_gone(size_t n)
{
    atomic_fetch_sub(&splits, n);
}

void fj__guard_pretend(bool mprotect_only, size_t limit)
{
    atomic_store(&pretended, mprotect_only);
    atomic_store(&pretended_limit, limit);
}
