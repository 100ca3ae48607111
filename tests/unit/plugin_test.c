/* SPDX-License-Identifier: Apache-2.0 */
/* Plug-ins: found by name or path, loaded once, and refused where they do not fit or others may change them. */
#include "base/alloc.h"

#include <check.h>
#include <fcntl.h>
#include <fjord/client.h>
#include <fjord/executor.h>
#include <fjord/interceptor.h>
#include <fjord/transport.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the rig: a folder of plug-ins that are compiled here ------------------------------------------ */

static char dir[] = "/tmp/fjord-plugins-XXXXXX";
static fj_conf *conf;
static fj_error *err;

static const char good[] =
    "#include <fjord/executor.h>\n"
    "static fj_code create(const fj_conf *c, const fj_executor_opts *o, fj_executor **r, fj_error **e)\n"
    "{ (void)c; (void)o; (void)r; (void)e; return FJ_UNSUPPORTED; }\n"
    "static fj_code start(fj_executor *x, fj_listener *l, fj_dispatcher *d, fj_error **e)\n"
    "{ (void)x; (void)l; (void)d; (void)e; return FJ_OK; }\n"
    "static fj_code submit(fj_executor *x, void (*j)(void *), void *u, fj_error **e)\n"
    "{ (void)x; (void)j; (void)u; (void)e; return FJ_OK; }\n"
    "static fj_code invoke(void *u, fj_request *q, json_t *a, json_t **r, fj_error **e)\n"
    "{ (void)u; (void)q; (void)a; (void)r; (void)e; return FJ_OK; }\n"
    "static void none(fj_executor *x) { (void)x; }\n"
    "static fj_code stop(fj_executor *x, fj_deadline b, fj_error **e) { (void)x; (void)b; (void)e; return "
    "FJ_OK; }\n"
    "static unsigned running(const fj_executor *x, unsigned *n) { (void)x; (void)n; return 0; }\n"
    "#ifndef ABI\n#define ABI FJ_EXECUTOR_ABI\n#endif\n"
    "#ifndef SIZE\n#define SIZE sizeof ops\n#endif\n"
    "#ifndef RUNNING\n#define RUNNING running\n#endif\n"
    "static const fj_executor_ops ops = { .abi = ABI, .size = SIZE, .name = \"mine\", .create = create,\n"
    "    .start = start, .submit = submit, .invoke = invoke, .close = none, .stop = stop, .abort = none,\n"
    "    .free = none, .running = RUNNING };\n"
    "__attribute__((visibility(\"default\"))) const fj_executor_ops *fj_executor_plugin(void)\n"
    "{ (void)running; return &ops; }\n";

static char *path_of(const char *name)
{
    char *path = fj__format("%s/%s", dir, name);

    ck_assert_ptr_nonnull(path);
    return path;
}

/* Compile it to <dir>/<name>.so. */
static void build(const char *name, const char *defines, const char *source)
{
    const char *cc = getenv("CC");
    char *command = fj__format("%s -x c -shared -fPIC -D_GNU_SOURCE -Ibase -Iruntime -Itransports -Idispatcher "
                               "-Iexecutors %s -o %s/%s.so - && chmod 755 %s/%s.so",
                               cc != NULL && cc[0] != '\0' ? cc : "cc", defines, dir, name, dir, name);
    FILE *out = popen(command, "w");

    ck_assert_ptr_nonnull(out);
    ck_assert_int_ge(fputs(source, out), 0);
    ck_assert_int_eq(pclose(out), 0);
    fj__free(command);
}

static void mode(const char *name, mode_t bits)
{
    char *path = path_of(name);

    ck_assert_int_eq(chmod(path, bits), 0);
    fj__free(path);
}

static void set_up(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
    conf = fj_conf_new();
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "plugin_dir", dir, NULL), FJ_OK);
}

static void tear_down(void)
{
    char *command = fj__format("rm -rf %s", dir);

    ck_assert_int_eq(system(command), 0);
    fj__free(command);
    fj_conf_free(conf);
    err = fj_error_free(err);
}

static const fj_executor_ops *find(const char *name)
{
    const fj_executor_ops *ops = NULL;

    err = fj_error_free(err);
    return fj_executor_find(conf, name, &ops, &err) == FJ_OK ? ops : NULL;
}

/* In words among which are these. */
static void refused(const char *name, const char *words)
{
    ck_assert_ptr_null(find(name));
    ck_assert_int_eq(fj_error_code(err), FJ_NO_EXECUTOR);
    ck_assert_msg(strstr(fj_error_text(err), words) != NULL, "\"%s\" says nothing of \"%s\"",
                  fj_error_text(err), words);
}

/* ---- finding -------------------------------------------------------------------------------------- */

START_TEST(one_is_found_by_name_in_the_folder_of_the_configuration_and_loaded_once)
{
    build("mine", "", good);
    const fj_executor_ops *first = find("mine");
    ck_assert_ptr_nonnull(first);
    ck_assert_str_eq(first->name, "mine");
    ck_assert_ptr_eq(find("mine"), first);
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "plugin_dir", "/nonexistent", NULL), FJ_OK);
    refused("mine", "/nonexistent/mine.so: No such file");
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "plugin_dir", "", NULL), FJ_OK);
    refused("mine", "plugin_dir is unset");
}
END_TEST

START_TEST(one_is_found_by_its_absolute_path_and_is_the_same_by_every_way_to_it)
{
    char *path = path_of("mine.so"), *link = path_of("link.so");

    build("mine", "", good);
    ck_assert_int_eq(symlink(path, link), 0);
    const fj_executor_ops *first = find(path);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_eq(find(link), first);
    ck_assert_ptr_eq(find("mine"), first);
    fj__free(path);
    fj__free(link);
}
END_TEST

START_TEST(a_name_that_is_no_plain_word_is_refused)
{
    static const char *const bad[] = { "../mine", "./mine", "sub/mine", ".mine", "", "mine.so", "a b" };

    build("mine", "", good);
    for (size_t i = 0; i < fj__countof(bad); i++)
        refused(bad[i], "is neither the name of a plug-in nor an absolute path");
}
END_TEST

START_TEST(a_refusal_names_the_executors_there_are)
{
    refused("warp", "no executor \"warp\"");
    refused("warp", "there are blocking, threading, green, coroutine, bridged");
}
END_TEST

/* ---- what does not fit ---------------------------------------------------------------------------- */

START_TEST(one_of_another_abi_is_refused)
{
    build("old", "'-DABI=(FJ_EXECUTOR_ABI + 1)'", good);
    refused("old", "is not made for this version of Fjord: its executor has ABI 2, this library 1");
}
END_TEST

START_TEST(an_incomplete_table_is_refused)
{
    build("half", "-DRUNNING=NULL", good);
    refused("half", "incomplete table of the executor: no running");
    build("small", "-DSIZE=8", good);
    refused("small", "its size is too small");
}
END_TEST

START_TEST(what_is_no_plug_in_is_refused)
{
    build("empty", "", "int nothing;\n");
    refused("empty", "does not export fj_executor_plugin");
    build("shy", "",
          "const void *fj_executor_plugin(void);\nconst void *fj_executor_plugin(void) { return 0; }\n");
    refused("shy", "refused to give its executor");
    mode("empty.so", 0755);
    char *path = path_of("text.so");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_eq(write(fd, "text", 4), 4);
    (void)close(fd);
    refused("text", "cannot be loaded");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    refused("text", "is no file");
    fj__free(path);
}
END_TEST

/* ---- who may change it ---------------------------------------------------------------------------- */

START_TEST(one_that_others_may_write_to_is_refused_until_they_may_not)
{
    build("mine", "", good);
    mode("mine.so", 0775);
    refused("mine", "others may write to it (chmod go-w");
    mode("mine.so", 0757);
    refused("mine", "others may write to it (chmod go-w");
    mode("mine.so", 0755);
    ck_assert_ptr_nonnull(find("mine"));
}
END_TEST

START_TEST(one_behind_a_link_is_judged_by_itself)
{
    char *path = path_of("mine.so"), *link = path_of("link.so");

    build("mine", "", good);
    mode("mine.so", 0777);
    ck_assert_int_eq(symlink(path, link), 0);
    refused("link", "mine.so is not loaded: others may write to it");
    fj__free(path);
    fj__free(link);
}
END_TEST

START_TEST(one_in_a_folder_that_others_may_write_to_is_refused_unless_the_folder_is_sticky)
{
    build("mine", "", good);
    mode("", 0775);
    refused("mine", "others may write to its folder");
    mode("", 0777);
    refused("mine", "others may write to its folder");
    mode("", 01777);
    ck_assert_ptr_nonnull(find("mine"));
}
END_TEST

/* Only root can give files away. */
START_TEST(one_that_belongs_to_somebody_else_is_refused)
{
    enum { SOMEBODY = 12345 };
    char *path = path_of("mine.so");

    build("mine", "", good);
    ck_assert_int_eq(chown(path, SOMEBODY, (gid_t)-1), 0);
    refused("mine", "belongs to neither root nor the process's user");
    ck_assert_int_eq(chown(path, 0, (gid_t)-1), 0);
    ck_assert_int_eq(chown(dir, SOMEBODY, (gid_t)-1), 0);
    refused("mine", "its folder belongs to neither root nor the process's user");
    ck_assert_int_eq(seteuid(SOMEBODY), 0); /* who is that user may load what is root's, or its own */
    ck_assert_ptr_nonnull(find("mine"));
    ck_assert_int_eq(seteuid(0), 0);
    fj__free(path);
}
END_TEST

START_TEST(one_below_a_folder_that_others_may_write_to_is_refused_unless_that_is_sticky)
{
    char *above = path_of("above"), *below = path_of("above/below");

    ck_assert_int_eq(mkdir(above, 0755), 0);
    ck_assert_int_eq(mkdir(below, 0755), 0);
    build("above/below/mine", "", good);
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "plugin_dir", below, NULL), FJ_OK);
    mode("above", 0777);
    refused("mine", "others may write to a folder above it (chmod o-w");
    mode("above", 01777);
    ck_assert_ptr_nonnull(find("mine"));
    fj__free(above);
    fj__free(below);
}
END_TEST

/* ---- drivers --------------------------------------------------------------------------------------- */

static const char carrier[] =
    "#include <fjord/driver.h>\n"
    "static fj_code open_it(const fj_conf *c, const fj_url *u, fj_driver **r, fj_error **e)\n"
    "{ (void)c; (void)u; (void)r; return fj_fail(e, FJ_UNSUPPORTED, \"the pigeon sleeps\"); }\n"
    "static fj_code send_it(fj_driver *d, const fj_send *s, fj_future **r, fj_error **e)\n"
    "{ (void)d; (void)s; (void)r; (void)e; return FJ_CLOSED; }\n"
    "static fj_code wait_it(fj_driver *d, fj_deadline b, fj_error **e)\n"
    "{ (void)d; (void)b; (void)e; return FJ_OK; }\n"
    "static fj_code listen_it(fj_driver *d, const fj_target *t, const fj_listen_opts *o, fj_deadline b,\n"
    "    fj_listener **r, fj_error **e) { (void)d; (void)t; (void)o; (void)b; (void)r; (void)e; return "
    "FJ_CLOSED; }\n"
    "static void none(fj_driver *d) { (void)d; }\n"
    "#ifndef ABI\n#define ABI FJ_DRIVER_ABI\n#endif\n"
    "#ifndef SIZE\n#define SIZE sizeof ops\n#endif\n"
    "#ifndef FLUSH\n#define FLUSH wait_it\n#endif\n"
    "static const char *const others[] = { \"dove\", NULL };\n"
    "static const fj_driver_ops ops = { .abi = ABI, .size = SIZE, .name = \"pigeon\", .aliases = others,\n"
    "    .open = open_it, .send = send_it, .flush = FLUSH, .listen = listen_it, .close = none, .stop = "
    "wait_it,\n"
    "    .free = none };\n"
    "__attribute__((visibility(\"default\"))) const fj_driver_ops *fj_driver_plugin(void) { return &ops; }\n";

static const fj_driver_ops *find_driver(const char *name)
{
    const fj_driver_ops *ops = NULL;

    err = fj_error_free(err);
    return fj_driver_find(conf, name, &ops, &err) == FJ_OK ? ops : NULL;
}

static void driver_refused(const char *name, const char *words)
{
    ck_assert_ptr_null(find_driver(name));
    ck_assert_int_eq(fj_error_code(err), FJ_NO_DRIVER);
    ck_assert_msg(strstr(fj_error_text(err), words) != NULL, "\"%s\" says nothing of \"%s\"",
                  fj_error_text(err), words);
}

START_TEST(a_driver_is_found_by_the_scheme_of_a_url_in_the_folder)
{
    fj_transport *t = NULL;

    build("pigeon", "", carrier);
    const fj_driver_ops *first = find_driver("pigeon");
    ck_assert_ptr_nonnull(first);
    ck_assert_str_eq(first->name, "pigeon");
    ck_assert_int_eq(fj_transport_open(conf, "pigeon+fast://loft/", &t, &err), FJ_UNSUPPORTED);
    ck_assert_str_eq(fj_error_text(err), "the pigeon sleeps");
    err = fj_error_free(err);
    ck_assert_int_eq(fj_transport_open(conf, "warp://", &t, &err), FJ_NO_DRIVER);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "/warp.so: No such file"));
}
END_TEST

START_TEST(a_driver_is_found_by_the_path_that_the_configuration_has_for_its_name_or_an_alias)
{
    char *path = path_of("pigeon.so"),
         *list = fj__format("crow=/nonexistent.so, pigeon=%s, dove=%s", path, path);
    fj_transport *t = NULL;

    build("pigeon", "", carrier);
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "plugin_dir", "", NULL), FJ_OK);
    driver_refused("pigeon", "plugin_dir is unset");
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "transport_plugins", list, NULL), FJ_OK);
    const fj_driver_ops *first = find_driver("pigeon");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_eq(find_driver("dove"), first);
    ck_assert_ptr_eq(find_driver(path), first);
    ck_assert_int_eq(fj_transport_open(conf, "dove://", &t, &err), FJ_UNSUPPORTED);
    driver_refused("crow", "/nonexistent.so: No such file");
    driver_refused("pig", "plugin_dir is unset");
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "transport_plugins", "pigeon=lib/pigeon.so", NULL), FJ_OK);
    driver_refused("pigeon", "transport_plugins has no absolute path for \"pigeon\": lib/pigeon.so");
    fj__free(list);
    fj__free(path);
}
END_TEST

/* The first block of C of the page. */
static char *example(void)
{
    static char text[20000];
    FILE *in = fopen("docs/transport-plugins.md", "re");

    ck_assert_ptr_nonnull(in);
    text[fread(text, 1, sizeof text - 1, in)] = '\0';
    (void)fclose(in);
    char *from = strstr(text, "```c\n");
    ck_assert_ptr_nonnull(from);
    char *to = strstr(from + 5, "```\n");
    ck_assert_ptr_nonnull(to);
    *to = '\0';
    return from + 5;
}

START_TEST(the_example_of_the_page_does_what_it_says)
{
    fj_transport *t = NULL;
    fj_client *client = NULL;
    fj_target there = FJ_TARGET(.topic = "t");

    build("hole", "-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Werror", example());
    ck_assert_int_eq(fj_transport_open(conf, "hole://?deep=1", &t, &err), FJ_BAD_CONFIG);
    err = fj_error_free(err);
    ck_assert_int_eq(fj_transport_open(conf, "hole://", &t, &err), FJ_OK);
    ck_assert_int_eq(fj_client_new(t, &there, NULL, &client, &err), FJ_OK);
    ck_assert_int_eq(fj_client_cast(client, "fall", NULL, NULL, &err), FJ_OK);
    ck_assert_int_eq(fj_client_call(client, "fall", NULL, NULL, NULL, &err), FJ_UNDELIVERABLE);
    ck_assert_str_eq(fj_error_text(err), "nobody is in the hole");
    fj_client_free(client);
    fj_transport_free(t);
}
END_TEST

START_TEST(a_driver_of_another_name_is_refused_by_this_one_alone)
{
    char *path = path_of("crow.so");

    build("crow", "", carrier);
    driver_refused("crow", "crow.so is no driver \"crow\": it has another name");
    ck_assert_ptr_nonnull(find_driver(path));
    driver_refused("crow", "crow.so is no driver \"crow\": it has another name");
    fj__free(path);
}
END_TEST

START_TEST(a_driver_that_does_not_fit_is_refused)
{
    build("empty", "", "int nothing;\n");
    driver_refused("empty", "does not export fj_driver_plugin");
    build("old", "'-DABI=(FJ_DRIVER_ABI + 1)'", carrier);
    driver_refused("old", "old.so is not made for this version of Fjord: its driver has ABI");
    build("small", "-DSIZE=16", carrier);
    driver_refused(
        "small",
        "small.so gives an incomplete table of the driver: no room for all slots (its size is too small)");
    build("half", "-DFLUSH=NULL", carrier);
    driver_refused("half", "incomplete table of the driver: no flush");
    driver_refused("../pigeon", "is neither the name of a plug-in nor an absolute path");
    driver_refused("/nonexistent/pigeon.so", "No such file");
}
END_TEST

START_TEST(a_driver_that_others_may_write_to_is_refused)
{
    char *path = path_of("pigeon.so");

    build("pigeon", "", carrier);
    mode("pigeon.so", 0775);
    driver_refused("pigeon", "pigeon.so is not loaded: others may write to it");
    mode("pigeon.so", 0755);
    mode("", 0775);
    driver_refused(path, "others may write to its folder");
    mode("", 0755);
    ck_assert_ptr_nonnull(find_driver("pigeon"));
    fj__free(path);
}
END_TEST

static const char interceptor[] =
    "static const struct { unsigned abi; unsigned long size; const char *name; void *slots[7]; } it = {\n"
    "    ABI, SIZE, \"mine\", { 0 } };\n"
    "__attribute__((visibility(\"default\"))) const void *fj_interceptor_plugin(void)\n"
    "{ return &it; }\n";

static void interceptor_refused(const char *name, const char *words)
{
    const fj_interceptor *ops = NULL;

    err = fj_error_free(err);
    ck_assert_int_eq(fj_interceptor_find(conf, name, &ops, &err), FJ_BAD_CONFIG);
    ck_assert_ptr_null(ops);
    ck_assert_msg(strstr(fj_error_text(err), words) != NULL, "\"%s\" says nothing of \"%s\"",
                  fj_error_text(err), words);
}

START_TEST(interceptors_are_loaded_and_refused_in_the_same_way)
{
    const fj_interceptor *ops = NULL;

    build("good", "-DABI=1 -DSIZE=sizeof\\(it\\)", interceptor);
    build("other", "-DABI=2 -DSIZE=sizeof\\(it\\)", interceptor);
    build("short", "-DABI=1 -DSIZE=16", interceptor);
    ck_assert_int_eq(fj_interceptor_find(conf, "good", &ops, NULL), FJ_OK);
    ck_assert_str_eq(ops->name, "mine");
    ops = NULL;
    interceptor_refused("other", "is not made for this version of Fjord: its interceptor has ABI 2");
    interceptor_refused("short", "gives an incomplete table of the interceptor");
    interceptor_refused("nonsense", "no interceptor \"nonsense\"");
    mode("other.so", 0777);
    interceptor_refused("other", "others may write to it");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plug-ins");
    TCase *t = tcase_create("loader");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, one_is_found_by_name_in_the_folder_of_the_configuration_and_loaded_once);
    tcase_add_test(t, one_is_found_by_its_absolute_path_and_is_the_same_by_every_way_to_it);
    tcase_add_test(t, a_name_that_is_no_plain_word_is_refused);
    tcase_add_test(t, a_refusal_names_the_executors_there_are);
    tcase_add_test(t, one_of_another_abi_is_refused);
    tcase_add_test(t, an_incomplete_table_is_refused);
    tcase_add_test(t, what_is_no_plug_in_is_refused);
    tcase_add_test(t, one_that_others_may_write_to_is_refused_until_they_may_not);
    tcase_add_test(t, one_behind_a_link_is_judged_by_itself);
    tcase_add_test(t, one_in_a_folder_that_others_may_write_to_is_refused_unless_the_folder_is_sticky);
    if (geteuid() == 0)
        tcase_add_test(t, one_that_belongs_to_somebody_else_is_refused);
    tcase_add_test(t, one_below_a_folder_that_others_may_write_to_is_refused_unless_that_is_sticky);
    tcase_add_test(t, a_driver_is_found_by_the_scheme_of_a_url_in_the_folder);
    tcase_add_test(t, a_driver_is_found_by_the_path_that_the_configuration_has_for_its_name_or_an_alias);
    tcase_add_test(t, the_example_of_the_page_does_what_it_says);
    tcase_add_test(t, a_driver_of_another_name_is_refused_by_this_one_alone);
    tcase_add_test(t, a_driver_that_does_not_fit_is_refused);
    tcase_add_test(t, a_driver_that_others_may_write_to_is_refused);
    tcase_add_test(t, interceptors_are_loaded_and_refused_in_the_same_way);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
