/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_FIBRE_H
#define FJORD_RUNTIME_FIBRE_H
/*
 * Fibres: stacks that can be left and entered again.  Asymmetric: whoever resumes one gets control back when it suspends
 * or its entry returns.  A fibre is resumed on the thread it was first resumed on, for life.  A switch keeps errno and
 * the C++ exception state apart; it makes no system call.
 */
#include "runtime/stack.h"

#include <fjord/error.h>

typedef struct fj__fibre fj__fibre;

/** What a thread keeps of C++ exceptions: __cxa_eh_globals of the Itanium C++ ABI. */
typedef struct {
    void *caught;
    unsigned uncaught;
} fj__cxa;

/** Embedded in its owner.  All fields are the implementation's; gdb reads `sp`, which is NULL while it
 *  runs or waits for one that it resumed. */
struct fj__fibre {
    void *sp;
    fj__stack stack;
    void (*entry)(void *arg);
    void *arg;
    fj__fibre *resumer; /* the fibre it was resumed from, NULL: the thread itself */
    void *resumer_sp;
    int saved_errno, resumer_errno;
    bool started, ended;
    fj__cxa cxa, resumer_cxa; /* while suspended */
    const char *name;         /* lends; for reports; the owner sets it after init */
    void *asan_fake_stack, *resumer_fake_stack, *tsan, *resumer_tsan;
    const void *resumer_bottom; /* the stack of who resumed it, for ASan */
    size_t resumer_size;
};

/** Take a stack of at least @p stack bytes; nothing runs yet.  @errors NOMEM, SYSTEM (names vm.max_map_count) */
fj_code fj__fibre_init(fj__fibre *f, size_t stack, void (*entry)(void *arg), void *arg, fj_error **err);
/** Give the stack back.  Only when it has ended or was never resumed. */
void fj__fibre_fini(fj__fibre *f);
/** Run it until it suspends or ends.  @return false when it has ended */
bool fj__fibre_resume(fj__fibre *f);
/** From inside a fibre: back to who resumed it. */
void fj__fibre_suspend(void);
/** The fibre that runs on this thread, or NULL.  Never inlined: a compiler may keep a thread's address over a switch. */
fj__fibre *fj__fibre_current(void);
/** How many bytes of the stack were ever touched, by whole pages; for reports. */
size_t fj__fibre_high_water(const fj__fibre *f);

#endif
