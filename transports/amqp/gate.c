/* SPDX-License-Identifier: Apache-2.0 */
/* The gate before what waits for the broker: who may pass, and who waits for how long. */
#include "transports/amqp/publisher_state.h"

#include <fjord/driver.h>

struct want {
    const fj__publisher *publisher;
    int retry;
};

/* There is room, or what is sent now is known to fail. */
static bool may_pass(void *user)
{
    const struct want *w = user;
    const fj__domain *d = w->publisher->domain;

    return !atomic_load(&w->publisher->full) || d->closed || fj__publisher_hopeless(w->publisher, w->retry);
}

static fj_code no_room(fj__publisher *p, bool call, fj_error **err)
{
    fj_error *error = NULL;
    char where[300];

    fj__domain_lock(p->domain);
    fj__publisher_unsent(p, call, &error);
    fj__link_where(&p->domain->publishing, where, sizeof where);
    fj__domain_unlock(p->domain);
    if (error == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    fj_error_set_where(error, "%s", where);
    return fj_error_move(error, err);
}

fj_code fj__publisher_gate(fj__publisher *p, fj_future *gate, unsigned flags, int retry, fj_deadline by,
                           fj_error **err)
{
    struct want w = { p, retry };

    if (!atomic_load(&p->full))
        return FJ_OK;
    if ((flags & FJ_SEND_PATIENT) == 0)
        return fj_fail(err, FJ_BUSY,
                       "%zu bytes wait for the broker ([fjord] max_unsent_bytes): flush, or try later",
                       p->domain->settings->max_unsent);
    fj_code rc = fj__domain_wait(p->domain, gate, may_pass, &w, by);
    if (rc == FJ_CANCELLED)
        return fj_fail(err, rc, "the task was cancelled before it could send");
    return rc == FJ_OK ? FJ_OK : no_room(p, (flags & FJ_SEND_CALL) != 0, err);
}
