/* SPDX-License-Identifier: Apache-2.0 */
/* Each sentence of <fjord/queue.h>.  Items are letters; a log of what was got and answered tells what happened. */
#include "base/alloc.h"
#include "tests/support/explore.h"

#include <check.h>
#include <fjord/await.h>
#include <fjord/queue.h>
#include <stdlib.h>
#include <string.h>

static char letters[] = "abcdefghijklmnopqrstuvwxyz";

static void *item(char c)
{
    return &letters[c - 'a'];
}

static char letter(const void *p)
{
    return *(const char *)p;
}

static fj_queue *make(fj_queue_order order, size_t bound, int (*compare)(const void *, const void *))
{
    fj_queue_opts opts = FJ_QUEUE_OPTS_INIT;
    fj_queue *q = NULL;

    opts.order = order;
    opts.bound = bound;
    opts.compare = compare;
    ck_assert_int_eq(fj_queue_new(&opts, &q, NULL), FJ_OK);
    return q;
}

static void put_all(fj_queue *q, const char *text)
{
    for (; *text != '\0'; text++)
        ck_assert_int_eq(fj_queue_put(q, item(*text), fj_never()), FJ_OK);
}

static void get_all(fj_queue *q, const char *text)
{
    void *got = NULL;

    for (; *text != '\0'; text++) {
        ck_assert_int_eq(fj_queue_get(q, fj_never(), &got), FJ_OK);
        ck_assert_int_eq(letter(got), *text);
    }
    ck_assert_int_eq(fj_queue_get_nowait(q, &got), FJ_AGAIN);
}

/* ---- alone ---------------------------------------------------------------------------------------- */

START_TEST(items_leave_a_queue_in_the_order_in_which_they_came)
{
    fj_queue *q = NULL;

    ck_assert_int_eq(fj_queue_new(NULL, &q, NULL), FJ_OK);
    put_all(q, "abcdefgh");
    ck_assert_uint_eq(fj_queue_size(q), 8);
    get_all(q, "abcdefgh");
    put_all(q, "zyx");
    get_all(q, "zyx");
    ck_assert_uint_eq(fj_queue_size(q), 0);
    ck_assert_ptr_null(fj_queue_free(q));
    ck_assert_ptr_null(fj_queue_free(NULL));
}
END_TEST

START_TEST(items_leave_a_lifo_queue_the_last_first)
{
    fj_queue *q = make(FJ_QUEUE_LIFO, 0, NULL);

    put_all(q, "abcd");
    get_all(q, "dcba");
    fj_queue_free(q);
}
END_TEST

/* The alphabet in pairs: a and b are equal, c and d... */
static int by_pairs(const void *a, const void *b)
{
    return (letter(a) - 'a') / 2 - (letter(b) - 'a') / 2;
}

START_TEST(items_leave_a_priority_queue_by_rank_and_equal_ones_in_their_order)
{
    fj_queue *q = make(FJ_QUEUE_PRIORITY, 0, by_pairs);

    put_all(q, "fdbacdeabf");
    get_all(q, "baabdcdfef");
    fj_queue_free(q);
}
END_TEST

START_TEST(a_priority_queue_needs_a_function_that_compares)
{
    fj_queue_opts opts = FJ_QUEUE_OPTS_INIT;
    fj_queue *q = NULL;
    fj_error *err = NULL;

    opts.order = FJ_QUEUE_PRIORITY;
    ck_assert_int_eq(fj_queue_new(&opts, &q, &err), FJ_BAD_VALUE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "compares"));
    opts.order = (fj_queue_order)7;
    ck_assert_int_eq(fj_queue_new(&opts, &q, &err), FJ_BAD_VALUE);
    err = fj_error_free(err);
}
END_TEST

START_TEST(a_bounded_queue_holds_so_many)
{
    fj_queue *q = make(FJ_QUEUE_FIFO, 2, NULL);

    put_all(q, "ab");
    ck_assert_int_eq(fj_queue_put_nowait(q, item('c')), FJ_AGAIN);
    ck_assert_int_eq(fj_queue_put(q, item('c'), fj_in_ms(1)), FJ_TIMEOUT);
    get_all(q, "ab");
    fj_queue_free(q);
}
END_TEST

START_TEST(getting_from_an_empty_queue_ends_at_the_deadline)
{
    fj_queue *q = make(FJ_QUEUE_FIFO, 0, NULL);
    void *got = NULL;

    ck_assert_int_eq(fj_queue_get(q, fj_in_ms(1), &got), FJ_TIMEOUT);
    ck_assert_int_eq(fj_queue_get(q, fj_in_ms(-1), &got), FJ_TIMEOUT);
    ck_assert_int_eq(fj_queue_get_nowait(q, &got), FJ_AGAIN);
    fj_queue_free(q);
}
END_TEST

START_TEST(a_closed_queue_takes_nothing_and_gives_what_it_has)
{
    fj_queue *q = make(FJ_QUEUE_FIFO, 0, NULL);
    void *got = NULL;

    put_all(q, "ab");
    fj_queue_close(q);
    fj_queue_close(q);
    ck_assert_int_eq(fj_queue_put_nowait(q, item('c')), FJ_CLOSED);
    ck_assert_int_eq(fj_queue_put(q, item('c'), fj_never()), FJ_CLOSED);
    ck_assert_int_eq(fj_queue_get(q, fj_never(), &got), FJ_OK);
    ck_assert_int_eq(fj_queue_get_nowait(q, &got), FJ_OK);
    ck_assert_int_eq(letter(got), 'b');
    ck_assert_int_eq(fj_queue_get_nowait(q, &got), FJ_CLOSED);
    ck_assert_int_eq(fj_queue_get(q, fj_never(), &got), FJ_CLOSED);
    fj_queue_free(q);
}
END_TEST

START_TEST(task_done_is_refused_beyond_what_was_got)
{
    fj_queue *q = make(FJ_QUEUE_FIFO, 0, NULL);

    ck_assert_int_eq(fj_queue_join(q, fj_in_ms(-1)), FJ_OK);
    put_all(q, "ab");
    ck_assert_int_eq(fj_queue_task_done(q), FJ_STATE);
    ck_assert_int_eq(fj_queue_join(q, fj_in_ms(-1)), FJ_TIMEOUT);
    get_all(q, "ab");
    ck_assert_int_eq(fj_queue_task_done(q), FJ_OK);
    ck_assert_int_eq(fj_queue_join(q, fj_in_ms(1)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_queue_task_done(q), FJ_OK);
    ck_assert_int_eq(fj_queue_task_done(q), FJ_STATE);
    ck_assert_int_eq(fj_queue_join(q, fj_in_ms(-1)), FJ_OK);
    fj_queue_free(q);
}
END_TEST

static char freed[8];

static void note_freed(void *p)
{
    freed[strlen(freed)] = letter(p);
}

START_TEST(items_left_in_a_queue_are_freed_with_it)
{
    fj_queue_opts opts = FJ_QUEUE_OPTS_INIT;
    fj_queue *q = NULL;
    void *got;

    opts.freed = note_freed;
    ck_assert_int_eq(fj_queue_new(&opts, &q, NULL), FJ_OK);
    put_all(q, "abc");
    ck_assert_int_eq(fj_queue_get(q, fj_never(), &got), FJ_OK);
    fj_queue_free(q);
    ck_assert_str_eq(freed, "bc");
}
END_TEST

START_TEST(without_memory_an_item_stays_its_owners)
{
    fj_queue *q = NULL;

    fj__alloc_fail(1, true);
    ck_assert_int_eq(fj_queue_new(NULL, &q, NULL), FJ_NOMEM);
    fj__alloc_fail(0, false);
    q = make(FJ_QUEUE_FIFO, 0, NULL);
    put_all(q, "a");
    fj__alloc_fail(1, true);
    fj_code code = FJ_OK;
    unsigned more = 0;
    for (; more < 100 && code == FJ_OK; more += code == FJ_OK)
        code = fj_queue_put_nowait(q, item('b'));
    ck_assert_int_eq(code, FJ_NOMEM);
    ck_assert_int_eq(fj_queue_put(q, item('b'), fj_never()), FJ_NOMEM);
    fj__alloc_fail(0, false);
    ck_assert_uint_eq(fj_queue_size(q), 1 + more);
    fj_queue_free(q);
}
END_TEST

/* ---- in company ----------------------------------------------------------------------------------- */

typedef struct {
    fj_queue *q;
    fj_task *task[8];
    char log[64];
} world;

static struct {
    fj_queue_order order;
    size_t bound;
    explore_fn act[8];
    const char *log;
} play_now;

static void begin(explore *x, void *state)
{
    world *w = state;

    w->q = make(play_now.order, play_now.bound, by_pairs);
    for (unsigned i = 0; play_now.act[i] != NULL; i++)
        w->task[i] = explore_task(x, "task", play_now.act[i], i);
}

static void end(explore *x, void *state, bool all_ended)
{
    world *w = state;

    explore_check(x, all_ended);
    ck_assert_str_eq(w->log, play_now.log);
    fj_queue_free(w->q);
}

/* Tasks that do these, beginning in this order. */
static void play(const char *log, explore_fn a, explore_fn b, explore_fn c, explore_fn d)
{
    static const explore_scenario scenario = { "queue", sizeof(world), begin, end };
    explore_result result;

    play_now.log = log;
    memcpy(play_now.act, (explore_fn[]){ a, b, c, d, NULL }, 5 * sizeof a);
    ck_assert_msg(explore_once(&scenario, &result), "%s", result.trouble);
}

static void note(world *w, char c)
{
    size_t n = strlen(w->log);

    ck_assert_uint_lt(n + 1, sizeof w->log);
    w->log[n] = c;
}

static void note_code(world *w, unsigned i, char well, fj_code code)
{
    note(w, code == FJ_OK          ? well
            : code == FJ_CANCELLED ? (char)('A' + i)
            : code == FJ_TIMEOUT   ? (char)('0' + i)
            : code == FJ_CLOSED    ? '.'
                                   : '?');
}

static void get_by(world *w, unsigned i, fj_deadline by)
{
    void *got = item('z');
    fj_code code = fj_queue_get(w->q, by, &got);

    note_code(w, i, letter(got), code);
}

static void get(explore *x, void *state, unsigned i)
{
    (void)x;
    get_by(state, i, fj_never());
}

static void put_abc(explore *x, void *state, unsigned i)
{
    (void)x;
    (void)i;
    put_all(((world *)state)->q, "abc");
}

START_TEST(who_waits_to_get_does_in_the_order_of_arrival)
{
    play("abc", get, get, get, put_abc);
}
END_TEST

static void put_abc_and_try(explore *x, void *state, unsigned i)
{
    world *w = state;
    void *got;

    put_abc(x, w, i);
    explore_check(x, fj_queue_get_nowait(w->q, &got) == FJ_AGAIN);
    explore_check(x, fj_queue_size(w->q) == 3); /* until those have them who waited */
    explore_point();
    explore_check(x, fj_queue_size(w->q) == 0);
}

START_TEST(an_item_that_was_given_to_a_waiter_is_out_of_reach)
{
    play("abc", get, get, get, put_abc_and_try);
}
END_TEST

static void nothing(explore *x, void *state, unsigned i)
{
    (void)x;
    (void)state;
    (void)i;
}

static void put_abcd_and_cancel(explore *x, void *state, unsigned i)
{
    world *w = state;

    put_abc(x, w, i);
    put_all(w->q, "d");
    fj_task_cancel(w->task[1]);
    fj_task_cancel(w->task[0]);
    explore_point();
    explore_check(x, fj_queue_size(w->q) == 3);
    for (int n = 0; n < 3; n++)
        get(x, w, i);
}

START_TEST(items_given_to_waiters_that_were_cancelled_find_their_places_again)
{
    play("ABcabd", get, get, get, put_abcd_and_cancel);
}
END_TEST

static void put_a_and_cancel(explore *x, void *state, unsigned i)
{
    (void)x;
    (void)i;
    put_all(((world *)state)->q, "a");
    fj_task_cancel(((world *)state)->task[1]);
}

START_TEST(an_item_given_to_a_waiter_that_was_cancelled_goes_to_the_next)
{
    play("Ba", nothing, get, get, put_a_and_cancel);
}
END_TEST

static void put(world *w, unsigned i, char c, fj_deadline by)
{
    note_code(w, i, (char)(c - 'a' + 'p'), fj_queue_put(w->q, item(c), by)); /* a is p, b is q... */
}

static void put_a_letter(explore *x, void *state, unsigned i)
{
    (void)x;
    put(state, i, (char)('a' + i), fj_never());
}

static void get_three(explore *x, void *state, unsigned i)
{
    get(x, state, i);
    get(x, state, i);
    get(x, state, i);
}

START_TEST(who_waits_to_put_does_in_the_order_of_arrival)
{
    play_now.bound = 1;
    play("paqbrc", put_a_letter, put_a_letter, put_a_letter, get_three);
}
END_TEST

static void get_and_cancel_b(explore *x, void *state, unsigned i)
{
    world *w = state;
    void *got;

    get(x, w, i);
    explore_check(x, fj_queue_put_nowait(w->q, item('z')) == FJ_AGAIN); /* the place is b's already */
    fj_task_cancel(w->task[1]);
    explore_check(x, fj_queue_get(w->q, fj_never(), &got) == FJ_OK && letter(got) == 'c');
}

START_TEST(a_place_of_a_putter_that_was_cancelled_goes_to_the_next_and_the_item_stays_its_owners)
{
    play_now.bound = 1;
    play("paBr", put_a_letter, put_a_letter, put_a_letter, get_and_cancel_b);
}
END_TEST

static void close_it(explore *x, void *state, unsigned i)
{
    (void)x;
    (void)i;
    fj_queue_close(((world *)state)->q);
}

START_TEST(who_waits_to_put_answers_closed_when_the_queue_is)
{
    play_now.bound = 1;
    play("p..", put_a_letter, put_a_letter, put_a_letter, close_it);
}
END_TEST

START_TEST(who_waits_to_get_answers_closed_when_the_queue_is)
{
    play("...", get, get, get, close_it);
}
END_TEST

static void put_a_close_and_cancel(explore *x, void *state, unsigned i)
{
    world *w = state;
    void *got;

    put_all(w->q, "a");
    fj_queue_close(w->q);
    explore_check(x, fj_queue_get_nowait(w->q, &got) == FJ_AGAIN); /* it may come back */
    fj_task_cancel(w->task[1]);
    get(x, w, i);
}

START_TEST(a_closed_queue_is_empty_only_when_no_item_can_come_back)
{
    play("Ba.", nothing, get, get, put_a_close_and_cancel);
}
END_TEST

static void get_and_finish(explore *x, void *state, unsigned i)
{
    world *w = state;

    for (int n = 0; n < 3; n++) {
        get(x, w, i);
        explore_point();
        explore_check(x, fj_queue_task_done(w->q) == FJ_OK);
    }
}

static void join(explore *x, void *state, unsigned i)
{
    world *w = state;

    (void)x;
    note_code(w, i, 'j', fj_queue_join(w->q, fj_never()));
}

static void join_impatiently(explore *x, void *state, unsigned i)
{
    world *w = state;

    (void)x;
    note_code(w, i, 'j', fj_queue_join(w->q, fj_in_ms(-1)));
}

START_TEST(join_waits_until_each_item_is_dealt_with)
{
    play("2abcj", put_abc, join, join_impatiently, get_and_finish);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *tests = tcase_create("queue");

    tcase_add_test(tests, items_leave_a_queue_in_the_order_in_which_they_came);
    tcase_add_test(tests, items_leave_a_lifo_queue_the_last_first);
    tcase_add_test(tests, items_leave_a_priority_queue_by_rank_and_equal_ones_in_their_order);
    tcase_add_test(tests, a_priority_queue_needs_a_function_that_compares);
    tcase_add_test(tests, a_bounded_queue_holds_so_many);
    tcase_add_test(tests, getting_from_an_empty_queue_ends_at_the_deadline);
    tcase_add_test(tests, a_closed_queue_takes_nothing_and_gives_what_it_has);
    tcase_add_test(tests, task_done_is_refused_beyond_what_was_got);
    tcase_add_test(tests, items_left_in_a_queue_are_freed_with_it);
    tcase_add_test(tests, without_memory_an_item_stays_its_owners);
    tcase_add_test(tests, who_waits_to_get_does_in_the_order_of_arrival);
    tcase_add_test(tests, an_item_that_was_given_to_a_waiter_is_out_of_reach);
    tcase_add_test(tests, items_given_to_waiters_that_were_cancelled_find_their_places_again);
    tcase_add_test(tests, an_item_given_to_a_waiter_that_was_cancelled_goes_to_the_next);
    tcase_add_test(tests, who_waits_to_put_does_in_the_order_of_arrival);
    tcase_add_test(tests,
                   a_place_of_a_putter_that_was_cancelled_goes_to_the_next_and_the_item_stays_its_owners);
    tcase_add_test(tests, who_waits_to_put_answers_closed_when_the_queue_is);
    tcase_add_test(tests, who_waits_to_get_answers_closed_when_the_queue_is);
    tcase_add_test(tests, a_closed_queue_is_empty_only_when_no_item_can_come_back);
    tcase_add_test(tests, join_waits_until_each_item_is_dealt_with);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
