/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that knows nothing of Fjord: fifty threads that wait in all the ways there are and send bytes round in pairs.
 * With the hooks preloaded it prints the same, and makes the same system calls.  It allocates from memory that it reads
 * (as some allocators do), so that calls come before anything is set up.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 50
#define TURNS 20

static void need(int yes, const char *what)
{
    if (!yes) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

static void wait_by(int how, int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    struct epoll_event e = { .events = EPOLLIN }, got;
    fd_set r;
    int set = -1;

    switch (how % 4) {
    case 0:
        need(poll(&p, 1, -1) == 1, "poll");
        break;
    case 1:
        FD_ZERO(&r);
        FD_SET(fd, &r);
        need(select(fd + 1, &r, NULL, NULL, NULL) == 1, "select");
        break;
    case 2:
        set = epoll_create1(EPOLL_CLOEXEC);
        need(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) == 0 && epoll_wait(set, &got, 1, -1) == 1, "epoll_wait");
        close(set);
        break;
    default:
        break;
    }
}

typedef struct {
    int ends[2];
    unsigned long sum;
} pair;

static void *left(void *arg)
{
    pair *p = arg;
    unsigned char c = 0;

    for (int i = 0; i < TURNS; i++) {
        c = (unsigned char)i;
        need(send(p->ends[0], &c, 1, 0) == 1, "send");
        wait_by(i, p->ends[0]);
        need(recv(p->ends[0], &c, 1, MSG_WAITALL) == 1, "recv");
        p->sum += c;
    }
    return NULL;
}

static void *right(void *arg)
{
    pair *p = arg;
    struct timespec t = { .tv_nsec = 1000 };
    unsigned char c = 0;

    for (int i = 0; i < TURNS; i++) {
        wait_by(i + 1, p->ends[1]);
        need(read(p->ends[1], &c, 1) == 1, "read");
        c = (unsigned char)(c * 2);
        need(nanosleep(&t, NULL) == 0, "nanosleep");
        need(write(p->ends[1], &c, 1) == 1, "write");
    }
    return NULL;
}

static unsigned long pairs(void)
{
    static pair all[THREADS / 2];
    pthread_t threads[THREADS];
    unsigned long sum = 0;

    for (int i = 0; i < THREADS / 2; i++) {
        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, all[i].ends) == 0, "socketpair");
        need(pthread_create(&threads[2 * i], NULL, left, &all[i]) == 0, "pthread_create");
        need(pthread_create(&threads[2 * i + 1], NULL, right, &all[i]) == 0, "pthread_create");
    }
    for (int i = 0; i < THREADS; i++)
        need(pthread_join(threads[i], NULL) == 0, "pthread_join");
    for (int i = 0; i < THREADS / 2; i++) {
        sum += all[i].sum;
        close(all[i].ends[0]);
        close(all[i].ends[1]);
    }
    return sum;
}

/* One of each of the rest. */
static void once(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST }, *found = NULL;
    socklen_t n = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM, 0),
        got = -1;
    int status = 0;
    pid_t pid = 0;

    need(bind(listener, (struct sockaddr *)&at, n) == 0 && listen(listener, 1) == 0, "listen");
    need(getsockname(listener, (struct sockaddr *)&at, &n) == 0, "getsockname");
    need(connect(fd, (struct sockaddr *)&at, n) == 0, "connect");
    got = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    need(got >= 0, "accept4");
    need(dup2(got, fd) == fd && fcntl(fd, F_GETFL) == O_RDWR, "dup2");
    printf("connected, %s\n", fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? "set" : "not set");
    need(getaddrinfo("127.0.0.1", "80", &hints, &found) == 0, "getaddrinfo");
    freeaddrinfo(found);
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        _exit(7);
    need(waitpid(pid, &status, 0) == pid, "waitpid");
    printf("a child answered %d, a shell %d\n", WEXITSTATUS(status), WEXITSTATUS(system("exit 5")));
    close(got);
    close(fd);
    close(listener);
}

int main(void)
{
    printf("%lu\n", pairs());
    once();
    return EXIT_SUCCESS;
}
