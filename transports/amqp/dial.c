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
                          .handshake_ns = fj_in_seconds(s->connect_timeout).ns - fj_now().ns };
    fj_code rc = fj__engine_new(&o, &l->engine, &error);
    fj__free(name);
    if (rc != FJ_OK) {
        l->engine = NULL;
        fj__link_fail(l, error, now);
    }
    return rc == FJ_OK;
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
    if (l->settings->heartbeat != 0) { /* unacknowledged bytes end the connection as silence does: tcp(7) */
        unsigned ms = 2000u * l->settings->heartbeat;
        (void)setsockopt(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    }
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
    (void)fj__native.close(l->fd);
    l->fd = -1;
    if (l->address->ai_next != NULL) {
        l->address = l->address->ai_next;
        connect_next(l, now);
        return;
    }
    char text[128];
    fj__link_fail_text(l, FJ_UNREACHABLE, now, "connecting to", strerror_r(why, text, sizeof text));
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
    l->address = l->addresses;
    connect_next(l, now);
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
