/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to wake a loop from another thread: two loops that answer each other's letters, beside two threads that
 * answer each other's eventfd with read(2) and write(2) alone.  The sides take turns; of each the median and the best
 * round are told, for one way.
 */
#include "base/alloc.h"
#include "runtime/loop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#define ROUNDS 41
#define TURNS 3000

static void check(bool ok)
{
    if (!ok) {
        fprintf(stderr, "wakeup: a thread, a loop or an eventfd could not be made or used\n");
        exit(EXIT_FAILURE);
    }
}

/* ---- eventfds ---- */

static int there, back;

static void *echo(void *user)
{
    eventfd_t n = 0;

    (void)user;
    for (;;) { /* told 2, it ends */
        check(eventfd_read(there, &n) == 0);
        if (n == 2)
            return NULL;
        check(eventfd_write(back, 1) == 0);
    }
}

static double bare(void)
{
    fj_deadline since = fj_now();
    eventfd_t n;

    for (int i = 0; i < TURNS; i++) {
        check(eventfd_write(there, 1) == 0);
        check(eventfd_read(back, &n) == 0);
    }
    return (double)(fj_now().ns - since.ns) / (2. * TURNS);
}

/* ---- loops ---- */

struct side {
    fj__letter letter;
    fj_loop *loop;
    struct side *other;
    int left; /* counted on one side only */
};

static void answer(fj__letter *letter)
{
    struct side *s = fj__container(letter, struct side, letter);

    if (s->left != 0 && --s->left == 0)
        fj_loop_stop(s->loop);
    else
        (void)fj__loop_post(s->other->loop, &s->other->letter);
}

static void *serve(void *loop)
{
    check(fj_loop_run_forever(loop, NULL) == FJ_OK);
    return NULL;
}

static double letters(struct side *near)
{
    fj_deadline since = fj_now();

    near->left = TURNS;
    (void)fj__loop_post(near->other->loop, &near->other->letter);
    check(fj_loop_run_forever(near->loop, NULL) == FJ_OK);
    return (double)(fj_now().ns - since.ns) / (2. * TURNS);
}

/* ---- */

static int smaller(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double tell(const char *what, double *rounds)
{
    qsort(rounds, ROUNDS, sizeof *rounds, smaller);
    printf("%-28s median %6.2f us, best %6.2f us\n", what, rounds[ROUNDS / 2] / 1e3, rounds[0] / 1e3);
    return rounds[ROUNDS / 2];
}

int main(void)
{
    static double eventfds[ROUNDS], inboxes[ROUNDS];
    struct side near = { .letter = { .read = answer } }, far = { .letter = { .read = answer } };
    pthread_t echoes, serves;

    near.other = &far;
    far.other = &near;
    there = eventfd(0, EFD_CLOEXEC);
    back = eventfd(0, EFD_CLOEXEC);
    check(there >= 0 && back >= 0);
    check(fj_loop_new(&near.loop, NULL) == FJ_OK && fj_loop_new(&far.loop, NULL) == FJ_OK);
    check(pthread_create(&echoes, NULL, echo, NULL) == 0 &&
          pthread_create(&serves, NULL, serve, far.loop) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        eventfds[i] = bare();
        inboxes[i] = letters(&near);
    }
    check(eventfd_write(there, 2) == 0);
    fj_loop_stop(far.loop);
    check(pthread_join(echoes, NULL) == 0 && pthread_join(serves, NULL) == 0);
    double theirs = tell("a bare eventfd", eventfds);
    double mine = tell("a letter to a loop", inboxes);
    printf("a letter/an eventfd %.2f (goal <= 1.5: %s); best rounds %.2f\n", mine / theirs,
           mine <= 1.5 * theirs ? "met" : "not met", inboxes[0] / eventfds[0]);
    fj_loop_free(near.loop);
    fj_loop_free(far.loop);
    return EXIT_SUCCESS;
}
