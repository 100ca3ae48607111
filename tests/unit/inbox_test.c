/* SPDX-License-Identifier: Apache-2.0 */
/* The inbox, alone and under a loop: nothing is lost, order is kept, wake-ups are coalesced. */
#include "runtime/inbox.h"
#include "runtime/loop.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum { WRITERS = 8, LETTERS = 2000 };

static fj__inbox in;

struct note {
    fj__letter letter;
    int number;
};
static int order[8], n_read;

static void on_read(fj__letter *letter)
{
    order[n_read++] = ((struct note *)letter)->number;
}

static bool rung(void)
{
    struct pollfd p = { .fd = in.fd, .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

static void set_up(void)
{
    ck_assert_int_eq(fj__inbox_init(&in, NULL), FJ_OK);
}

static void tear_down(void)
{
    fj__inbox_fini(&in);
}

START_TEST(letters_are_read_in_the_order_they_were_posted)
{
    struct note notes[3] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };

    ck_assert(!fj__inbox_read(&in));
    for (int i = 0; i < 3; i++) {
        notes[i].letter.read = on_read;
        ck_assert(fj__inbox_post(&in, &notes[i].letter));
        ck_assert(!fj__inbox_post(&in, &notes[i].letter));
    }
    ck_assert(fj__inbox_read(&in));
    ck_assert_int_eq(n_read, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(order[i], i + 1);
    ck_assert(!fj__inbox_read(&in));
}
END_TEST

START_TEST(only_the_first_wake_up_of_a_sleep_writes)
{
    struct note notes[3] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };
    eventfd_t n = 0;

    for (int i = 0; i < 3; i++)
        notes[i].letter.read = on_read;
    (void)fj__inbox_post(&in, &notes[0].letter);
    ck_assert(!rung()); /* it is awake */
    ck_assert(!fj__inbox_sleep(&in));
    (void)fj__inbox_read(&in);
    ck_assert(fj__inbox_sleep(&in));
    (void)fj__inbox_post(&in, &notes[1].letter);
    (void)fj__inbox_post(&in, &notes[2].letter);
    fj__inbox_wake(&in);
    ck_assert(rung());
    ck_assert_int_eq(eventfd_read(in.fd, &n), 0);
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(eventfd_write(in.fd, n), 0);
    ck_assert(fj__inbox_awake(&in));
    ck_assert(!rung());
    (void)fj__inbox_read(&in);
    ck_assert_int_eq(n_read, 3);
}
END_TEST

START_TEST(a_wake_up_before_the_sleep_is_not_lost)
{
    fj__inbox_wake(&in);
    ck_assert(!fj__inbox_sleep(&in));
    ck_assert(fj__inbox_sleep(&in));
    ck_assert(!fj__inbox_awake(&in));
}
END_TEST

START_TEST(the_write_that_comes_late_is_read_later)
{
    eventfd_t n = 0;

    ck_assert(fj__inbox_sleep(&in));
    fj__inbox_wake(&in);
    ck_assert_int_eq(eventfd_read(in.fd, &n), 0); /* as if it were not there yet */
    ck_assert(fj__inbox_awake(&in));
    ck_assert(fj__inbox_sleep(&in));
    ck_assert_int_eq(eventfd_write(in.fd, n), 0); /* now it is */
    ck_assert(!fj__inbox_awake(&in));
    ck_assert(!rung());
}
END_TEST

static struct note again;

static void post_again(fj__letter *letter)
{
    if (++n_read < 3)
        ck_assert(fj__inbox_post(&in, letter));
}

START_TEST(a_letter_may_be_posted_again_while_it_is_read)
{
    again.letter.read = post_again;
    (void)fj__inbox_post(&in, &again.letter);
    ck_assert(fj__inbox_read(&in));
    ck_assert_int_eq(n_read, 1);
    ck_assert(fj__inbox_read(&in));
    ck_assert(fj__inbox_read(&in));
    ck_assert(!fj__inbox_read(&in));
    ck_assert_int_eq(n_read, 3);
}
END_TEST

/* ---- many threads and one loop ---- */

struct writer {
    fj_loop *loop;
    int next; /* what the loop has heard of it */
    int sent;
};
static int finished;

static void hear(fj_loop *loop, void *user)
{
    struct writer *w = user;

    if (++w->next == LETTERS && ++finished == WRITERS)
        fj_loop_stop(loop);
}

static void *write_many(void *user)
{
    struct writer *w = user;

    while (w->sent < LETTERS) {
        if (fj_loop_call_soon_threadsafe(w->loop, hear, w, "hear") == FJ_OK)
            w->sent++;
    }
    return NULL;
}

START_TEST(nothing_of_eight_threads_is_lost)
{
    struct writer writers[WRITERS] = { 0 };
    pthread_t threads[WRITERS];
    fj_loop *loop = NULL;

    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].loop = loop;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_many, &writers[i]), 0);
    }
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(writers[i].next, LETTERS);
    }
    fj_loop_free(loop);
}
END_TEST

struct player {
    fj_loop *loop;
    struct player *other;
    fj__letter letter;
    int left;
};

/* Each letter is answered by the other loop's: both sleep and are woken every time. */
static void play(fj__letter *letter)
{
    struct player *p = (struct player *)(void *)((char *)letter - offsetof(struct player, letter));

    if (p->left == 0)
        return; /* the answer to its last */
    if (--p->left == 0)
        fj_loop_stop(p->loop);
    (void)fj__loop_post(p->other->loop, &p->other->letter);
}

static void *run_loop(void *loop)
{
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    return NULL;
}

START_TEST(two_loops_play_ping_pong_and_neither_oversleeps)
{
    struct player a = { .left = 5000 }, b = { .left = 5000 };
    pthread_t thread;

    a.letter.read = b.letter.read = play;
    a.other = &b;
    b.other = &a;
    ck_assert_int_eq(fj_loop_new(&a.loop, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_new(&b.loop, NULL), FJ_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_loop, b.loop), 0);
    (void)fj__loop_post(a.loop, &a.letter);
    ck_assert_int_eq(fj_loop_run_forever(a.loop, NULL), FJ_OK);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(a.left, 0);
    ck_assert_int_eq(b.left, 0);
    fj_loop_free(a.loop);
    fj_loop_free(b.loop);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("inbox");
    TCase *t = tcase_create("inbox");
    SRunner *r = srunner_create(s);

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, letters_are_read_in_the_order_they_were_posted);
    tcase_add_test(t, only_the_first_wake_up_of_a_sleep_writes);
    tcase_add_test(t, a_wake_up_before_the_sleep_is_not_lost);
    tcase_add_test(t, the_write_that_comes_late_is_read_later);
    tcase_add_test(t, a_letter_may_be_posted_again_while_it_is_read);
    tcase_add_test(t, nothing_of_eight_threads_is_lost);
    tcase_add_test(t, two_loops_play_ping_pong_and_neither_oversleeps);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
