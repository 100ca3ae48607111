/* SPDX-License-Identifier: Apache-2.0 */
#include "intake.h"

#include "base/log.h"

enum { BATCH = 32 };

static void begin(fj__intake *in, fj__slot *slot, fj_incoming *message)
{
    fj_error *failure = NULL;

    if (!fj__slots_begin(slot, message))
        return;
    fj_code code = in->run(in, slot, &failure);
    if (code == FJ_OK)
        return;
    if (failure == NULL)
        (void)fj_fail(&failure, code, "%s", fj_code_text(code));
    fj__slots_drop(slot, failure);
}

/* Until one is free.  @return OK; CLOSED */
static fj_code await_slot(fj__slots *s)
{
    fj_code code;

    do
        code = fj__slots_await(s, false, fj__slots_due(s));
    while (code == FJ_TIMEOUT);
    return code;
}

/* As many slots as are free, one at least, `n` at most.  @return how many; 0 when closed */
static size_t take_slots(fj__slots *s, fj__slot **slots, size_t n)
{
    size_t got = 0;

    while (got == 0) {
        if (await_slot(s) == FJ_CLOSED)
            return 0;
        while (got < n && (slots[got] = fj__slots_take(s)) != NULL)
            got++;
    }
    return got;
}

/* The task of the intake is to end, and is told that once. */
static void cancelled(fj__intake *in)
{
    fj__log(FJ_LOG_WARNING, "executor", "the task that polls was cancelled: no more messages are taken");
    fj__slots_close(in->slots);
}

/* Acknowledge and begin messages[0 .. n), for each of which there is a slot. */
static void admit(fj__intake *in, fj__slot **slots, fj_incoming **messages, size_t n)
{
    fj_listener *l = in->listener;
    fj_error *err = NULL;
    fj_code code = in->ack_done ? FJ_OK : l->ops->ack(l, messages, n, fj_in_ms(FJ__ACK_MS), &err);

    for (size_t i = 0; i < n; i++) {
        if (messages[i] != NULL && code == FJ_OK) {
            begin(in, slots[i], messages[i]);
            continue;
        }
        fj__slots_give(slots[i]);
        if (messages[i] != NULL)
            fj_dispatcher_give_back(in->slots->dispatcher, messages[i]);
    }
    fj__slots_wake(in->slots, false);
    if (code == FJ_CANCELLED)
        cancelled(in);
    if (code != FJ_OK)
        fj__trouble_pause(&in->trouble, in->slots, "messages could not be acknowledged", fj_never(), code, err);
}

/* Jobs may have taken slots since the poll: then what came is admitted in pieces. */
static void admit_all(fj__intake *in, fj_incoming **messages, size_t n)
{
    fj__slot *slots[BATCH];

    for (size_t at = 0; at < n;) {
        size_t got = take_slots(in->slots, slots, n - at);
        if (got == 0) {
            for (; at < n; at++)
                fj_dispatcher_give_back(in->slots->dispatcher, messages[at]); /* closed */
            return;
        }
        admit(in, slots, messages + at, got);
        at += got;
    }
}

/* @return false when the listener is closed, or the task of the intake is to end */
static bool poll_once(fj__intake *in, size_t max)
{
    fj_incoming *messages[BATCH];
    fj_error *err = NULL;
    size_t n = 0;

    fj_code code = in->listener->ops->poll(in->listener, fj__slots_due(in->slots), max < BATCH ? max : BATCH,
                                           messages, &n, &err);
    if (code == FJ_OK)
        admit_all(in, messages, n);
    else if (code != FJ_AGAIN && code != FJ_TIMEOUT && code != FJ_CLOSED && code != FJ_CANCELLED)
        fj__trouble_pause(&in->trouble, in->slots, "polling failed", fj_never(), code, err);
    else
        fj_error_free(err);
    if (code == FJ_CANCELLED)
        cancelled(in);
    return code != FJ_CLOSED && code != FJ_CANCELLED;
}

void fj__intake_run(fj__intake *in)
{
    while (await_slot(in->slots) == FJ_OK) {
        size_t max = fj__slots_free_count(in->slots);
        if (max > 0 && !poll_once(in, max)) /* none: a job was faster */
            break;
    }
    fj__slots_unwatched(in->slots);
    atomic_store(&in->ended, true);
    fj__eventcount_raise(&in->slots->changed);
}

fj_code fj__intake_join(fj__intake *in, fj_deadline by, fj_error **err)
{
    for (;;) {
        unsigned seen = fj__eventcount_read(&in->slots->changed);
        if (atomic_load(&in->ended))
            return FJ_OK;
        if (!fj__eventcount_wait(&in->slots->changed, seen, fj__slots_patience(in->slots, by)))
            return fj_fail(err, FJ_TIMEOUT, "what polls the broker has not ended");
    }
}
