/* SPDX-License-Identifier: Apache-2.0 */
/* Who overflowed a stack: said by name before the process dies, as the fault alone says nothing. */
#include "base/alloc.h"
#include "base/native.h"
#include "runtime/fibre.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* What a handler of others that we pass on to may need; the kernel's own frame comes on top. */
#define ROOM ((size_t)64 * 1024)

static const int signals[] = { SIGSEGV, SIGBUS };
static struct sigaction before[fj__countof(signals)];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int failed; /* the errno of why there is no handler */

/* ---- the report: nothing here may take a lock or allocate ------------------------------------------- */

typedef struct {
    char text[320];
    size_t used;
} line;

static void put(line *l, const char *text)
{
    for (; *text != '\0' && l->used < sizeof l->text; text++)
        l->text[l->used++] = *text;
}

static void put_number(line *l, size_t n)
{
    char digits[24], *at = digits + sizeof digits - 1;

    *at = '\0';
    do
        *--at = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    put(l, at);
}

static void report(const fj__fibre *f)
{
    line l = { .used = 0 };
    char name[161] = "";

    for (size_t i = 0; f->name != NULL && i < sizeof name - 1 && f->name[i] != '\0'; i++)
        name[i] = f->name[i];
    put(&l, "fjord: task \"");
    put(&l, name);
    put(&l, "\" overflowed its stack of ");
    put_number(&l,
               (f->stack.size + 1023) & ~(size_t)1023); /* as it was asked for, before its top was coloured */
    put(&l, " bytes; give it more: `stack` in fj_task_opts, or [fjord] stack_size\n");
    ssize_t written = fj__native.write(STDERR_FILENO, l.text, l.used);
    (void)written; /* there is nobody else to tell */
}

/* As if we had never been there.  An instruction that faulted does so again when we return. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    struct sigaction *old = &before[number == SIGSEGV ? 0 : 1];
    bool sent = info->si_code <= 0; /* by kill(2), not by an instruction */

    if ((old->sa_flags & SA_SIGINFO) != 0) {
        old->sa_sigaction(number, info, context);
    } else if (old->sa_handler == SIG_IGN && sent) {
        return;
    } else if (old->sa_handler == SIG_DFL || old->sa_handler == SIG_IGN) {
        (void)sigaction(number, old, NULL);
        if (sent)
            (void)raise(number);
    } else {
        old->sa_handler(number);
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    const fj__fibre *f = fj__fibre_current();
    int kept = errno;

    if (f != NULL && info->si_code > 0 && fj__stack_in_guard(&f->stack, info->si_addr))
        report(f);
    errno = kept;
    pass_on(number, info, context);
}

/* ---- once a process, once a thread ------------------------------------------------------------------ */

/* The thread ends.  A signal stack that somebody else has put in place since is theirs. */
static void unwatch(void *ours)
{
    stack_t now, none = { .ss_flags = SS_DISABLE };

    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == ours)
        (void)sigaltstack(&none, NULL);
    fj__free(ours);
}

static void install(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    (void)sigemptyset(&action.sa_mask);
    failed = pthread_key_create(&key, unwatch);
    for (size_t i = 0; failed == 0 && i < fj__countof(signals); i++) {
        if (sigaction(signals[i], NULL, &before[i]) != 0 || sigaction(signals[i], &action, NULL) != 0)
            failed = errno;
    }
}

fj_code fj__stack_watch_overflow(fj_error **err)
{
    stack_t now = { .ss_flags = SS_DISABLE };

    (void)pthread_once(&once, install);
    if (failed != 0)
        return fj_fail(err, FJ_SYSTEM, "no handler for stack overflows: %s", strerror(failed));
    (void)sigaltstack(NULL, &now);
    if ((now.ss_flags & SS_DISABLE) == 0)
        return FJ_OK; /* the thread's own, another library's, or ours */
    long frame = sysconf(_SC_MINSIGSTKSZ);
    stack_t ours = { .ss_size = ROOM + (frame > 0 ? (size_t)frame : 0) };
    ours.ss_sp = fj__alloc(ours.ss_size);
    if (ours.ss_sp == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a signal stack");
    if (pthread_setspecific(key, ours.ss_sp) != 0 || sigaltstack(&ours, NULL) != 0) {
        int why = errno;
        (void)pthread_setspecific(key, NULL);
        fj__free(ours.ss_sp);
        return fj_fail(err, FJ_SYSTEM, "no signal stack: %s", strerror(why));
    }
    return FJ_OK;
}
