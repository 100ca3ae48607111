/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that wait for their answer.  They stand in the order they are due, and one thread a driver, started with the
 * first call, ends those whose time is up, so that a call ends by its deadline whether somebody waits for it or not.
 */
#include "fake.h"

#include "base/alloc.h"
#include "base/ids.h"
#include "base/native.h"
#include "runtime/sync.h"
#include "runtime/thread.h"

#include <string.h>

static void insert(fj__fake_driver_s *d, fj__fake_call *call)
{
    fj__fake_call *before = d->last; /* most calls are due after all others */

    while (before != NULL && before->due.ns > call->due.ns)
        before = before->prev;
    call->prev = before;
    call->next = before != NULL ? before->next : d->first;
    if (call->next != NULL)
        call->next->prev = call;
    else
        d->last = call;
    if (before != NULL) {
        before->next = call;
    } else {
        d->first = call;
        (void)fj__native.pthread_cond_signal(&d->changed);
    }
}

static void take_out(fj__fake_call *call)
{
    fj__fake_driver_s *d = call->driver;

    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        d->first = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    else
        d->last = call->prev;
    call->next = call->prev = NULL;
}

fj__fake_call *fj__fake_call_ref(fj__fake_call *call)
{
    atomic_fetch_add(&call->refs, 1);
    return call;
}

void fj__fake_call_unref(fj__fake_call *call)
{
    if (atomic_fetch_sub(&call->refs, 1) == 1)
        fj__free(call);
}

fj_future *fj__fake_call_end(fj__fake_call *call)
{
    fj_future *future = call->future;

    if (future != NULL) {
        take_out(call);
        call->future = NULL;
    }
    return future;
}

void fj__fake_call_alive(fj__fake_call *call, bool alive)
{
    if (call->future == NULL || !(call->monitor > 0))
        return;
    take_out(call);
    call->due = alive ? call->by : fj_sooner(call->by, fj_in_seconds(call->monitor));
    insert(call->driver, call);
}

static void on_cancelled(fj_future *future, void *user)
{
    (void)future;
    fj__fake_lock();
    fj_future *held = fj__fake_call_end(user);
    fj__fake_unlock();
    fj_future_unref(held);
}

static void on_freed(void *user)
{
    fj__fake_call_unref(user);
}

static const fj_future_ops call_future = { .cancelled = on_cancelled, .freed = on_freed };

static void time_out(fj_future *future, const char *id)
{
    fj_error *error = NULL;

    (void)fj_fail(&error, FJ_TIMEOUT, "Timed out waiting for a reply to message ID %s", id);
    fj_error_set_sent(error, FJ_SENT_YES);
    (void)fj_future_reject(future, error);
    fj_future_unref(future);
}

static void *keep(void *user)
{
    fj__fake_driver_s *d = user;

    fj__fake_lock();
    while (!d->leave) {
        fj__fake_call *call = d->first;
        if (call == NULL || !fj_passed(call->due)) {
            fj__fake_sleep(&d->changed, call != NULL ? call->due : fj_never());
            continue;
        }
        atomic_fetch_add(&call->refs, 1); /* for its id, after the lock */
        fj_future *future = fj__fake_call_end(call);
        fj__fake_unlock();
        time_out(future, call->id);
        fj__fake_call_unref(call);
        fj__fake_lock();
    }
    fj__fake_unlock();
    return NULL;
}

static bool start_keeper(fj__fake_driver_s *d)
{
    if (!d->keeping)
        d->keeping = fj__thread_new(&d->keeper, "fj-fake", keep, d) == 0;
    return d->keeping;
}

fj_code fj__fake_call_new(fj__fake_driver_s *d, const fj_send *send, fj__fake_call **ret, fj_future **future,
                          fj_error **err)
{
    fj__fake_call *call = fj__zalloc(sizeof *call);
    fj_future *made = NULL;

    if (call == NULL || fj_future_new(&call_future, call, &made) != FJ_OK) {
        fj__free(call);
        return fj_fail(err, FJ_NOMEM, "no memory for a call");
    }
    atomic_init(&call->refs, 2); /* the future's and the caller's */
    fj__id_hex(call->id);
    call->driver = d;
    call->by = send->by;
    call->monitor = send->monitor;
    if (send->size >= sizeof *send) {
        call->began = send->began;
        call->method = send->shown_method;
        call->topic = send->shown_topic;
    }
    call->due = send->monitor > 0 ? fj_sooner(send->by, fj_in_seconds(send->monitor)) : send->by;
    fj__fake_lock();
    fj_code code = d->closed ? FJ_CLOSED : start_keeper(d) ? FJ_OK : FJ_SYSTEM;
    if (code == FJ_OK) {
        call->future = fj_future_ref(made);
        insert(d, call);
    }
    fj__fake_unlock();
    if (code != FJ_OK) {
        fj_future_unref(made);
        fj__fake_call_unref(call);
        return fj_fail(err, code, code == FJ_CLOSED ? "the transport is closed" : "cannot start a thread");
    }
    *ret = call;
    *future = made;
    return FJ_OK;
}

size_t fj__fake_calls(fj__fake_driver_s *d, size_t max, const fj__fake_call **ret)
{
    size_t n = 0;

    for (const fj__fake_call *call = d->first; call != NULL; call = call->next) {
        if (n < max)
            ret[n] = call;
        n++;
    }
    return n;
}

void fj__fake_calls_close(fj__fake_driver_s *d)
{
    fj__fake_lock();
    d->closed = true;
    while (d->first != NULL) {
        fj_future *future = fj__fake_call_end(d->first);
        fj__fake_unlock();
        fj_error *error = NULL;
        (void)fj_fail(&error, FJ_CLOSED, "the transport was closed before the answer came");
        fj_error_set_sent(error, FJ_SENT_YES);
        (void)fj_future_reject(future, error);
        fj_future_unref(future);
        fj__fake_lock();
    }
    d->leave = true;
    (void)fj__native.pthread_cond_signal(&d->changed);
    fj__fake_unlock();
}

void fj__fake_calls_join(fj__fake_driver_s *d)
{
    if (d->keeping)
        (void)fj__native.pthread_join(d->keeper, NULL);
    d->keeping = false;
}
