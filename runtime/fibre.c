/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/fibre.h"
#include "runtime/sanitize.h"
#include "runtime/switch.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* What a thread has once.  Its addresses hold for its whole life, so they are asked for once. */
typedef struct {
    fj__fibre *current;
    int *errno_at;
    fj__cxa *cxa_at; /* NULL in a program without the C++ runtime */
} thread;

static _Thread_local thread here __attribute__((tls_model("initial-exec")));

/* Of the C++ runtime; NULL in a program without it. */
extern fj__cxa *__cxa_get_globals(void) __attribute__((weak));

/* ---- what the checkers are told --------------------------------------------------------------------- */

/* Macros for TSan: it counts the calls of each stack, and must not see one that begins on one and ends on another. */
#ifdef FJ__TSAN
#define TSAN_RESUMING(f) ((f)->resumer_tsan = __tsan_get_current_fiber(), __tsan_switch_to_fiber((f)->tsan, 0))
#define TSAN_LEAVING(f) __tsan_switch_to_fiber((f)->resumer_tsan, 0)
#else
#define TSAN_RESUMING(f) ((void)0)
#define TSAN_LEAVING(f) ((void)0)
#endif

/* ASan is told before and after a switch, on either side. */
#ifdef FJ__ASAN
#define ASAN_RESUMING(f) \
    __sanitizer_start_switch_fiber(&(f)->resumer_fake_stack, (f)->stack.base, (f)->stack.size)
#define ASAN_RESUMED(f) __sanitizer_finish_switch_fiber((f)->resumer_fake_stack, NULL, NULL)
#define ASAN_ENTERED(f) \
    __sanitizer_finish_switch_fiber((f)->asan_fake_stack, &(f)->resumer_bottom, &(f)->resumer_size)
/* Without a place to keep it a fibre's fake stack is freed: it will not be entered again. */
#define ASAN_LEAVING(f, fake) __sanitizer_start_switch_fiber((fake), (f)->resumer_bottom, (f)->resumer_size)
#else
#define ASAN_RESUMING(f) ((void)0)
#define ASAN_RESUMED(f) ((void)0)
#define ASAN_ENTERED(f) ((void)0)
#define ASAN_LEAVING(f, fake) ((void)0)
#endif

/* ---- to and fro ------------------------------------------------------------------------------------- */

/*
 * All that is to be kept apart is exchanged before a switch, so that nothing is left to do after one: the compiler then
 * jumps to fj__switch() instead of calling it.  A return after a switch would be predicted wrongly, which costs as much as
 * all the rest.
 */
static inline void to_fibre(fj__fibre *f)
{
    f->resumer_errno = *here.errno_at;
    *here.errno_at = f->saved_errno;
    if (here.cxa_at != NULL) {
        f->resumer_cxa = *here.cxa_at;
        *here.cxa_at = f->cxa;
    }
    f->resumer = here.current;
    here.current = f;
}

static inline void to_resumer(fj__fibre *f)
{
    f->saved_errno = *here.errno_at;
    *here.errno_at = f->resumer_errno;
    if (here.cxa_at != NULL) {
        f->cxa = *here.cxa_at;
        *here.cxa_at = f->resumer_cxa;
    }
    here.current = f->resumer;
}

static inline bool resume(fj__fibre *f)
{
    void *to = f->sp;

    to_fibre(f);
    f->started = true;
    f->sp = NULL;
    ASAN_RESUMING(f);
    TSAN_RESUMING(f);
#ifdef FJ__ASAN
    bool more = fj__switch(&f->resumer_sp, to);
    ASAN_RESUMED(f);
    return more;
#else
    return fj__switch(&f->resumer_sp, to);
#endif
}

/* Without its signal stack a thread's overflows are not told by name; it runs fibres all the same. */
__attribute__((noinline)) static bool resume_first(fj__fibre *f)
{
    int kept = errno;

    (void)fj__stack_watch_overflow(NULL);
    errno = kept;
    here.errno_at = &errno;
    here.cxa_at = __cxa_get_globals != NULL ? __cxa_get_globals() : NULL;
    return resume(f);
}

bool fj__fibre_resume(fj__fibre *f)
{
    return here.errno_at != NULL ? resume(f) : resume_first(f);
}

void fj__fibre_suspend(void)
{
    fj__fibre *f = here.current;

    to_resumer(f);
    ASAN_LEAVING(f, &f->asan_fake_stack);
    TSAN_LEAVING(f);
    (void)fj__switch(&f->sp, f->resumer_sp);
    ASAN_ENTERED(f);
}

/* The first function on a fresh stack.  Not seen by TSan: it begins on one side of a switch and ends on the other. */
FJ__NO_TSAN static void *begin(void)
{
    fj__fibre *f = fj__fibre_current();

    ASAN_ENTERED(f);
    f->entry(f->arg);
    f->ended = true;
    to_resumer(f);
    ASAN_LEAVING(f, NULL);
    TSAN_LEAVING(f);
    return f->resumer_sp;
}

/* ---- the life of a fibre ---------------------------------------------------------------------------- */

fj_code fj__fibre_init(fj__fibre *f, size_t stack, void (*entry)(void *arg), void *arg, fj_error **err)
{
    fj__stack got;
    fj_code code = fj__stack_get(stack, &got, err);

    if (code != FJ_OK)
        return code;
    /* One by one: the rest is set by who resumes it, and to clear all would take longer than a switch. */
    f->stack = got;
    f->entry = entry;
    f->arg = arg;
    f->saved_errno = 0;
    f->started = f->ended = false;
    f->cxa = (fj__cxa){ 0 };
    f->name = NULL;
    f->asan_fake_stack = NULL;
    f->sp = fj__switch_frame(got.base, got.base + got.size, begin);
    got.slot->owner = f;
#ifdef FJ__TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
    return FJ_OK;
}

void fj__fibre_fini(fj__fibre *f)
{
#ifdef FJ__TSAN
    __tsan_destroy_fiber(f->tsan);
#endif
    fj__stack_put(&f->stack);
}

__attribute__((noinline)) fj__fibre *fj__fibre_current(void)
{
    return here.current;
}

size_t fj__fibre_high_water(const fj__fibre *f)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), top = (uintptr_t)(f->stack.base + f->stack.size);
    unsigned char there;

    /* From below: what lies between the lowest page that was touched and the top was reached. */
    for (char *at = f->stack.base; (uintptr_t)at < top; at += page) {
        if (mincore(at, page, &there) == 0 && (there & 1) != 0)
            return (size_t)(top - (uintptr_t)at);
    }
    return 0;
}
