/* SPDX-License-Identifier: Apache-2.0 */
/* The functions behind the hooks, for users: what the hook library found behind itself, or, without it, what anybody finds. */
#include <fjord/original.h>

#include "runtime/green.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <string.h>

/* In libc's old ABI conditions were something else, and of two versions a plain look-up may find that one. */
static void *find(const char *name)
{
    void *found = strncmp(name, "pthread_cond_", 13) == 0 ? dlvsym(RTLD_DEFAULT, name, "GLIBC_2.3.2") : NULL;

    return found != NULL ? found : dlsym(RTLD_DEFAULT, name);
}

void *fj_original(const char *name)
{
    void *(*behind)(const char *name) = fj__green_original();

    return behind != NULL ? behind(name) : find(name);
}

/* Each is looked up once; C has no conversion from a data pointer to a function's. */
#define X(type, name, params, args, none)                                \
    type fj_original_##name params                                       \
    {                                                                    \
        static void *_Atomic kept;                                       \
        type(*function) params = NULL;                                   \
        void *found = atomic_load_explicit(&kept, memory_order_relaxed); \
                                                                         \
        if (found == NULL) {                                             \
            found = fj_original(#name);                                  \
            atomic_store_explicit(&kept, found, memory_order_relaxed);   \
        }                                                                \
        if (found == NULL) {                                             \
            errno = ENOSYS;                                              \
            return none;                                                 \
        }                                                                \
        memcpy(&function, &found, sizeof function);                      \
        return function args;                                            \
    }
FJ_ORIGINALS(X)
#undef X
