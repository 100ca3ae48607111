/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/rt.h"

#include "runtime/clock.h"

#include <stdio.h>

fj_loop *rt_loop;
char rt_trouble[2048];
unsigned rt_troubles;

static const int64_t began = 1000000000;

static void on_trouble(fj_loop *loop, const char *what, const fj_error *error, void *user)
{
    (void)loop;
    (void)user;
    rt_troubles++;
    (void)snprintf(rt_trouble, sizeof rt_trouble, "%s: %s", what, fj_error_text(error));
}

void rt_begin(void)
{
    fj__clock_set_fake(began);
    fj__clock_set_auto(true);
    rt_code(fj_loop_new(&rt_loop, NULL), OK);
    fj_loop_set_current(rt_loop);
    fj_loop_set_trouble_handler(rt_loop, on_trouble, NULL);
    rt_troubles = 0;
    rt_trouble[0] = '\0';
}

void rt_end(void)
{
    rt_loop = fj_loop_free(rt_loop);
    fj__clock_set_auto(false);
    fj__clock_set_fake(-1);
}

fj_task *rt_spawn(fj_task_fn fn, void *user, const char *name)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.loop = rt_loop;
    opts.name = name;
    rt_code(fj_task_spawn(fn, user, &opts, &task, NULL), OK);
    return task;
}

fj_code rt_join(fj_task *task)
{
    fj_code code = fj_loop_run_until_complete(rt_loop, fj_task_future(task), NULL, NULL);

    (void)fj_task_unref(task);
    return code;
}

fj_code rt_run(fj_task_fn fn, void *user)
{
    return rt_join(rt_spawn(fn, user, "test"));
}

void rt_settle(void)
{
    while (fj_loop_turn(rt_loop, fj_now(), NULL) == FJ_OK)
        ;
}

long rt_ms(void)
{
    return (long)((fj_now().ns - began) / 1000000);
}
