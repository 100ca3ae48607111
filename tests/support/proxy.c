/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/proxy.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PAIRS = 16 };

union place {
    struct sockaddr any;
    struct sockaddr_in port;
    struct sockaddr_un path;
};

struct proxy {
    union place at, onward;
    int listener, wake;
    int ends[PAIRS][2]; /* client, broker; -1: none */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cut_done;
    bool leave, cut, reset, down; /* under the lock */
};

static union place port_of(uint16_t port)
{
    union place at = { .port = { .sin_family = AF_INET, .sin_port = htons(port) } };

    at.port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static union place path_of(const char *path)
{
    union place at = { .path = { .sun_family = AF_UNIX } };

    ck_assert_uint_lt(strlen(path), sizeof at.path.sun_path);
    memcpy(at.path.sun_path, path, strlen(path) + 1);
    return at;
}

static socklen_t size_of(const union place *at)
{
    return at->any.sa_family == AF_UNIX ? sizeof at->path : sizeof at->port;
}

/* Answered without delay; a local socket is anyway. */
static void prompt(int fd)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

static void end_pair(int *ends, bool reset)
{
    for (int i = 0; i < 2; i++) {
        if (reset)
            (void)setsockopt(ends[i], SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
        (void)close(ends[i]);
        ends[i] = -1;
    }
}

static void take_connection(proxy *p, bool down)
{
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC), i = 0;

    if (client < 0)
        return;
    while (i < PAIRS && p->ends[i][0] >= 0)
        i++;
    int broker = down || i == PAIRS ? -1 : socket(p->onward.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (broker < 0 || connect(broker, &p->onward.any, size_of(&p->onward)) != 0) {
        (void)close(client);
        if (broker >= 0)
            (void)close(broker);
        return;
    }
    prompt(client);
    prompt(broker);
    p->ends[i][0] = client;
    p->ends[i][1] = broker;
}

/* @return false when the connection is over */
static bool pass_on(int from, int to)
{
    char bytes[16384];
    ssize_t n = read(from, bytes, sizeof bytes);

    for (ssize_t at = 0; at < n;) {
        ssize_t put = send(to, bytes + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        at += put;
    }
    return n > 0;
}

/* What is asked for, done.  @return false: to end */
static bool obey(proxy *p, bool *down)
{
    (void)pthread_mutex_lock(&p->lock);
    for (int i = 0; p->cut && i < PAIRS; i++)
        if (p->ends[i][0] >= 0)
            end_pair(p->ends[i], p->reset);
    p->cut = false;
    *down = p->down;
    bool leave = p->leave;
    (void)pthread_cond_broadcast(&p->cut_done);
    (void)pthread_mutex_unlock(&p->lock);
    return !leave;
}

static void *run(void *user)
{
    proxy *p = user;
    struct pollfd fds[2 + 2 * PAIRS];
    uint64_t count;
    bool down = false;

    while (obey(p, &down)) {
        fds[0] = (struct pollfd){ .fd = p->wake, .events = POLLIN };
        fds[1] = (struct pollfd){ .fd = p->listener, .events = POLLIN };
        for (int i = 0; i < 2 * PAIRS; i++)
            fds[2 + i] = (struct pollfd){ .fd = p->ends[i / 2][i % 2], .events = POLLIN };
        (void)poll(fds, 2 + 2 * PAIRS, -1);
        if (fds[0].revents != 0 && read(p->wake, &count, sizeof count) > 0)
            continue;
        if (fds[1].revents != 0)
            take_connection(p, down);
        for (int i = 0; i < 2 * PAIRS; i++) {
            int *ends = p->ends[i / 2];
            if (fds[2 + i].fd == ends[i % 2] && fds[2 + i].revents != 0 && ends[0] >= 0 &&
                !pass_on(ends[i % 2], ends[1 - i % 2]))
                end_pair(ends, false);
        }
    }
    return NULL;
}

static proxy *start(union place at, union place onward)
{
    socklen_t size = size_of(&at);
    proxy *p = calloc(1, sizeof *p);

    ck_assert_ptr_nonnull(p);
    p->at = at;
    p->onward = onward;
    for (int i = 0; i < PAIRS; i++)
        p->ends[i][0] = p->ends[i][1] = -1;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->cut_done, NULL);
    p->wake = eventfd(0, EFD_CLOEXEC);
    p->listener = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(p->wake, 0);
    ck_assert_int_eq(bind(p->listener, &p->at.any, size), 0);
    ck_assert_int_eq(listen(p->listener, PAIRS), 0);
    if (at.any.sa_family == AF_INET)
        ck_assert_int_eq(getsockname(p->listener, &p->at.any, &size), 0);
    ck_assert_int_eq(pthread_create(&p->thread, NULL, run, p), 0);
    return p;
}

proxy *proxy_new(uint16_t port)
{
    return start(port_of(0), port_of(port));
}

proxy *proxy_new_at(const char *path)
{
    static unsigned n;
    char mine[sizeof((struct sockaddr_un *)NULL)->sun_path];

    ck_assert_int_lt(snprintf(mine, sizeof mine, "%s.%d.%u", path, (int)getpid(), n++), (int)sizeof mine);
    (void)unlink(mine); /* of a process that had our number, and failed */
    return start(path_of(mine), path_of(path));
}

uint16_t proxy_port(const proxy *p)
{
    return ntohs(p->at.port.sin_port);
}

const char *proxy_path(const proxy *p)
{
    return p->at.path.sun_path;
}

static void wake(proxy *p)
{
    ck_assert_int_eq(write(p->wake, &(uint64_t){ 1 }, sizeof(uint64_t)), (int)sizeof(uint64_t));
}

void proxy_cut(proxy *p, bool reset, bool down)
{
    (void)pthread_mutex_lock(&p->lock);
    p->cut = true;
    p->reset = reset;
    p->down = down;
    wake(p);
    while (p->cut)
        (void)pthread_cond_wait(&p->cut_done, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
}

void proxy_up(proxy *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->down = false;
    (void)pthread_mutex_unlock(&p->lock);
    wake(p);
}

proxy *proxy_free(proxy *p)
{
    if (p == NULL)
        return NULL;
    (void)pthread_mutex_lock(&p->lock);
    p->leave = p->cut = true;
    (void)pthread_mutex_unlock(&p->lock);
    wake(p);
    (void)pthread_join(p->thread, NULL);
    (void)close(p->listener);
    if (p->at.any.sa_family == AF_UNIX)
        (void)unlink(p->at.path.sun_path);
    (void)close(p->wake);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->cut_done);
    free(p);
    return NULL;
}
