/* SPDX-License-Identifier: Apache-2.0 */
/* For tests/gdb/run: three tasks, two of which wait in the middle of something while the third calls all_parked(). */
#include "runtime/guard.h"
#include <fjord/await.h>
#include <fjord/loop.h>
#include <fjord/task.h>
#include <stdlib.h>

void all_parked(void);
fj_code waits_inside(int depth);

__attribute__((noinline)) void all_parked(void)
{
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) fj_code waits_inside(int depth)
{
    fj_code code = depth > 0 ? waits_inside(depth - 1) : fj_sleep(fj_in_ms(3600 * 1000));

    __asm__ volatile("" ::: "memory"); /* no call in the place of a return */
    return code;
}

static fj_code waiter(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    return waits_inside(*(int *)user);
}

static fj_code last(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    all_parked();
    exit(EXIT_SUCCESS);
}

static fj_code spawn(fj_loop *loop, fj_task_fn fn, int *depth, const char *name)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.loop = loop;
    opts.name = name;
    return fj_task_spawn(fn, depth, &opts, NULL, NULL);
}

int main(void)
{
    fj_loop *loop;
    int three = 3, five = 5;

    fj__guard_pretend(true,
                      0); /* gdb's gcore gives up at guards by madvise(2), other than the kernel's dumps */
    if (fj_loop_new(&loop, NULL) != FJ_OK || spawn(loop, waiter, &three, "calc.add") != FJ_OK ||
        spawn(loop, waiter, &five, "calc.mul") != FJ_OK || spawn(loop, last, NULL, "the last") != FJ_OK)
        return EXIT_FAILURE;
    return fj_loop_run_forever(loop, NULL) == FJ_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
