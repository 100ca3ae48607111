/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_IN_TASK_H
#define FJORD_TESTS_IN_TASK_H
/* Tests whose body is a task, and tasks that tell what they do. */
#include "tests/support/rt.h"

/** Run @p body (which asserts) in a task of a new rt_loop. */
void in_task(void (*body)(void));
/** The same in a green task. */
void in_green(void (*body)(void));

/** What tasks tell the test, in order, as one text. */
void note(const char *text);
const char *notes(void);

fj_code pause_ms(int64_t ms);
/** A task that sleeps for as many milliseconds as @p user says (MS), and tells "+" when it has, "-" when it was cut short. */
fj_code sleeps(void *user, json_t **ret, fj_error **err);
#define MS(n) ((void *)(uintptr_t)(n))

#endif
