/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that knows nothing of Fjord: fifty threads that wait in all the ways there are and send bytes round in pairs, then
 * fifty that pass a number round under every kind of lock.
 * With the hooks preloaded it prints the same, and makes the same system calls.  It allocates from memory that it reads
 * (as some allocators do), so that calls come before anything is set up.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <threads.h>
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

static struct {
    pthread_mutex_t lock, recursive;
    pthread_cond_t changed;
    pthread_rwlock_t table;
    pthread_barrier_t all;
    sem_t some;
    mtx_t c11;
    cnd_t c11_changed;
    unsigned turn, sum, serials;
} locks = { .lock = PTHREAD_MUTEX_INITIALIZER,
            .recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP,
            .changed = PTHREAD_COND_INITIALIZER,
            .table = PTHREAD_RWLOCK_INITIALIZER };

/* One after the other, in order of their numbers. */
static void take_turns(unsigned me)
{
    struct timespec far = { .tv_sec = (time_t)1 << 40 };

    need(pthread_mutex_lock(&locks.lock) == 0, "pthread_mutex_lock");
    while (locks.turn % THREADS != me)
        need((me % 2 == 0 ? pthread_cond_wait(&locks.changed, &locks.lock)
                          : pthread_cond_timedwait(&locks.changed, &locks.lock, &far)) == 0,
             "pthread_cond_wait");
    locks.turn++;
    need(pthread_cond_broadcast(&locks.changed) == 0, "pthread_cond_broadcast");
    need(pthread_mutex_unlock(&locks.lock) == 0, "pthread_mutex_unlock");
}

static void add(unsigned me)
{
    need(pthread_rwlock_rdlock(&locks.table) == 0 && pthread_rwlock_unlock(&locks.table) == 0, "rdlock");
    need(sem_wait(&locks.some) == 0, "sem_wait");
    need(pthread_mutex_lock(&locks.recursive) == 0 && pthread_mutex_lock(&locks.recursive) == 0, "recursive");
    need(pthread_rwlock_wrlock(&locks.table) == 0, "wrlock");
    locks.sum += me;
    need(pthread_rwlock_unlock(&locks.table) == 0, "rwlock_unlock");
    need(pthread_mutex_unlock(&locks.recursive) == 0 && pthread_mutex_unlock(&locks.recursive) == 0, "unlock");
    need(sem_post(&locks.some) == 0, "sem_post");
}

static void *member(void *arg)
{
    unsigned me = *(unsigned *)arg;

    for (int i = 0; i < TURNS; i++) {
        add(me);
        if (i < 3)
            take_turns(me);
        if (pthread_barrier_wait(&locks.all) != PTHREAD_BARRIER_SERIAL_THREAD)
            continue;
        need(mtx_lock(&locks.c11) == thrd_success, "mtx_lock");
        locks.serials++;
        need(cnd_signal(&locks.c11_changed) == thrd_success && mtx_unlock(&locks.c11) == thrd_success,
             "cnd_signal");
    }
    return arg;
}

static void round_and_round(void)
{
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    struct timespec far = { .tv_sec = (time_t)1 << 40 };
    void *end = NULL;

    need(sem_init(&locks.some, 0, 3) == 0 && pthread_barrier_init(&locks.all, NULL, THREADS) == 0, "init");
    need(mtx_init(&locks.c11, mtx_plain) == thrd_success && cnd_init(&locks.c11_changed) == thrd_success,
         "init");
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        need(pthread_create(&threads[i], NULL, member, &numbers[i]) == 0, "pthread_create");
    }
    need(mtx_lock(&locks.c11) == thrd_success, "mtx_lock");
    while (locks.serials < TURNS)
        need(cnd_wait(&locks.c11_changed, &locks.c11) == thrd_success, "cnd_wait");
    need(mtx_unlock(&locks.c11) == thrd_success, "mtx_unlock");
    for (unsigned i = 0; i < THREADS; i++)
        need((i % 2 == 0 ? pthread_join(threads[i], &end) : pthread_timedjoin_np(threads[i], &end, &far)) ==
                     0 &&
                 end == &numbers[i],
             "pthread_join");
    printf("%u turns, sum %u, %u rounds\n", locks.turn, locks.sum, locks.serials);
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
    round_and_round();
    return EXIT_SUCCESS;
}
