/* SPDX-License-Identifier: Apache-2.0 */
/* Where a consumer goes on in a stream, against a naive model. */
#include "transports/amqp/stream.h"

#include <check.h>
#include <stdlib.h>

enum { ROUNDS = 300, STEPS = 200, OFFSETS = 4096 };

START_TEST(nothing_is_known_before_the_first_message)
{
    fj__stream s = { 0 };

    ck_assert_int_eq(fj__stream_from(&s), -1);
    fj__stream_lost(&s);
    ck_assert_int_eq(fj__stream_from(&s), -1);
    fj__stream_fini(&s);
}
END_TEST

START_TEST(it_goes_on_with_the_oldest_that_is_not_done_with)
{
    fj__stream s = { 0 };

    for (int64_t i = 10; i < 15; i++)
        ck_assert(fj__stream_came(&s, i));
    ck_assert_int_eq(fj__stream_from(&s), 10);
    fj__stream_settle(&s, 11);
    ck_assert_int_eq(fj__stream_from(&s), 10);
    fj__stream_settle(&s, 10);
    ck_assert_int_eq(fj__stream_from(&s), 12);
    fj__stream_lost(&s);
    ck_assert_int_eq(fj__stream_from(&s), 12);
    ck_assert(fj__stream_came(&s, 12)); /* again */
    fj__stream_settle(&s, 14);          /* of the connection before: it comes again, too */
    ck_assert_int_eq(fj__stream_from(&s), 12);
    fj__stream_settle(&s, 12);
    ck_assert_int_eq(fj__stream_from(&s), 13);
    fj__stream_forget(&s);
    ck_assert_int_eq(fj__stream_from(&s), -1);
    ck_assert(fj__stream_came(&s, 0)); /* another stream */
    ck_assert_int_eq(fj__stream_from(&s), 0);
    fj__stream_fini(&s);
}
END_TEST

static int64_t naive_from(const char *state, int64_t begin, int64_t next)
{
    for (int64_t i = begin; i < next; i++)
        if (state[i] == 1)
            return i;
    return next;
}

START_TEST(whatever_happens_it_is_as_the_naive_model)
{
    for (unsigned seed = 1; seed <= ROUNDS; seed++) {
        static char state[OFFSETS]; /* 0: not here, 1: came, 2: settled */
        fj__stream s = { 0 };
        int64_t next = 5, begin = 5;
        unsigned r = seed;

        for (int i = 0; i < OFFSETS; i++)
            state[i] = 0;
        ck_assert(fj__stream_came(&s, next));
        state[next++] = 1;
        for (int step = 0; step < STEPS; step++) {
            unsigned what = (unsigned)rand_r(&r) % 20;
            if (what < 10) {
                next += rand_r(&r) % 3 == 0 ? 2 : 0; /* others' messages, or none */
                ck_assert(fj__stream_came(&s, next));
                state[next++] = 1;
            } else if (what < 19) {
                int64_t one = begin + rand_r(&r) % (next - begin);
                fj__stream_settle(&s, one);
                state[one] = state[one] == 1 ? 2 : state[one];
            } else {
                fj__stream_lost(&s);
                begin = next = naive_from(state, begin, next);
                for (int64_t i = next; i < OFFSETS; i++)
                    state[i] = 0;
                ck_assert(fj__stream_came(&s, next));
                state[next++] = 1;
            }
            ck_assert_msg(fj__stream_from(&s) == naive_from(state, begin, next), "seed %u step %d", seed, step);
        }
        fj__stream_fini(&s);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream");
    TCase *c = tcase_create("stream");

    tcase_add_test(c, nothing_is_known_before_the_first_message);
    tcase_add_test(c, it_goes_on_with_the_oldest_that_is_not_done_with);
    tcase_add_test(c, whatever_happens_it_is_as_the_naive_model);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
