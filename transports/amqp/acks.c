/* SPDX-License-Identifier: Apache-2.0 */
/* Acknowledging: one by one, all at once, or not any more. */
#include "transports/amqp/listener.h"

#include "base/alloc.h"

#include <string.h>

/* An ack left out would hold its message, and one of the prefetch, for as long as the channel lives. */
static void put(fj__amqp_listener *l, amqp_method_number_t id, void *method)
{
    if (fj__engine_method(l->d->consuming.engine, l->channel.id, id, method) == FJ_NOMEM)
        fj__link_break(&l->d->consuming, "out of memory while a message was acknowledged");
}

void fj__put_ack(fj__amqp_listener *l, uint64_t tag, bool multiple)
{
    amqp_basic_ack_t m = { .delivery_tag = tag, .multiple = multiple };

    put(l, AMQP_BASIC_ACK_METHOD, &m);
}

void fj__put_reject(fj__amqp_listener *l, uint64_t tag, int64_t offset, bool requeue)
{
    amqp_basic_reject_t m = { .delivery_tag = tag, .requeue = requeue };

    if (offset < 0) {
        put(l, AMQP_BASIC_REJECT_METHOD, &m);
        return;
    }
    /* To a stream it is no more than room for the next; a rejection would end the connection. */
    fj__put_ack(l, tag, false);
    if (!requeue)
        fj__stream_settle(&l->stream, offset);
    else if (!l->closing)
        fj__link_break(&l->d->consuming, "a message of a stream is to be read again");
}

/* It did not run: when the broker delivers it again it is not one that came twice. */
void fj__unsee(const fj__incoming *in)
{
    if (in->ids.unique_id != NULL)
        fj__window_forget(&in->l->window, in->ids.unique_id);
}

void fj__hold(fj__incoming *in)
{
    struct fj__hand *h = &in->hand;

    h->next = in->l->hands;
    h->at = &in->l->hands;
    if (h->next != NULL)
        h->next->at = &h->next;
    in->l->hands = h;
}

static void let_go(struct fj__hand *h)
{
    if (h->at == NULL)
        return;
    *h->at = h->next;
    if (h->next != NULL)
        h->next->at = h->at;
    h->at = NULL;
}

bool fj__adopt(fj__amqp_listener *l, const char *unique_id, const struct fj__raw *raw, unsigned epoch)
{
    for (struct fj__hand *h = l->hands; h != NULL; h = h->next) {
        fj__incoming *in = fj__container(h, fj__incoming, hand);
        if (in->ids.unique_id == NULL || strcmp(in->ids.unique_id, unique_id) != 0 ||
            !fj__listener_stale(l, in->epoch))
            continue;
        in->epoch = epoch;
        in->tag = raw->tag;
        in->from = raw->from;
        in->offset = raw->offset;
        return true;
    }
    return false;
}

void fj__settle(fj__incoming *in)
{
    if (!in->settled && !fj__listener_stale(in->l, in->epoch)) {
        in->l->unacked--;
        in->l->sources[in->from].unacked--;
    }
    let_go(&in->hand);
    in->settled = true;
}

struct handed {
    fj__amqp_listener *l;
    unsigned epoch;
    uint64_t mark;
};

static bool with_kernel(void *user)
{
    const struct handed *h = user;
    const fj__link *link = &h->l->d->consuming;

    if (fj__listener_stale(h->l, h->epoch))
        return true;
    return link->broken == NULL &&
           fj__engine_sent_total(link->engine) >= h->mark; /* broken: an ack was left out */
}

static void put_acks(fj__amqp_listener *l, fj_incoming **in, size_t n)
{
    bool all = n > 1 && n == l->unacked; /* then one ack for everything given out so far is right */
    uint64_t max = 0;

    for (size_t i = 0; i < n; i++) {
        fj__incoming *one = fj__incoming_of(in[i]);
        max = one->tag > max ? one->tag : max;
        if (!all)
            fj__put_ack(l, one->tag, false);
        fj__settle(one);
    }
    if (all)
        fj__put_ack(l, max, true);
}

/* Drop what came over a channel that is gone. */
static size_t drop_stale(fj__amqp_listener *l, fj_incoming **in, size_t n, fj_incoming **ret_stale)
{
    size_t stales = 0;

    for (size_t i = 0; i < n; i++) {
        if (in[i] == NULL || !fj__listener_stale(l, fj__incoming_of(in[i])->epoch))
            continue;
        fj__incoming_of(in[i])->settled = true;
        fj__unsee(fj__incoming_of(in[i]));
        ret_stale[stales++] = in[i];
        in[i] = NULL;
    }
    return stales;
}

fj_code fj__listener_ack(fj_listener *base, fj_incoming **in, size_t n, fj_deadline by, fj_error **err)
{
    fj__amqp_listener *l = fj__listener_of(base);
    fj_incoming **dead = fj__alloc(n * sizeof *dead);
    struct handed h = { .l = l };
    fj_code rc = FJ_OK;

    if (dead == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    fj__domain_lock(l->d);
    size_t stales = drop_stale(l, in, n, dead);
    if (stales == 0) {
        put_acks(l, in, n);
        h.epoch = l->epoch;
        h.mark = fj__engine_put_total(l->d->consuming.engine);
        for (size_t i = 0; i < n; i++)
            fj__incoming_watch(fj__incoming_of(in[i]), fj_now());
        fj__link_flush(&l->d->consuming, fj_now()); /* on a loop, too: nothing runs before */
        fj__domain_touch(l->d, NULL, false);
    }
    bool out = stales != 0 || with_kernel(&h);
    fj__domain_unlock(l->d);
    if (!out)
        rc = fj__domain_wait(l->d, l->gate, with_kernel, &h, by);
    if (rc != FJ_OK)
        (void)fj_fail(err, rc, "the broker does not read: the acknowledgement could not be written");
    if (stales != 0) { /* a batch comes over one channel: all are stale, or the rest is acked now */
        for (size_t i = 0; i < stales; i++)
            fj__incoming_free(dead[i]);
    } else {
        fj__domain_lock(l->d);
        if (rc == FJ_OK && l->epoch != h.epoch)
            stales = drop_stale(l, in, n, dead);
        for (size_t i = 0; rc == FJ_OK && i < n; i++) {
            if (in[i] != NULL && fj__incoming_of(in[i])->offset >= 0)
                fj__stream_settle(&l->stream, fj__incoming_of(in[i])->offset);
        }
        for (size_t i = 0; rc != FJ_OK && i < n; i++)
            fj__unsee(fj__incoming_of(in[i]));
        if (rc != FJ_OK &&
            !fj__listener_stale(l, h.epoch)) { /* they are not to go out later: nothing will have run */
            fj__link_break(&l->d->consuming, "acknowledgements could not be written");
            fj__domain_touch(l->d, NULL, false);
        }
        fj__domain_unlock(l->d);
        for (size_t i = 0; i < stales; i++)
            fj__incoming_free(dead[i]);
    }
    fj__free(dead);
    return rc;
}
