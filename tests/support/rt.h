/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_RT_H
#define TESTS_SUPPORT_RT_H
/* A loop to test tasks on, with a fake clock that moves by itself, and what the loop had to complain of. */
#include <fjord/await.h>
#include <fjord/loop.h>
#include <fjord/task.h>

#include <check.h>

extern fj_loop *rt_loop;
extern char rt_trouble[2048]; /* the last complaint, "what: error" */
extern unsigned rt_troubles;  /* how many */

/** For tcase_add_checked_fixture.  The clock stands at one second. */
void rt_begin(void);
void rt_end(void);
/** Run @p fn in a task until it ends.  @return its code */
fj_code rt_run(fj_task_fn fn, void *user);
/** Spawn on rt_loop; fails the test if it cannot. */
fj_task *rt_spawn(fj_task_fn fn, void *user, const char *name);
/** Let the loop do what can be done without time passing. */
void rt_settle(void);
/** Run until it has ended, and drop the reference.  @return its code */
fj_code rt_join(fj_task *task);
/** Milliseconds on the fake clock since rt_begin(). */
long rt_ms(void);

/** The head of what a task does. */
#define RT_TASK(name)                                                                             \
    static fj_code name(__attribute__((unused)) void *user, __attribute__((unused)) json_t **ret, \
                        __attribute__((unused)) fj_error **err)

#define rt_code(expression, code) ck_assert_str_eq(fj_code_name(expression), #code)

#endif
