/* SPDX-License-Identifier: Apache-2.0 */
/* What tasks cost: to spawn one and let it end, to switch to the next, to keep one parked.  The best of several rounds, in processor time: this is
 * about the code, not about what else the machine does. */
#include <fjord/await.h>
#include <fjord/loop.h>
#include <fjord/task.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 10, SPAWNS = 100000, YIELDS = 100000, PARKED = 20000 };

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* ours: the machine may be busy */
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void check(fj_code code, const char *what)
{
    if (code == FJ_OK)
        return;
    (void)fprintf(stderr, "spawn: %s: %s\n", what, fj_code_text(code));
    exit(1);
}

static fj_code nothing(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return FJ_OK;
}

static fj_code yield(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    for (int i = 0; i < YIELDS; i++)
        check(fj_yield(), "yield");
    return FJ_OK;
}

static fj_code park(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return fj_sleep(fj_never());
}

/* Spawned by a task, as a server does: @p at_once of them, then these run. */
static fj_code spawn_many(int at_once, fj_error **err)
{
    for (int i = 0; i < SPAWNS; i++) {
        check(fj_task_spawn(nothing, NULL, NULL, NULL, err), "spawn");
        if (i % at_once == at_once - 1)
            check(fj_yield(), "yield");
    }
    return FJ_OK;
}

static fj_code spawn_singly(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    return spawn_many(1, err);
}

static fj_code spawn_hundreds(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    return spawn_many(100, err);
}

static double timed(fj_loop *loop, fj_task_fn fn, int tasks)
{
    fj_task *task[2] = { NULL, NULL };
    double began = now();

    for (int i = 0; i < tasks; i++)
        check(fj_task_spawn(fn, NULL, NULL, &task[i], NULL), "spawn");
    for (int i = 0; i < tasks; i++) {
        check(fj_loop_run_until_complete(loop, fj_task_future(task[i]), NULL, NULL), "run");
        (void)fj_task_unref(task[i]);
    }
    return now() - began;
}

static double best(fj_loop *loop, fj_task_fn fn, int tasks, int per)
{
    double least = 0;

    for (int i = 0; i < ROUNDS; i++) {
        double t = timed(loop, fn, tasks);
        least = i == 0 || t < least ? t : least;
    }
    return least / per;
}

static long resident(void)
{
    long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f == NULL || fscanf(f, "%ld %ld", &size, &pages) != 2)
        pages = 0;
    if (f != NULL)
        (void)fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

int main(void)
{
    fj_loop *loop = NULL;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    check(fj_loop_new(&loop, NULL), "loop");
    fj_loop_set_current(loop);
    double singly = best(loop, spawn_singly, 1, SPAWNS), hundreds = best(loop, spawn_hundreds, 1, SPAWNS);
    printf("spawn and end  %.0f ns singly, and a switch; %.0f ns a hundred at once (goal < 100: %s)\n", singly,
           hundreds, hundreds < 100 ? "met" : "not met");
    printf("switch         %.0f ns (yield of one of two tasks, through the loop)\n",
           best(loop, yield, 2, 2 * YIELDS));
    long before = resident();
    for (int i = 0; i < PARKED; i++)
        check(fj_task_spawn(park, NULL, &opts, NULL, NULL), "spawn");
    check(fj_loop_turn(loop, fj_now(), NULL), "turn");
    while (fj_loop_turn(loop, fj_now(), NULL) == FJ_OK)
        ;
    printf("parked         %ld bytes resident\n", (resident() - before) / PARKED);
    fj_loop_free(loop);
    return 0;
}
