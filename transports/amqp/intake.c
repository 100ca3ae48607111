/* SPDX-License-Identifier: Apache-2.0 */
/* From the ring to the executor. */
#include "transports/amqp/listener.h"

#include "base/alloc.h"

#define COMPLAIN_NS 1000000000LL

/* Read one message, without the lock.  NULL: it is of no use; *error says why. */
static fj__incoming *read_raw(fj__amqp_listener *l, const struct fj__raw *raw, unsigned epoch, fj_error **error)
{
    json_t *message = NULL;

    if (!raw->json) {
        (void)fj_fail(error, FJ_BAD_MESSAGE, "the content type is not application/json");
        return NULL;
    }
    if (fj__body_read(raw->form, raw->body, raw->n, &l->d->settings->json, &message, error) != FJ_OK)
        return NULL;
    return fj__incoming_new(l, raw, epoch, message, error);
}

/* Whoever publishes may do so as often as he likes: one line a second says it. */
void fj__listener_complain(fj__amqp_listener *l, const char *what, const char *why, fj_deadline now)
{
    if (l->complained_ns != 0 && now.ns - l->complained_ns < COMPLAIN_NS) {
        l->unsaid++;
        return;
    }
    if (l->unsaid != 0)
        fj__domain_note(l->d, FJ_LOG_WARNING,
                        fj__format("a message on %s is %s: %s (and %u before it, since this was last said)",
                                   l->name, what, why, l->unsaid));
    else
        fj__domain_note(l->d, FJ_LOG_WARNING, fj__format("a message on %s is %s: %s", l->name, what, why));
    l->complained_ns = now.ns;
    l->unsaid = 0;
}

/* Under the lock again: is it new?  Answers whether it is to be given out. */
static bool admit(fj__amqp_listener *l, const struct fj__raw *raw, unsigned epoch, fj__incoming *in,
                  const fj_error *error)
{
    if (fj__listener_stale(l, epoch))
        return false;
    if (in == NULL) {
        bool requeue = fj_error_code(error) == FJ_NOMEM; /* nothing is wrong with it */
        fj__listener_complain(l, requeue ? "given back" : "rejected", fj_error_text(error), fj_now());
        fj__put_reject(l, raw->tag, raw->offset, requeue);
        return false;
    }
    if (in->base.wants_reply && fj_passed(raw->expires)) { /* its caller has given up: why should it run? */
        fj__domain_note(l->d, FJ_LOG_INFO,
                        fj__format("message ID %s is too late: it does not run", in->ids.msg_id));
        fj__put_ack(l, raw->tag, false);
        if (raw->offset >= 0)
            fj__stream_settle(&l->stream, raw->offset);
        return false;
    }
    if (in->ids.unique_id != NULL && !fj__window_add(&l->window, in->ids.unique_id)) {
        if (fj__adopt(l, in->ids.unique_id, raw, epoch)) {
            l->unacked++;
            l->sources[raw->from].unacked++;
            return false;
        }
        fj__domain_note(l->d, FJ_LOG_INFO, fj__format("message %s came twice: ignored", in->ids.unique_id));
        fj__put_ack(l, raw->tag, false);
        if (raw->offset >= 0)
            fj__stream_settle(&l->stream, raw->offset);
        return false;
    }
    l->unacked++;
    l->sources[raw->from].unacked++;
    if (l->opts.ack_done)
        fj__hold(in);
    return true;
}

/* No more will come of it. */
static bool is_closed(const fj__amqp_listener *l)
{
    return l->d->closed || (l->closing && l->first == NULL && l->cancels == 0);
}

static bool something(void *user)
{
    fj__amqp_listener *l = user;

    return l->first != NULL || is_closed(l) || atomic_load(&l->interrupted);
}

/* Read what waits, @p max at most; answers how many are new. */
static size_t take(fj__amqp_listener *l, size_t max, fj_incoming **ret)
{
    size_t n = 0;

    fj__domain_lock(l->d);
    unsigned first = l->epoch; /* a batch is of one channel: see acks.c */
    while (n < max && l->first != NULL && (n == 0 || l->epoch == first)) {
        struct fj__raw *raw = fj__listener_pop(l);
        unsigned epoch = first = l->epoch;
        fj_error *error = NULL;
        if (l->first == NULL)
            fj__listener_signal(l);
        fj__domain_unlock(l->d);
        fj__incoming *in = read_raw(l, raw, epoch, &error);
        fj__domain_lock(l->d);
        bool good = admit(l, raw, epoch, in, error);
        if (good) {
            ret[n++] = &in->base;
        } else if (in != NULL) {
            in->settled = true;
            fj__domain_unlock(l->d);
            fj__incoming_free(&in->base);
            fj__domain_lock(l->d);
        }
        fj_error_free(error);
        fj__free(raw);
    }
    fj__domain_touch(l->d, &l->d->consuming, true);
    fj__domain_unlock(l->d);
    return n;
}

static bool is_closing(fj__amqp_listener *l)
{
    fj__domain_lock(l->d);
    bool closing = is_closed(l);
    fj__domain_unlock(l->d);
    return closing;
}

fj_code fj__listener_poll(fj_listener *base, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                          fj_error **err)
{
    fj__amqp_listener *l = fj__listener_of(base);

    do {
        if (fj__domain_wait(l->d, l->gate, something, l, by) == FJ_CANCELLED)
            return fj_fail(err, FJ_CANCELLED, "the task that polls is to end");
        if (is_closing(l))
            return fj_fail(err, FJ_CLOSED, "the listener is closed");
        *ret_n = take(l, max, ret);
        if (*ret_n != 0)
            return FJ_OK;
        if (atomic_exchange(&l->interrupted, false))
            return fj_fail(err, FJ_AGAIN, "interrupted");
    } while (!fj_passed(by));
    return fj_fail(err, FJ_TIMEOUT, "no message in time");
}
