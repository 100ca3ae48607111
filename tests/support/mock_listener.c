/* SPDX-License-Identifier: Apache-2.0 */
#include "mock_listener.h"

#include "base/alloc.h"
#include "runtime/sync.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static mock_listener *of(fj_listener *l)
{
    return (mock_listener *)(void *)l;
}

/* ---- messages ---------------------------------------------------------------------------------- */

static fj_code in_reply(fj_incoming *in, const json_t *result, const fj_error *failure, fj_error **err)
{
    mock_msg *m = (mock_msg *)(void *)in;
    fj_code code = FJ_OK;

    (void)pthread_mutex_lock(&m->mock->lock);
    if (m->tries < fj__countof(m->reply_codes))
        code = m->reply_codes[m->tries];
    m->tries++;
    if (code == FJ_OK) {
        m->answers++;
        json_decref(m->result);
        fj_error_free(m->failure);
        m->result = json_deep_copy(result);
        m->failure = fj_error_copy(failure);
    }
    (void)pthread_mutex_unlock(&m->mock->lock);
    return code == FJ_OK ? code : fj_fail(err, code, "refused by the mock");
}

static void set_flag(mock_msg *m, bool *flag)
{
    (void)pthread_mutex_lock(&m->mock->lock);
    *flag = true;
    (void)pthread_cond_broadcast(&m->mock->changed);
    (void)pthread_mutex_unlock(&m->mock->lock);
}

static void in_done(fj_incoming *in)
{
    mock_msg *m = (mock_msg *)(void *)in;
    set_flag(m, &m->done);
}

static void in_requeue(fj_incoming *in)
{
    mock_msg *m = (mock_msg *)(void *)in;
    set_flag(m, &m->requeued);
}

static void in_free(fj_incoming *in)
{
    mock_msg *m = (mock_msg *)(void *)in;

    json_decref(in->message);
    json_decref(in->context);
    in->message = in->context = NULL;
    if (!m->acked && !m->done && m->answers == 0)
        m->requeued = true;
    set_flag(m, &m->freed);
}

static const fj_incoming_ops in_ops = { FJ_DRIVER_ABI, in_reply, in_done, in_requeue, in_free };

mock_msg *mock_message(mock_listener *mock, const char *json, bool wants_reply)
{
    mock_msg *m = calloc(1, sizeof *m);

    if (m == NULL)
        abort();
    m->in.ops = &in_ops;
    m->in.listener = &mock->base;
    m->in.message = json_loads(json, 0, NULL);
    m->in.context = json_pack("{s:s, s:i}", "user", "ann", "client_timeout", 60);
    if (m->in.message == NULL || m->in.context == NULL)
        abort();
    m->in.wants_reply = wants_reply;
    m->mock = mock;
    (void)pthread_mutex_lock(&mock->lock);
    m->next = mock->all;
    mock->all = m;
    (void)pthread_mutex_unlock(&mock->lock);
    return m;
}

static void raise_fd(int fd)
{
    if (write(fd, &(uint64_t){ 1 }, sizeof(uint64_t)) != sizeof(uint64_t))
        abort();
}

static void lower_fd(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);

    (void)n; /* not readable is what is wanted */
}

/* What came over the wire is decoded now.  With the lock held. */
static void decode(mock_listener *mock)
{
    lower_fd(mock->wire_fd);
    if (mock->first == mock->decoded && mock->decoded != mock->last)
        raise_fd(mock->ready_fd);
    mock->decoded = mock->last;
}

static mock_msg *put(mock_listener *mock, mock_msg *m)
{
    (void)pthread_mutex_lock(&mock->lock);
    if (mock->last == fj__countof(mock->queue))
        abort();
    mock->queue[mock->last++] = m;
    raise_fd(mock->wire_fd);
    (void)pthread_cond_broadcast(&mock->changed);
    (void)pthread_mutex_unlock(&mock->lock);
    return m;
}

mock_msg *mock_call(mock_listener *mock, const char *json)
{
    return put(mock, mock_message(mock, json, true));
}

mock_msg *mock_cast(mock_listener *mock, const char *json)
{
    return put(mock, mock_message(mock, json, false));
}

bool mock_wait(mock_msg *m)
{
    fj_deadline by = fj_in_ms(10000);

    (void)pthread_mutex_lock(&m->mock->lock);
    while (!m->freed && fj__cond_wait(&m->mock->changed, &m->mock->lock, by))
        ;
    bool freed = m->freed;
    (void)pthread_mutex_unlock(&m->mock->lock);
    return freed;
}

size_t mock_queued(mock_listener *mock)
{
    (void)pthread_mutex_lock(&mock->lock);
    size_t n = mock->last - mock->first;
    (void)pthread_mutex_unlock(&mock->lock);
    return n;
}

/* ---- the listener ------------------------------------------------------------------------------ */

/* With the lock held: OK when there is something to give. */
static fj_code poll_locked(mock_listener *mock, fj_deadline by)
{
    if (mock->poll_fails > 0) {
        mock->poll_fails--;
        return FJ_LOST;
    }
    for (;;) {
        if (mock->closed)
            return FJ_CLOSED;
        if (mock->interrupted) {
            mock->interrupted = false;
            return FJ_AGAIN;
        }
        decode(mock);
        if (mock->first != mock->decoded)
            return FJ_OK;
        if (!fj__cond_wait(&mock->changed, &mock->lock, by))
            return FJ_TIMEOUT;
    }
}

static fj_code l_poll(fj_listener *l, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                      fj_error **err)
{
    mock_listener *mock = of(l);

    *ret_n = 0;
    (void)pthread_mutex_lock(&mock->lock);
    mock->polls++;
    mock->polled_for_none |= max == 0;
    if (max > mock->largest_max)
        mock->largest_max = max;
    fj_code code = poll_locked(mock, by);
    while (code == FJ_OK && *ret_n < max && mock->first != mock->decoded)
        ret[(*ret_n)++] = &mock->queue[mock->first++]->in;
    if (code == FJ_OK && mock->first == mock->decoded)
        lower_fd(mock->ready_fd);
    (void)pthread_mutex_unlock(&mock->lock);
    return code == FJ_OK ? code : fj_fail(err, code, "%s", fj_code_text(code));
}

static void l_watch(fj_listener *l, fj_watch *ret)
{
    ret->n = 1;
    ret->fds[0].fd = of(l)->wire_fd;
    ret->fds[0].opened = 0;
    ret->fds[0].read = true;
    ret->fds[0].write = false;
    ret->by = fj_never();
}

static void l_pump(fj_listener *l, fj_deadline now)
{
    (void)now;
    (void)pthread_mutex_lock(&of(l)->lock);
    of(l)->pumps++;
    decode(of(l));
    (void)pthread_mutex_unlock(&of(l)->lock);
}

static int l_fd(fj_listener *l)
{
    return of(l)->ready_fd;
}

static fj_code l_ack(fj_listener *l, fj_incoming **in, size_t n, fj_deadline by, fj_error **err)
{
    mock_listener *mock = of(l);

    (void)by;
    (void)pthread_mutex_lock(&mock->lock);
    mock->acks++;
    fj_code code = mock->ack_code;
    bool stale = mock->stale_acks;
    mock->ack_code = FJ_OK;
    mock->stale_acks = false;
    for (size_t i = 0; i < n && code == FJ_OK && !stale; i++)
        ((mock_msg *)(void *)in[i])->acked = true;
    (void)pthread_mutex_unlock(&mock->lock);
    for (size_t i = 0; i < n && code == FJ_OK && stale; i++) {
        in_free(in[i]);
        in[i] = NULL;
    }
    return code == FJ_OK ? code : fj_fail(err, code, "refused by the mock");
}

static void l_interrupt(fj_listener *l)
{
    mock_listener *mock = of(l);

    (void)pthread_mutex_lock(&mock->lock);
    mock->interrupted = true;
    raise_fd(mock->wire_fd);
    (void)pthread_cond_broadcast(&mock->changed);
    (void)pthread_mutex_unlock(&mock->lock);
}

static void l_close(fj_listener *l)
{
    mock_listener *mock = of(l);

    (void)pthread_mutex_lock(&mock->lock);
    mock->closed = true;
    raise_fd(mock->wire_fd);
    (void)pthread_cond_broadcast(&mock->changed);
    (void)pthread_mutex_unlock(&mock->lock);
}

static fj_code l_stop(fj_listener *l, fj_deadline by, fj_error **err)
{
    (void)by;
    (void)err;
    l_close(l);
    return FJ_OK;
}

static void l_free(fj_listener *l)
{
    (void)mock_free(of(l));
}

static const fj_listener_ops ops = { FJ_DRIVER_ABI, l_poll,      l_watch, l_pump, l_fd,
                                     l_ack,         l_interrupt, l_close, l_stop, l_free };

mock_listener *mock_new(void)
{
    mock_listener *mock = calloc(1, sizeof *mock);

    if (mock == NULL)
        abort();
    mock->base.ops = &ops;
    mock->wire_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    mock->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mock->wire_fd < 0 || mock->ready_fd < 0)
        abort();
    (void)pthread_mutex_init(&mock->lock, NULL);
    fj__cond_init(&mock->changed);
    return mock;
}

bool mock_free(mock_listener *mock)
{
    bool clean = true;

    for (; mock->first != mock->last; mock->first++) /* never polled: still the mock's */
        in_free(&mock->queue[mock->first]->in);
    while (mock->all != NULL) {
        mock_msg *m = mock->all;
        mock->all = m->next;
        clean &= m->freed;
        json_decref(m->result);
        fj_error_free(m->failure);
        free(m);
    }
    (void)close(mock->wire_fd);
    (void)close(mock->ready_fd);
    (void)pthread_cond_destroy(&mock->changed);
    (void)pthread_mutex_destroy(&mock->lock);
    free(mock);
    return clean;
}
