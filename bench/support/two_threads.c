/* SPDX-License-Identifier: Apache-2.0 */
#include "two_threads.h"

#include "plan.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- eventfds ---- */

static int there, back;
static long trips;

static void *answer(void *user)
{
    eventfd_t n;

    (void)user;
    for (long i = 0; i < trips; i++)
        plan_check(eventfd_read(there, &n) == 0 && eventfd_write(back, 1) == 0, "an eventfd");
    return NULL;
}

static pthread_t other(void *(*fn)(void *))
{
    pthread_t t;

    plan_check(pthread_create(&t, NULL, fn, NULL) == 0, "a thread");
    return t;
}

double two_threads_eventfds(long n)
{
    eventfd_t value;

    there = eventfd(0, EFD_CLOEXEC);
    back = eventfd(0, EFD_CLOEXEC);
    plan_check(there >= 0 && back >= 0, "an eventfd");
    trips = n;
    pthread_t t = other(answer);
    double start = plan_now();
    for (long i = 0; i < n; i++)
        plan_check(eventfd_write(there, 1) == 0 && eventfd_read(back, &value) == 0, "an eventfd");
    double took = plan_now() - start;
    (void)pthread_join(t, NULL);
    (void)close(there);
    (void)close(back);
    return took;
}

/* ---- queues ---- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t some;
    long at[PLAN_AT_ONCE_MAX], first, n;
} queue;

static queue to = { .lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER };
static queue from = { .lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER };

/* There is room: no more are under way than it holds. */
static void put(queue *q, long number)
{
    (void)pthread_mutex_lock(&q->lock);
    q->at[(q->first + q->n++) % PLAN_AT_ONCE_MAX] = number;
    (void)pthread_cond_signal(&q->some);
    (void)pthread_mutex_unlock(&q->lock);
}

static long take(queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    while (q->n == 0)
        (void)pthread_cond_wait(&q->some, &q->lock);
    long number = q->at[q->first];
    q->first = (q->first + 1) % PLAN_AT_ONCE_MAX;
    q->n--;
    (void)pthread_mutex_unlock(&q->lock);
    return number;
}

static void *hand_back(void *user)
{
    (void)user;
    for (long i = 0; i < trips; i++)
        put(&from, take(&to));
    return NULL;
}

double two_threads_queues(long n, long window)
{
    trips = n;
    pthread_t t = other(hand_back);
    double start = plan_now();
    for (long i = 0; i < n + window; i++) {
        if (i >= window)
            plan_check(take(&from) == i - window, "keeping the order");
        if (i < n)
            put(&to, i);
    }
    double took = plan_now() - start;
    (void)pthread_join(t, NULL);
    return took;
}
