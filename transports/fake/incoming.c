/* SPDX-License-Identifier: Apache-2.0 */
/* One message in somebody's hands. */
#include "listener.h"

#include "transports/failure.h"

/* ---- what came before --------------------------------------------------------------------------- */

/* @return false when the listener gave it to poll() before, and has not got it back */
static bool is_new(fj__fake_listener *l, const fj__fake_msg *msg)
{
    for (size_t i = 0; msg->redelivered && i < l->seen_size; i++)
        if (l->seen[i] == msg->serial)
            return false;
    l->seen[l->seen_at++] = msg->serial;
    if (l->seen_at == l->seen_size)
        l->seen_at = 0;
    return true;
}

void fj__fake_unsee(fj__fake_incoming *in)
{
    fj__fake_listener *l = fj__fake_listener_of(in->base.listener);

    for (size_t i = 0; i < l->seen_size; i++)
        if (l->seen[i] == in->msg->serial)
            l->seen[i] = 0;
}

/* ---- its end ------------------------------------------------------------------------------------ */

static fj__fake_consumer *source_of(fj__fake_incoming *in)
{
    return &fj__fake_listener_of(in->base.listener)->sources[in->msg->source];
}

/* It leaves the listener's hands.  @locks broker */
static void let_go(fj__fake_incoming *in)
{
    fj__fake_listener *l = fj__fake_listener_of(in->base.listener);

    in->settled = true;
    if (in->prev != NULL)
        in->prev->next = in->next;
    else
        l->hands = in->next;
    if (in->next != NULL)
        in->next->prev = in->prev;
    in->next = in->prev = NULL;
}

static void drop_content(fj__fake_msg *msg)
{
    json_decref(msg->message);
    json_decref(msg->context);
    msg->message = msg->context = NULL;
}

void fj__fake_settle(fj__fake_incoming *in)
{
    if (in->settled)
        return;
    let_go(in);
    if (in->stale)
        return;            /* the copy that comes is known, and dropped */
    drop_content(in->msg); /* it will not be delivered again */
    fj__fake_acked(source_of(in), in->msg);
}

fj_code fj__fake_stale(fj__fake_incoming *in)
{
    if (in->stale)
        return FJ_OK;
    fj__fake_msg *again = fj__fake_msg_again(in->msg);
    if (again == NULL)
        return FJ_NOMEM;
    again->queue = in->msg->queue; /* with its reference */
    in->msg->queue = NULL;
    fj__fake_back(source_of(in), again);
    in->stale = true;
    drop_content(in->msg);
    return FJ_OK;
}

/* A failure as the caller reads it off the wire: written as JSON text, and read. */
static fj_error *failure_of(const fj_error *failure)
{
    char *text = NULL;
    size_t n = 0;
    fj_error *error = NULL, *read = NULL;
    fj_code code = fj__failure_write(failure, NULL, &text, &n, &error);
    json_t *held = code == FJ_OK ? json_stringn(text, n) : NULL;

    if (held != NULL)
        (void)fj__failure_read(held, NULL, &read, &error);
    json_decref(held);
    free(text);
    if (read != NULL) {
        fj_error_free(error);
        return read;
    }
    if (error == NULL)
        (void)fj_fail(&error, FJ_NOMEM, "no memory to read a failure");
    fj_error_set_code(error, FJ_REMOTE);
    fj_error_set_sent(error, FJ_SENT_YES);
    return error;
}

static fj_code reply(fj_incoming *base, const json_t *result, const fj_error *failure, fj_error **err)
{
    fj__fake_incoming *in = fj__fake_incoming_of(base);
    json_t *value = NULL;

    if (failure == NULL && result != NULL) {
        fj_code code = fj__fake_hand_over((json_t *)(uintptr_t)result, &value, err);
        if (code != FJ_OK)
            return code;
    }
    fj__fake_lock();
    bool first = !in->answered;
    in->answered = true;
    fj__fake_settle(in);
    fj_future *future = first && in->msg->call != NULL ? fj__fake_call_end(in->msg->call) : NULL;
    fj__fake_unlock();
    if (future == NULL)
        json_decref(value); /* the caller has gone, or has its answer */
    else if (failure != NULL)
        (void)fj_future_reject(future, failure_of(failure));
    else
        (void)fj_future_resolve(future, value);
    fj_future_unref(future);
    return FJ_OK;
}

static void done(fj_incoming *base)
{
    fj__fake_lock();
    fj__fake_settle(fj__fake_incoming_of(base));
    fj__fake_unlock();
}

/* @locks broker */
static void give_back(fj__fake_incoming *in)
{
    fj__fake_msg *msg = in->msg;
    fj__fake_consumer *source = source_of(in);
    fj__fake_queue *queue = fj__fake_queue_ref(msg->queue);

    in->msg = NULL;
    fj__fake_back(source, msg);
    fj__fake_deliver(queue);
    fj__fake_queue_unref(queue);
}

static void requeue(fj_incoming *base)
{
    fj__fake_incoming *in = fj__fake_incoming_of(base);

    fj__fake_lock();
    if (!in->settled) {
        let_go(in);
        fj__fake_unsee(in);
        if (!in->stale)
            give_back(in); /* else a copy of it has gone back, which is new again */
    }
    fj__fake_unlock();
}

static void free_incoming(fj_incoming *base)
{
    fj__fake_incoming *in = fj__fake_incoming_of(base);

    requeue(base);
    fj__fake_msg_free(in->msg);
    json_decref(base->message);
    json_decref(base->context);
    fj__fake_listener_unref(fj__fake_listener_of(base->listener));
    fj__free(in);
}

static const fj_incoming_ops incoming_ops = {
    .abi = FJ_DRIVER_ABI, .reply = reply, .done = done, .requeue = requeue, .free = free_incoming
};

/* ---- its beginning ------------------------------------------------------------------------------ */

/* One that came again: from now on it is what an older one stands for, whose connection was lost, if that is still in hand; else it is
 * done with. */
static void take_again(fj__fake_listener *l, fj__fake_msg *msg)
{
    fj__fake_incoming *in = l->hands;

    while (in != NULL && !(in->stale && in->msg->serial == msg->serial))
        in = in->next;
    if (in == NULL) {
        fj__fake_acked(&l->sources[msg->source], msg);
    } else {
        fj__fake_msg *old = in->msg;
        in->msg = msg;
        in->stale = false;
        msg = old;
    }
    fj__fake_msg_free(msg);
}

fj_incoming *fj__fake_take(fj__fake_listener *l)
{
    fj__fake_incoming *in = fj__zalloc(sizeof *in);
    fj__fake_msg *msg = l->ready;

    while (in != NULL && msg != NULL) {
        l->ready = msg->next;
        msg->next = NULL;
        if (is_new(l, msg))
            break;
        take_again(l, msg);
        msg = l->ready;
    }
    if (in == NULL || msg == NULL) {
        fj__free(in);
        return NULL;
    }
    in->msg = msg;
    in->base = (fj_incoming){ .ops = &incoming_ops,
                              .listener = &l->base,
                              .message = json_incref(msg->message),
                              .context = json_incref(msg->context),
                              .wants_reply = msg->call != NULL,
                              .redelivered = msg->redelivered,
                              .id = msg->call != NULL ? msg->call->id : NULL,
                              .arrived = msg->arrived };
    in->next = l->hands;
    if (in->next != NULL)
        in->next->prev = in;
    l->hands = in;
    if (msg->call != NULL)
        fj__fake_call_alive(msg->call, true);
    atomic_fetch_add(&l->refs, 1);
    return &in->base;
}
