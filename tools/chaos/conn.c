/* SPDX-License-Identifier: Apache-2.0 */
/* A connection: two sockets, a pipe for each direction, and one timer for whatever waits. */
#include "base/alloc.h"
#include "tools/chaos/proxy.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

bool chaos_conn_held(const chaos_conn *conn)
{
    return conn->proxy->paused || (conn->held_until > 0 && fj_now().ns < conn->held_until);
}

void chaos_conn_end(chaos_conn *conn, int side, const char *why)
{
    if (conn->over)
        return;
    conn->over = true;
    conn->why = why;
    conn->reset[CHAOS_CLIENT] = side == CHAOS_CLIENT || side == CHAOS_BOTH;
    conn->reset[CHAOS_SERVER] = side == CHAOS_SERVER || side == CHAOS_BOTH;
}

/* ---- the server's side ----------------------------------------------------------------------------------------- */

static void on_connected(fj_loop *loop, int fd, void *user);

/* Call the server, at the next of its addresses that does not refuse at once. */
static void dial(chaos_conn *conn)
{
    chaos_proxy *p = conn->proxy;

    conn->connect_at = FJ_NEVER_NS;
    for (; conn->target < p->target_count; conn->target++) {
        const chaos_address *at = &p->targets[conn->target];
        int fd = socket(at->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
            break;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
        if ((connect(fd, (const struct sockaddr *)&at->address, at->n) == 0 || errno == EINPROGRESS) &&
            fj_loop_add_writer(p->loop, fd, on_connected, conn, NULL) == FJ_OK) {
            conn->fd[CHAOS_SERVER] = fd;
            conn->writing[CHAOS_SERVER] = true;
            return;
        }
        (void)close(fd);
    }
    chaos_conn_end(conn, CHAOS_CLIENT, "the server cannot be reached");
}

static void on_connected(fj_loop *loop, int fd, void *user)
{
    chaos_conn *conn = user;
    int error = 0;

    (void)fj_loop_remove_writer(loop, fd);
    conn->writing[CHAOS_SERVER] = false;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof error }) == 0 && error == 0) {
        conn->connecting = false;
        chaos_report_conn(conn, "connected", NULL);
    } else {
        (void)close(fd);
        conn->fd[CHAOS_SERVER] = -1;
        conn->target++;
        dial(conn);
    }
    chaos_conn_pump(conn);
}

/* ---- rules of time --------------------------------------------------------------------------------------------- */

/* What is done to the connection needs only be done in one of its directions. */
static bool of_both(const chaos_rule *rule)
{
    return rule->action == CHAOS_HOLD || rule->action == CHAOS_HALF_CLOSE || rule->action == CHAOS_CLOSE ||
           rule->action == CHAOS_RESET || rule->action == CHAOS_INJECT;
}

static void act_in_time(chaos_conn *conn, size_t slot, int direction, int64_t now, int64_t *next)
{
    chaos_rule *rule = conn->proxy->rules[slot];
    chaos_pipe *p = &conn->pipes[direction];
    int64_t due = conn->began + (int64_t)(rule->seconds * 1e9);
    chaos_count *c = chaos_pipe_count(p, slot);

    if (c == NULL || c->matched > 0)
        return;
    if (due > now)
        *next = due < *next ? due : *next;
    else if (chaos_rule_fires(rule, c))
        chaos_act_now(p, rule, c);
}

/* @return when the next rule of time is due */
static int64_t keep_time(chaos_conn *conn)
{
    int64_t now = fj_now().ns, next = FJ_NEVER_NS;

    for (size_t i = 0; i < conn->proxy->rule_count; i++) {
        const chaos_rule *rule = conn->proxy->rules[i];
        if (rule == NULL || rule->trigger != CHAOS_ON_TIME)
            continue;
        for (int d = 0; d < 2 && !conn->over; d++) {
            bool second = d == 1 && rule->direction == CHAOS_BOTH && of_both(rule);
            if (chaos_rule_concerns(rule, conn->id, d) && !second)
                act_in_time(conn, i, d, now, &next);
        }
    }
    return next;
}

/* ---- watching -------------------------------------------------------------------------------------------------- */

static void on_readable(fj_loop *loop, int fd, void *user)
{
    chaos_conn *conn = user;

    (void)loop;
    chaos_pipe_read(&conn->pipes[fd == conn->fd[CHAOS_SERVER]]);
    chaos_conn_pump(conn);
}

static void on_writable(fj_loop *loop, int fd, void *user)
{
    chaos_conn *conn = user;

    (void)loop;
    conn->pipes[fd == conn->fd[CHAOS_CLIENT]].blocked = false;
    chaos_conn_pump(conn);
}

static void on_time(fj_loop *loop, void *user)
{
    chaos_conn *conn = user;

    (void)loop;
    conn->timer = fj_handle_unref(conn->timer);
    chaos_conn_pump(conn);
}

static bool watch(chaos_conn *conn, int side, bool read, bool write)
{
    fj_loop *loop = conn->proxy->loop;
    int fd = conn->fd[side];

    if (conn->reading[side] && !read)
        (void)fj_loop_remove_reader(loop, fd);
    if (conn->writing[side] && !write)
        (void)fj_loop_remove_writer(loop, fd);
    if (!conn->reading[side] && read && fj_loop_add_reader(loop, fd, on_readable, conn, NULL) != FJ_OK)
        return false;
    conn->reading[side] = read;
    if (!conn->writing[side] && write && fj_loop_add_writer(loop, fd, on_writable, conn, NULL) != FJ_OK)
        return false;
    conn->writing[side] = write;
    return true;
}

static bool set_timer(chaos_conn *conn, int64_t at)
{
    if (conn->timer != NULL && conn->timer_at == at)
        return true;
    if (conn->timer != NULL)
        fj_handle_cancel(conn->timer);
    conn->timer = fj_handle_unref(conn->timer);
    conn->timer_at = at;
    return at == FJ_NEVER_NS || fj_loop_call_at(conn->proxy->loop, (fj_deadline){ at }, on_time, conn, "chaos",
                                                &conn->timer) == FJ_OK;
}

static void watch_all(chaos_conn *conn, int64_t due)
{
    bool held = chaos_conn_held(conn), ok = true;

    for (int d = 0; d < 2 && ok && !conn->ignored && !conn->connecting; d++) {
        bool read = !held && chaos_pipe_wants_read(&conn->pipes[d]);
        bool write = !held && conn->pipes[!d].blocked;
        ok = watch(conn, d, read, write);
        if (!held && chaos_pipe_due(&conn->pipes[d]) < due)
            due = chaos_pipe_due(&conn->pipes[d]);
    }
    if (conn->ignored)
        ok = watch(conn, CHAOS_CLIENT, true, false);
    if (held && !conn->proxy->paused && conn->held_until < due)
        due = conn->held_until;
    if (conn->connect_at < due)
        due = conn->connect_at;
    if (!ok || !set_timer(conn, due))
        chaos_conn_end(conn, CHAOS_BOTH, "out of memory");
}

static bool is_done(const chaos_pipe *p)
{
    return p->finished && chaos_pipe_idle(p);
}

void chaos_conn_pump(chaos_conn *conn)
{
    int64_t due = FJ_NEVER_NS;
    bool more = true;

    if (conn->ignored && conn->pipes[CHAOS_CLIENT].eof)
        chaos_conn_end(conn, -1, "the client has ended");
    if (!conn->over && conn->connecting && fj_now().ns >= conn->connect_at)
        dial(conn);
    while (!conn->over && !conn->connecting && !conn->ignored && more) {
        due = keep_time(conn);
        more = chaos_pipe_pump(&conn->pipes[0]);
        more |= chaos_pipe_pump(&conn->pipes[1]);
        if (is_done(&conn->pipes[0]) && is_done(&conn->pipes[1]))
            chaos_conn_end(conn, -1, "both sides have ended");
    }
    if (!conn->over)
        watch_all(conn, due);
    if (conn->over)
        chaos_conn_free(conn);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

void chaos_conn_open(chaos_proxy *proxy, uint64_t id, int fd, int64_t delay, bool ignored)
{
    chaos_conn *conn = fj__zalloc(sizeof *conn);
    struct sockaddr_storage peer = { 0 };

    if (conn == NULL) {
        (void)close(fd);
        return;
    }
    *conn = (chaos_conn){ .proxy = proxy,
                          .id = id,
                          .fd = { fd, -1 },
                          .connecting = !ignored,
                          .ignored = ignored,
                          .began = fj_now().ns,
                          .next = proxy->first,
                          .connect_at = FJ_NEVER_NS };
    for (int d = 0; d < 2; d++) {
        conn->pipes[d].conn = conn;
        conn->pipes[d].direction = d;
    }
    if (!ignored)
        conn->connect_at = conn->began + delay;
    if (proxy->first != NULL)
        proxy->first->prev = conn;
    proxy->first = conn;
    proxy->conn_count++;
    (void)getpeername(fd, (struct sockaddr *)&peer, &(socklen_t){ sizeof peer });
    chaos_address_text(&peer, conn->peer, sizeof conn->peer);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    chaos_report_conn(conn, "open", NULL);
    chaos_conn_pump(conn);
}

static void close_side(chaos_conn *conn, int side)
{
    if (conn->fd[side] < 0)
        return;
    (void)watch(conn, side, false, false);
    if (conn->reset[side])
        (void)setsockopt(conn->fd[side], SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
                         sizeof(struct linger));
    (void)close(conn->fd[side]);
}

void chaos_conn_free(chaos_conn *conn)
{
    chaos_proxy *proxy = conn->proxy;

    chaos_report_conn(conn, "close", conn->why);
    if (conn->timer != NULL)
        fj_handle_cancel(conn->timer);
    conn->timer = fj_handle_unref(conn->timer);
    for (int d = 0; d < 2; d++) {
        close_side(conn, d);
        chaos_pipe_fini(&conn->pipes[d]);
    }
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        proxy->first = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    proxy->conn_count--;
    fj__free(conn);
    chaos_proxy_left(proxy);
}
