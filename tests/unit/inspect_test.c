/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/inspect.h"
#include <check.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const fj_deadline any_time = { INT64_MAX };

static json_t *one(void *user, fj_deadline by)
{
    (void)by;
    return json_pack("{s:s}", "name", (const char *)user);
}

static json_t *two(void *user, fj_deadline by)
{
    (void)by;
    return json_pack("[{s:s}, {s:s}]", "name", (const char *)user, "name", "and more");
}

static json_t *none(void *user, fj_deadline by)
{
    (void)user;
    (void)by;
    return NULL;
}

static char *names_of(const char *kind)
{
    json_t *all = NULL, *each = NULL;
    size_t n = 0;
    char *names = strdup("");

    ck_assert(fj_inspect(kind, any_time, &all, NULL) == FJ_OK);
    json_array_foreach(all, n, each)
    {
        char *longer =
            fj__format("%s%s%s", names, n > 0 ? ", " : "", json_string_value(json_object_get(each, "name")));
        free(names);
        names = longer;
    }
    json_decref(all);
    return names;
}

#define ck_names(kind, expected)           \
    do {                                   \
        char *names = names_of(kind);      \
        ck_assert_str_eq(names, expected); \
        free(names);                       \
    } while (0)

START_TEST(what_was_added_is_asked_in_order_and_by_kind)
{
    fj__inspected a, b, c, d;

    ck_names("loop", "");
    fj__inspect_add(&a, "loop", one, "a");
    fj__inspect_add(&b, "queue", one, "b");
    fj__inspect_add(&c, "loop", two, "c");
    fj__inspect_add(&d, "loop", none, "d");
    ck_names("loop", "a, c, and more");
    ck_names("queue", "b");
    fj__inspect_remove(&a);
    fj__inspect_remove(&a);
    ck_names("loop", "c, and more");
    fj__inspect_remove(&d);
    fj__inspect_remove(&c);
    ck_names("loop", "");
    ck_names("queue", "b");
    fj__inspect_remove(&b);
    ck_names("queue", "");
}
END_TEST

START_TEST(a_kind_that_nobody_knows_is_refused)
{
    json_t *all = NULL;
    fj_error *err = NULL;
    fj__inspected own;

    ck_assert(fj_inspect("moods", any_time, &all, &err) == FJ_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "\"moods\""));
    ck_assert_ptr_null(all);
    fj_error_free(err);
    fj__inspect_add(&own, "moods", one, "good");
    ck_names("moods", "good");
    fj__inspect_remove(&own);
}
END_TEST

struct slow {
    sem_t asked, go_on;
    atomic_bool removed;
    fj__inspected i;
};

static json_t *slowly(void *user, fj_deadline by)
{
    struct slow *s = user;

    (void)by;
    (void)sem_post(&s->asked);
    while (sem_wait(&s->go_on) != 0)
        ;
    ck_assert(!atomic_load(&s->removed));
    return json_pack("{s:s}", "name", "slow");
}

static void *ask(void *kind)
{
    return names_of(kind);
}

static void *take_out(void *user)
{
    struct slow *s = user;

    fj__inspect_remove(&s->i);
    atomic_store(&s->removed, true);
    return NULL;
}

START_TEST(a_source_is_removed_when_it_has_answered_and_others_come_and_go_meanwhile)
{
    struct slow s = { .removed = false };
    fj__inspected other;
    pthread_t asker, remover;
    void *said = NULL;

    (void)sem_init(&s.asked, 0, 0);
    (void)sem_init(&s.go_on, 0, 0);
    fj__inspect_add(&s.i, "loop", slowly, &s);
    ck_assert_int_eq(pthread_create(&asker, NULL, ask, "loop"), 0);
    (void)sem_wait(&s.asked);
    fj__inspect_add(&other, "loop", one, "late"); /* with nothing to wait for */
    ck_assert_int_eq(pthread_create(&remover, NULL, take_out, &s), 0);
    fj__inspect_remove(&other);
    fj__inspect_add(&other, "loop", one, "later");
    ck_assert(!atomic_load(&s.removed));
    (void)sem_post(&s.go_on);
    ck_assert_int_eq(pthread_join(remover, NULL), 0);
    ck_assert_int_eq(pthread_join(asker, &said), 0);
    ck_assert_str_eq(said, "slow");
    free(said);
    ck_names("loop", "later");
    fj__inspect_remove(&other);
    (void)sem_destroy(&s.asked);
    (void)sem_destroy(&s.go_on);
}
END_TEST

START_TEST(a_child_of_fork_starts_with_nothing)
{
    struct slow s = { .removed = false };
    fj__inspected own;
    pthread_t asker;
    void *said = NULL;
    int status = 0;

    (void)sem_init(&s.asked, 0, 0);
    (void)sem_init(&s.go_on, 0, 0);
    fj__inspect_add(&s.i, "loop", slowly, &s);
    ck_assert_int_eq(pthread_create(&asker, NULL, ask, "loop"), 0);
    (void)sem_wait(&s.asked);
    pid_t pid = fork();
    if (pid == 0) {
        ck_names("loop", "");
        fj__inspect_remove(&s.i); /* the asker's, who is not here: nothing to wait for */
        fj__inspect_add(&own, "loop", one, "child");
        ck_names("loop", "child");
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)sem_post(&s.go_on);
    ck_assert_int_eq(pthread_join(asker, &said), 0);
    ck_assert_str_eq(said, "slow");
    free(said);
    fj__inspect_remove(&s.i);
    (void)sem_destroy(&s.asked);
    (void)sem_destroy(&s.go_on);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("inspect");
    TCase *tc = tcase_create("register");
    SRunner *r = srunner_create(s);

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, what_was_added_is_asked_in_order_and_by_kind);
    tcase_add_test(tc, a_kind_that_nobody_knows_is_refused);
    tcase_add_test(tc, a_source_is_removed_when_it_has_answered_and_others_come_and_go_meanwhile);
    tcase_add_test(tc, a_child_of_fork_starts_with_nothing);
    suite_add_tcase(s, tc);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
