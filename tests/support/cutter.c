/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/cutter.h"

#include "base/buffer.h"

#include <amqp.h>
#include <amqp_framing.h>
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS = 32, HEAD = 7, EXTRA = 8, HEARTBEAT = 8, GREETING = 8, CHUNK = 65536, JUNK = 40 };

/* One direction of a connection. */
typedef struct {
    fj__buf in; /* of a frame that is not whole yet */
    unsigned frames;
    bool raw; /* frames are looked at no more */
} leg;

typedef struct {
    int ends[2]; /* client, broker; -1: none */
    leg legs[2]; /* from the client, from the broker */
    unsigned number;
    bool dead, stalled; /* dead: what still comes is dropped */
} pair;

struct cutter {
    pthread_t thread;
    pthread_mutex_t lock; /* of what is below, which others ask for */
    bool leave, struck;
    unsigned accepted;
    unsigned frames[CUTTER_CONNECTIONS][2];
    const char *names[CUTTER_CONNECTIONS][2][CUTTER_FRAMES];
    bool cuts;
    cut_point cut;
    struct sockaddr_in at, onward;
    int listener, wake;
    pair pairs[PAIRS];
};

static void put(int fd, const void *bytes, size_t n)
{
    for (const char *at = bytes; n != 0;) {
        ssize_t done = send(fd, at, n, MSG_NOSIGNAL);
        if (done <= 0)
            return; /* its other end is gone: seen when that is read */
        at += done;
        n -= (size_t)done;
    }
}

static void end_pair(pair *p, bool reset)
{
    for (int i = 0; i < 2; i++) {
        if (p->ends[i] >= 0 && reset)
            (void)setsockopt(p->ends[i], SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
                             sizeof(struct linger));
        if (p->ends[i] >= 0)
            (void)close(p->ends[i]);
        p->ends[i] = -1;
        fj__buf_fini(&p->legs[i].in);
        p->legs[i] = (leg){ .frames = 0 };
    }
}

/* ---- frames ---------------------------------------------------------------------------------------- */

static const char *name_of(const uint8_t *frame)
{
    if (frame[0] == 'A')
        return "protocol header";
    if (frame[0] != 1)
        return frame[0] == 2 ? "header" : "body";
    uint32_t id = (uint32_t)frame[7] << 24 | (uint32_t)frame[8] << 16 | (uint32_t)frame[9] << 8 | frame[10];
    const char *name = amqp_method_name(id);
    return name != NULL ? name : "?";
}

static void note(cutter *c, const pair *p, int from, const uint8_t *frame)
{
    unsigned i = p->legs[from].frames;

    if (p->number >= CUTTER_CONNECTIONS || i >= CUTTER_FRAMES)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->names[p->number][from][i] = name_of(frame);
    c->frames[p->number][from] = i + 1;
    (void)pthread_mutex_unlock(&c->lock);
}

/* The bytes of the frame at the front; 0: it is not whole yet. */
static size_t whole(const fj__buf *in, bool first_of_client)
{
    const uint8_t *at = fj__buf_data(in);
    size_t n = fj__buf_len(in);

    if (first_of_client)
        return n >= GREETING ? GREETING : 0;
    if (n < HEAD)
        return 0;
    size_t len = EXTRA + ((size_t)at[3] << 24 | (size_t)at[4] << 16 | (size_t)at[5] << 8 | at[6]);
    return n >= len ? len : 0;
}

static bool is_cut(const cutter *c, const pair *p, int from)
{
    return c->cuts && !c->struck && p->number == c->cut.connection && c->cut.to_broker == (from == 0) &&
           p->legs[from].frames == c->cut.frame;
}

static void strike(cutter *c, pair *p, int from)
{
    leg *l = &p->legs[from];
    char junk[JUNK];

    switch (c->cut.kind) {
    case CUT_FIN:
        p->dead = true;
        (void)shutdown(p->ends[0], SHUT_WR);
        (void)shutdown(p->ends[1], SHUT_WR);
        break;
    case CUT_RST:
        end_pair(p, true);
        break;
    case CUT_STALL:
        p->stalled = true;
        break;
    case CUT_GARBAGE:
        memset(junk, 'x', sizeof junk);
        put(p->ends[1 - from], junk, sizeof junk);
        l->raw = true;
        break;
    }
    (void)pthread_mutex_lock(&c->lock);
    c->struck = true;
    (void)pthread_mutex_unlock(&c->lock);
}

/* @return false: no more of this leg */
static bool pass_frame(cutter *c, pair *p, int from, size_t n)
{
    leg *l = &p->legs[from];
    const uint8_t *frame = fj__buf_data(&l->in);
    bool counts = frame[0] != HEARTBEAT, cut = counts && is_cut(c, p, from);
    size_t most = cut && c->cut.middle ? n / 2 : n;

    put(p->ends[1 - from], frame, most);
    if (counts)
        note(c, p, from, frame);
    fj__buf_consume(&l->in, most);
    l->frames += counts;
    if (cut)
        strike(c, p, from);
    return !cut;
}

static void pass(cutter *c, pair *p, int from)
{
    leg *l = &p->legs[from];
    size_t n;

    while (!l->raw && (n = whole(&l->in, from == 0 && l->frames == 0)) != 0) {
        if (!pass_frame(c, p, from, n) && !l->raw)
            return;
    }
    if (l->raw && p->ends[1 - from] >= 0) {
        put(p->ends[1 - from], fj__buf_data(&l->in), fj__buf_len(&l->in));
        fj__buf_clear(&l->in);
    }
}

/* ---- connections ----------------------------------------------------------------------------------- */

static void take_connection(cutter *c)
{
    int client = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC), i = 0;

    while (i < PAIRS && (c->pairs[i].ends[0] >= 0 || c->pairs[i].ends[1] >= 0))
        i++;
    int broker = client < 0 || i == PAIRS ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (broker < 0 || connect(broker, (struct sockaddr *)&c->onward, sizeof c->onward) != 0) {
        if (client >= 0)
            (void)close(client);
        if (broker >= 0)
            (void)close(broker);
        return;
    }
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    (void)setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    c->pairs[i] = (pair){ .ends = { client, broker }, .number = c->accepted++ };
}

static void receive(cutter *c, pair *p, int from)
{
    uint8_t *room = fj__buf_reserve(&p->legs[from].in, CHUNK);

    ck_assert_ptr_nonnull(room);
    ssize_t n = recv(p->ends[from], room, CHUNK, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 && p->dead) { /* one of both has closed: the other was told already */
        (void)close(p->ends[from]);
        p->ends[from] = -1;
        if (p->ends[1 - from] < 0)
            end_pair(p, false);
    } else if (n <= 0) {
        end_pair(p, n < 0);
    } else if (!p->dead) {
        fj__buf_commit(&p->legs[from].in, (size_t)n);
        pass(c, p, from);
    }
}

static void *run(void *user)
{
    cutter *c = user;
    struct pollfd fds[2 + 2 * PAIRS];
    bool leave = false;

    while (!leave) {
        fds[0] = (struct pollfd){ .fd = c->wake, .events = POLLIN };
        fds[1] = (struct pollfd){ .fd = c->listener, .events = POLLIN };
        for (int i = 0; i < 2 * PAIRS; i++) {
            const pair *p = &c->pairs[i / 2];
            fds[2 + i] = (struct pollfd){ .fd = p->stalled ? -1 : p->ends[i % 2], .events = POLLIN };
        }
        (void)poll(fds, 2 + 2 * PAIRS, -1);
        for (int i = 0; i < 2 * PAIRS; i++) {
            pair *p = &c->pairs[i / 2];
            if (fds[2 + i].fd >= 0 && fds[2 + i].revents != 0 && p->ends[i % 2] == fds[2 + i].fd && !p->stalled)
                receive(c, p, i % 2);
        }
        if (fds[1].revents != 0)
            take_connection(c);
        (void)pthread_mutex_lock(&c->lock);
        leave = c->leave;
        (void)pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------ */

cutter *cutter_new(uint16_t port, const cut_point *cut)
{
    cutter *c = calloc(1, sizeof *c);
    socklen_t size = sizeof c->at;

    ck_assert_ptr_nonnull(c);
    for (int i = 0; i < PAIRS; i++)
        c->pairs[i].ends[0] = c->pairs[i].ends[1] = -1;
    c->cuts = cut != NULL;
    if (cut != NULL)
        c->cut = *cut;
    c->at = c->onward =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    c->onward.sin_port = htons(port);
    (void)pthread_mutex_init(&c->lock, NULL);
    c->wake = eventfd(0, EFD_CLOEXEC);
    c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(c->wake, 0);
    ck_assert_int_eq(bind(c->listener, (struct sockaddr *)&c->at, sizeof c->at), 0);
    ck_assert_int_eq(listen(c->listener, PAIRS), 0);
    ck_assert_int_eq(getsockname(c->listener, (struct sockaddr *)&c->at, &size), 0);
    ck_assert_int_eq(pthread_create(&c->thread, NULL, run, c), 0);
    return c;
}

uint16_t cutter_port(const cutter *c)
{
    return ntohs(c->at.sin_port);
}

bool cutter_struck(cutter *c)
{
    (void)pthread_mutex_lock(&c->lock);
    bool struck = c->struck;
    (void)pthread_mutex_unlock(&c->lock);
    return struck;
}

unsigned cutter_frames(cutter *c, unsigned connection, bool to_broker)
{
    (void)pthread_mutex_lock(&c->lock);
    unsigned n = c->frames[connection][to_broker ? 0 : 1];
    (void)pthread_mutex_unlock(&c->lock);
    return n;
}

const char *cutter_name(cutter *c, unsigned connection, bool to_broker, unsigned frame)
{
    (void)pthread_mutex_lock(&c->lock);
    const char *name = c->names[connection][to_broker ? 0 : 1][frame];
    (void)pthread_mutex_unlock(&c->lock);
    return name != NULL ? name : "?";
}

cutter *cutter_free(cutter *c)
{
    if (c == NULL)
        return NULL;
    (void)pthread_mutex_lock(&c->lock);
    c->leave = true;
    (void)pthread_mutex_unlock(&c->lock);
    ck_assert_int_eq(write(c->wake, &(uint64_t){ 1 }, sizeof(uint64_t)), (int)sizeof(uint64_t));
    (void)pthread_join(c->thread, NULL);
    for (int i = 0; i < PAIRS; i++)
        end_pair(&c->pairs[i], false);
    (void)close(c->listener);
    (void)close(c->wake);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}
