/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/link.h"

#include "base/alloc.h"
#include "base/ids.h"
#include "base/native.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 64 * 1024,
    READ_BUDGET = 8,    /* reads a pump, so that one busy link cannot starve the other */
    FRAME_MAX = 131072, /* as oslo.messaging answers tune: wire.md section 2 */
    CLOSE_BY_MS = 1000,
    PAUSE_MS = 10 /* between rounds of attempts at least, whatever the configuration says: never a hot loop */
};

static void shuffle(fj__link *l)
{
    for (size_t i = 1; i < l->settings->host_count; i++) {
        size_t j = (size_t)(fj__random_unit() * (double)(i + 1)), host = l->order[i];
        l->order[i] = l->order[j];
        l->order[j] = host;
    }
}

bool fj__link_init(fj__link *l, const fj__amqp_settings *s, const fj__link_ops *ops, void *user,
                   const char *purpose, int wake_fd)
{
    *l =
        (fj__link){ .settings = s, .ops = ops, .user = user, .purpose = purpose, .wake_fd = wake_fd, .fd = -1 };
    l->connect_by = l->retry_at = fj_never();
    l->order = fj__alloc(s->host_count * sizeof *l->order);
    if (l->order == NULL)
        return false;
    for (size_t i = 0; i < s->host_count; i++)
        l->order[i] = i;
    shuffle(l);
    return true;
}

/* Let go of everything of the present attempt or connection. */
static void release(fj__link *l)
{
    if (l->fd >= 0)
        (void)fj__native.close(l->fd);
    l->fd = -1;
    fj__resolve_free(l->resolve);
    l->resolve = NULL;
    if (l->addresses != NULL)
        freeaddrinfo(l->addresses);
    l->addresses = l->address = NULL;
    l->lost_sent = l->engine != NULL ? fj__engine_sent_total(l->engine) : 0;
    l->engine = fj__engine_free(l->engine);
    l->connect_by = fj_never();
    l->wants_write = false;
    l->broken = NULL;
}

void fj__link_fini(fj__link *l)
{
    release(l);
    l->error = fj_error_free(l->error);
    fj__free(l->order);
    l->order = NULL;
}

static const fj__amqp_host *host_of(const fj__link *l)
{
    return &l->settings->hosts[l->order[l->at]];
}

void fj__link_where(const fj__link *l, char *text, size_t n)
{
    const fj__amqp_host *h = host_of(l);

    (void)snprintf(text, n, strchr(h->name, ':') != NULL ? "[%s]:%s vhost %s" : "%s:%s vhost %s", h->name,
                   h->port, l->settings->vhost);
}

static void note(fj__link *l, fj_log_level level, const char *what)
{
    char where[300];

    fj__link_where(l, where, sizeof where);
    l->ops->note(l, level, fj__format("%s (%s connection): %s", where, l->purpose, what));
}

/* A hang-up during the login is how a broker of old refuses one, but also how a network breaks: twice it is a refusal. */
static bool is_fatal(const fj__link *l, fj_code code)
{
    return (code == FJ_AUTH && (!l->hung_up || l->attempts > 0)) || code == FJ_ACCESS || code == FJ_BAD_CONFIG;
}

static void dial(fj__link *l, fj_deadline now);

/* Full jitter: between 0 and the cap a random time, so that many clients do not return in one burst. */
static fj_deadline backoff(const fj__link *l, bool lost)
{
    const fj__amqp_settings *s = l->settings;
    double cap = s->retry_interval + s->retry_backoff * (double)(l->attempts > 0 ? l->attempts - 1 : 0);
    double pause = s->reconnect_delay * fj__random_unit();

    if (!lost) {
        if (cap > s->retry_max || l->fatal) /* fatal: nothing will change soon */
            cap = s->retry_max;
        pause = cap * (0.1 + 0.9 * fj__random_unit());
    }
    return fj_in_seconds(pause * 1e3 > PAUSE_MS ? pause : PAUSE_MS / 1e3);
}

/* The attempt, or the open connection, is over.  @p error takes */
static void fail(fj__link *l, fj_error *error, fj_deadline now)
{
    bool was_open = l->state == FJ__LINK_OPEN;
    char where[300];

    fj__link_where(l, where, sizeof where);
    fj_error_set_where(error, "%s", where);
    fj_error_free(l->error);
    l->error = error;
    release(l);
    if (l->state == FJ__LINK_CLOSED || l->closing) {
        l->state = FJ__LINK_CLOSED;
        return;
    }
    l->state = FJ__LINK_BACKOFF;
    note(l, FJ_LOG_WARNING, fj_error_text(error));
    if (was_open) {
        l->retry_at = backoff(l, true);
        l->at = (l->at + 1) % l->settings->host_count;
        l->ops->down(l, error, now);
        return;
    }
    l->fatal = (l->at == 0 || l->fatal) && is_fatal(l, fj_error_code(error));
    l->at = (l->at + 1) % l->settings->host_count;
    if (l->at != 0) { /* the next host of this round at once */
        l->retry_at = now;
        return;
    }
    l->attempts++;
    if (l->settings->shuffle) /* once in the beginning, and each round if so configured: wire.md section 1 */
        shuffle(l);
    l->retry_at = backoff(l, false);
    l->ops->failed(l, error, now);
}

static void fail_text(fj__link *l, fj_code code, fj_deadline now, const char *what, const char *why)
{
    const fj__amqp_host *h = host_of(l);
    fj_error *error = NULL;

    (void)fj_fail(&error, code, "%s %s:%s: %s", what, h->name, h->port, why);
    fail(l, error, now);
}

static bool make_engine(fj__link *l, fj_deadline now)
{
    const fj__amqp_settings *s = l->settings;
    const fj__amqp_host *h = host_of(l);
    char id[37];
    fj_error *error = NULL;

    fj__id_uuid(id);
    char *name = fj__format("%s:%d:%s", s->program, (int)getpid(), id);
    fj__engine_opts o = { .vhost = s->vhost,
                          .user = h->user,
                          .password = fj__secret_text(&h->password),
                          .mechanism = s->login_method,
                          .connection_name = name != NULL ? name : s->program,
                          .channel_max = FJ__LINK_CHANNEL_MAX,
                          .frame_max = FRAME_MAX,
                          .heartbeat = s->heartbeat,
                          .body_max = s->json.max_bytes,
                          .handshake_ns = fj_in_seconds(s->connect_timeout).ns - fj_now().ns };
    fj_code rc = fj__engine_new(&o, &l->engine, &error);
    fj__free(name);
    if (rc != FJ_OK) {
        l->engine = NULL;
        fail(l, error, now);
    }
    return rc == FJ_OK;
}

static void connected(fj__link *l, fj_deadline now)
{
    int on = 1;

    (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (l->settings->heartbeat != 0) { /* unacknowledged bytes end the connection as silence does: tcp(7) */
        unsigned ms = 2000u * l->settings->heartbeat;
        (void)setsockopt(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    }
    if (!make_engine(l, now))
        return;
    l->state = FJ__LINK_HANDSHAKE;
    if (fj__engine_start(l->engine, now) != FJ_OK)
        fail_text(l, FJ_NOMEM, now, "connecting to", "out of memory");
    else
        fj__link_flush(l, now);
}

/* Connect to the present address, or the next that can be tried. */
static void connect_next(fj__link *l, fj_deadline now)
{
    int why = ECONNREFUSED;

    for (; l->address != NULL; l->address = l->address->ai_next) {
        const struct addrinfo *a = l->address;
        l->fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
        if (l->fd < 0) {
            why = errno;
            continue;
        }
        l->opened++;
        if (fj__native.connect(l->fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS) {
            l->state = FJ__LINK_CONNECTING;
            return;
        }
        why = errno;
        (void)fj__native.close(l->fd);
        l->fd = -1;
    }
    char text[128];
    fail_text(l, FJ_UNREACHABLE, now, "connecting to", strerror_r(why, text, sizeof text));
}

static void check_connect(fj__link *l, fj_deadline now)
{
    struct pollfd p = { .fd = l->fd, .events = POLLOUT };
    int why = 0;
    socklen_t n = sizeof why;

    if (fj__native.poll(&p, 1, 0) != 1)
        return;
    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &why, &n) == 0 && why == 0) {
        connected(l, now);
        return;
    }
    (void)fj__native.close(l->fd);
    l->fd = -1;
    if (l->address->ai_next != NULL) {
        l->address = l->address->ai_next;
        connect_next(l, now);
        return;
    }
    char text[128];
    fail_text(l, FJ_UNREACHABLE, now, "connecting to", strerror_r(why, text, sizeof text));
}

static void check_resolve(fj__link *l, fj_deadline now)
{
    int gai = 0;

    if (!fj__resolve_done(l->resolve, &l->addresses, &gai))
        return;
    fj__resolve_free(l->resolve);
    l->resolve = NULL;
    if (gai != 0) {
        fail_text(l, FJ_UNREACHABLE, now, "looking up", gai_strerror(gai));
        return;
    }
    l->address = l->addresses;
    connect_next(l, now);
}

static void dial(fj__link *l, fj_deadline now)
{
    const fj__amqp_host *h = host_of(l);

    l->retry_at = fj_never();
    l->connect_by = fj_in_seconds(l->settings->connect_timeout);
    l->hung_up = false;
    l->state = FJ__LINK_RESOLVING;
    l->resolve = fj__resolve_start(h->name, h->port, l->wake_fd);
    if (l->resolve == NULL)
        fail_text(l, FJ_SYSTEM, now, "looking up", "no memory or thread for the lookup");
    else
        check_resolve(l, now);
}

void fj__link_want(fj__link *l, fj_deadline now)
{
    if (l->state == FJ__LINK_IDLE)
        dial(l, now);
}

void fj__link_drop(fj__link *l)
{
    release(l);
    l->state = FJ__LINK_CLOSED;
}

void fj__link_reopen(fj__link *l)
{
    release(l);
    l->state = FJ__LINK_IDLE;
    l->closing = l->fatal = false;
    l->attempts = 0;
    l->retry_at = fj_never();
    l->error = fj_error_free(l->error);
}

void fj__link_close(fj__link *l, fj_deadline now)
{
    if (l->state != FJ__LINK_OPEN || fj__engine_close(l->engine, 200, "") != FJ_OK) {
        fj__link_drop(l);
        return;
    }
    l->closing = true;
    l->connect_by = fj_in_ms(CLOSE_BY_MS);
    fj__link_flush(l, now);
}

void fj__link_break(fj__link *l, const char *why)
{
    if (l->engine != NULL)
        l->broken = why;
}

static fj_code closed_as(const fj__link *l, const fj__event *ev)
{
    if (ev->code == AMQP_ACCESS_REFUSED)
        return FJ_ACCESS;
    return l->state == FJ__LINK_OPEN ? FJ_LOST : FJ_UNREACHABLE;
}

/* Answers false when the link is no longer what it was: the engine may be gone. */
static bool handle(fj__link *l, const fj__event *ev, fj_deadline now)
{
    fj_error *error = NULL;

    switch (ev->kind) {
    case FJ__EV_OPEN:
        l->state = FJ__LINK_OPEN;
        l->attempts = 0;
        l->fatal = false;
        l->epoch++;
        l->connect_by = fj_never();
        l->error = fj_error_free(l->error);
        note(l, FJ_LOG_INFO, fj__engine_peer(l->engine));
        l->ops->up(l, now);
        return true;
    case FJ__EV_CLOSED:
        if (ev->code == 0) {
            fj__link_drop(l);
            return false;
        }
        (void)fj_fail(&error, closed_as(l, ev), "the broker closed the connection: %u %s", (unsigned)ev->code,
                      ev->text != NULL ? ev->text : "");
        fj__link_flush(l, now); /* the close-ok that answers it */
        fail(l, error, now);
        return false;
    case FJ__EV_FAILED:
        error = fj_error_copy(ev->error);
        if (l->state == FJ__LINK_HANDSHAKE)
            fj__link_flush(l, now); /* likewise: a refusal of the login or the virtual host is answered */
        if (error == NULL)
            (void)fj_fail(&error, FJ_NOMEM, "out of memory");
        fail(l, error, now);
        return false;
    default:
        l->ops->event(l, ev, now);
        return true;
    }
}

static bool events(fj__link *l, fj_deadline now)
{
    fj__event ev;

    while (l->engine != NULL && fj__engine_next(l->engine, &ev)) {
        if (!handle(l, &ev, now))
            return false;
    }
    return l->engine != NULL;
}

void fj__link_flush(fj__link *l, fj_deadline now)
{
    while (l->engine != NULL && l->fd >= 0) {
        const fj__buf *out = fj__engine_output(l->engine);
        size_t n = fj__buf_len(out);
        l->wants_write = n != 0;
        if (n == 0)
            return;
        ssize_t put = fj__native.send(l->fd, fj__buf_data(out), n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put > 0) {
            fj__engine_sent(l->engine, (size_t)put, now);
            if ((size_t)put < n)
                return;
        } else if (put < 0 && errno == EINTR) {
            continue;
        } else {
            return; /* EAGAIN: wait for POLLOUT.  Others are seen, with what the peer still said, by recv */
        }
    }
}

static bool receive(fj__link *l, fj_deadline now)
{
    for (int i = 0; i < READ_BUDGET; i++) {
        uint8_t *room = fj__engine_room(l->engine, READ_SIZE);
        if (room == NULL) {
            fail_text(l, FJ_NOMEM, now, "reading from", "out of memory");
            return false;
        }
        ssize_t got = fj__native.recv(l->fd, room, READ_SIZE, MSG_DONTWAIT);
        if (got > 0) {
            if (fj__engine_feed(l->engine, room, (size_t)got, now) != FJ_OK && !events(l, now))
                return false;
            if (!events(l, now))
                return false;
            if (got < READ_SIZE)
                return true;
        } else if (got < 0 && errno == EINTR) {
            continue;
        } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return true;
        } else {
            char text[128];
            l->hung_up = true;
            fj__engine_eof(l->engine,
                           got == 0 ? "the broker closed the socket" : strerror_r(errno, text, sizeof text));
            return events(l, now);
        }
    }
    return true;
}

void fj__link_pump(fj__link *l, bool readable, bool writable, fj_deadline now)
{
    (void)writable;
    if (l->state == FJ__LINK_BACKOFF && now.ns >= l->retry_at.ns)
        dial(l, now);
    if (l->state == FJ__LINK_RESOLVING && l->resolve != NULL)
        check_resolve(l, now);
    if (l->state == FJ__LINK_CONNECTING)
        check_connect(l, now);
    if (l->state == FJ__LINK_HANDSHAKE || l->state == FJ__LINK_OPEN) {
        if (readable && !receive(l, now))
            return;
        if (l->broken != NULL)
            fj__engine_eof(l->engine, l->broken);
        fj__engine_tick(l->engine, now);
        if (!events(l, now))
            return;
        fj__link_flush(l, now);
    }
    if (now.ns >= l->connect_by.ns) {
        if (l->state == FJ__LINK_OPEN) /* our close was not answered */
            fj__link_drop(l);
        else if (l->state != FJ__LINK_CLOSED && l->state != FJ__LINK_BACKOFF)
            fail_text(l, FJ_UNREACHABLE, now, "connecting to",
                      l->state == FJ__LINK_HANDSHAKE ? "it accepts but does not answer" : "no answer in time");
    }
}

void fj__link_beat(fj__link *l, fj_deadline now)
{
    if (l->state != FJ__LINK_OPEN)
        return;
    fj__engine_beat(l->engine, now);
    fj__link_flush(l, now);
}

fj_deadline fj__link_beat_due(const fj__link *l)
{
    return l->state == FJ__LINK_OPEN ? fj__engine_beat_due(l->engine) : fj_never();
}

int fj__link_fd(const fj__link *l, bool *ret_read, bool *ret_write)
{
    *ret_read = l->state == FJ__LINK_HANDSHAKE || l->state == FJ__LINK_OPEN;
    *ret_write = l->state == FJ__LINK_CONNECTING || l->wants_write;
    return l->fd;
}

fj_deadline fj__link_due(const fj__link *l)
{
    fj_deadline due = fj_sooner(l->connect_by, l->state == FJ__LINK_BACKOFF ? l->retry_at : fj_never());

    if (l->broken != NULL)
        return (fj_deadline){ 0 };
    return l->engine != NULL ? fj_sooner(due, fj__engine_due(l->engine)) : due;
}
