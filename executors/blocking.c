/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocking executor: whoever calls step polls one message and runs its method, on the thread and stack of the
 * call.  There is one slot; a deferred request holds it, so the next message waits until it is answered.
 */
#include "blocking.h"

#include "base/alloc.h"
#include "executors/slots.h"

struct blocking {
    fj_executor base; /* first */
    fj__slots slots;
    fj_listener *listener;
    atomic_bool stepping;
    fj__trouble trouble;
    bool ack_done;
    fj_invoke_fn wrap;
    void *wrap_user;
};

static struct blocking *of(fj_executor *x)
{
    return (struct blocking *)(void *)x;
}

static fj_code create(const fj_conf *conf, const fj_executor_opts *opts, fj_executor **ret, fj_error **err)
{
    (void)conf;
    struct blocking *b = fj__zalloc(sizeof *b);

    if (b == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for an executor");
    fj_code code = fj__slots_init(&b->slots, 1, err);
    if (code != FJ_OK) {
        fj__free(b);
        return code;
    }
    b->base.ops = &fj__executor_blocking;
    b->ack_done = opts->ack_done;
    b->wrap = opts->wrap;
    b->wrap_user = opts->wrap_user;
    *ret = &b->base;
    return FJ_OK;
}

/* The slot is free again.  Whoever sleeps in step hears of it by itself; one who watches the listener does not. */
static void freed(void *user)
{
    struct blocking *b = user;

    if (!atomic_load(&b->stepping))
        b->listener->ops->interrupt(b->listener);
}

static fj_code start(fj_executor *x, fj_listener *listener, fj_dispatcher *dispatcher, fj_error **err)
{
    (void)err;
    of(x)->listener = listener;
    of(x)->slots.dispatcher = dispatcher;
    of(x)->slots.freed = freed;
    of(x)->slots.freed_user = of(x);
    return FJ_OK;
}

/* Acknowledge a message before it runs.  @return false when it must not run: then it is freed */
static bool admit(struct blocking *b, fj_incoming *in, fj_deadline by)
{
    fj_error *err = NULL;

    if (b->ack_done)
        return true;
    fj_code code = b->listener->ops->ack(b->listener, &in, 1, fj_in_ms(FJ__ACK_MS), &err);
    if (code == FJ_OK)
        return in != NULL;
    fj_dispatcher_give_back(b->slots.dispatcher, in);
    fj__trouble_pause(&b->trouble, &b->slots, "a message could not be acknowledged", by, code, err);
    return false;
}

/* Run a queued job.  @return false when there is none */
static bool run_job(struct blocking *b)
{
    fj__slot *slot = fj__slots_pop(&b->slots);

    if (slot != NULL)
        fj__slots_run(slot, &b->base);
    return slot != NULL;
}

/* A slot for a message that is here; a job may have come in between and is run first. */
static fj__slot *slot_for_message(struct blocking *b)
{
    fj__slot *slot;

    for (;;) {
        if (fj__slots_await(&b->slots, true, fj_never()) == FJ_CLOSED)
            return NULL;
        if (!run_job(b) && (slot = fj__slots_take(&b->slots)) != NULL)
            return slot;
    }
}

/* @return OK when something was processed; else AGAIN, TIMEOUT, CLOSED, or LOST to be asked again */
static fj_code poll_once(struct blocking *b, fj_deadline by)
{
    fj_incoming *in = NULL;
    fj_error *err = NULL;
    size_t n = 0;

    fj_code code = b->listener->ops->poll(b->listener, by, 1, &in, &n, &err);
    if (code == FJ_TIMEOUT || code == FJ_AGAIN || code == FJ_CLOSED) {
        fj_error_free(err);
        return code;
    }
    if (code != FJ_OK) {
        fj__trouble_pause(&b->trouble, &b->slots, "polling failed", by, code, err);
        return FJ_LOST;
    }
    fj__slot *slot = slot_for_message(b);
    if (slot == NULL) {
        fj_dispatcher_give_back(b->slots.dispatcher, in); /* closed meanwhile */
        return FJ_CLOSED;
    }
    if (!admit(b, in, by)) {
        fj__slots_give(slot);
        return FJ_LOST;
    }
    if (fj__slots_begin(slot, in))
        fj__slots_run(slot, &b->base);
    return FJ_OK;
}

static fj_code step_locked(struct blocking *b, fj_deadline by)
{
    for (;;) {
        fj_code code = fj__slots_await(&b->slots, true, by);
        if (code == FJ_OK && run_job(b))
            return FJ_OK;
        if (code == FJ_OK && fj__slots_free_count(&b->slots) == 0)
            continue; /* a job took it, and comes at once */
        if (code == FJ_OK)
            code = poll_once(b, by);
        if (code == FJ_AGAIN && run_job(b)) /* interrupted by submit */
            return FJ_OK;
        if (code == FJ_LOST && fj_passed(by))
            return FJ_TIMEOUT;
        if (code != FJ_LOST)
            return code;
    }
}

static fj_code step(fj_executor *x, fj_deadline by, fj_error **err)
{
    struct blocking *b = of(x);

    if (fj__slots_inside(&b->slots))
        return fj_fail(err, FJ_STATE, "a step from within one of the server's methods");
    if (atomic_exchange(&b->stepping, true))
        return fj_fail(err, FJ_STATE, "another thread steps this server");
    fj_code code = step_locked(b, by);
    atomic_store(&b->stepping, false);
    fj__eventcount_raise(&b->slots.changed);
    return code == FJ_OK ? code : fj_fail(err, code, "%s", fj_code_text(code));
}

static fj_code submit(fj_executor *x, void (*job)(void *user), void *user, fj_error **err)
{
    struct blocking *b = of(x);

    if (atomic_load(&b->slots.closed))
        return fj_fail(err, FJ_CLOSED, "the executor is closed");
    fj__slot *slot = fj__slots_take(&b->slots);
    if (slot == NULL)
        return fj_fail(err, FJ_AGAIN, "the only slot is taken");
    fj__slots_push(slot, job, user);
    if (b->listener != NULL)
        b->listener->ops->interrupt(b->listener);
    return FJ_OK;
}

static fj_code invoke(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct blocking *b = user;

    return fj_invoke_by_flavour(b->wrap != NULL ? b->wrap : fj_invoke_direct, b->wrap_user, req, args, ret,
                                err);
}

static void close_it(fj_executor *x)
{
    struct blocking *b = of(x);

    fj__slots_close(&b->slots);
    if (b->listener != NULL)
        b->listener->ops->interrupt(b->listener);
}

static fj_code await_step(struct blocking *b, fj_deadline by, fj_error **err)
{
    for (;;) {
        unsigned seen = fj__eventcount_read(&b->slots.changed);
        if (!atomic_load(&b->stepping))
            return FJ_OK;
        if (fj__eventcount_wait(&b->slots.changed, seen, fj__slots_patience(&b->slots, by)))
            continue;
        fj_code code = fj__slots_drain(&b->slots, by, err); /* which names the method */
        return code != FJ_OK ? code : fj_fail(err, FJ_TIMEOUT, "a step of the server has not ended");
    }
}

/* Until nothing more comes: closed, or all that the listener has left was run, here or in others' steps. */
static fj_code await_end(struct blocking *b, fj_deadline by, fj_error **err)
{
    fj_code code;

    do {
        code = await_step(b, by, err);
        if (code != FJ_OK || atomic_load(&b->slots.closed))
            return code;
        code = step(&b->base, by, NULL);
    } while (code == FJ_OK || code == FJ_AGAIN || (code == FJ_STATE && !fj_passed(by)));
    return FJ_OK; /* what is late is named by who drains */
}

static fj_code stop(fj_executor *x, fj_deadline by, fj_error **err)
{
    struct blocking *b = of(x);

    if (fj__slots_inside(&b->slots))
        return fj_fail(err, FJ_STATE, "a wait from within one of the server's methods");
    fj_code code = await_end(b, by, err);
    if (code != FJ_OK)
        return code;
    (void)run_job(b); /* one that no step came for */
    return fj__slots_drain(&b->slots, by, err);
}

static void abort_it(fj_executor *x)
{
    fj__slots_abort(&of(x)->slots, x);
}

static void free_it(fj_executor *x)
{
    fj__slots_fini(&of(x)->slots);
    fj__free(x);
}

static void at_fork(fj_executor *x)
{
    fj__slots_at_fork(&of(x)->slots);
    atomic_store(&of(x)->stepping, false);
}

static unsigned running(const fj_executor *x, unsigned *ret_slots)
{
    return fj__slots_running(&((const struct blocking *)(const void *)x)->slots, ret_slots);
}

const fj_executor_ops fj__executor_blocking = {
    .abi = FJ_EXECUTOR_ABI,
    .size = sizeof(fj_executor_ops),
    .name = "blocking",
    .caps = FJ_EXECUTOR_STEPS,
    .max_slots = 1,
    .create = create,
    .start = start,
    .step = step,
    .submit = submit,
    .invoke = invoke,
    .close = close_it,
    .stop = stop,
    .abort = abort_it,
    .free = free_it,
    .at_fork = at_fork,
    .running = running,
};
