/* SPDX-License-Identifier: Apache-2.0 */
/* What one line of a configuration file chooses: the executor by any of its names, and what [fjord] strict refuses. */
#include <fjord/fjord.h>

#include <check.h>
#include <pthread.h>
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

/* ---- the user's wrapper (oslo.messaging's executor_callback) ---------------------------------------- */

static fj_code where(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)err;
    *ret = json_pack("{s:b, s:b}", "task", fj_task_current() != NULL, "green", fj_green_here());
    return FJ_OK;
}

static const fj_method where_plain[] = { FJ_METHOD("where", FJ_PLAIN, where) };
static const fj_method where_green[] = { FJ_METHOD("where", FJ_GREEN, where) };
static const fj_method where_coro[] = { FJ_METHOD("where", FJ_CORO, where) };
static const fj_endpoint wheres[] = {
    [FJ_PLAIN] = FJ_ENDPOINT(NULL, "1.0", where_plain),
    [FJ_GREEN] = FJ_ENDPOINT(NULL, "1.0", where_green),
    [FJ_CORO] = FJ_ENDPOINT(NULL, "1.0", where_coro),
};

/* Runs where the method does, with its arguments, and has the last word on the result. */
static fj_code wrap(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_t *inner = NULL;
    json_t *mine = json_pack("{s:b, s:b}", "task", fj_task_current() != NULL, "green", fj_green_here());
    fj_code code = fj_invoke_direct(NULL, req, args, &inner, err);

    *ret = json_pack("{s:s, s:s, s:o, s:O, s:o}", "user", (const char *)user, "method", fj_request_method(req),
                     "wrapper", mine, "args", args, "method_says", inner);
    return code;
}

static void *ask(void *ret)
{
    fj_target there = FJ_TARGET(.topic = "wrapped");
    fj_client *client = NULL;
    fj_error *e = NULL;
    fj_code code = fj_client_new(transport, &there, NULL, &client, &e);

    if (code == FJ_OK)
        code = fj_client_call(client, "where", json_pack("{s:i}", "n", 7), NULL, ret, &e);
    if (code != FJ_OK)
        (void)fprintf(stderr, "%s\n", fj_error_text(e));
    fj_error_free(e);
    fj_client_free(client);
    fj_server_stop(server);
    return NULL;
}

static json_t *serve_one_call(const char *executor, fj_flavour flavour)
{
    static char user[] = "the user's";
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target here = FJ_TARGET(.topic = "wrapped", .server = "s");
    pthread_t caller;
    json_t *ret = NULL;

    opts.executor = executor;
    opts.wrap = wrap;
    opts.wrap_user = user;
    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &wheres[flavour], NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    ck_assert_int_eq(pthread_create(&caller, NULL, ask, &ret), 0);
    ck_assert_int_eq(fj_server_run(server, NULL), FJ_OK);
    (void)pthread_join(caller, NULL);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(10000), NULL), FJ_OK);
    free_all();
    return ret;
}

START_TEST(a_server_s_wrapper_stands_around_methods_of_every_flavour_under_every_executor)
{
    fj_flavour flavour = (fj_flavour)(_i % 3);
    const fj_executor_ops *x = fj_executor_builtin((size_t)_i / 3);
    bool at_home = (x->caps & FJ_EXECUTOR_GREEN) != 0, on_loop = (x->caps & FJ_EXECUTOR_LOOP) != 0;
    bool green_there = flavour == FJ_GREEN || (flavour == FJ_PLAIN && at_home);
    json_t *ret = serve_one_call(x->name, flavour);
    json_t *wanted =
        json_pack("{s:s, s:s, s:{s:b, s:b}, s:{s:i}, s:{s:b, s:b}}", "user", "the user's", "method", "where",
                  "wrapper", "task", on_loop || flavour != FJ_PLAIN, "green", green_there, "args", "n", 7,
                  "method_says", "task", on_loop || flavour != FJ_PLAIN, "green", green_there);

    ck_assert_ptr_nonnull(ret);
    ck_assert(json_equal(ret, wanted));
    json_decref(wanted);
    json_decref(ret);
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
    tcase_add_loop_test(t, a_server_s_wrapper_stands_around_methods_of_every_flavour_under_every_executor, 0,
                        15);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
