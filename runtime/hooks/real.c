/* SPDX-License-Identifier: Apache-2.0 */
/* The originals: their table, its stand-ins, and how they are found. */
#include "runtime/hooks/real.h"

#include "runtime/hooks/hooks.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

static FJ__THREAD bool looking;

/* In libc's old ABI conditions were something else, and of two versions a plain look-up may find that one.  A sanitizer's, which has
 * to see them, knows no versions. */
static void *find_from(void *where, const char *name)
{
    void *found = dlsym(where, name), *versioned = NULL;

    if (strncmp(name, "pthread_cond_", 13) == 0 && !fj__green_is_sanitizers(found))
        versioned = dlvsym(where, name, "GLIBC_2.3.2");
    return versioned != NULL ? versioned : found;
}

/* Behind us there is nothing when libc stands before us; then no call comes here either, but the library asks for its own. */
static void *find_next(const char *name)
{
    void *found = find_from(RTLD_NEXT, name);

    return found != NULL ? found : fj__green_not_ours(find_from(RTLD_DEFAULT, name));
}

void *fj__real_find(const char *name)
{
    void *found = NULL;

    if (looking)
        return NULL;
    looking = true;
    found = find_next(name);
    looking = false;
    return found;
}

/* libc's names for itself, of its first version. */
#ifdef __x86_64__
#define FIRST "GLIBC_2.2.5"
#else
#define FIRST "GLIBC_2.17"
#endif
int fj__libc_mutex_lock(pthread_mutex_t *m);
int fj__libc_mutex_trylock(pthread_mutex_t *m);
int fj__libc_mutex_unlock(pthread_mutex_t *m);
__asm__(".symver fj__libc_mutex_lock, __pthread_mutex_lock@" FIRST);
__asm__(".symver fj__libc_mutex_trylock, __pthread_mutex_trylock@" FIRST);
__asm__(".symver fj__libc_mutex_unlock, __pthread_mutex_unlock@" FIRST);

static long fj__no_call(void)
{
    errno = ENOSYS;
    return -1;
}

static void *fj__no_pointer(void)
{
    errno = ENOSYS;
    return NULL;
}

/* A function's address, as data: C has no conversion between the two, POSIX has. */
#define KEEP(name, found)                                              \
    do {                                                               \
        __typeof__(fj__reals.name) function;                           \
        memcpy(&function, &(found), sizeof function);                  \
        __atomic_store_n(&fj__reals.name, function, __ATOMIC_RELAXED); \
    } while (0)

#define X(type, name, params, args, raw)    \
    static type first_##name params         \
    {                                       \
        void *found = fj__real_find(#name); \
                                            \
        if (found == NULL)                  \
            return (type)(raw);             \
        KEEP(name, found);                  \
        return REAL(name) args;             \
    }
FJ__REAL_CALLS(X)
#undef X

/* libc itself takes the third argument of fcntl as a pointer, whatever the command. */
/* So does ioctl. */
#define X(name, number, what_type)                       \
    static int first_##name(int fd, what_type what, ...) \
    {                                                    \
        void *found = fj__real_find(#name);              \
        va_list more;                                    \
        void *arg = NULL;                                \
                                                         \
        va_start(more, what);                            \
        arg = va_arg(more, void *);                      \
        va_end(more);                                    \
        if (found == NULL)                               \
            return (int)syscall(number, fd, what, arg);  \
        KEEP(name, found);                               \
        return REAL(name)(fd, what, arg);                \
    }
X(fcntl, SYS_fcntl, int)
X(fcntl64, SYS_fcntl, int)
X(ioctl, SYS_ioctl, unsigned long)
#undef X

#define X(name)                                                           \
    static int first_##name(const char *path, int flags, ...)             \
    {                                                                     \
        void *found = fj__real_find(#name);                               \
        mode_t mode = 0;                                                  \
                                                                          \
        FJ__MODE(mode, flags);                                            \
        if (found == NULL)                                                \
            return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode); \
        KEEP(name, found);                                                \
        return REAL(name)(path, flags, mode);                             \
    }
X(open)
X(open64)
#undef X

#define X(name)                                                       \
    static int first_##name(int at, const char *path, int flags, ...) \
    {                                                                 \
        void *found = fj__real_find(#name);                           \
        mode_t mode = 0;                                              \
                                                                      \
        FJ__MODE(mode, flags);                                        \
        if (found == NULL)                                            \
            return (int)syscall(SYS_openat, at, path, flags, mode);   \
        KEEP(name, found);                                            \
        return REAL(name)(at, path, flags, mode);                     \
    }
X(openat)
X(openat64)
#undef X

fj__real_calls fj__reals = {
#define X(type, name, ...) .name = first_##name,
    FJ__REAL_CALLS(X) FJ__REAL_VARIADIC(X)
#undef X
};

/* From here on the stand-ins are out of the way; those that this libc has not stay. */
__attribute__((constructor)) static void find_all(void)
{
    void *found = NULL;

#define X(type, name, ...)        \
    found = fj__real_find(#name); \
    if (found != NULL)            \
        KEEP(name, found);
    FJ__REAL_CALLS(X)
    FJ__REAL_VARIADIC(X)
#undef X
}

bool fj__green_names(const char *name)
{
    static const char *const names[] = {
#define X(type, function, ...) #function,
        FJ__REAL_CALLS(X) FJ__REAL_VARIADIC(X)
#undef X
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}
