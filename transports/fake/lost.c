/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lost connection, as a broker and its peers see one: what was handed out and not acked is handed out again, to others
 * first; who has it in hand may finish and answer, but its ack means nothing any more.
 */
#include "listener.h"

/* @locks broker */
static fj_code lose(fj__fake_listener *l)
{
    fj_code code = FJ_OK;

    for (unsigned i = 0; i < l->n; i++)
        fj__fake_unconsume(&l->sources[i]);
    fj__fake_ready_back(l); /* which came later, and so stands behind what follows */
    for (fj__fake_incoming *in = l->hands, *next; in != NULL; in = next) {
        next = in->next;
        fj_code one = fj__fake_stale(in);
        code = one != FJ_OK ? one : code;
    }
    fj__fake_deliver_all(l);
    for (unsigned i = 0; i < l->n; i++)
        fj__fake_consume(l->queues[i], &l->sources[i]);
    return code;
}

fj_code fj__fake_lose(fj_driver *driver, fj_error **err)
{
    fj__fake_driver_s *d = fj__container(driver, fj__fake_driver_s, base);
    fj_code code = FJ_OK;

    fj__fake_lock();
    for (fj__fake_listener *l = d->listeners; l != NULL; l = l->next_of_driver) {
        fj_code one = lose(l);
        code = one != FJ_OK ? one : code;
    }
    fj__fake_unlock();
    return code == FJ_OK ? code : fj_fail(err, code, "no memory to deliver a message again");
}
