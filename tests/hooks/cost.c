/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that come to nothing, as often as its argument says: what each costs more with the hooks preloaded is counted from outside, in
 * instructions.  One line of CALLS is one call; `hooks_cost` alone prints how many there are.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char room[16];
static struct iovec iov = { room, sizeof room };
static struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
static struct timespec none;
static struct timeval no_time;
static struct pollfd polled = { .fd = -1 };
static struct epoll_event event;
static struct addrinfo *list;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphore;

#define CALLS(X)                                        \
    X(read(-1, room, 1))                                \
    X(write(-1, room, 1))                               \
    X(readv(-1, &iov, 1))                               \
    X(writev(-1, &iov, 1))                              \
    X(recv(-1, room, 1, 0))                             \
    X(recvfrom(-1, room, 1, 0, NULL, NULL))             \
    X(recvmsg(-1, &message, 0))                         \
    X(send(-1, room, 1, 0))                             \
    X(sendto(-1, room, 1, 0, NULL, 0))                  \
    X(sendmsg(-1, &message, 0))                         \
    X(connect(-1, NULL, 0))                             \
    X(accept(-1, NULL, NULL))                           \
    X(accept4(-1, NULL, NULL, 0))                       \
    X(poll(&polled, 1, 0))                              \
    X(ppoll(&polled, 1, &none, NULL))                   \
    X(select(0, NULL, NULL, NULL, &no_time))            \
    X(epoll_wait(-1, &event, 1, 0))                     \
    X(nanosleep(&none, NULL))                           \
    X(clock_nanosleep(CLOCK_MONOTONIC, 0, &none, NULL)) \
    X(getaddrinfo(NULL, NULL, NULL, &list))             \
    X(waitpid(-1, NULL, WNOHANG))                       \
    X(flock(-1, LOCK_EX))                               \
    X(fsync(-1))                                        \
    X(fcntl(-1, F_GETFL))                               \
    X(dup2(-1, -1))                                     \
    X(close(-1))                                        \
    X(pthread_mutex_lock(&mutex))                       \
    X(pthread_mutex_unlock(&mutex))                     \
    X(pthread_cond_signal(&condition))                  \
    X(pthread_rwlock_rdlock(&rwlock))                   \
    X(pthread_rwlock_unlock(&rwlock))                   \
    X(sem_post(&semaphore))                             \
    X(sem_wait(&semaphore))

int main(int argc, char **argv)
{
    long times = argc > 1 ? strtol(argv[1], NULL, 10) : -1;
    int calls = 0;

#define X(call) calls++;
    CALLS(X)
#undef X
    if (times < 0) {
        (void)printf("%d\n", calls);
        return EXIT_SUCCESS;
    }
    for (long i = 0; i < times; i++) {
#define X(call) (void)!(call);
        CALLS(X)
#undef X
    }
    return EXIT_SUCCESS;
}
