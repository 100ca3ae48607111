/* SPDX-License-Identifier: Apache-2.0 */
/* A server as fj_run() and services see it. */
#include "server_impl.h"

#include "base/log.h"
#include "base/native.h"
#include "runtime/loop.h"

#include <stdio.h>
#include <string.h>

bool fj__server_on(const fj_server *s, const char *topic)
{
    return strcmp(s->target.topic, topic) == 0;
}

unsigned fj__server_taken(const fj_server *s, unsigned *ret_slots)
{
    return s->kind->running(s->executor, ret_slots);
}

bool fj__server_steps(const fj_server *s)
{
    return (s->kind->caps & FJ_EXECUTOR_STEPS) != 0 && s->kind->step != NULL &&
           (s->loop == NULL || fj__loop_here(s->loop));
}

bool fj__server_runs(fj_server *s)
{
    fj__life_state state = fj__life_now(&s->life);

    return (state == FJ__LIFE_RUNNING || state == FJ__LIFE_STARTING) && !atomic_load(&s->stopping) &&
           (s->loop == NULL || !fj__loop_gone(s->loop)) && fj__transport_check(s->transport, NULL) == FJ_OK;
}

bool fj__server_listens(fj_server *s)
{
    fj_driver *d = s->transport->driver;
    bool tells = fj__driver_has(d, listens);

    return fj__server_runs(s) && (!tells || d->ops->listens(d));
}

double fj__server_drain(const fj_server *s)
{
    return fj__conf_number(s->transport->conf, "fjord", "drain", 60);
}

bool fj__server_abort(fj_server *s)
{
    bool any = false;

    (void)fj__native.pthread_mutex_lock(&s->ending);
    if (s->executor != NULL) {
        any = s->kind->running(s->executor, NULL) > 0;
        s->kind->close(s->executor); /* begins nothing more of what it has fetched */
        s->kind->abort(s->executor);
    }
    (void)fj__native.pthread_mutex_unlock(&s->ending);
    return any;
}

void fj__server_is(fj_server *s, const char *instance, unsigned number)
{
    (void)snprintf(s->instance, sizeof s->instance, "%.28s%04x", instance, number & 0xffffu);
}

void fj__server_leave(fj_server *s, fj_deadline by)
{
    fj_error *error = NULL;

    if (s->listener != NULL && s->listener->ops->stop(s->listener, by, &error) != FJ_OK)
        fj__log(FJ_LOG_WARNING, "rpc", "%s did not leave the broker cleanly: %s", s->name,
                fj_error_text(error));
    fj_error_free(error);
}

fj_loop *fj__server_loop(const fj_server *s)
{
    return s->loop;
}

void fj__server_watch(fj_server *s, fj_watch *ret)
{
    if (s->loop == NULL) {
        s->listener->ops->watch(s->listener, ret);
        return;
    }
    ret->fds[0].fd = fj_loop_fd(s->loop);
    ret->fds[0].read = true;
    ret->fds[0].write = false;
    ret->n = 1;
    ret->by = fj_loop_due(s->loop);
}

int fj__server_ready(fj_server *s)
{
    return s->loop == NULL ? s->listener->ops->fd(s->listener) : -1;
}

static void turn(fj_server *s)
{
    const fj_deadline passed = { .ns = 1 };

    s->listener->ops->pump(s->listener, fj_now());
    (void)s->kind->step(s->executor, passed, NULL);
}

void fj__server_turn(fj_server *s)
{
    if (s->loop != NULL) {
        fj_loop_dispatch(s->loop);
        return;
    }
    if (fj__native.pthread_mutex_trylock(&s->stepping) != 0)
        return; /* another thread drives it */
    if (fj__life_now(&s->life) == FJ__LIFE_RUNNING)
        turn(s);
    (void)fj__native.pthread_mutex_unlock(&s->stepping);
}
