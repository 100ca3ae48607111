/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of the broker of tests, its sockets, its beginning and its end. */
#include "tests/support/broker_impl.h"

static void accept_one(broker *b)
{
    int one = 1, fd = accept4(b->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    conn *c = bk_must(calloc(1, sizeof *c));
    c->fd = fd;
    c->frame_max = 131072;
    c->heard_at = bk_now_ms();
    c->next = b->conns;
    b->conns = c;
    b->accepted++;
    (void)pthread_cond_broadcast(&b->changed);
}

/* @return false: the peer is gone */
static bool receive(broker *b, conn *c)
{
    size_t most = b->read_most != 0 ? b->read_most : 65536;
    ssize_t n;

    do {
        uint8_t *to = bk_must(fj__buf_reserve(&c->in, most));
        n = recv(c->fd, to, most, 0);
        if (n > 0)
            fj__buf_commit(&c->in, (size_t)n);
    } while (n > 0 && b->read_most == 0);
    bool gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    c->heard_at = bk_now_ms();
    c->read_at = b->read_most != 0 ? c->heard_at + b->pause_ms : 0;
    bk_read_frames(b, c);
    return !gone;
}

static bool transmit(const broker *b, conn *c)
{
    while (fj__buf_len(&c->out) != 0 && (b->write_most == 0 || bk_now_ms() >= c->write_at)) {
        size_t n = fj__buf_len(&c->out);
        if (b->split != 0 && n > b->split)
            n = b->split;
        if (b->write_most != 0 && n > b->write_most)
            n = b->write_most;
        ssize_t done = send(c->fd, fj__buf_data(&c->out), n, MSG_NOSIGNAL);
        if (done < 0)
            return errno == EAGAIN || errno == EINTR;
        fj__buf_consume(&c->out, (size_t)done);
        c->write_at = bk_now_ms() + b->pause_ms;
    }
    return true;
}

static void beat(conn *c)
{
    if (!c->tuned || c->heartbeat == 0 || c->stalled || c->mute || bk_now_ms() < c->beat_at)
        return;
    bk_must_ok(fj__put_frame(&c->out, FJ__FRAME_HEARTBEAT, 0, NULL, 0) == FJ_OK);
    c->beat_at = bk_now_ms() + c->heartbeat * 500;
}

/* A peer from which nothing came for two heartbeats is gone. */
static bool is_silent(broker *b, const conn *c)
{
    if (!c->tuned || c->heartbeat == 0 || c->stalled || bk_now_ms() < c->heard_at + c->heartbeat * 2000)
        return false;
    b->silent++;
    return true;
}

static void say_what_is_due(conn *c)
{
    for (late **at = &c->late; *at != NULL;) {
        late *l = *at;
        if (l->due > bk_now_ms()) {
            at = &l->next;
            continue;
        }
        bk_must_ok(fj__buf_append(&c->out, l->bytes, l->n));
        *at = l->next;
        free(l);
    }
}

static void serve(broker *b, const struct pollfd *fds)
{
    size_t i = 2;

    for (conn **at = &b->conns; *at != NULL; i++) {
        conn *c = *at;
        bool alive = !(fds[i].revents & (POLLERR | POLLNVAL));

        if (alive && !c->stalled && (fds[i].revents & (POLLIN | POLLHUP)))
            alive = receive(b, c);
        alive = alive && !is_silent(b, c);
        beat(c);
        say_what_is_due(c);
        if (alive && c->stalled && (fds[i].revents & POLLHUP))
            alive = false;
        if (!alive)
            bk_conn_drop(b, at);
        else
            at = &c->next;
    }
    for (conn **at = &b->conns; *at != NULL;) { /* what one did may have made output for another */
        conn *c = *at;
        bool alive = c->stalled || transmit(b, c);

        if (!alive || (c->hang_up && fj__buf_len(&c->out) == 0))
            bk_conn_drop(b, at);
        else
            at = &c->next;
    }
    (void)pthread_cond_broadcast(&b->changed);
}

/* How long nothing is to be done unless somebody says something. */
static int idle_ms(const broker *b)
{
    int64_t now = bk_now_ms(), due = now + 100;

    for (const conn *c = b->conns; c != NULL; c = c->next) {
        for (const late *l = c->late; l != NULL; l = l->next)
            due = l->due < due ? l->due : due;
        if (b->read_most != 0 && c->read_at > now && c->read_at < due)
            due = c->read_at;
        if (b->write_most != 0 && fj__buf_len(&c->out) != 0 && c->write_at < due)
            due = c->write_at;
    }
    return due > now ? (int)(due - now) : 0;
}

static struct pollfd *make_fds(const broker *b, size_t *count)
{
    size_t n = 2;

    for (const conn *c = b->conns; c != NULL; c = c->next)
        n++;
    struct pollfd *fds = bk_must(calloc(n, sizeof *fds));
    fds[0] = (struct pollfd){ .fd = b->listen_fd, .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = b->wake_fd, .events = POLLIN };
    n = 2;
    for (const conn *c = b->conns; c != NULL; c = c->next) {
        bool reads = !c->stalled && (b->read_most == 0 || bk_now_ms() >= c->read_at);
        bool writes = !c->stalled && fj__buf_len(&c->out) != 0 && b->write_most == 0;
        fds[n++] =
            (struct pollfd){ .fd = c->fd, .events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)) };
    }
    *count = n;
    return fds;
}

static void *run(void *arg)
{
    broker *b = arg;
    uint64_t drained;

    (void)pthread_mutex_lock(&b->lock);
    while (!b->stop) {
        size_t n;
        struct pollfd *fds = make_fds(b, &n);
        int ms = idle_ms(b);
        (void)pthread_mutex_unlock(&b->lock);
        (void)poll(fds, n, ms);
        (void)pthread_mutex_lock(&b->lock);
        if (fds[1].revents & POLLIN)
            (void)!read(b->wake_fd, &drained, sizeof drained);
        serve(b, fds);
        if (fds[0].revents & POLLIN)
            accept_one(b);
        free(fds);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* ---- making and ending ---- */

void bk_lock(broker *b)
{
    (void)pthread_mutex_lock(&b->lock);
}

void bk_unlock(broker *b)
{
    (void)pthread_mutex_unlock(&b->lock);
}

void bk_unlock_and_wake(broker *b)
{
    uint64_t one = 1;

    bk_unlock(b);
    (void)!write(b->wake_fd, &one, sizeof one);
}

static bool listen_on(broker *b, uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons(port) };
    socklen_t n = sizeof at;
    const int yes = 1;

    b->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (b->listen_fd < 0 || b->wake_fd < 0 ||
        setsockopt(b->listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(b->listen_fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(b->listen_fd, 512) != 0 ||
        getsockname(b->listen_fd, (struct sockaddr *)&at, &n) != 0)
        return false;
    b->port = ntohs(at.sin_port);
    return true;
}

void bk_forget(broker *b)
{
    while (b->consumers != NULL)
        bk_consumer_drop(&b->consumers);
    while (b->queues != NULL)
        bk_queue_delete(b, b->queues->name);
    while (b->bindings != NULL)
        bk_unbind(b, &b->bindings);
    while (b->exchanges != NULL)
        bk_exchange_delete(b, b->exchanges->name);
}

static void discard(broker *b)
{
    while (b->conns != NULL)
        bk_conn_drop(b, &b->conns);
    bk_forget(b);
    broker_rules_clear(b);
    if (b->listen_fd >= 0)
        (void)close(b->listen_fd);
    if (b->wake_fd >= 0)
        (void)close(b->wake_fd);
    empty_amqp_pool(&b->pool);
    (void)pthread_mutex_destroy(&b->lock);
    (void)pthread_cond_destroy(&b->changed);
    free(b->greeting);
    free(b->capabilities);
    free(b->mechanisms);
    free(b->user);
    free(b->password);
    free(b);
}

broker *broker_new(void)
{
    return broker_new_at(0);
}

broker *broker_new_at(uint16_t port)
{
    broker *b = bk_must(calloc(1, sizeof *b));
    pthread_condattr_t monotonic;

    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_cond_init(&b->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    init_amqp_pool(&b->pool, 4096);
    b->channel_max = 2047;
    b->frame_max = 131072;
    b->mechanisms = bk_must(strdup("PLAIN AMQPLAIN"));
    if (!listen_on(b, port) || pthread_create(&b->thread, NULL, run, b) != 0) {
        discard(b);
        return NULL;
    }
    return b;
}

uint16_t broker_port(const broker *b)
{
    return b->port;
}

broker *broker_free(broker *b)
{
    if (b == NULL)
        return NULL;
    bk_lock(b);
    b->stop = true;
    bk_unlock_and_wake(b);
    (void)pthread_join(b->thread, NULL);
    discard(b);
    return NULL;
}
