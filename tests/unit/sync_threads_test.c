/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock or queue between plain threads and tasks of two loops, with waits that run out of time and tasks that other
 * threads cancel.  What the lock guards is plain memory, so that a sanitizer sees it if the lock does not hold.
 */
#include <check.h>
#include <fjord/await.h>
#include <fjord/queue.h>
#include <fjord/sync.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    THREADS = 8,
    LOOPS = 2,
    TASKS = 4,
    ROUNDS = 300,
    SPACE = 3,
    ITEMS = (THREADS + LOOPS * TASKS) / 2 * ROUNDS
};

typedef struct hall hall;
typedef void (*round_fn)(hall *h, unsigned id, unsigned n, unsigned *dice);

struct hall {
    round_fn round;
    fj_mutex *m;
    fj_condition *filled, *emptied;
    fj_semaphore *s;
    fj_rwlock *l;
    fj_event *e;
    fj_queue *q;
    unsigned long guarded, twin; /* by the mutex, or the rwlock, or the condition's mutex */
    atomic_ulong well, inside;
    atomic_uint seen[ITEMS];
    pthread_mutex_t tasks_lock;
    fj_task *tasks[LOOPS * TASKS];
    unsigned n_tasks;
    atomic_bool over;
};

static unsigned roll(unsigned *dice, unsigned n)
{
    *dice = *dice * 1103515245u + 12345u;
    return (*dice >> 16) % n;
}

/* Mostly for ever; else as short as can be, or a moment. */
static fj_deadline some_time(unsigned *dice)
{
    unsigned n = roll(dice, 8);

    return n == 0 ? fj_in_ms(-1) : n == 1 ? fj_in_ms(1) : fj_never();
}

/* ---- who takes part ------------------------------------------------------------------------------- */

typedef struct {
    hall *h;
    unsigned id;
} guest;

static void work(guest *g)
{
    unsigned dice = g->id * 7919 + 1;

    for (unsigned n = 0; n < ROUNDS; n++)
        g->h->round(g->h, g->id, n, &dice);
}

static void *thread_guest(void *arg)
{
    work(arg);
    return NULL;
}

static fj_code task_guest(void *user, json_t **ret, fj_error **err)
{
    hall *h = ((guest *)user)->h;

    (void)ret;
    (void)err;
    /* From now on it may be cancelled; before, it would never begin. */
    (void)pthread_mutex_lock(&h->tasks_lock);
    h->tasks[h->n_tasks++] = fj_task_ref(fj_task_current());
    (void)pthread_mutex_unlock(&h->tasks_lock);
    work(user);
    return FJ_OK;
}

static fj_code host(void *user, json_t **ret, fj_error **err)
{
    guest *g = user, guests[TASKS];
    fj_task *tasks[TASKS] = { NULL };

    (void)ret;
    (void)err;
    for (unsigned i = 0; i < TASKS; i++) {
        guests[i] = (guest){ g->h, g->id + i };
        ck_assert_int_eq(fj_task_spawn(task_guest, &guests[i], NULL, &tasks[i], NULL), FJ_OK);
    }
    for (unsigned i = 0; i < TASKS; i++) {
        ck_assert_int_eq(fj_await(fj_task_future(tasks[i]), fj_never(), NULL, NULL), FJ_OK);
        (void)fj_task_unref(tasks[i]);
    }
    return FJ_OK;
}

static void *loop_thread(void *arg)
{
    fj_loop *loop = NULL;
    fj_task *task = NULL;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    opts.loop = loop;
    ck_assert_int_eq(fj_task_spawn(host, arg, &opts, &task, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_until_complete(loop, fj_task_future(task), NULL, NULL), FJ_OK);
    (void)fj_task_unref(task);
    fj_loop_free(loop);
    return NULL;
}

static void *saboteur(void *arg)
{
    hall *h = arg;
    unsigned dice = 5;

    while (!atomic_load(&h->over)) {
        (void)pthread_mutex_lock(&h->tasks_lock);
        if (h->n_tasks > 0)
            (void)fj_task_cancel(h->tasks[roll(&dice, h->n_tasks)]);
        (void)pthread_mutex_unlock(&h->tasks_lock);
        ck_assert_int_eq(fj_sleep(fj_in_ms(1)), FJ_OK);
    }
    return NULL;
}

static void run(hall *h, round_fn round)
{
    pthread_t threads[THREADS + LOOPS], cancels;
    guest guests[THREADS + LOOPS];

    h->round = round;
    (void)pthread_mutex_init(&h->tasks_lock, NULL);
    for (unsigned i = 0; i < THREADS + LOOPS; i++) {
        bool plain = i < THREADS;
        guests[i] = (guest){ h, plain ? i : THREADS + (i - THREADS) * TASKS };
        ck_assert_int_eq(pthread_create(&threads[i], NULL, plain ? thread_guest : loop_thread, &guests[i]), 0);
    }
    ck_assert_int_eq(pthread_create(&cancels, NULL, saboteur, h), 0);
    for (unsigned i = 0; i < THREADS + LOOPS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    atomic_store(&h->over, true);
    ck_assert_int_eq(pthread_join(cancels, NULL), 0);
    for (unsigned i = 0; i < h->n_tasks; i++)
        (void)fj_task_unref(h->tasks[i]);
    (void)pthread_mutex_destroy(&h->tasks_lock);
}

static bool cut_short(fj_code code)
{
    return code == FJ_TIMEOUT || code == FJ_CANCELLED;
}

/* ---- mutex ---------------------------------------------------------------------------------------- */

static void use_mutex(hall *h, unsigned id, unsigned n, unsigned *dice)
{
    fj_code code = fj_mutex_lock(h->m, some_time(dice));

    (void)id;
    (void)n;
    if (code != FJ_OK) {
        ck_assert(cut_short(code));
        return;
    }
    h->guarded++;
    if (fj_task_current() != NULL && roll(dice, 4) == 0)
        (void)!fj_yield(); /* with the mutex held */
    atomic_fetch_add(&h->well, 1);
    ck_assert_int_eq(fj_mutex_unlock(h->m), FJ_OK);
}

START_TEST(a_mutex_holds_between_threads_and_tasks_of_two_loops)
{
    hall *h = calloc(1, sizeof *h);

    ck_assert_int_eq(fj_mutex_new(NULL, 0, &h->m), FJ_OK);
    run(h, use_mutex);
    ck_assert(!fj_mutex_locked(h->m));
    ck_assert_uint_gt(h->guarded, 0);
    ck_assert_uint_eq(h->guarded, atomic_load(&h->well));
    fj_mutex_free(h->m);
    free(h);
}
END_TEST

/* ---- condition ------------------------------------------------------------------------------------ */

/* Lock, whatever comes. */
static void lock(hall *h)
{
    while (fj_mutex_lock(h->m, fj_never()) != FJ_OK)
        ;
}

/* A buffer of a few places: even guests fill it, odd ones empty it. */
static void use_condition(hall *h, unsigned id, unsigned n, unsigned *dice)
{
    bool fills = id % 2 == 0;

    (void)n;
    lock(h);
    while (h->guarded == (fills ? SPACE : 0)) {
        fj_code code = fj_condition_wait(fills ? h->emptied : h->filled, h->m, some_time(dice));
        ck_assert(code == FJ_OK || cut_short(code));
    }
    h->guarded += fills ? 1u : -1ul;
    fj_condition_notify(fills ? h->filled : h->emptied, 1);
    ck_assert_int_eq(fj_mutex_unlock(h->m), FJ_OK);
}

static bool may_go(void *user)
{
    hall *h = user;

    return h->twin == ROUNDS;
}

/* Guest 0, a thread, wakes all now and then; the others wait for the last time. */
static void wait_for_the_last(hall *h, unsigned id, unsigned n, unsigned *dice)
{
    (void)n;
    (void)dice;
    lock(h);
    if (id == 0) {
        h->twin++;
        fj_condition_notify_all(h->filled);
    } else {
        fj_code code;
        do
            code = fj_condition_wait_for(h->filled, h->m, may_go, h, fj_never());
        while (cut_short(code));
        ck_assert_int_eq(code, FJ_OK);
        ck_assert_uint_eq(h->twin, ROUNDS);
    }
    ck_assert_int_eq(fj_mutex_unlock(h->m), FJ_OK);
}

static hall *condition_hall(void)
{
    hall *h = calloc(1, sizeof *h);

    ck_assert_int_eq(fj_mutex_new(NULL, 0, &h->m), FJ_OK);
    ck_assert_int_eq(fj_condition_new(NULL, &h->filled), FJ_OK);
    ck_assert_int_eq(fj_condition_new(NULL, &h->emptied), FJ_OK);
    return h;
}

static void free_condition_hall(hall *h)
{
    fj_condition_free(h->filled);
    fj_condition_free(h->emptied);
    fj_mutex_free(h->m);
    free(h);
}

START_TEST(a_condition_loses_no_notification_between_threads_and_tasks_of_two_loops)
{
    hall *h = condition_hall();

    run(h, use_condition);
    ck_assert_uint_eq(h->guarded, 0);
    free_condition_hall(h);
}
END_TEST

START_TEST(notify_all_reaches_threads_and_tasks_of_two_loops)
{
    hall *h = condition_hall();

    run(h, wait_for_the_last);
    free_condition_hall(h);
}
END_TEST

/* ---- semaphore ------------------------------------------------------------------------------------ */

static void use_semaphore(hall *h, unsigned id, unsigned n, unsigned *dice)
{
    fj_code code = fj_semaphore_acquire(h->s, some_time(dice));

    (void)id;
    (void)n;
    if (code != FJ_OK) {
        ck_assert(cut_short(code));
        return;
    }
    ck_assert_uint_lt(atomic_fetch_add(&h->inside, 1), SPACE);
    if (fj_task_current() != NULL && roll(dice, 4) == 0)
        (void)!fj_yield();
    atomic_fetch_sub(&h->inside, 1);
    ck_assert_int_eq(fj_semaphore_release(h->s), FJ_OK);
}

START_TEST(a_semaphore_holds_between_threads_and_tasks_of_two_loops)
{
    hall *h = calloc(1, sizeof *h);

    ck_assert_int_eq(fj_semaphore_new(NULL, SPACE, SPACE, &h->s), FJ_OK);
    run(h, use_semaphore);
    ck_assert_uint_eq(fj_semaphore_value(h->s), SPACE);
    fj_semaphore_free(h->s);
    free(h);
}
END_TEST

/* ---- readers and writers -------------------------------------------------------------------------- */

static void use_rwlock(hall *h, unsigned id, unsigned n, unsigned *dice)
{
    bool writes = roll(dice, 3) == 0;
    fj_code code = writes ? fj_rwlock_write(h->l, some_time(dice)) : fj_rwlock_read(h->l, some_time(dice));

    (void)id;
    (void)n;
    if (code != FJ_OK) {
        ck_assert(cut_short(code));
        return;
    }
    if (writes)
        h->guarded++;
    if (fj_task_current() != NULL && roll(dice, 4) == 0)
        (void)!fj_yield();
    if (writes)
        h->twin++;
    else
        ck_assert_uint_eq(h->guarded, h->twin);
    ck_assert_int_eq(fj_rwlock_unlock(h->l), FJ_OK);
}

START_TEST(a_rwlock_holds_between_threads_and_tasks_of_two_loops)
{
    hall *h = calloc(1, sizeof *h);

    ck_assert_int_eq(fj_rwlock_new(NULL, &h->l), FJ_OK);
    run(h, use_rwlock);
    ck_assert_uint_eq(h->guarded, h->twin);
    ck_assert_int_eq(fj_rwlock_unlock(h->l), FJ_STATE);
    fj_rwlock_free(h->l);
    free(h);
}
END_TEST

/* ---- event ---------------------------------------------------------------------------------------- */

/* Guest 0 sets it in the end; the others wait for that. */
static void use_event(hall *h, unsigned id, unsigned n, unsigned *dice)
{
    if (id == 0) {
        h->guarded = n;
        if (n + 1 == ROUNDS)
            fj_event_set(h->e);
        return;
    }
    fj_code code = fj_event_wait(h->e, some_time(dice));
    while (cut_short(code))
        code = fj_event_wait(h->e, some_time(dice));
    ck_assert_int_eq(code, FJ_OK);
    ck_assert_uint_eq(h->guarded, ROUNDS - 1);
}

START_TEST(an_event_reaches_threads_and_tasks_of_two_loops)
{
    hall *h = calloc(1, sizeof *h);

    ck_assert_int_eq(fj_event_new(NULL, &h->e), FJ_OK);
    run(h, use_event);
    fj_event_free(h->e);
    free(h);
}
END_TEST

/* ---- queue ---------------------------------------------------------------------------------------- */

/* Even guests put, odd ones get as many. */
static void use_queue(hall *h, unsigned id, unsigned n, unsigned *dice)
{
    void *item = &h->seen[id / 2 * ROUNDS + n];
    fj_code code;

    do
        code = id % 2 == 0 ? fj_queue_put(h->q, item, some_time(dice))
                           : fj_queue_get(h->q, some_time(dice), &item);
    while (cut_short(code));
    ck_assert_int_eq(code, FJ_OK);
    if (id % 2 == 0)
        return;
    (void)atomic_fetch_add((atomic_uint *)item, 1);
    ck_assert_int_eq(fj_queue_task_done(h->q), FJ_OK);
}

static void queue_between_all(fj_queue_order order, size_t bound, int (*compare)(const void *, const void *))
{
    hall *h = calloc(1, sizeof *h);
    fj_queue_opts opts = FJ_QUEUE_OPTS_INIT;

    opts.order = order;
    opts.bound = bound;
    opts.compare = compare;
    ck_assert_int_eq(fj_queue_new(&opts, &h->q, NULL), FJ_OK);
    run(h, use_queue);
    ck_assert_int_eq(fj_queue_join(h->q, fj_in_ms(-1)), FJ_OK);
    for (unsigned i = 0; i < ITEMS; i++)
        ck_assert_uint_eq(atomic_load(&h->seen[i]), 1);
    fj_queue_free(h->q);
    free(h);
}

static int by_address(const void *a, const void *b)
{
    return a < b ? -1 : a > b;
}

START_TEST(each_item_of_a_queue_goes_to_one_of_threads_and_tasks_of_two_loops)
{
    queue_between_all(FJ_QUEUE_FIFO, SPACE, NULL);
    queue_between_all(FJ_QUEUE_LIFO, SPACE, NULL);
    queue_between_all(FJ_QUEUE_PRIORITY, 0, by_address);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync_threads");
    TCase *tests = tcase_create("sync_threads");

    tcase_add_test(tests, a_mutex_holds_between_threads_and_tasks_of_two_loops);
    tcase_add_test(tests, a_condition_loses_no_notification_between_threads_and_tasks_of_two_loops);
    tcase_add_test(tests, notify_all_reaches_threads_and_tasks_of_two_loops);
    tcase_add_test(tests, a_semaphore_holds_between_threads_and_tasks_of_two_loops);
    tcase_add_test(tests, a_rwlock_holds_between_threads_and_tasks_of_two_loops);
    tcase_add_test(tests, an_event_reaches_threads_and_tasks_of_two_loops);
    tcase_add_test(tests, each_item_of_a_queue_goes_to_one_of_threads_and_tasks_of_two_loops);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
