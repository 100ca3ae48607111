/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between a server's listener and its executor. */
#include "server_impl.h"

#include "base/alloc.h"

static fj_server *of_gate(fj_listener *l)
{
    return fj__container(l, fj_server, gate);
}

static fj_code gate_poll(fj_listener *l, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                         fj_error **err)
{
    fj_server *s = of_gate(l);

    *ret_n = 0;
    while (s->keep_fetched || !atomic_load(&s->stopping)) {
        if (atomic_load(&s->stopping))
            s->listener->ops->close(s->listener); /* and gives the rest */
        fj_code code = s->listener->ops->poll(s->listener, by, max, ret, ret_n, err);
        if (code != FJ_AGAIN || !atomic_load(&s->stopping))
            return code;
        if (err != NULL)
            *err = fj_error_free(*err);
    }
    return fj_fail(err, FJ_CLOSED, "%s is stopped", s->name);
}

static void gate_watch(fj_listener *l, fj_watch *ret)
{
    of_gate(l)->listener->ops->watch(of_gate(l)->listener, ret);
}

static void gate_pump(fj_listener *l, fj_deadline now)
{
    of_gate(l)->listener->ops->pump(of_gate(l)->listener, now);
}

static int gate_fd(fj_listener *l)
{
    return of_gate(l)->listener->ops->fd(of_gate(l)->listener);
}

static fj_code gate_ack(fj_listener *l, fj_incoming **in, size_t n, fj_deadline by, fj_error **err)
{
    return of_gate(l)->listener->ops->ack(of_gate(l)->listener, in, n, by, err);
}

static void gate_interrupt(fj_listener *l)
{
    of_gate(l)->listener->ops->interrupt(of_gate(l)->listener);
    fj__run_wake();
}

static void gate_close(fj_listener *l)
{
    of_gate(l)->listener->ops->close(of_gate(l)->listener);
}

static fj_code gate_stop(fj_listener *l, fj_deadline by, fj_error **err)
{
    return of_gate(l)->listener->ops->stop(of_gate(l)->listener, by, err);
}

static void gate_free(fj_listener *l)
{
    (void)l; /* part of the server, which frees what is behind it */
}

const fj_listener_ops fj__gate_ops = {
    .abi = FJ_DRIVER_ABI,
    .poll = gate_poll,
    .watch = gate_watch,
    .pump = gate_pump,
    .fd = gate_fd,
    .ack = gate_ack,
    .interrupt = gate_interrupt,
    .close = gate_close,
    .stop = gate_stop,
    .free = gate_free,
};
