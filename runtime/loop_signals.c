/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals.  The handler posts a letter to the loop, which is all that is safe there; the call-back runs when it is read.
 * Whoever removes one waits until no handler is under way that may have seen it.
 */
#include "base/native.h"
#include "runtime/loop_impl.h"

#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

struct fj__signal {
    fj__letter letter;
    fj_loop *loop;
    fj_signal_fn fn;
    void *user;
    int number;
    bool gone; /* removed; freed when its letter is read */
    struct sigaction old;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct fj__signal *) signals[NSIG];
static atomic_uint handling;

static void caught(int number)
{
    int saved = errno;

    (void)atomic_fetch_add(&handling, 1);
    struct fj__signal *s = atomic_load(&signals[number]);
    if (s != NULL && fj__loop_ours(s->loop)) {
        (void)fj__loop_post(s->loop, &s->letter);
    } else if (s != NULL) {
        /* A child of the process that asked for it: what was there before takes it, as soon as this returns. */
        (void)sigaction(number, &s->old, NULL);
        (void)raise(number);
    }
    (void)atomic_fetch_sub(&handling, 1);
    errno = saved;
}

static void arrive(fj__letter *letter)
{
    struct fj__signal *s = fj__container(letter, struct fj__signal, letter);
    fj_loop *loop = s->loop;

    if (s->gone) {
        fj__free(s);
        return;
    }
    loop->called = true;
    fj__loop_enter(loop, "signal");
    s->fn(loop, s->number, s->user); /* which may remove it */
    fj__loop_leave(loop);
}

/* With the lock. */
static void remove_it(struct fj__signal *s)
{
    (void)sigaction(s->number, &s->old, NULL);
    atomic_store(&signals[s->number], NULL);
    /* In a forked child the others' handlers are gone, and their count is not. */
    while (fj__loop_ours(s->loop) && atomic_load(&handling) != 0)
        (void)sched_yield();
    if (atomic_load(&s->letter.posted))
        s->gone = true;
    else
        fj__free(s);
}

static fj_code put(fj_loop *loop, struct fj__signal *s, fj_error **err)
{
    struct fj__signal *there = atomic_load(&signals[s->number]);
    struct sigaction action = { .sa_handler = caught, .sa_flags = SA_RESTART | SA_ONSTACK };

    if (there != NULL && fj__loop_ours(there->loop) && there->loop != loop)
        return fj_fail(err, FJ_STATE, "signal %d belongs to another loop", s->number);
    if (there != NULL)
        remove_it(there); /* also one that a fork has left */
    (void)sigemptyset(&action.sa_mask);
    atomic_store(&signals[s->number], s);
    if (sigaction(s->number, &action, &s->old) == 0)
        return FJ_OK;
    int why = errno;
    atomic_store(&signals[s->number], NULL);
    return fj_fail(err, FJ_BAD_VALUE, "signal %d: %s", s->number, strerror(why));
}

fj_code fj_loop_add_signal(fj_loop *loop, int number, fj_signal_fn fn, void *user, fj_error **err)
{
    if (fj__loop_refuses(loop, "fj_loop_add_signal"))
        return fj_fail(err, FJ_WRONG_CONTEXT, "fj_loop_add_signal() from another thread than the loop's");
    if (number < 1 || number >= NSIG)
        return fj_fail(err, FJ_BAD_VALUE, "there is no signal %d", number);
    struct fj__signal *s = fj__zalloc(sizeof *s);
    if (s == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to catch signal %d", number);
    s->letter.read = arrive;
    s->loop = loop;
    s->number = number;
    s->fn = fn;
    s->user = user;
    (void)fj__native.pthread_mutex_lock(&lock);
    fj_code code = put(loop, s, err);
    (void)fj__native.pthread_mutex_unlock(&lock);
    if (code != FJ_OK)
        fj__free(s);
    return code;
}

bool fj__signals_any(const fj_loop *loop)
{
    bool any = false;

    (void)fj__native.pthread_mutex_lock(&lock);
    for (int i = 0; i < NSIG && !any; i++) {
        const struct fj__signal *s = atomic_load(&signals[i]);
        any = s != NULL && s->loop == loop;
    }
    (void)fj__native.pthread_mutex_unlock(&lock);
    return any;
}

static bool removed(fj_loop *loop, int number)
{
    (void)fj__native.pthread_mutex_lock(&lock);
    struct fj__signal *s = atomic_load(&signals[number]);
    bool is = s != NULL && s->loop == loop;
    if (is)
        remove_it(s);
    (void)fj__native.pthread_mutex_unlock(&lock);
    return is;
}

bool fj_loop_remove_signal(fj_loop *loop, int number)
{
    return !fj__loop_refuses(loop, "fj_loop_remove_signal") && number >= 1 && number < NSIG &&
           removed(loop, number);
}

void fj__signals_drop(fj_loop *loop)
{
    for (int number = 1; number < NSIG; number++)
        (void)removed(loop, number);
}
