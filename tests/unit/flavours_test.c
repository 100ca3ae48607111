/* SPDX-License-Identifier: Apache-2.0 */
/* What one line of a configuration file chooses: the executor by any of its names, and what [fjord] strict refuses. */
#include <fjord/fjord.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static fj_conf *conf;
static fj_transport *transport;
static fj_server *server;

/* A server whose configuration is a file with these lines in [fjord]. */
static void make(const char *lines)
{
    char path[] = "/tmp/fjord-conf-XXXXXX";
    int fd = mkstemp(path);
    fj_target here = FJ_TARGET(.topic = "shop", .server = "s");

    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(dprintf(fd, "[DEFAULT]\ntransport_url = fake://\n[fjord]\nlog_level = info\n%s\n", lines),
                     0);
    (void)close(fd);
    ck_assert_int_eq(fj_conf_load(path, &conf, NULL), FJ_OK);
    (void)unlink(path);
    ck_assert_int_eq(fj_transport_open(conf, NULL, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(transport, &here, NULL, &server, NULL), FJ_OK);
}

static void free_all(void)
{
    fj_server_free(server);
    fj_transport_free(transport);
    fj_conf_free(conf);
}

/* ---- names ---------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *executor;
} names[] = {
    { "blocking", "blocking" },   { "threading", "threading" }, { "thread", "threading" },
    { "green", "green" },         { "eventlet", "green" },      { "coroutine", "coroutine" },
    { "trollius", "coroutine" },  { "asyncio", "coroutine" },   { "bridged", "bridged" },
    { "aioeventlet", "bridged" }, { "greenio", "bridged" },
};

START_TEST(an_executor_is_chosen_by_its_name_or_the_one_it_has_in_openstack)
{
    char line[64];

    (void)snprintf(line, sizeof line, "executor = %s", names[_i].name);
    make(line);
    ck_assert_str_eq(fj_server_executor(server), names[_i].executor);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    free_all();
}
END_TEST

/* ---- strict --------------------------------------------------------------------------------------- */

static fj_code nothing(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    return FJ_OK;
}

static const fj_method plain[] = { FJ_METHOD("price", FJ_PLAIN, nothing) };
static const fj_method green[] = { FJ_METHOD("add", FJ_PLAIN, nothing), FJ_METHOD("price", FJ_GREEN, nothing) };
static const fj_method coro[] = { FJ_METHOD("add", FJ_PLAIN, nothing), FJ_METHOD("price", FJ_CORO, nothing) };
static const fj_endpoint endpoints[] = {
    [FJ_PLAIN] = FJ_ENDPOINT("stock", "1.0", plain),
    [FJ_GREEN] = FJ_ENDPOINT("stock", "1.0", green),
    [FJ_CORO] = FJ_ENDPOINT("stock", "1.0", coro),
};

/* With the hooks in this process; what a refusal says, or NULL: it serves. */
static const struct {
    const char *lines;
    fj_flavour flavour;
    const char *how, *instead;
} cells[] = {
    { "executor = blocking", FJ_PLAIN, NULL, NULL },
    { "executor = blocking", FJ_GREEN, "on a loop of its thread's own", "executor to green or bridged" },
    { "executor = blocking", FJ_CORO, "on a loop of its thread's own", "executor to coroutine or bridged" },
    { "executor = threading", FJ_PLAIN, NULL, NULL },
    { "executor = threading", FJ_GREEN, "on a loop of its thread's own", "executor to green or bridged" },
    { "executor = threading", FJ_CORO, "on a loop of its thread's own", "executor to coroutine or bridged" },
    { "executor = green", FJ_PLAIN, NULL, NULL },
    { "executor = green", FJ_GREEN, NULL, NULL },
    { "executor = green", FJ_CORO, NULL, NULL },
    { "executor = coroutine", FJ_PLAIN, NULL, NULL },
    { "executor = coroutine", FJ_GREEN, "the hooks of another executor", "executor to green or bridged" },
    { "executor = coroutine", FJ_CORO, NULL, NULL },
    { "executor = bridged", FJ_PLAIN, NULL, NULL },
    { "executor = bridged", FJ_GREEN, NULL, NULL },
    { "executor = bridged", FJ_CORO, NULL, NULL },
    /* Without hooks. */
    { "executor = green\npatch =", FJ_PLAIN, NULL, NULL },
    { "executor = green\npatch =", FJ_GREEN, "without hooks", "-lfjord-green" },
    { "executor = bridged\npatch =", FJ_GREEN, "without hooks", "-lfjord-green" },
    { "executor = coroutine\npatch =", FJ_GREEN, "without hooks", "-lfjord-green" },
    { "executor = threading\npatch =", FJ_GREEN, "without hooks", "-lfjord-green" },
    { "executor = bridged\npatch =", FJ_CORO, NULL, NULL },
};

static void serve(const char *lines, const char *strict, fj_flavour flavour)
{
    char both[128];

    (void)snprintf(both, sizeof both, "%s\nstrict = %s", lines, strict);
    make(both);
    ck_assert_int_eq(fj_server_add(server, &endpoints[flavour], NULL, NULL), FJ_OK);
}

static void says(const fj_error *err, const char *words)
{
    ck_assert_msg(strstr(fj_error_text(err), words) != NULL, "\"%s\" says nothing of \"%s\"",
                  fj_error_text(err), words);
}

START_TEST(strict_refuses_what_is_emulated_and_says_what_to_change)
{
    static const char *const flavours[] = { "FJ_PLAIN", "FJ_GREEN", "FJ_CORO" };
    fj_error *err = NULL;
    bool refused = cells[_i].how != NULL;

    serve(cells[_i].lines, "true", cells[_i].flavour);
    ck_assert_int_eq(fj_server_start(server, &err), refused ? FJ_BAD_CONFIG : FJ_OK);
    if (refused) {
        says(err, "server shop.s cannot start: [fjord] strict: the method price of stock is");
        says(err, flavours[cells[_i].flavour]);
        says(err, fj_server_executor(server));
        says(err, cells[_i].how);
        says(err, cells[_i].instead);
    }
    fj_error_free(err);
    free_all();
}
END_TEST

static char line_of_price[512];

static void keep(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level, (void)component;
    if (strstr(text, "method price of stock") != NULL)
        (void)snprintf(line_of_price, sizeof line_of_price, "%s", text);
}

START_TEST(without_strict_every_cell_serves_and_the_log_says_what_is_emulated)
{
    fj_log_set(keep, NULL);
    serve(cells[_i].lines, "false", cells[_i].flavour);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    ck_assert_str_ne(line_of_price, "");
    const char *told = strstr(line_of_price, "emulated: ");
    if (cells[_i].how == NULL)
        ck_assert_ptr_null(told);
    else
        ck_assert(told != NULL && strstr(told, cells[_i].how) != NULL);
    free_all();
    fj_log_set(NULL, NULL);
}
END_TEST

START_TEST(what_strict_refused_leaves_nothing_behind_and_may_be_tried_again)
{
    serve("executor = coroutine", "true", FJ_GREEN);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_BAD_CONFIG);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_BAD_CONFIG);
    free_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flavours");
    TCase *t = tcase_create("configuration");

    tcase_add_loop_test(t, an_executor_is_chosen_by_its_name_or_the_one_it_has_in_openstack, 0, COUNT(names));
    tcase_add_loop_test(t, strict_refuses_what_is_emulated_and_says_what_to_change, 0, COUNT(cells));
    tcase_add_loop_test(t, without_strict_every_cell_serves_and_the_log_says_what_is_emulated, 0, COUNT(cells));
    tcase_add_test(t, what_strict_refused_leaves_nothing_behind_and_may_be_tried_again);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
