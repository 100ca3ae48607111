/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker of unix://: one process a machine, or a user, that holds the queues.
 *
 *     cc -o unix-broker broker.c queues.c wire.c
 *     unix-broker PATH [MODE]        # MODE of the socket, in octal: who may connect (600)
 *
 * It prints PATH when it listens, and ends by SIGTERM or SIGINT; messages are in its memory alone.
 */
#include "queues.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SESSION_KEPT INT64_C(60000000000) /* ns, of one that is not connected */
enum { CONNECTIONS = 1000, SWEEP_MS = 5000, READ_SIZE = 65536 };

/* A frame that the session's side has not seen yet. */
struct kept {
    struct kept *next;
    uint64_t seq;
    struct bytes frame;
};

struct session {
    struct session *next;
    char id[64];
    uint64_t in_seq, out_seq;
    struct kept *first, **last;
    struct connection *connection; /* or NULL */
    int64_t left;                  /* when it was lost */
};

struct connection {
    struct taker taker;
    int fd; /* -1: the place is free */
    struct bytes in;
    struct session *session; /* from its HELLO on */
    bool owes_seen;
};

static struct connection connections[CONNECTIONS];
static struct session *sessions;
static volatile sig_atomic_t over;

/* ---- sessions ----------------------------------------------------------------------------------- */

static struct session *session_named(const char *id)
{
    struct session *s = sessions;

    while (s != NULL && strcmp(s->id, id) != 0)
        s = s->next;
    return s;
}

static struct session *session_new(const char *id)
{
    struct session *s = strlen(id) < sizeof s->id ? calloc(1, sizeof *s) : NULL;

    if (s == NULL)
        return NULL;
    memcpy(s->id, id, strlen(id) + 1);
    s->last = &s->first;
    s->next = sessions;
    return sessions = s;
}

static void session_seen(struct session *s, uint64_t seq)
{
    for (struct kept *k; (k = s->first) != NULL && k->seq <= seq;) {
        s->first = k->next;
        if (s->first == NULL)
            s->last = &s->first;
        bytes_free(&k->frame);
        free(k);
    }
}

static void session_free(struct session *s)
{
    for (struct session **at = &sessions; *at != NULL; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    session_seen(s, UINT64_MAX);
    free(s);
}

/* A frame that must arrive. */
static void session_send(struct session *s, struct frame f)
{
    struct kept *k = calloc(1, sizeof *k);

    f.seq = s->out_seq + 1;
    if (k == NULL || !frame_put(&k->frame, &f)) {
        free(k);
        return; /* its caller will hear of its deadline */
    }
    k->seq = ++s->out_seq;
    *s->last = k;
    s->last = &k->next;
    if (s->connection != NULL && !frame_put(&s->connection->taker.out, &f))
        s->connection->taker.broken = true;
}

/* ---- frames ------------------------------------------------------------------------------------- */

static void put(struct connection *c, struct frame f)
{
    if (!frame_put(&c->taker.out, &f))
        c->taker.broken = true;
}

static void hello(struct connection *c, const struct frame *f)
{
    struct session *s = session_named(f->key);
    bool known = s != NULL;

    if (!known && (s = session_new(f->key)) == NULL) {
        c->taker.broken = true;
        return;
    }
    if (s->connection != NULL) { /* its end was not heard of yet */
        s->connection->taker.broken = true;
        s->connection->session = NULL;
        queues_leave(&s->connection->taker);
    }
    s->connection = c;
    c->session = s;
    session_seen(s, f->id);
    put(c, (struct frame){ .type = WELCOME, .flags = known ? FRAME_KNOWN : 0, .id = s->in_seq });
    for (struct kept *k = s->first; k != NULL; k = k->next)
        if (!bytes_put(&c->taker.out, k->frame.data, k->frame.end))
            c->taker.broken = true;
    c->owes_seen = true; /* behind those: what it has seen is settled then */
}

static void publish(struct connection *c, const struct frame *f)
{
    if (!queues_publish(f) && (f->flags & FRAME_MANDATORY) != 0)
        session_send(c->session, (struct frame){ .type = RETURNED, .id = f->seq });
}

static void pass_reply(const struct frame *f)
{
    struct session *to = session_named(f->key);

    if (to != NULL)
        session_send(to, (struct frame){ .type = REPLY, .body = f->body, .n = f->n });
}

static void subscribe(struct connection *c, const struct frame *f)
{
    char server[KEY_MAX_SIZE] = "";

    memcpy(server, f->body, f->n < sizeof server ? f->n : sizeof server - 1);
    if (!queues_subscribe(&c->taker, c->session->id, f->id, f->key, server, (unsigned)f->by))
        c->taker.broken = true;
    put(c, (struct frame){ .type = SUBSCRIBED, .id = f->id });
}

/* A frame of the session's, or one that comes again.  @return whether it is new */
static bool is_new(struct connection *c, const struct frame *f)
{
    if (f->seq == 0)
        return true;
    c->owes_seen = true;
    if (f->seq <= c->session->in_seq)
        return false;
    c->session->in_seq = f->seq;
    return true;
}

static void obey(struct connection *c, const struct frame *f)
{
    if ((f->type == HELLO) != (c->session == NULL)) {
        c->taker.broken = true;
        return;
    }
    if (f->type == HELLO) {
        hello(c, f);
        return;
    }
    if (!is_new(c, f))
        return;
    if (f->type == PUBLISH)
        publish(c, f);
    else if (f->type == REPLY)
        pass_reply(f);
    else if (f->type == SEEN)
        session_seen(c->session, f->id);
    else if (f->type == SUBSCRIBE)
        subscribe(c, f);
    else if (f->type == UNSUBSCRIBE) {
        queues_unsubscribe(&c->taker, c->session->id, f->id);
        put(c, (struct frame){ .type = UNSUBSCRIBED, .id = f->id });
    } else if (f->type == ACK)
        queues_ack(&c->taker, f->id);
    else if (f->type == REQUEUE)
        queues_requeue(&c->taker, f->id);
    else if (f->type == BYE) {
        session_free(c->session);
        c->session = NULL;
        c->taker.broken = true;
    } else
        c->taker.broken = true;
}

/* ---- sockets ------------------------------------------------------------------------------------ */

static void receive(struct connection *c)
{
    struct frame f;
    long size;

    if (!bytes_reserve(&c->in, READ_SIZE)) {
        c->taker.broken = true;
        return;
    }
    ssize_t n = recv(c->fd, c->in.data + c->in.end, READ_SIZE, MSG_DONTWAIT);
    if (n > 0)
        c->in.end += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        c->taker.broken = true;
    while (!c->taker.broken && (size = frame_get(&c->in, &f)) != 0) {
        if (size < 0) {
            c->taker.broken = true;
            return;
        }
        obey(c, &f);
        bytes_take(&c->in, (size_t)size);
    }
}

static void transmit(struct connection *c)
{
    if (c->owes_seen && c->session != NULL)
        put(c, (struct frame){ .type = SEEN, .id = c->session->in_seq });
    c->owes_seen = false;
    while (!c->taker.broken && bytes_left(&c->taker.out) > 0) {
        ssize_t n = send(c->fd, c->taker.out.data + c->taker.out.at, bytes_left(&c->taker.out),
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno != EINTR)
            c->taker.broken = true;
        else if (n > 0)
            bytes_take(&c->taker.out, (size_t)n);
    }
}

static void drop(struct connection *c)
{
    queues_leave(&c->taker);
    if (c->session != NULL) {
        c->session->connection = NULL;
        c->session->left = monotonic();
    }
    (void)close(c->fd);
    bytes_free(&c->in);
    bytes_free(&c->taker.out);
    *c = (struct connection){ .fd = -1 };
}

static void admit(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for (int i = 0; fd >= 0 && i < CONNECTIONS; i++) {
        if (connections[i].fd < 0) {
            connections[i].fd = fd;
            return;
        }
    }
    if (fd >= 0)
        (void)close(fd);
}

static void sweep(void)
{
    int64_t now = monotonic();

    queues_sweep(now);
    for (struct session *s = sessions, *next; s != NULL; s = next) {
        next = s->next;
        if (s->connection == NULL && now - s->left >= SESSION_KEPT)
            session_free(s);
    }
}

static void serve(int listener, const sigset_t *awake)
{
    static struct pollfd fds[CONNECTIONS + 1];
    const struct timespec pause = { .tv_sec = SWEEP_MS / 1000 };
    int64_t swept = monotonic();

    while (!over) {
        fds[CONNECTIONS] = (struct pollfd){ .fd = listener, .events = POLLIN };
        for (int i = 0; i < CONNECTIONS; i++)
            fds[i] = (struct pollfd){
                .fd = connections[i].fd,
                .events = (short)(POLLIN | (bytes_left(&connections[i].taker.out) > 0 ? POLLOUT : 0))
            };
        if (ppoll(fds, CONNECTIONS + 1, &pause, awake) > 0) {
            for (int i = 0; i < CONNECTIONS; i++)
                if (fds[i].fd >= 0 && (fds[i].revents & ~POLLOUT) != 0)
                    receive(&connections[i]);
            for (int i = 0; i < CONNECTIONS; i++) /* also to whom others' frames had something */
                if (connections[i].fd >= 0)
                    transmit(&connections[i]);
            for (int i = 0; i < CONNECTIONS; i++)
                if (connections[i].fd >= 0 && connections[i].taker.broken)
                    drop(&connections[i]);
            if (fds[CONNECTIONS].revents != 0)
                admit(listener);
        }
        if (monotonic() - swept >= (int64_t)SWEEP_MS * 1000000) {
            sweep();
            swept = monotonic();
        }
    }
}

static void end(int number)
{
    (void)number;
    over = 1;
}

/* The socket, in the place of one that nobody listens at.  @return -1: errno says why */
static int listen_at(const char *path, mode_t mode)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    errno = ENAMETOOLONG;
    if (strlen(path) >= sizeof at.sun_path)
        goto fail;
    memcpy(at.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) {
        errno = EADDRINUSE;
        goto fail;
    }
    if (errno == ECONNREFUSED)
        (void)unlink(path);
    (void)umask(0777 & ~mode);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 128) == 0)
        return fd;
fail:
    (void)close(fd);
    return -1;
}

int main(int argc, char **argv)
{
    struct sigaction act = { .sa_handler = end };
    sigset_t ends, awake;

    if (argc < 2 || argc > 3) {
        (void)fprintf(stderr, "usage: %s PATH [MODE]\n", argv[0]);
        return 2;
    }
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &ends, &awake); /* but while it waits */
    (void)sigaction(SIGTERM, &act, NULL);
    (void)sigaction(SIGINT, &act, NULL);
    int listener = listen_at(argv[1], argc == 3 ? (mode_t)strtoul(argv[2], NULL, 8) : 0600);
    if (listener < 0) {
        (void)fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], strerror(errno));
        return 1;
    }
    for (int i = 0; i < CONNECTIONS; i++)
        connections[i].fd = -1;
    (void)printf("%s\n", argv[1]);
    (void)fflush(stdout);
    serve(listener, &awake);
    (void)unlink(argv[1]);
    (void)close(listener);
    for (int i = 0; i < CONNECTIONS; i++)
        if (connections[i].fd >= 0)
            drop(&connections[i]);
    while (sessions != NULL)
        session_free(sessions);
    queues_free();
    return 0;
}
