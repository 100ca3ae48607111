/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/scene.h"
#include "tests/support/leaks.h"

#include <fjord/green.h>
#include <fjord/log.h>
#include <fjord/loop.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define MOST 64

atomic_uint scene_troubles, scene_warnings, scene_circles;

static struct actor {
    int place;
    void (*fn)(void *arg);
    void *arg;
} actors[MOST];
static unsigned n_actors;
static const fj__native_calls *libc;

static void count_warning(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    if (level == FJ_LOG_WARNING && strcmp(component, "runtime") == 0)
        atomic_fetch_add(&scene_warnings, 1);
    if (strstr(text, "waits for pthread_mutex_t 0x") != NULL &&
        strstr(text, "which task \"task\" holds") != NULL)
        atomic_fetch_add(&scene_circles, 1);
}

void scene_begin(void)
{
    leaks_begin();
    libc = &fj__native;
    ck_assert_int_eq(fj_green_patch(FJ_PATCH_ALL, NULL), FJ_OK);
    fj_log_set(count_warning, NULL);
    n_actors = 0;
}

void scene_end(void)
{
    fj_log_set(NULL, NULL);
    leaks_end("a scene");
}

void scene_add(int place, void (*fn)(void *arg), void *arg)
{
    ck_assert_uint_lt(n_actors, MOST);
    actors[n_actors++] = (struct actor){ place, fn, arg };
}

static fj_code play(void *user, json_t **ret, fj_error **err)
{
    struct actor *a = user;

    (void)ret, (void)err;
    a->fn(a->arg);
    return FJ_OK;
}

static void count_trouble(fj_loop *loop, const char *what, const fj_error *error, void *user)
{
    (void)loop, (void)error, (void)user;
    (void)fprintf(stderr, "trouble: %s\n", what);
    atomic_fetch_add(&scene_troubles, 1);
}

static void *run_loop(void *arg)
{
    int place = *(int *)arg;
    fj_task *tasks[MOST] = { NULL };
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.green = true;
    ck_assert_int_eq(fj_loop_new(&opts.loop, NULL), FJ_OK);
    fj_loop_set_trouble_handler(opts.loop, count_trouble, NULL);
    for (unsigned i = 0; i < n_actors; i++)
        if (actors[i].place == place)
            ck_assert_int_eq(fj_task_spawn(play, &actors[i], &opts, &tasks[i], NULL), FJ_OK);
    for (unsigned i = 0; i < n_actors; i++)
        if (tasks[i] != NULL) {
            ck_assert_int_eq(fj_loop_run_until_complete(opts.loop, fj_task_future(tasks[i]), NULL, NULL),
                             FJ_OK);
            (void)fj_task_unref(tasks[i]);
        }
    fj_loop_free(opts.loop);
    return NULL;
}

static void *run_plain(void *arg)
{
    struct actor *a = arg;

    a->fn(a->arg);
    return NULL;
}

void scene_run(void)
{
    pthread_t threads[MOST];
    int places[MOST], last = HERE, n = 0;

    for (unsigned i = 0; i < n_actors; i++) {
        if (actors[i].place == PLAIN)
            ck_assert_int_eq(pthread_create(&threads[n++], NULL, run_plain, &actors[i]), 0);
        else if (actors[i].place > last)
            last = actors[i].place;
    }
    for (int i = 0; i <= last; i++) {
        places[i] = i;
        if (i != HERE)
            ck_assert_int_eq(pthread_create(&threads[n++], NULL, run_loop, &places[i]), 0);
    }
    run_loop(&places[HERE]);
    while (n > 0)
        ck_assert_int_eq(libc->pthread_join(threads[--n], NULL), 0);
    n_actors = 0;
}

bool scene_green(void)
{
    return fj_task_current() != NULL;
}

void scene_pause(void)
{
    fj_code code = FJ_OK;

    if (scene_green())
        code = fj_yield();
    else
        (void)sched_yield();
    (void)code; /* a cancellation is for the test to see elsewhere */
}

void scene_until_parked(const volatile void *address)
{
    while (!fj__parking_any(address))
        scene_pause();
}

void scene_until(const atomic_int *word, int value)
{
    while (atomic_load(word) < value)
        scene_pause();
}

struct contest {
    const scene_thing *thing;
    int taker;
    atomic_int step;
};

static void hold(void *arg)
{
    enum { TURNS = 50 };
    struct contest *c = arg;

    ck_assert_int_eq(c->thing->take(), 0);
    atomic_store(&c->step, 1);
    if (c->taker != PLAIN)
        scene_until_parked(c->thing->address);
    else
        for (int i = 0; i < TURNS; i++)
            scene_pause();
    atomic_store(&c->step, 2);
    ck_assert_int_eq(c->thing->give(), 0);
}

static void take_after(void *arg)
{
    struct contest *c = arg;

    scene_until(&c->step, 1);
    ck_assert_int_eq(c->thing->take(), 0);
    ck_assert_int_eq(atomic_load(&c->step), 2);
    ck_assert_int_eq(c->thing->give(), 0);
}

void scene_contend(const scene_thing *thing, int holder, int taker)
{
    struct contest c = { .thing = thing, .taker = taker };

    scene_add(holder, hold, &c);
    scene_add(taker, take_after, &c);
    scene_run();
    ck_assert(!fj__parking_any(thing->address));
}

struct timespec scene_in_ms(clockid_t clock, int ms)
{
    struct timespec t;
    int64_t ns;

    clock_gettime(clock, &t);
    ns = t.tv_nsec + ms * INT64_C(1000000);
    t.tv_sec += ns / 1000000000 - (ns < 0);
    t.tv_nsec = (ns % 1000000000 + 1000000000) % 1000000000;
    return t;
}
