/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GREEN_RIG_H
#define TESTS_GREEN_RIG_H
/* Libraries that know nothing of Fjord, in green tasks of one loop, against the servers that tests/green/run has started. */
#include <fjord/await.h>
#include <fjord/green.h>
#include <fjord/loop.h>
#include <fjord/task.h>

#include <check.h>

extern fj_loop *green_loop;

/** For tcase_add_checked_fixture: a loop, all groups but mutex patched; and the end of it. */
void green_begin(void);
/** The same, with nothing patched: what the hooks are compared with. */
void green_begin_bare(void);
void green_end(void);

/** The head of what a task does. */
#define GREEN_TASK(name)                                                                          \
    static fj_code name(__attribute__((unused)) void *user, __attribute__((unused)) json_t **ret, \
                        __attribute__((unused)) fj_error **err)

/** From within a task or without. */
fj_task *green_spawn(fj_task_fn fn, void *user);
/** Run until it has ended, and drop the reference; in a task: wait for it.  @return its code */
fj_code green_join(fj_task *task);
/** Run @p body (which asserts) in a green task, and wait for it. */
void in_green(void (*body)(void));
/** Run @p fn in @p n green tasks at once; each gets one of 0, 1... as its user.  All must end well. */
void green_many(unsigned n, fj_task_fn fn);
#define GREEN_NUMBER ((unsigned)(uintptr_t)user)

/** What tasks that wait are counted by; GREEN_UNTIL lets the others run until @p condition holds. */
#define GREEN_UNTIL(condition) \
    while (!(condition))       \
    ck_assert_str_eq(fj_code_name(fj_sleep(fj_in_ms(5))), "OK")
/** No thread but this one (and those of sanitizers). */
void green_one_thread(void);

/** A socket that listens and accepts; @p ret_port is where.  */
int green_listen(int *ret_port);
/** One whose queue is full, so that a connection to it is never made nor refused.  @p ret_more closes with it */
int green_listen_deaf(int *ret_port, int ret_more[2]);

/** From the environment, or the test is no test. */
const char *green_env(const char *name);
int green_port(const char *name);
/** scripts/servers: VERB NAME. */
void green_servers(const char *verb, const char *name);

/** Run a suite, as main does.  @return its status */
int green_main(Suite *suite);

#endif
