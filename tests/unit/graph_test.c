/* SPDX-License-Identifier: Apache-2.0 */
/* Graphs of tasks that need each other. */
#include "base/alloc.h"
#include "tests/support/in_task.h"

#include <check.h>
#include <fjord/group.h>
#include <stdlib.h>
#include <string.h>

/* Tells its name when it begins; when it has slept `ms`, its name and "." or, failing, "!"; "-" when it was cut short. */
struct job {
    const char *name;
    int ms;
    fj_code code;
};

static fj_task_graph *graph;

static fj_code work(void *user, json_t **ret, fj_error **err)
{
    const struct job *job = user;

    (void)ret;
    note(job->name);
    fj_code code = pause_ms(job->ms);
    note(job->name);
    note(code != FJ_OK ? "-" : job->code != FJ_OK ? "!" : ".");
    if (code != FJ_OK)
        return code;
    return job->code == FJ_OK ? FJ_OK : fj_fail(err, job->code, "no good");
}

static fj_task_node *node(struct job *job)
{
    fj_task_node *made = NULL;

    ck_assert_int_eq(fj_task_graph_add(graph, job->name, work, job, &made), FJ_OK);
    return made;
}

static void needs(fj_task_node *one, fj_task_node *other)
{
    ck_assert_int_eq(fj_task_graph_depend(graph, one, other), FJ_OK);
}

static fj_code run_graph(bool collect, fj_deadline by)
{
    return fj_task_graph_run(graph, collect, by, NULL);
}

static void setup(void)
{
    ck_assert_int_eq(fj_task_graph_new(&graph), FJ_OK);
}

static void teardown(void)
{
    graph = fj_task_graph_free(graph);
    ck_assert_ptr_null(graph);
}

/* ---- the order ----------------------------------------------------------------------------------- */

static void chain(void)
{
    struct job a = { "a", 10, 0 }, b = { "b", 10, 0 }, c = { "c", 10, 0 };
    fj_task_node *nc = node(&c), *nb = node(&b), *na = node(&a);

    needs(nc, nb);
    needs(nb, na);
    rt_code(run_graph(false, fj_never()), OK);
    ck_assert_str_eq(notes(), "aa.bb.cc.");
    ck_assert_int_eq(rt_ms(), 30);
}

START_TEST(a_task_begins_only_after_those_it_needs_have_ended)
{
    in_task(chain);
}
END_TEST

static void as_soon_as_possible(void)
{
    struct job a = { "a", 10, 0 }, b = { "b", 50, 0 }, c = { "c", 20, 0 }, d = { "d", 10, 0 };
    fj_task_node *na = node(&a), *nb = node(&b), *nc = node(&c), *nd = node(&d);

    needs(nc, na);
    needs(nd, nb);
    needs(nd, nc);
    needs(nd, nc); /* said twice, it counts once */
    rt_code(run_graph(false, fj_never()), OK);
    ck_assert_str_eq(notes(), "aba.cc.b.dd.");
    ck_assert_int_eq(rt_ms(), 60);
}

START_TEST(each_begins_as_soon_as_its_dependencies_allow_and_others_run_meanwhile)
{
    in_task(as_soon_as_possible);
}
END_TEST

static void reversed(void)
{
    struct job a = { "a", 10, 0 }, b = { "b", 10, 0 }, c = { "c", 10, 0 };
    fj_task_node *na = node(&a), *nb = node(&b), *nc = node(&c);

    needs(nb, na);
    rt_code(run_graph(false, fj_never()), OK);
    fj_task_graph_reverse(graph);
    needs(nb, nc); /* said of the direction there is now: b before a, c before b */
    rt_code(run_graph(false, fj_never()), OK);
    fj_task_graph_reverse(graph);
    rt_code(run_graph(false, fj_never()), OK);
    ck_assert_str_eq(notes(), "aca.c.bb."
                              "cc.bb.aa."
                              "aa.bb.cc.");
}

START_TEST(what_was_built_can_be_taken_down_in_the_other_direction)
{
    in_task(reversed);
}
END_TEST

enum { MANY = 40 };
static struct {
    unsigned index;
    bool ended;
} state[MANY];
static bool edge[MANY][MANY];
static unsigned out_of_order, ended;

static fj_code checks_needs(void *user, json_t **ret, fj_error **err)
{
    unsigned i = *(unsigned *)user;

    (void)ret;
    (void)err;
    for (unsigned j = 0; j < MANY; j++)
        out_of_order += edge[i][j] && !state[j].ended;
    fj_code code = pause_ms((i * 7) % 5);
    state[i].ended = true;
    ended++;
    return code;
}

static void random_graphs(void)
{
    unsigned seed = 1;

    for (int round = 0; round < 50; round++) {
        fj_task_node *nodes[MANY];
        setup();
        for (unsigned i = 0; i < MANY; i++) {
            state[i].index = i;
            state[i].ended = false;
            ck_assert_int_eq(fj_task_graph_add(graph, NULL, checks_needs, &state[i].index, &nodes[i]), FJ_OK);
        }
        memset(edge, 0, sizeof edge);
        for (unsigned i = 0; i < MANY * 2; i++) {
            seed = seed * 1103515245u + 12345u;
            unsigned one = (seed >> 16) % MANY, other = (seed >> 8) % MANY;
            if (one <= other || edge[one][other])
                continue;
            edge[one][other] = true;
            needs(nodes[one], nodes[other]);
        }
        ended = 0;
        rt_code(run_graph(round % 2 == 0, fj_never()), OK);
        ck_assert_uint_eq(out_of_order, 0);
        ck_assert_uint_eq(ended, MANY);
        teardown();
    }
    setup();
}

START_TEST(graphs_of_any_shape_run_whole_and_in_order)
{
    teardown();
    in_task(random_graphs);
}
END_TEST

static void nothing(void)
{
    rt_code(run_graph(false, fj_never()), OK);
}

START_TEST(an_empty_graph_ends_well)
{
    in_task(nothing);
}
END_TEST

/* ---- circles ------------------------------------------------------------------------------------- */

static void circle(void)
{
    struct job a = { "a", 1, 0 }, b = { "b", 1, 0 }, c = { "c", 1, 0 }, d = { "d", 1, 0 };
    fj_task_node *na = node(&a), *nb = node(&b), *nc = node(&c), *nd = node(&d);
    fj_error *err = NULL;

    needs(nd, na);
    needs(na, nb);
    needs(nb, nc);
    needs(nc, na);
    rt_code(fj_task_graph_run(graph, false, fj_never(), &err), BAD_VALUE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "a -> b -> c -> a"));
    ck_assert_ptr_null(strchr(strstr(fj_error_text(err), "a ->"), 'd'));
    ck_assert_str_eq(notes(), "");
    err = fj_error_free(err);

    fj_task_graph_reverse(graph);
    rt_code(fj_task_graph_run(graph, false, fj_never(), &err), BAD_VALUE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "a -> c -> b -> a"));
    fj_error_free(err);
}

START_TEST(a_circle_is_named_and_nothing_runs)
{
    in_task(circle);
}
END_TEST

static void needs_itself(void)
{
    struct job a = { "alone", 1, 0 };
    fj_task_node *na = node(&a);
    fj_error *err = NULL;

    needs(na, na);
    rt_code(fj_task_graph_run(graph, false, fj_never(), &err), BAD_VALUE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "alone -> alone"));
    fj_error_free(err);
}

START_TEST(a_task_that_needs_itself_is_a_circle)
{
    in_task(needs_itself);
}
END_TEST

/* ---- errors -------------------------------------------------------------------------------------- */

static void first_error(void)
{
    struct job a = { "a", 10, FJ_BUSY }, b = { "b", 100, 0 }, c = { "c", 1, 0 };
    fj_task_node *na = node(&a), *nc = node(&c);
    fj_error *err = NULL;

    (void)node(&b);
    needs(nc, na);
    rt_code(fj_task_graph_run(graph, false, fj_never(), &err), BUSY);
    ck_assert_str_eq(fj_error_text(err), "a: no good");
    ck_assert_str_eq(notes(), "aba!b-");
    ck_assert_int_eq(rt_ms(), 10);
    ck_assert_uint_eq(rt_troubles, 0);
    fj_error_free(err);
}

START_TEST(the_first_error_cancels_the_rest_and_says_whose_it_is)
{
    in_task(first_error);
}
END_TEST

static fj_code ends_well_all_the_same(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    note(pause_ms(100) == FJ_CANCELLED ? "ignored" : "?");
    return FJ_OK;
}

static void not_begun(void)
{
    struct job a = { "a", 10, FJ_BUSY }, b = { "b", 1, 0 };
    fj_task_node *stubborn = NULL;

    (void)node(&a);
    ck_assert_int_eq(fj_task_graph_add(graph, "stubborn", ends_well_all_the_same, NULL, &stubborn), FJ_OK);
    needs(node(&b), stubborn);
    rt_code(run_graph(false, fj_never()), BUSY);
    ck_assert_str_eq(notes(), "aa!ignored");
    ck_assert_uint_eq(rt_troubles, 0);
}

START_TEST(after_an_error_nothing_begins_even_if_what_it_needs_ends_well)
{
    in_task(not_begun);
}
END_TEST

static void collected(void)
{
    struct job a = { "a", 10, FJ_BUSY }, b = { "b", 20, 0 }, c = { "c", 1, 0 }, d = { "d", 5, FJ_REFUSED },
               e = { "e", 1, 0 };
    fj_task_node *na = node(&a), *nb = node(&b), *nc = node(&c), *nd = node(&d), *ne = node(&e);
    fj_error *err = NULL;

    needs(nc, na);
    needs(nd, nb);
    needs(ne, nb);
    rt_code(fj_task_graph_run(graph, true, fj_never(), &err), BUSY);
    ck_assert_str_eq(fj_error_text(err), "2 of 5 tasks failed: a: no good; d: no good; 1 did not begin");
    ck_assert_str_eq(notes(), "aba!b.dee.d!");
    err = fj_error_free(err);

    a.code = FJ_OK;
    rt_code(fj_task_graph_run(graph, true, fj_never(), &err), REFUSED);
    ck_assert_str_eq(fj_error_text(err), "1 of 5 tasks failed: d: no good");
    err = fj_error_free(err);

    a.code = FJ_BUSY;
    rt_code(fj_task_graph_run(graph, true, fj_never(), &err), BUSY);
    ck_assert_str_eq(fj_error_text(err), "2 of 5 tasks failed: a: no good; d: no good; 1 did not begin");
    fj_error_free(err);
}

START_TEST(when_errors_are_collected_what_does_not_depend_on_them_goes_on_and_all_are_told)
{
    in_task(collected);
}
END_TEST

static void cancelled_node(void)
{
    struct job a = { "a", 10, FJ_CANCELLED }, b = { "b", 1, 0 };
    fj_task_node *na = node(&a), *nb = node(&b);
    fj_error *err = NULL;

    needs(nb, na);
    rt_code(fj_task_graph_run(graph, false, fj_never(), &err), CANCELLED);
    ck_assert_str_eq(fj_error_text(err), "a: no good");
    err = fj_error_free(err);
    rt_code(fj_task_graph_run(graph, true, fj_never(), &err), CANCELLED);
    ck_assert_str_eq(fj_error_text(err), "1 of 2 tasks failed: a: no good; 1 did not begin");
    fj_error_free(err);
}

START_TEST(a_task_that_ends_cancelled_has_not_ended_well)
{
    in_task(cancelled_node);
}
END_TEST

static fj_code silent(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return FJ_NOT_FOUND;
}

static void no_text(void)
{
    fj_error *err = NULL;

    ck_assert_int_eq(fj_task_graph_add(graph, "quiet", silent, NULL, NULL), FJ_OK);
    rt_code(fj_task_graph_run(graph, false, fj_never(), &err), NOT_FOUND);
    ck_assert_str_eq(fj_error_text(err), "quiet: no such thing");
    fj_error_free(err);
}

START_TEST(an_error_without_a_text_gets_that_of_its_code)
{
    in_task(no_text);
}
END_TEST

/* ---- cut short ----------------------------------------------------------------------------------- */

static void deadline(void)
{
    struct job a = { "a", 10, 0 }, b = { "b", 100, 0 }, c = { "c", 1, 0 };
    fj_task_node *na = node(&a), *nb = node(&b), *nc = node(&c);

    needs(nb, na);
    needs(nc, nb);
    rt_code(run_graph(false, fj_in_ms(50)), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 50);
    ck_assert_str_eq(notes(), "aa.bb-");
    rt_code(run_graph(true, fj_in_ms(50)), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 100);
    ck_assert_str_eq(notes(), "aa.bb-aa.bb-");
    rt_code(run_graph(true, fj_never()), OK);
}

START_TEST(at_the_deadline_what_runs_is_cancelled_and_nothing_more_begins)
{
    in_task(deadline);
}
END_TEST

static fj_code cleans_up_badly(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    return pause_ms(100) == FJ_OK ? FJ_OK : fj_fail(err, FJ_BUSY, "cleaning failed");
}

static void late_error(void)
{
    ck_assert_int_eq(fj_task_graph_add(graph, "late", cleans_up_badly, NULL, NULL), FJ_OK);
    rt_code(run_graph(true, fj_in_ms(50)), TIMEOUT);
    ck_assert_uint_eq(rt_troubles, 1);
    ck_assert_ptr_nonnull(strstr(rt_trouble, "cleaning failed"));
}

START_TEST(an_error_of_a_task_that_was_cut_short_is_reported)
{
    in_task(late_error);
}
END_TEST

static fj_code runs_graph(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    return fj_task_graph_run(graph, false, fj_never(), err);
}

static void cancelled_caller(void)
{
    struct job a = { "a", 100, 0 }, b = { "b", 1, 0 };
    fj_task_node *na = node(&a);

    needs(node(&b), na);
    fj_task *task = rt_spawn(runs_graph, NULL, "runs");
    rt_code(pause_ms(10), OK);
    (void)fj_task_cancel(task);
    rt_code(fj_await(fj_task_future(task), fj_never(), NULL, NULL), CANCELLED);
    ck_assert_str_eq(notes(), "aa-");
    ck_assert_int_eq(rt_ms(), 10);
    (void)fj_task_unref(task);
}

START_TEST(cancelling_who_runs_it_cancels_what_runs)
{
    in_task(cancelled_caller);
}
END_TEST

/* ---- misuse -------------------------------------------------------------------------------------- */

static void while_it_runs(void)
{
    struct job a = { "a", 10, 0 }, b = { "b", 10, 0 };
    fj_task_node *na = node(&a), *nb = node(&b);

    needs(nb, na);
    fj_task *task = rt_spawn(runs_graph, NULL, "runs");
    rt_code(pause_ms(5), OK);
    rt_code(fj_task_graph_add(graph, "c", work, &a, NULL), STATE);
    rt_code(fj_task_graph_depend(graph, na, nb), STATE);
    rt_code(run_graph(false, fj_never()), STATE);
    fj_task_graph_reverse(graph);
    rt_code(fj_await(fj_task_future(task), fj_never(), NULL, NULL), OK);
    ck_assert_str_eq(notes(), "aa.bb.");
    (void)fj_task_unref(task);
}

START_TEST(while_it_runs_a_graph_does_not_change)
{
    in_task(while_it_runs);
}
END_TEST

START_TEST(nodes_of_another_graph_and_callers_outside_of_tasks_are_refused)
{
    struct job a = { "a", 1, 0 };
    fj_task_graph *mine = graph;
    fj_task_node *na = node(&a);

    setup();
    fj_task_node *other = node(&a);
    rt_code(fj_task_graph_depend(graph, na, other), BAD_VALUE);
    rt_code(fj_task_graph_depend(graph, other, na), BAD_VALUE);
    rt_code(run_graph(false, fj_never()), WRONG_CONTEXT);
    teardown();
    graph = mine;
    ck_assert_ptr_null(fj_task_graph_free(NULL));
}
END_TEST

static fj_code notes_task_name(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    note(fj_task_name(fj_task_current()));
    return FJ_OK;
}

static void names(void)
{
    char name[] = "copied";

    ck_assert_int_eq(fj_task_graph_add(graph, name, notes_task_name, NULL, NULL), FJ_OK);
    memset(name, '#', 6);
    ck_assert_int_eq(fj_task_graph_add(graph, NULL, notes_task_name, NULL, NULL), FJ_OK);
    rt_code(run_graph(false, fj_never()), OK);
    ck_assert_str_eq(notes(), "copiedtask");
}

START_TEST(a_nodes_name_is_copied_and_is_its_tasks)
{
    in_task(names);
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------------- */

static fj_code all_of_it(bool round)
{
    static struct job a = { "a", 1, 0 }, b = { "b", 1, 0 }, c = { "c", 1, 0 };
    fj_task_node *na = NULL, *nb = NULL, *nc = NULL;
    fj_error *err = NULL;
    fj_code code = fj_task_graph_new(&graph);

    if (code != FJ_OK)
        return code;
    if ((code = fj_task_graph_add(graph, "a", work, &a, &na)) == FJ_OK &&
        (code = fj_task_graph_add(graph, "b", work, &b, &nb)) == FJ_OK &&
        (code = fj_task_graph_add(graph, "c", work, &c, &nc)) == FJ_OK &&
        (code = fj_task_graph_depend(graph, nb, na)) == FJ_OK &&
        (code = fj_task_graph_depend(graph, nc, nb)) == FJ_OK &&
        (!round || (code = fj_task_graph_depend(graph, na, nc)) == FJ_OK))
        code = fj_task_graph_run(graph, false, fj_never(), &err);
    ck_assert(code == FJ_OK || err == NULL || fj_error_code(err) == code || fj_error_code(err) == FJ_NOMEM);
    fj_error_free(err);
    teardown();
    return code;
}

static void no_memory(void)
{
    for (int round = 0; round < 2; round++) {
        fj_code whole = round != 0 ? FJ_BAD_VALUE : FJ_OK;
        unsigned failed = 0;
        for (unsigned long nth = 1;; nth++) {
            (void)fj__alloc_fail(nth, false);
            fj_code code = all_of_it(round != 0);
            bool reached = fj__alloc_fail(0, false) >= nth;
            ck_assert_int_eq(pause_ms(1), FJ_OK);
            ck_assert(code == whole || code == FJ_NOMEM);
            failed += code == FJ_NOMEM;
            if (!reached) {
                ck_assert_int_eq(code, whole);
                break;
            }
        }
        ck_assert_uint_ge(failed, 10);
    }
}

START_TEST(memory_that_runs_out_is_an_error_and_leaks_nothing)
{
    teardown();
    in_task(no_memory);
    setup();
}
END_TEST

static void not_depended(void)
{
    struct job a = { "a", 1, 0 }, b = { "b", 1, 0 };
    fj_task_node *na = node(&a), *nb = node(&b);

    for (unsigned long nth = 1; nth <= 2; nth++) {
        (void)fj__alloc_fail(nth, false);
        rt_code(fj_task_graph_depend(graph, nb, na), NOMEM);
        (void)fj__alloc_fail(0, false);
    }
    rt_code(run_graph(false, fj_never()), OK);
    ck_assert_str_eq(notes(), "aba.b.");
}

START_TEST(a_dependency_there_was_no_memory_for_is_none)
{
    in_task(not_depended);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graph");
    TCase *tests = tcase_create("graph");

    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_task_begins_only_after_those_it_needs_have_ended);
    tcase_add_test(tests, each_begins_as_soon_as_its_dependencies_allow_and_others_run_meanwhile);
    tcase_add_test(tests, what_was_built_can_be_taken_down_in_the_other_direction);
    tcase_add_test(tests, graphs_of_any_shape_run_whole_and_in_order);
    tcase_add_test(tests, an_empty_graph_ends_well);
    tcase_add_test(tests, a_circle_is_named_and_nothing_runs);
    tcase_add_test(tests, a_task_that_needs_itself_is_a_circle);
    tcase_add_test(tests, the_first_error_cancels_the_rest_and_says_whose_it_is);
    tcase_add_test(tests, after_an_error_nothing_begins_even_if_what_it_needs_ends_well);
    tcase_add_test(tests, when_errors_are_collected_what_does_not_depend_on_them_goes_on_and_all_are_told);
    tcase_add_test(tests, a_task_that_ends_cancelled_has_not_ended_well);
    tcase_add_test(tests, an_error_without_a_text_gets_that_of_its_code);
    tcase_add_test(tests, at_the_deadline_what_runs_is_cancelled_and_nothing_more_begins);
    tcase_add_test(tests, an_error_of_a_task_that_was_cut_short_is_reported);
    tcase_add_test(tests, cancelling_who_runs_it_cancels_what_runs);
    tcase_add_test(tests, while_it_runs_a_graph_does_not_change);
    tcase_add_test(tests, nodes_of_another_graph_and_callers_outside_of_tasks_are_refused);
    tcase_add_test(tests, a_nodes_name_is_copied_and_is_its_tasks);
    tcase_add_test(tests, a_dependency_there_was_no_memory_for_is_none);
    tcase_add_test(tests, memory_that_runs_out_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
