/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/link_impl.h"

#include "base/alloc.h"
#include "base/native.h"
#include "transports/amqp/backoff.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    READ_SIZE = 64 * 1024,
    READ_BUDGET = 8, /* reads a pump, so that one busy link cannot starve the other */
    CLOSE_BY_MS = 1000
};

bool fj__link_init(fj__link *l, const fj__amqp_settings *s, const fj__link_ops *ops, void *user,
                   const char *purpose, int wake_fd)
{
    *l =
        (fj__link){ .settings = s, .ops = ops, .user = user, .purpose = purpose, .wake_fd = wake_fd, .fd = -1 };
    l->connect_by = l->address_by = l->retry_at = fj_never();
    return fj__hosts_init(&l->hosts, s, fj_now());
}

/* Let go of the socket and what is spoken over it. */
static void hang_up(fj__link *l)
{
    l->tls = fj__tls_close(l->tls);
    if (l->fd >= 0)
        (void)fj__native.close(l->fd);
    l->fd = -1;
    l->lost_sent = l->engine != NULL ? fj__engine_sent_total(l->engine) : 0;
    l->engine = fj__engine_free(l->engine);
    l->address_by = fj_never();
    l->wants_write = l->blocked = false;
    l->broken = NULL;
}

/* Let go of everything of the present attempt or connection. */
static void release(fj__link *l)
{
    hang_up(l);
    fj__resolve_free(l->resolve);
    l->resolve = NULL;
    if (l->addresses != NULL)
        freeaddrinfo(l->addresses);
    l->addresses = l->address = NULL;
    l->connect_by = fj_never();
}

void fj__link_fini(fj__link *l)
{
    release(l);
    l->error = fj_error_free(l->error);
    fj__hosts_fini(&l->hosts);
}

const fj__amqp_host *fj__link_host(const fj__link *l)
{
    return fj__hosts_now(&l->hosts);
}

void fj__link_where(const fj__link *l, char *text, size_t n)
{
    const fj__amqp_host *h = fj__link_host(l);

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
    return (code == FJ_AUTH && (!l->hung_up || l->attempts > 0)) || code == FJ_ACCESS ||
           code == FJ_BAD_CONFIG || code == FJ_TLS;
}

static fj_deadline backoff(const fj__link *l, bool lost)
{
    const fj__trouble trouble = {
        .lost = lost, .was_open = l->epoch != 0, .fatal = l->fatal, .attempts = l->attempts
    };

    return fj_in_seconds(fj__backoff(l->settings, &trouble));
}

static void note_address(fj__link *l, const char *why)
{
    const struct addrinfo *a = l->address;
    char address[NI_MAXHOST] = "?", text[NI_MAXHOST + 300];

    (void)getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST);
    (void)snprintf(text, sizeof text, "%s (at %s; the next address is tried)", why, address);
    note(l, FJ_LOG_INFO, text);
}

/* What failed may be this one address of several. */
static bool goes_on(fj__link *l, const fj_error *error, fj_deadline now)
{
    bool dialing =
        l->state == FJ__LINK_CONNECTING || l->state == FJ__LINK_SECURING || l->state == FJ__LINK_HANDSHAKE;

    if (!dialing || fj_error_code(error) != FJ_UNREACHABLE || l->address == NULL || l->address->ai_next == NULL)
        return false;
    note_address(l, fj_error_text(error));
    hang_up(l);
    return fj__link_dial_next(l, now);
}

/* The attempt, or the open connection, is over.  @p error takes */
void fj__link_fail(fj__link *l, fj_error *error, fj_deadline now)
{
    bool was_open = l->state == FJ__LINK_OPEN;
    char where[300];

    fj__link_where(l, where, sizeof where);
    fj_error_set_where(error, "%s", where);
    fj_error_free(l->error);
    l->error = error;
    if (goes_on(l, error, now))
        return;
    if (was_open && l->tls != NULL &&
        !l->hung_up) /* RabbitMQ may not notice at once who goes without a word: docs/tls.md */
        fj__tls_bye(l->tls);
    release(l);
    if (l->state == FJ__LINK_CLOSED || l->closing) {
        l->state = FJ__LINK_CLOSED;
        return;
    }
    l->state = FJ__LINK_BACKOFF;
    l->since = now;
    note(l, FJ_LOG_WARNING, fj_error_text(error));
    if (was_open) {
        l->retry_at = backoff(l, true);
        fj__hosts_lost(&l->hosts, now);
        l->ops->down(l, error, now);
        return;
    }
    l->fatal = (l->hosts.at == 0 || l->fatal) && is_fatal(l, fj_error_code(error));
    if (fj__hosts_next(&l->hosts, now)) { /* at once */
        l->retry_at = now;
        return;
    }
    l->attempts++;
    l->retry_at = backoff(l, false);
    l->ops->failed(l, error, now);
}

void fj__link_fail_text(fj__link *l, fj_code code, fj_deadline now, const char *what, const char *why)
{
    const fj__amqp_host *h = fj__link_host(l);
    fj_error *error = NULL;

    (void)fj_fail(&error, code, "%s %s:%s: %s", what, h->name, h->port, why);
    fj__link_fail(l, error, now);
}

void fj__link_want(fj__link *l, fj_deadline now)
{
    if (l->state == FJ__LINK_IDLE)
        fj__link_dial(l, now);
}

void fj__link_hurry(fj__link *l, fj_deadline now)
{
    if (l->state != FJ__LINK_BACKOFF)
        return;
    l->fatal = false;
    l->retry_at = now;
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

static void note_open(fj__link *l)
{
    char text[300];

    if (l->tls == NULL) {
        note(l, FJ_LOG_INFO, fj__engine_peer(l->engine));
        return;
    }
    (void)snprintf(text, sizeof text, "%s over %s, %s", fj__engine_peer(l->engine), fj__tls_version(l->tls),
                   fj__tls_cipher(l->tls));
    note(l, FJ_LOG_INFO, text);
}

/* Answers false when the link is no longer what it was: the engine may be gone. */
static bool handle(fj__link *l, const fj__event *ev, fj_deadline now)
{
    fj_error *error = NULL;

    switch (ev->kind) {
    case FJ__EV_OPEN:
        l->state = FJ__LINK_OPEN;
        l->since = now;
        l->attempts = 0;
        l->fatal = false;
        l->epoch++;
        fj__hosts_reached(&l->hosts);
        fj__link_dialed(l);
        l->error = fj_error_free(l->error);
        note_open(l);
        l->ops->up(l, now);
        return true;
    case FJ__EV_CLOSED:
        if (ev->code == 0) {
            if (l->tls != NULL)
                fj__tls_bye(l->tls);
            fj__link_drop(l);
            return false;
        }
        (void)fj_fail(&error, closed_as(l, ev), "the broker closed the connection: %u %s", (unsigned)ev->code,
                      ev->text != NULL ? ev->text : "");
        fj__link_flush(l, now); /* the close-ok that answers it */
        fj__link_fail(l, error, now);
        return false;
    case FJ__EV_FAILED:
        error = fj_error_copy(ev->error);
        if (l->state == FJ__LINK_HANDSHAKE)
            fj__link_flush(l, now); /* likewise: a refusal of the login or the virtual host is answered */
        if (error == NULL)
            (void)fj_fail(&error, FJ_NOMEM, "out of memory");
        fj__link_fail(l, error, now);
        return false;
    default:
        if (ev->kind == FJ__EV_BLOCKED || ev->kind == FJ__EV_UNBLOCKED) {
            l->blocked = ev->kind == FJ__EV_BLOCKED;
            fj__link_patience(l);
        }
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

static ssize_t put_bytes(fj__link *l, const void *data, size_t n)
{
    return l->tls != NULL ? fj__tls_send(l->tls, data, n)
                          : fj__native.send(l->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t get_bytes(fj__link *l, void *room)
{
    return l->tls != NULL ? fj__tls_recv(l->tls, room, READ_SIZE)
                          : fj__native.recv(l->fd, room, READ_SIZE, MSG_DONTWAIT);
}

void fj__link_flush(fj__link *l, fj_deadline now)
{
    while (l->engine != NULL && l->fd >= 0) {
        const fj__buf *out = fj__engine_output(l->engine);
        size_t n = fj__buf_len(out);
        l->wants_write = n != 0;
        if (n == 0)
            return;
        ssize_t put = put_bytes(l, fj__buf_data(out), n);
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

/* No more will be read.  @param why  0: the stream came to its end */
static bool ended(fj__link *l, int why, fj_deadline now)
{
    char text[128];

    if (why == EPROTO && l->tls != NULL) {
        fj_error *error = NULL;
        (void)fj_fail(&error, FJ_TLS, "%s", fj__tls_why(l->tls));
        fj__link_fail(l, error, now);
        return false;
    }
    fj__engine_eof(l->engine, why == 0 ? "the broker closed the socket" : strerror_r(why, text, sizeof text));
    return events(l, now);
}

/* @param more  gets whether the socket may hold more than was read   @return false: the link is no longer what it was */
static bool receive(fj__link *l, fj_deadline now, bool *more)
{
    *more = false;
    for (int i = 0; i < READ_BUDGET; i++) {
        uint8_t *room = fj__engine_room(l->engine, READ_SIZE);
        if (room == NULL) {
            fj__link_fail_text(l, FJ_NOMEM, now, "reading from", "out of memory");
            return false;
        }
        ssize_t got = get_bytes(l, room);
        if (got > 0) {
            if (fj__engine_feed(l->engine, room, (size_t)got, now) != FJ_OK && !events(l, now))
                return false;
            if (!events(l, now))
                return false;
            if (got < READ_SIZE && l->tls == NULL) /* TLS gives a record at a time */
                return true;
        } else if (got < 0 && errno == EINTR) {
            continue;
        } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return true;
        } else {
            l->hung_up = true;
            return ended(l, got < 0 ? errno : 0, now);
        }
    }
    *more = true;
    return true;
}

static bool reads_on_write(const fj__link *l, bool writable)
{
    return writable && l->tls != NULL && fj__tls_wants_write(l->tls);
}

static void too_late(fj__link *l, fj_deadline now)
{
    char why[96] = "no answer in time";

    if (l->state == FJ__LINK_HANDSHAKE)
        (void)snprintf(why, sizeof why, "it accepts but does not answer (%s)",
                       fj__engine_state_name(fj__engine_state_of(l->engine)));
    fj__link_fail_text(l, FJ_UNREACHABLE, now, "connecting to", why);
}

void fj__link_pump(fj__link *l, bool readable, bool writable, fj_deadline now)
{
    if (l->state == FJ__LINK_BACKOFF && now.ns >= l->retry_at.ns)
        fj__link_dial(l, now);
    fj__link_dial_on(l, now);
    if (l->state == FJ__LINK_HANDSHAKE || l->state == FJ__LINK_OPEN) {
        /* Before a peer is judged what it said is read, though nobody told of it: this process may have stood still. */
        bool due = now.ns >= fj__engine_due(l->engine).ns, more = false;
        if ((readable || due || reads_on_write(l, writable)) && !receive(l, now, &more))
            return;
        if (l->broken != NULL)
            fj__engine_eof(l->engine, l->broken);
        if (more)
            fj__engine_beat(l->engine, now);
        else
            fj__engine_tick(l->engine, now);
        if (!events(l, now))
            return;
        fj__link_flush(l, now);
    }
    if (now.ns >= fj_sooner(l->connect_by, l->address_by).ns) {
        if (l->state == FJ__LINK_OPEN) /* our close was not answered */
            fj__link_drop(l);
        else if (l->state != FJ__LINK_CLOSED && l->state != FJ__LINK_BACKOFF)
            too_late(l, now);
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
    bool tls_writes = l->tls != NULL && fj__tls_wants_write(l->tls);

    *ret_read = l->state == FJ__LINK_HANDSHAKE || l->state == FJ__LINK_OPEN ||
                (l->state == FJ__LINK_SECURING && !tls_writes);
    *ret_write = l->state == FJ__LINK_CONNECTING || l->wants_write || tls_writes;
    return l->fd;
}

fj_deadline fj__link_due(const fj__link *l)
{
    fj_deadline due = fj_sooner(l->state == FJ__LINK_BACKOFF ? l->retry_at : fj_never(),
                                fj_sooner(l->connect_by, l->address_by));

    if (l->broken != NULL)
        return (fj_deadline){ 0 };
    return l->engine != NULL ? fj_sooner(due, fj__engine_due(l->engine)) : due;
}
