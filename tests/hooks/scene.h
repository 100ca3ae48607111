/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HOOKS_SCENE_H
#define TESTS_HOOKS_SCENE_H
/* Scenes of green tasks, on this thread and on others, and of plain threads, with the runtime itself, by the real clock. */
#include "runtime/hooks/table.h"

#include <check.h>
#include <fjord/await.h>
#include <stdatomic.h>

#ifdef __SANITIZE_THREAD__
#define SCENE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SCENE_TSAN 1
#endif
#endif
#ifndef SCENE_TSAN
#define SCENE_TSAN 0
#endif

const fj__green_hooks_table *fj__green_hooks(void);

/** Where one plays: a plain thread, or a green task on the loop of a thread: of this one (0), of another (1, 2...). */
enum { PLAIN = -1, HERE = 0, THERE = 1 };

/** For tcase_add_checked_fixture: all groups are on. */
void scene_begin(void);
void scene_end(void);
/** Add one who does fn(arg).  All begin with scene_run(). */
void scene_add(int place, void (*fn)(void *arg), void *arg);
/** Until all have ended. */
void scene_run(void);
/** Whether this is a task. */
bool scene_green(void);
/** Let others run. */
void scene_pause(void);
/** Wait until somebody is parked on @p address, or until as many are as @p n. */
void scene_until_parked(const volatile void *address);
void scene_until(const atomic_int *word, int value);
/** What loops complained of, what was logged as a warning of the runtime's, and of mutexes in circles. */
extern atomic_uint scene_troubles, scene_warnings, scene_circles;

/** One at @p holder takes something; one at @p taker takes it after that, and gets it only when it has been given back.
 *  Each function answers 0. */
typedef struct {
    int (*take)(void), (*give)(void);
    const volatile void *address; /* that who waits is parked on, if it is a task */
} scene_thing;
void scene_contend(const scene_thing *thing, int holder, int taker);

/** A point of @p clock, @p ms from now. */
struct timespec scene_in_ms(clockid_t clock, int ms);

Suite *mutex_suite(void);
Suite *cond_suite(void);
Suite *sem_suite(void);
Suite *rwlock_suite(void);
Suite *join_suite(void);
Suite *cxx_suite(void);
Suite *reports_suite(void);

#endif
