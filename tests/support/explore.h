/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_EXPLORE_H
#define TESTS_SUPPORT_EXPLORE_H
/*
 * Explores the schedules of a scenario: a few tasks on a loop of their own, under a clock that stands still and jumps to
 * the next deadline when nothing is ready.  Whatever could go either way, above all which ready task goes on, is a
 * choice.  Choices are made at random from a seed, many seeds; or, for small scenarios, in every possible way.
 *
 * A run that fails says how to see it again: FJ_EXPLORE=seed:7 or FJ_EXPLORE=path:0.2.1 in the environment makes
 * explore_seeds() and explore_all() do only that run.
 */
#include <fjord/task.h>

typedef struct explore explore;

typedef struct {
    const char *name;
    size_t state;                                         /* bytes, zeroed for each run */
    void (*begin)(explore *x, void *state);               /* makes the objects, and the tasks */
    void (*end)(explore *x, void *state, bool all_ended); /* checks, and frees what begin made */
} explore_scenario;

typedef struct {
    unsigned long runs;
    bool whole;        /* of explore_all(): there are no more schedules */
    char trouble[512]; /* of the first run that failed; "" when none has */
} explore_result;

/** @return whether all went well: no check failed, and every task ended.  Stops at the first failure. */
bool explore_seeds(const explore_scenario *s, unsigned long seeds, explore_result *result);
/** Every schedule, depth first, but at most @p most.  @return as explore_seeds() */
bool explore_all(const explore_scenario *s, unsigned long most, explore_result *result);
/** One run, in which whoever is ready first goes first. */
bool explore_once(const explore_scenario *s, explore_result *result);
/** How many seeds a test should take: FJ_EXPLORE_SEEDS, or 10 000, or 300 under ThreadSanitizer. */
unsigned long explore_seed_count(void);
/** How many schedules it should explore: FJ_EXPLORE_SCHEDULES, or all, or 300 under ThreadSanitizer. */
unsigned long explore_schedule_count(void);

/* For scenarios. */

typedef void (*explore_fn)(explore *x, void *state, unsigned i);
/** Add a task that calls @p fn.  @return lends, for the run */
fj_task *explore_task(explore *x, const char *name, explore_fn fn, unsigned i);
/** The same, a green one. */
fj_task *explore_green_task(explore *x, const char *name, explore_fn fn, unsigned i);
/** In a task: whoever the schedule wants goes on.  Not cut short by anything. */
void explore_point(void);
/** A choice: 0 to n - 1. */
unsigned explore_choose(explore *x, unsigned n);
/** Move the clock on. */
void explore_tick(int64_t ms);
void explore_failed(explore *x, const char *file, int line, const char *what);
#define explore_check(x, what) ((what) ? (void)0 : explore_failed((x), __FILE__, __LINE__, #what))

#endif
