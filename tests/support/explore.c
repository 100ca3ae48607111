/* SPDX-License-Identifier: Apache-2.0 */
#include "explore.h"

#include "runtime/clock.h"
#include "runtime/loop.h"

#include <fjord/await.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CHOICES = 4096, MOST_TASKS = 16, MOST_TURNS = 100000 };

typedef struct {
    explore *x;
    fj_task *task;
    explore_fn fn;
    unsigned i;
} actor;

struct explore {
    const explore_scenario *scenario;
    fj_loop *loop;
    void *state;
    actor actors[MOST_TASKS];
    unsigned n_actors;
    /* Each choice that was made: out of how many, which. */
    unsigned widths[MOST_CHOICES], path[MOST_CHOICES];
    unsigned made;
    unsigned given; /* so many first choices are made as the path says, the others */
    bool random;    /* at random, or 0 */
    uint64_t dice;
    char trouble[256];
};

/* ---- choices -------------------------------------------------------------------------------------- */

/* splitmix64, a public-domain generator by Sebastiano Vigna: any seed will do, also 0 and those side by side. */
static uint64_t roll(explore *x)
{
    uint64_t z = x->dice += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

unsigned explore_choose(explore *x, unsigned n)
{
    if (n < 2)
        return 0;
    if (x->made == MOST_CHOICES) {
        explore_failed(x, __FILE__, __LINE__, "no more choices than there is room for");
        return 0;
    }
    unsigned which = 0;
    if (x->made < x->given)
        which = x->path[x->made];
    else if (x->random)
        which = (unsigned)(roll(x) % n);
    if (which >= n) {
        explore_failed(x, __FILE__, __LINE__, "the same choices come again in a second run");
        which = 0;
    }
    x->path[x->made] = which;
    x->widths[x->made++] = n;
    return which;
}

static unsigned choose_job(void *user, unsigned n)
{
    return explore_choose(user, n);
}

void explore_failed(explore *x, const char *file, int line, const char *what)
{
    if (x->trouble[0] == '\0')
        (void)snprintf(x->trouble, sizeof x->trouble, "%s:%d: %s", file, line, what);
}

/* ---- tasks ---------------------------------------------------------------------------------------- */

static fj_code act(void *user, json_t **ret, fj_error **err)
{
    actor *a = user;

    (void)ret;
    (void)err;
    a->fn(a->x, a->x->state, a->i);
    return FJ_OK;
}

static fj_task *add_task(explore *x, const char *name, explore_fn fn, unsigned i, bool green)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    actor *a = &x->actors[x->n_actors];

    opts.name = name;
    opts.loop = x->loop;
    opts.green = green;
    *a = (actor){ x, NULL, fn, i };
    if (x->n_actors == MOST_TASKS || fj_task_spawn(act, a, &opts, &a->task, NULL) != FJ_OK) {
        fprintf(stderr, "explore: cannot make task %s\n", name);
        exit(EXIT_FAILURE);
    }
    x->n_actors++;
    return a->task;
}

fj_task *explore_task(explore *x, const char *name, explore_fn fn, unsigned i)
{
    return add_task(x, name, fn, i, false);
}

fj_task *explore_green_task(explore *x, const char *name, explore_fn fn, unsigned i)
{
    return add_task(x, name, fn, i, true);
}

void explore_point(void)
{
    fj_shield_begin();
    fj_code code = fj_yield();
    fj_shield_end();
    (void)code; /* shielded: nothing but OK */
}

void explore_tick(int64_t ms)
{
    fj__clock_set_fake(fj_in_ms(ms).ns);
}

static bool all_ended(explore *x)
{
    for (unsigned i = 0; i < x->n_actors; i++) {
        if (!fj_future_done(fj_task_future(x->actors[i].task)))
            return false;
    }
    return true;
}

/* ---- a run ---------------------------------------------------------------------------------------- */

/* Turn until nothing is left to be done but to wait for ever. */
static void drive(explore *x)
{
    fj_deadline end = fj_in_ms(86400000);
    unsigned turns = 0;

    while (fj_loop_turn(x->loop, end, NULL) == FJ_OK && turns < MOST_TURNS)
        turns++;
    if (turns == MOST_TURNS)
        explore_failed(x, __FILE__, __LINE__, "it comes to an end");
}

static void stuck(explore *x)
{
    for (unsigned i = 0; i < x->n_actors; i++) {
        fj_task *t = x->actors[i].task;
        const char *what = fj_task_waits_for(t);

        if (fj_future_done(fj_task_future(t)) || x->trouble[0] != '\0')
            continue;
        (void)snprintf(x->trouble, sizeof x->trouble, "task %s waits for ever: %s", fj_task_name(t),
                       what != NULL ? what : "not at all");
    }
}

static void run(explore *x)
{
    x->made = x->n_actors = 0;
    x->trouble[0] = '\0';
    fj__clock_set_fake(1000000000);
    fj__clock_set_auto(true);
    memset(x->state, 0, x->scenario->state);
    if (fj_loop_new(&x->loop, NULL) != FJ_OK) {
        fprintf(stderr, "explore: cannot make a loop\n");
        exit(EXIT_FAILURE);
    }
    fj__loop_set_chooser(x->loop, choose_job, x);
    x->scenario->begin(x, x->state);
    drive(x);
    bool ended = all_ended(x);
    if (!ended)
        stuck(x);
    fj__loop_set_chooser(x->loop, NULL, NULL);
    fj_loop_free(x->loop);
    for (unsigned i = 0; i < x->n_actors; i++)
        fj_task_unref(x->actors[i].task);
    x->scenario->end(x, x->state, ended);
    fj__clock_set_auto(false);
    fj__clock_set_fake(-1);
}

static explore *explore_new(const explore_scenario *s)
{
    explore *x = calloc(1, sizeof *x);
    void *state = calloc(1, s->state + 1);

    if (x == NULL || state == NULL) {
        fprintf(stderr, "explore: no memory\n");
        exit(EXIT_FAILURE);
    }
    x->scenario = s;
    x->state = state;
    return x;
}

static bool explore_over(explore *x)
{
    bool well = x->trouble[0] == '\0';

    free(x->state);
    free(x);
    return well;
}

static void report(const explore *x, const char *how, explore_result *result)
{
    if (x->trouble[0] != '\0')
        (void)snprintf(result->trouble, sizeof result->trouble, "%s: %s (run %lu; FJ_EXPLORE=%s)",
                       x->scenario->name, x->trouble, result->runs, how);
}

static void run_path(explore *x, explore_result *result)
{
    char how[160] = "path:";

    run(x);
    result->runs++;
    for (unsigned i = 0; i < x->made && strlen(how) + 8 < sizeof how; i++)
        (void)snprintf(how + strlen(how), sizeof how - strlen(how), "%s%u", i > 0 ? "." : "", x->path[i]);
    report(x, how, result);
}

static void run_seed(explore *x, uint64_t seed, explore_result *result)
{
    char how[32];

    x->random = true;
    x->dice = seed;
    run(x);
    result->runs++;
    (void)snprintf(how, sizeof how, "seed:%llu", (unsigned long long)seed);
    report(x, how, result);
}

/* The one run that the environment asks for.  @return false when it asks for none */
static bool run_again(explore *x, explore_result *result)
{
    const char *how = getenv("FJ_EXPLORE");
    char *end;

    if (how == NULL || (strncmp(how, "seed:", 5) != 0 && strncmp(how, "path:", 5) != 0))
        return false;
    if (how[0] == 's') {
        run_seed(x, strtoull(how + 5, NULL, 10), result);
    } else {
        for (how += 5; *how != '\0' && x->given < MOST_CHOICES; how = *end == '.' ? end + 1 : end) {
            x->path[x->given++] = (unsigned)strtoul(how, &end, 10);
            if (end == how)
                break;
        }
        run_path(x, result);
    }
    return true;
}

/* ---- many runs ------------------------------------------------------------------------------------ */

bool explore_seeds(const explore_scenario *s, unsigned long seeds, explore_result *result)
{
    explore *x = explore_new(s);

    *result = (explore_result){ 0 };
    if (!run_again(x, result)) {
        for (unsigned long i = 0; i < seeds && x->trouble[0] == '\0'; i++)
            run_seed(x, i, result);
    }
    return explore_over(x);
}

/* The next path: the last choice that has another possibility takes it, and those after it begin anew. */
static bool next_path(explore *x)
{
    x->given = x->made;
    while (x->given > 0 && x->path[x->given - 1] + 1 == x->widths[x->given - 1])
        x->given--;
    if (x->given == 0)
        return false;
    x->path[x->given - 1]++;
    return true;
}

bool explore_all(const explore_scenario *s, unsigned long most, explore_result *result)
{
    explore *x = explore_new(s);

    *result = (explore_result){ 0 };
    if (!run_again(x, result)) {
        while (!result->whole && result->runs < most && x->trouble[0] == '\0') {
            run_path(x, result);
            result->whole = !next_path(x);
        }
    }
    return explore_over(x);
}

bool explore_once(const explore_scenario *s, explore_result *result)
{
    explore *x = explore_new(s);

    *result = (explore_result){ 0 };
    run_path(x, result);
    return explore_over(x);
}

/* Under ThreadSanitizer each switch from task to task is a system call. */
#if defined(__SANITIZE_THREAD__)
#define SLOW 1
#elif defined(__has_feature)
#define SLOW __has_feature(thread_sanitizer)
#else
#define SLOW 0
#endif

static unsigned long count(const char *variable, unsigned long usual)
{
    const char *n = getenv(variable);

    return n != NULL ? strtoul(n, NULL, 10) : SLOW ? 300 : usual;
}

unsigned long explore_seed_count(void)
{
    return count("FJ_EXPLORE_SEEDS", 10000);
}

unsigned long explore_schedule_count(void)
{
    return count("FJ_EXPLORE_SCHEDULES", ULONG_MAX);
}
