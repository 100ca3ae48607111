/* SPDX-License-Identifier: Apache-2.0 */
/* A process without libfjord-green: what is said, and what runs all the same. */
#include "executors/flavours.h"
#include "executors/patch.h"
#include "tests/support/in_task.h"

#include <fjord/executor.h>
#include <fjord/green.h>
#include <fjord/log.h>
#include <stdio.h>
#include <string.h>

static char warning[1024];

static void keep_warning(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    if (level == FJ_LOG_WARNING && strcmp(component, "executor") == 0)
        (void)snprintf(warning, sizeof warning, "%s", text);
}

static fj_conf *conf(const char *lines)
{
    fj_conf *c = fj_conf_new();
    char text[256];

    (void)snprintf(text, sizeof text, "[fjord]\n%s\n", lines);
    rt_code(fj_conf_parse(c, "test", text, strlen(text), NULL), OK);
    return c;
}

START_TEST(patching_says_what_to_do)
{
    fj_error *err = NULL;

    rt_code(fj_green_patch(FJ_PATCH_DEFAULT, &err), UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "-lfjord-green"));
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "LD_PRELOAD"));
    fj_error_free(err);
    ck_assert(!fj_is_patched(FJ_PATCH_TIME));
    ck_assert(!fj__patch_is_live(NULL));
}
END_TEST

RT_TASK(looks)
{
    ck_assert(!fj_green_here());
    return FJ_OK;
}

START_TEST(green_tasks_run_without_hooks)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    rt_begin();
    opts.loop = rt_loop;
    opts.green = true;
    rt_code(fj_task_spawn(looks, NULL, &opts, &task, NULL), OK);
    rt_code(rt_join(task), OK);
    rt_end();
}
END_TEST

START_TEST(what_is_missing_is_logged_group_by_group)
{
    fj_conf *c = conf("patch = time, select");

    fj_log_set(keep_warning, NULL);
    rt_code(fj__patch(c, true, NULL), OK);
    fj_log_set(NULL, NULL);
    ck_assert_ptr_nonnull(
        strstr(warning, "blocking calls really block: time, select: libfjord-green is not in"));
    fj_conf_free(c);
}
END_TEST

START_TEST(green_methods_are_emulated_under_every_executor)
{
    const fj_executor_ops *x;

    for (size_t i = 0; (x = fj_executor_builtin(i)) != NULL; i++)
        ck_assert_ptr_nonnull(strstr(fj__emulated(x, FJ_GREEN, NULL), "without hooks"));
}
END_TEST

static void fails(const char *lines, bool insists, fj_code code, const char *part)
{
    fj_conf *c = conf(lines);
    fj_error *err = NULL;

    ck_assert_int_eq(fj__patch(c, insists, &err), code);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), part));
    fj_error_free(err);
    fj_conf_free(c);
}

START_TEST(hooks_that_are_required_and_missing_are_an_error)
{
    fj_conf *c = conf("green_require_hooks = true");

    fails("green_require_hooks = true", true, FJ_UNSUPPORTED, "green_require_hooks: libfjord-green is not in");
    fj_log_set(keep_warning, NULL);
    rt_code(fj__patch(c, false, NULL), OK); /* no loop would be blocked */
    fj_log_set(NULL, NULL);
    fj_conf_free(c);
}
END_TEST

START_TEST(an_unknown_group_is_an_error_that_names_those_there_are)
{
    fails("patch = time, smoke", true, FJ_BAD_CONFIG, "\"smoke\" is none of socket, time, dns");
}
END_TEST

START_TEST(the_executor_green_refuses_to_be_made_without_required_hooks)
{
    const fj_executor_ops *ops = NULL;
    fj_executor_opts opts = { .size = sizeof opts, .slots = 1 };
    fj_executor *x = NULL;
    fj_conf *c = conf("green_require_hooks = true");

    rt_code(fj_executor_find(c, "eventlet", &ops, NULL), OK);
    ck_assert_str_eq(ops->name, "green");
    rt_code(ops->create(c, &opts, &x, NULL), UNSUPPORTED);
    fj_conf_free(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("patch");
    TCase *c = tcase_create("patch");

    tcase_add_test(c, green_methods_are_emulated_under_every_executor);
    tcase_add_test(c, patching_says_what_to_do);
    tcase_add_test(c, green_tasks_run_without_hooks);
    tcase_add_test(c, what_is_missing_is_logged_group_by_group);
    tcase_add_test(c, hooks_that_are_required_and_missing_are_an_error);
    tcase_add_test(c, an_unknown_group_is_an_error_that_names_those_there_are);
    tcase_add_test(c, the_executor_green_refuses_to_be_made_without_required_hooks);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
