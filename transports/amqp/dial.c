/* SPDX-License-Identifier: Apache-2.0 */
/* From a host's name to a connection that can be spoken over: look-up, each address in turn, TLS, and the greeting. */
#include "transports/amqp/link_impl.h"

#include "base/alloc.h"
#include "base/ids.h"
#include "base/native.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAME_MAX = 131072 /* as oslo.messaging answers tune: wire.md section 2 */ };

static bool make_engine(fj__link *l, fj_deadline now)
{
    const fj__amqp_settings *s = l->settings;
    const fj__login *login = fj__login_of(&fj__link_host(l)->login);
    char id[37];
    fj_error *error = NULL;

    fj__id_uuid(id);
    char *name = fj__format("%s:%d:%s", s->program, (int)getpid(), id);
    fj__engine_opts o = { .vhost = s->vhost,
                          .user = login->user,
                          .password = fj__secret_text(&login->password),
                          .mechanism = s->login_method,
                          .connection_name = name != NULL ? name : s->program,
                          .channel_max = FJ__LINK_CHANNEL_MAX,
                          .frame_max = FRAME_MAX,
                          .heartbeat = s->heartbeat,
                          .heartbeat_rate = s->heartbeat_rate,
                          .body_max = s->json.max_bytes,
                          .handshake_ns = (int64_t)(s->connect_timeout * 1e9),
                          .answer_ns = (int64_t)(s->answer_timeout * 1e9) };
    fj_code rc = fj__engine_new(&o, &l->engine, &error);
    fj__free(name);
    if (rc != FJ_OK) {
        l->engine = NULL;
        fj__link_fail(l, error, now);
    }
    return rc == FJ_OK;
}

/* Bytes that nobody acknowledges end the connection as silence does: tcp(7).  But while the broker blocks us they may lie in a
 * window that is shut for as long as its alarm lasts, and it is its heartbeats that tell whether it lives. */
void fj__link_patience(const fj__link *l)
{
    unsigned ms = l->blocked ? 0 : 2000u * fj__engine_heartbeat(l->engine);

    (void)setsockopt(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

/* Bytes go both ways: greet. */
static void greet(fj__link *l, fj_deadline now)
{
    if (!make_engine(l, now))
        return;
    l->state = FJ__LINK_HANDSHAKE;
    if (fj__engine_start(l->engine, now) != FJ_OK)
        fj__link_fail_text(l, FJ_NOMEM, now, "connecting to", "out of memory");
    else
        fj__link_flush(l, now);
}

static void secure(fj__link *l, fj_deadline now)
{
    fj_error *error = NULL;
    fj_code code = fj__tls_shake(l->tls, &error);

    if (code == FJ_AGAIN)
        return;
    if (code != FJ_OK)
        fj__link_fail(l, error, now);
    else
        greet(l, now);
}

static void connected(fj__link *l, fj_deadline now)
{
    int on = 1;

    (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (l->settings->tls == NULL) {
        greet(l, now);
        return;
    }
    l->tls = fj__tls_open(l->settings->tls, l->fd, fj__link_host(l)->name);
    if (l->tls == NULL) {
        fj__link_fail_text(l, FJ_NOMEM, now, "connecting to", "out of memory");
        return;
    }
    l->state = FJ__LINK_SECURING;
    secure(l, now);
}

/* The time is shared by the addresses still to be tried, so that the first dead one does not take all of it. */
static fj_deadline share(const fj__link *l, fj_deadline now)
{
    int64_t left = l->connect_by.ns - now.ns, n = 0;

    for (const struct addrinfo *a = l->address; a != NULL; a = a->ai_next)
        n++;
    return (fj_deadline){ now.ns + left / n };
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
            l->address_by = share(l, now);
            return;
        }
        why = errno;
        (void)fj__native.close(l->fd);
        l->fd = -1;
    }
    char text[128];
    fj__link_fail_text(l, FJ_UNREACHABLE, now, "connecting to", strerror_r(why, text, sizeof text));
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
    char text[128];
    fj__link_fail_text(l, FJ_UNREACHABLE, now, "connecting to", strerror_r(why, text, sizeof text));
}

/* The address that worked last first, and the others as getaddrinfo() has put them: RFC 6724, so IPv6 before IPv4 where there is a
 * route. */
static void good_first(fj__link *l)
{
    for (struct addrinfo **at = &l->addresses; *at != NULL; at = &(*at)->ai_next) {
        struct addrinfo *a = *at;
        if (a->ai_addrlen == l->good_len && memcmp(a->ai_addr, &l->good, l->good_len) == 0) {
            *at = a->ai_next;
            a->ai_next = l->addresses;
            l->addresses = a;
            return;
        }
    }
}

static void check_resolve(fj__link *l, fj_deadline now)
{
    int gai = 0;

    if (!fj__resolve_done(l->resolve, &l->addresses, &gai))
        return;
    fj__resolve_free(l->resolve);
    l->resolve = NULL;
    if (gai != 0) {
        fj__link_fail_text(l, FJ_UNREACHABLE, now, "looking up", gai_strerror(gai));
        return;
    }
    good_first(l);
    l->address = l->addresses;
    connect_next(l, now);
}

bool fj__link_dial_next(fj__link *l, fj_deadline now)
{
    if (l->address == NULL || l->address->ai_next == NULL || now.ns >= l->connect_by.ns)
        return false;
    l->address = l->address->ai_next;
    l->hung_up = false;
    connect_next(l, now);
    return true;
}

void fj__link_dialed(fj__link *l)
{
    const struct addrinfo *a = l->address;

    l->connect_by = l->address_by = fj_never();
    l->good_len = a->ai_addrlen <= sizeof l->good ? a->ai_addrlen : 0;
    memcpy(&l->good, a->ai_addr, l->good_len);
    fj__link_patience(l);
}

void fj__link_dial(fj__link *l, fj_deadline now)
{
    const fj__amqp_host *h = fj__link_host(l);

    l->retry_at = fj_never();
    l->connect_by = fj_in_seconds(l->settings->connect_timeout);
    l->hung_up = false;
    l->state = FJ__LINK_RESOLVING;
    l->since = now;
    l->resolve = fj__resolve_start(h->name, h->port, l->wake_fd);
    if (l->resolve == NULL)
        fj__link_fail_text(l, FJ_SYSTEM, now, "looking up", "no memory or thread for the lookup");
    else
        check_resolve(l, now);
}

void fj__link_dial_on(fj__link *l, fj_deadline now)
{
    if (l->state == FJ__LINK_RESOLVING && l->resolve != NULL)
        check_resolve(l, now);
    if (l->state == FJ__LINK_CONNECTING)
        check_connect(l, now);
    else if (l->state == FJ__LINK_SECURING)
        secure(l, now);
}
