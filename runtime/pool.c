/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's pool of threads, for what blocks.  Threads are made when there are more jobs than threads without one,
 * and end when they had nothing to do for a while.  None is ever detached: a thread that ends joins the one that ended
 * before it, so that only the last is left for whoever stops the pool.
 */
#include "runtime/pool.h"

#include "base/alloc.h"
#include "base/native.h"
#include "runtime/future.h"
#include "runtime/local.h"
#include "runtime/sync.h"
#include "runtime/thread.h"

#include <fjord/await.h>
#include <string.h>

enum {
    SIZE = 20,       /* eventlet's EVENTLET_THREADPOOL_SIZE */
    IDLE_MS = 10000, /* long enough that a thread is not made anew for each of a few jobs a second */
};

struct job {
    struct job *next, *prev; /* the queue */
    bool queued;             /* the queue has a reference to the future */
    fj_future *future;       /* the job is its user, and goes with it */
    fj_task_fn fn;
    void *user;
    void (*freed)(void *user);
    fj__heritage *heritage;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* a job was queued, or the pool shrinks or stops */
    pthread_cond_t ended; /* a thread has */
    bool ready, stopping;
    unsigned size, lent, threads, busy, queued;
    struct job *first, *last;
    bool left_one; /* of the threads that ended the last is to be joined */
    pthread_t left;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .size = SIZE };

static void lock(void)
{
    (void)fj__native.pthread_mutex_lock(&pool.lock);
}

static void unlock(void)
{
    (void)fj__native.pthread_mutex_unlock(&pool.lock);
}

/* ---- forks ------------------------------------------------------------------------------------- */

/* The child has no threads but its own, and the parent's jobs are none of its business. */
static void in_child(void)
{
    for (struct job *job = pool.first; job != NULL; job = job->next)
        job->queued = false;
    pool.first = pool.last = NULL;
    pool.threads = pool.busy = pool.queued = pool.lent = 0;
    pool.left_one = pool.stopping = false;
    (void)pthread_mutex_init(&pool.lock, NULL);
    fj__cond_init(&pool.work);
    fj__cond_init(&pool.ended);
}

static void make_ready(void)
{
    fj__cond_init(&pool.work);
    fj__cond_init(&pool.ended);
    (void)pthread_atfork(lock, unlock, in_child);
    pool.ready = true;
}

/* ---- the queue, all with the lock held ----------------------------------------------------------- */

static void push(struct job *job)
{
    job->prev = pool.last;
    *(pool.last != NULL ? &pool.last->next : &pool.first) = job;
    pool.last = job;
    job->queued = true;
    pool.queued++;
}

static void pull(struct job *job)
{
    *(job->prev != NULL ? &job->prev->next : &pool.first) = job->next;
    *(job->next != NULL ? &job->next->prev : &pool.last) = job->prev;
    job->next = job->prev = NULL;
    job->queued = false;
    pool.queued--;
}

static struct job *pop(void)
{
    struct job *job = pool.first;

    if (job != NULL)
        pull(job);
    return job;
}

/* ---- jobs ---------------------------------------------------------------------------------------- */

static void let_go(struct job *job)
{
    if (job->freed != NULL)
        job->freed(job->user);
    fj_future_unref(job->future); /* takes the job with it, if it is the last */
}

static void run(struct job *job)
{
    fj_future *future = fj_future_ref(job->future);
    json_t *result = NULL;
    fj_error *error = NULL;

    if (fj_future_done(future)) { /* cancelled, and about to be taken out of the queue */
        let_go(job);
        fj_future_unref(future);
        return;
    }
    void **heritage = fj__local(FJ__LOCAL_HERITAGE); /* of this thread, which is no task */
    *heritage = job->heritage;
    fj_code code = job->fn(job->user, &result, &error);
    *heritage = NULL;
    let_go(job);
    if (code == FJ_OK) {
        fj_error_free(error);
        (void)fj_future_resolve(future, result);
    } else {
        if (error == NULL)
            (void)fj_fail(&error, code, "%s", fj_code_text(code));
        fj_error_set_code(error, code);
        json_decref(result);
        (void)fj_future_reject(future, error);
    }
    fj_future_unref(future);
}

static void on_cancel(fj_future *future, void *user)
{
    struct job *job = user;

    (void)future;
    lock();
    bool was_queued = job->queued;
    if (was_queued)
        pull(job);
    unlock();
    if (was_queued)
        let_go(job);
}

/* A plain thread waits. */
static void on_wait(fj_future *future, void *user, fj_deadline by)
{
    (void)user;
    while (!fj_future_done(future) && !fj_passed(by))
        (void)fj__future_sleep(future, fj__future_nudges(future), by);
}

static void on_freed(void *user)
{
    struct job *job = user;

    fj__heritage_drop(job->heritage);
    fj__free(job);
}

static const fj_future_ops job_ops = { .wait = on_wait, .cancelled = on_cancel, .freed = on_freed };

/* ---- threads ------------------------------------------------------------------------------------- */

/* The next job; NULL when this thread is to end.  With the lock held. */
static struct job *next_job(void)
{
    fj_deadline until = fj_in_ms(IDLE_MS);
    bool in_time = true;

    while (!pool.stopping && pool.threads <= pool.size + pool.lent) {
        struct job *job = pop();
        if (job != NULL || !in_time)
            return job;
        in_time = fj__cond_wait(&pool.work, &pool.lock, until);
    }
    return NULL;
}

static void *thread(void *user)
{
    struct job *job;

    lock();
    while ((job = next_job()) != NULL) {
        pool.busy++;
        unlock();
        run(job);
        lock();
        pool.busy--;
    }
    bool before = pool.left_one;
    pthread_t left = pool.left;
    pool.left_one = true;
    pool.left = pthread_self();
    pool.threads--;
    (void)fj__native.pthread_cond_broadcast(&pool.ended);
    unlock();
    if (before)
        (void)fj__native.pthread_join(left, NULL);
    return user;
}

/* With the lock held: a thread for the job just queued, unless there is one without work, or as many as may be. */
static int provide(void)
{
    pthread_t id;

    if (pool.queued <= pool.threads - pool.busy || pool.threads >= pool.size + pool.lent)
        return 0;
    int rc = fj__thread_new(&id, "fj-pool", thread, NULL);
    if (rc == 0)
        pool.threads++;
    return pool.threads != 0 ? 0 : rc;
}

/* Wait until there are only threads that run a job, and with `busy_too` not even those.  With the lock held, which is
 * released. */
static void await_end(bool busy_too)
{
    pool.stopping = true;
    (void)fj__native.pthread_cond_broadcast(&pool.work);
    while (pool.threads > (busy_too ? 0 : pool.busy))
        (void)fj__native.pthread_cond_wait(&pool.ended, &pool.lock);
    bool before = pool.left_one;
    pthread_t left = pool.left;
    pool.left_one = false;
    unlock();
    if (before)
        (void)fj__native.pthread_join(left, NULL);
}

/* The process ends: what still runs cannot be waited for, but the others leave nothing behind. */
static __attribute__((destructor)) void at_exit(void)
{
    lock();
    if (pool.ready)
        await_end(false);
    else
        unlock();
}

void fj__pool_stop(void)
{
    struct job *job;

    lock();
    while ((job = pop()) != NULL) {
        unlock();
        (void)fj_future_cancel(job->future);
        let_go(job);
        lock();
    }
    if (pool.ready) {
        await_end(true);
        lock();
    }
    pool.stopping = false;
    unlock();
}

unsigned fj__pool_threads(unsigned *ret_busy)
{
    lock();
    if (ret_busy != NULL)
        *ret_busy = pool.busy;
    unsigned n = pool.threads;
    unlock();
    return n;
}

unsigned fj__pool_jobs(void)
{
    lock();
    unsigned n = pool.busy + pool.queued;
    unlock();
    return n;
}

/* ---- what users call ----------------------------------------------------------------------------- */

void fj_thread_pool_size(unsigned n)
{
    lock();
    pool.size = n != 0 ? n : SIZE;
    if (pool.ready)
        (void)fj__native.pthread_cond_broadcast(&pool.work);
    unlock();
}

void fj__pool_lend(int n)
{
    lock();
    pool.lent += (unsigned)n;
    if (n < 0 && pool.ready)
        (void)fj__native.pthread_cond_broadcast(&pool.work);
    unlock();
}

static fj_code submit(struct job *job, fj_error **err)
{
    int rc = 0;

    lock();
    if (!pool.ready)
        make_ready();
    bool closed = pool.stopping;
    if (!closed) {
        push(job);
        rc = provide();
        if (rc != 0)
            pull(job);
        else
            (void)fj__native.pthread_cond_signal(&pool.work);
    }
    unlock();
    if (closed)
        return fj_fail(err, FJ_CLOSED, "the process ends, and its pool of threads");
    return rc == 0 ? FJ_OK : fj__thread_refused(rc, "for a job", err);
}

fj_code fj_run_in_executor(fj_task_fn fn, void *user, void (*freed)(void *user), fj_future **ret,
                           fj_error **err)
{
    struct job *job = fj__zalloc(sizeof *job);

    if (job == NULL || fj_future_new(&job_ops, job, &job->future) != FJ_OK) {
        fj__free(job);
        return fj_fail(err, FJ_NOMEM, "no memory for a job");
    }
    *job = (struct job){ .future = job->future, .fn = fn, .user = user, .freed = freed };
    job->heritage = fj__heritage_take();
    fj_future *future = fj_future_ref(job->future); /* the caller's; the job's own goes to the queue */
    fj_code code = submit(job, err);
    if (code == FJ_OK) {
        *ret = future;
        return code;
    }
    fj_future_unref(future);
    fj_future_unref(future);
    return code;
}
