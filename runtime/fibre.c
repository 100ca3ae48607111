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
    fj__cxa *cxa_at;
    fj__cxa no_cxa; /* in a program without the C++ runtime */
} thread;

static _Thread_local thread here __attribute__((tls_model("initial-exec")));

/* Of the C++ runtime; NULL in a program without it. */
extern fj__cxa *__cxa_get_globals(void) __attribute__((weak));

static void first_here(void)
{
    here.errno_at = &errno;
    here.cxa_at = __cxa_get_globals != NULL ? __cxa_get_globals() : &here.no_cxa;
}

/* ---- what the checkers are told: before a switch and after it, on either side ----------------------- */

static inline void resuming(fj__fibre *f, void **fake)
{
#ifdef FJ__ASAN
    __sanitizer_start_switch_fiber(fake, f->stack.base, f->stack.size);
#endif
    (void)f;
    (void)fake;
}

static inline void resumed_returns(void *fake)
{
#ifdef FJ__ASAN
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
    (void)fake;
}

static inline void entered(fj__fibre *f)
{
#ifdef FJ__ASAN
    __sanitizer_finish_switch_fiber(f->asan_fake_stack, &f->resumer_bottom, &f->resumer_size);
#endif
    (void)f;
}

/* Without a place to keep it a fibre's fake stack is freed: it will not be entered again. */
static inline void leaving(fj__fibre *f, void **fake)
{
#ifdef FJ__ASAN
    __sanitizer_start_switch_fiber(fake, f->resumer_bottom, f->resumer_size);
#endif
    (void)f;
    (void)fake;
}

/* In macros, since TSan counts the calls of each stack: it must not see one that begins on one and ends on another. */
#ifdef FJ__TSAN
#define TSAN_RESUMING(f) ((f)->resumer_tsan = __tsan_get_current_fiber(), __tsan_switch_to_fiber((f)->tsan, 0))
#define TSAN_LEAVING(f) __tsan_switch_to_fiber((f)->resumer_tsan, 0)
#else
#define TSAN_RESUMING(f) ((void)0)
#define TSAN_LEAVING(f) ((void)0)
#endif

/* ---- the life of a fibre ---------------------------------------------------------------------------- */

/* The first function on a fresh stack.  Not seen by TSan either, for it never returns. */
FJ__NO_TSAN static void begin(void)
{
    fj__fibre *f = fj__fibre_current();

    entered(f);
    f->entry(f->arg);
    f->ended = true;
    leaving(f, NULL);
    TSAN_LEAVING(f);
    fj__switch(&f->sp, f->resumer_sp);
    __builtin_unreachable();
}

fj_code fj__fibre_init(fj__fibre *f, size_t stack, void (*entry)(void *arg), void *arg, fj_error **err)
{
    fj__stack got;
    fj_code code = fj__stack_get(stack, &got, err);

    if (code != FJ_OK)
        return code;
    *f = (fj__fibre){ .stack = got, .entry = entry, .arg = arg };
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

bool fj__fibre_resume(fj__fibre *f)
{
    void *to = f->sp, *fake = NULL;

    if (here.errno_at == NULL)
        first_here();
    int my_errno = *here.errno_at;
    fj__cxa my_cxa = *here.cxa_at;
    *here.errno_at = f->saved_errno;
    *here.cxa_at = f->cxa;
    f->resumer = here.current;
    here.current = f;
    f->started = true;
    f->sp = NULL;

    resuming(f, &fake);
    TSAN_RESUMING(f);
    fj__switch(&f->resumer_sp, to);
    resumed_returns(fake);

    here.current = f->resumer;
    f->saved_errno = *here.errno_at;
    f->cxa = *here.cxa_at;
    *here.errno_at = my_errno;
    *here.cxa_at = my_cxa;
    return !f->ended;
}

void fj__fibre_suspend(void)
{
    fj__fibre *f = here.current;

    leaving(f, &f->asan_fake_stack);
    TSAN_LEAVING(f);
    fj__switch(&f->sp, f->resumer_sp);
    entered(f);
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
