/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/waiter.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

typedef struct {
    pthread_mutex_t lock;
    fj__waiters list;
    bool granted;
} gate;

static void *grant(void *arg)
{
    gate *g = arg;

    (void)pthread_mutex_lock(&g->lock);
    g->granted = true;
    for (fj__waiter *w; (w = g->list.first) != NULL;) {
        fj__waiters_remove(&g->list, w);
        fj__waiter_wake(w);
    }
    (void)pthread_mutex_unlock(&g->lock);
    return NULL;
}

static fj_code pass(gate *g, fj_deadline by)
{
    fj__waiter w;

    ck_assert_int_eq(fj__waiter_init(&w, "gate"), FJ_OK);
    (void)pthread_mutex_lock(&g->lock);
    if (g->granted) {
        (void)pthread_mutex_unlock(&g->lock);
        return FJ_OK;
    }
    fj__waiters_push(&g->list, &w);
    (void)pthread_mutex_unlock(&g->lock);
    fj_code code = fj__waiter_wait(&w, by);
    if (code != FJ_OK) {
        (void)pthread_mutex_lock(&g->lock);
        if (fj__waiters_has(&g->list, &w))
            fj__waiters_remove(&g->list, &w);
        (void)pthread_mutex_unlock(&g->lock);
    }
    return code;
}

START_TEST(a_plain_thread_sleeps_until_another_wakes_it)
{
    for (int i = 0; i < 300; i++) {
        gate g = { .lock = PTHREAD_MUTEX_INITIALIZER };
        pthread_t other;

        ck_assert_int_eq(pthread_create(&other, NULL, grant, &g), 0);
        ck_assert_int_eq(pass(&g, fj_never()), FJ_OK);
        ck_assert_int_eq(pthread_join(other, NULL), 0);
        ck_assert_ptr_null(g.list.first);
    }
}
END_TEST

START_TEST(a_plain_thread_gives_up_at_its_deadline)
{
    gate g = { .lock = PTHREAD_MUTEX_INITIALIZER };

    ck_assert_int_eq(pass(&g, fj_in_ms(-1)), FJ_TIMEOUT);
    ck_assert_int_eq(pass(&g, fj_in_ms(5)), FJ_TIMEOUT);
    ck_assert_ptr_null(g.list.first);
}
END_TEST

START_TEST(a_wake_before_the_wait_is_not_lost)
{
    fj__waiter w;

    ck_assert_int_eq(fj__waiter_init(&w, "nothing"), FJ_OK);
    fj__waiter_wake(&w);
    ck_assert_int_eq(fj__waiter_wait(&w, fj_in_ms(-1)), FJ_OK);
}
END_TEST

START_TEST(a_list_keeps_its_order_whatever_leaves_it)
{
    fj__waiters list = { 0 };
    fj__waiter w[4];

    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(fj__waiter_init(&w[i], "list"), FJ_OK);
        ck_assert(!fj__waiters_has(&list, &w[i]));
        fj__waiters_push(&list, &w[i]);
    }
    fj__waiters_remove(&list, &w[2]);
    ck_assert(!fj__waiters_has(&list, &w[2]) && fj__waiters_has(&list, &w[0]) && fj__waiters_has(&list, &w[3]));
    ck_assert(list.first == &w[0] && w[0].next == &w[1] && w[1].next == &w[3] && list.last == &w[3]);
    fj__waiters_remove(&list, &w[0]);
    fj__waiters_remove(&list, &w[3]);
    ck_assert(list.first == &w[1] && list.last == &w[1] && w[1].next == NULL && w[1].prev == NULL);
    fj__waiters_remove(&list, &w[1]);
    ck_assert(list.first == NULL && list.last == NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("waiter");
    TCase *t = tcase_create("waiter");

    tcase_add_test(t, a_plain_thread_sleeps_until_another_wakes_it);
    tcase_add_test(t, a_plain_thread_gives_up_at_its_deadline);
    tcase_add_test(t, a_wake_before_the_wait_is_not_lost);
    tcase_add_test(t, a_list_keeps_its_order_whatever_leaves_it);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
