/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fibre costs, beside Boost.Context: a resume with its suspend against two jumps, and a fibre that is made, runs
 * to its end and is given back.  The sides take turns; of each the median and the best round are told.
 */
#include "runtime/fibre.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 41
#define TURNS 200000

/* The C side of Boost.Context, which has no header. */
typedef struct {
    void *context;
    void *data;
} transfer;
extern transfer jump_fcontext(void *to, void *data);
extern void *make_fcontext(void *top, size_t size, void (*fn)(transfer));

static void hops(transfer t)
{
    for (;;)
        t = jump_fcontext(t.context, t.data);
}

static void parks(void *arg)
{
    bool *stop = arg;

    while (!*stop)
        fj__fibre_suspend();
}

static void ends(void *arg)
{
    (void)arg;
}

/* In processor time: the machine may be busy. */
static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double per_turn(double since)
{
    return (now() - since) / TURNS;
}

static double boost(void *context)
{
    double since = now();

    for (int i = 0; i < TURNS; i++)
        context = jump_fcontext(context, NULL).context;
    return per_turn(since);
}

static double ours(fj__fibre *f)
{
    double since = now();

    for (int i = 0; i < TURNS; i++)
        (void)fj__fibre_resume(f);
    return per_turn(since);
}

static double whole_life(void)
{
    double since = now();

    for (int i = 0; i < TURNS; i++) {
        fj__fibre f;
        if (fj__fibre_init(&f, FJ__STACK_DEFAULT, ends, NULL, NULL) != FJ_OK)
            exit(EXIT_FAILURE);
        (void)fj__fibre_resume(&f);
        fj__fibre_fini(&f);
    }
    return per_turn(since);
}

static int smaller(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double tell(const char *what, double *rounds)
{
    qsort(rounds, ROUNDS, sizeof *rounds, smaller);
    printf("%-28s median %6.1f ns, best %6.1f ns\n", what, rounds[ROUNDS / 2], rounds[0]);
    return rounds[ROUNDS / 2];
}

int main(void)
{
    static double jumps[ROUNDS], switches[ROUNDS], lives[ROUNDS];
    const size_t size = FJ__STACK_DEFAULT;
    bool stop = false;
    fj__fibre f;
    char *stack = malloc(size);

    if (stack == NULL || fj__fibre_init(&f, size, parks, &stop, NULL) != FJ_OK)
        return EXIT_FAILURE;
    void *context = jump_fcontext(make_fcontext(stack + size, size, hops), NULL).context;
    (void)fj__fibre_resume(&f);
    for (int i = 0; i < ROUNDS; i++) {
        jumps[i] = boost(context);
        switches[i] = ours(&f);
        lives[i] = whole_life();
    }
    double theirs = tell("two jumps of Boost.Context", jumps);
    double mine = tell("a resume and its suspend", switches);
    tell("init, resume, end, fini", lives);
    printf("resume+suspend/two jumps %.2f (goal <= 1.3: %s)\n", mine / theirs,
           mine <= 1.3 * theirs ? "met" : "not met");
    stop = true;
    while (fj__fibre_resume(&f))
        ;
    fj__fibre_fini(&f);
    free(stack);
    return EXIT_SUCCESS;
}
