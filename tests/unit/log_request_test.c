/* SPDX-License-Identifier: Apache-2.0 */
/* Which request a line of the log is about, under each executor, and a log that the configuration opens. */
#include <fjord/fjord.h>

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REQUESTS = 40, SLOTS = 8, PATIENCE = 20000 };

static const char *const executors[] = { "blocking", "threading", "green", "coroutine", "bridged" };
static char path[64];
static fj_transport *transport;
static fj_server *server;
static fj_client *client;
static atomic_int ended;
static bool on_threads;

/* Says who it is before and after others have run, and fails, which is logged by the library. */
static fj_code speak(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    int n = (int)json_integer_value(json_object_get(args, "n"));

    (void)req, (void)ret;
    fj_log(FJ_LOG_WARNING, "test", "begin %d.", n);
    fj_code code = fj_sleep(fj_in_ms(1));
    fj_log(FJ_LOG_WARNING, "test", "end %d.", n);
    if (code != FJ_OK)
        return code;
    if (atomic_fetch_add(&ended, 1) + 1 == REQUESTS)
        fj_run_stop();
    return fj_fail(err, FJ_BAD_VALUE, "wrong %d.", n);
}

/* ---- who is made by a method ---------------------------------------------------------------------- */

static fj_code say_word(void *user, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    fj_log(FJ_LOG_WARNING, "test", "%s", (const char *)user);
    return FJ_OK;
}

/* A task that outlives the method, and makes another and a job of the pool. */
static fj_code have_it_said(void *user, json_t **ret, fj_error **err)
{
    fj_future *job = NULL;
    fj_task *task = NULL;

    (void)user, (void)ret;
    fj_code code = fj_sleep(fj_in_ms(1));
    fj_log(FJ_LOG_WARNING, "test", "by a task");
    if (code == FJ_OK)
        code = fj_task_spawn(say_word, (void *)(uintptr_t) "by its task", NULL, &task, err);
    if (code == FJ_OK)
        code = fj_run_in_executor(say_word, (void *)(uintptr_t) "by a job", NULL, &job, err);
    if (code == FJ_OK)
        code = fj_await(job, fj_never(), NULL, err);
    if (code == FJ_OK)
        code = fj_await(fj_task_future(task), fj_never(), NULL, err);
    fj_future_unref(job);
    fj_task_unref(task);
    fj_run_stop();
    return code;
}

static fj_code delegate(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_task *task = NULL;

    (void)req, (void)args, (void)ret;
    fj_code code = fj_task_spawn(have_it_said, NULL, NULL, &task, err);
    if (code == FJ_OK && on_threads)
        code = fj_await(fj_task_future(task), fj_never(), NULL, err); /* its loop ends with the method */
    fj_task_unref(task);
    return code;
}

static const fj_method methods[] = { FJ_METHOD("speak", FJ_CORO, speak),
                                     FJ_METHOD("delegate", FJ_CORO, delegate) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static void open_all(const char *executor, const char *json)
{
    fj_target there = FJ_TARGET(.topic = "t"), here = FJ_TARGET(.topic = "t", .server = "s");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_conf *conf = fj_conf_new();

    (void)snprintf(path, sizeof path, "/tmp/fj-log-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    ck_assert_ptr_nonnull(conf);
    ck_assert_int_eq(fj_conf_set(conf, "DEFAULT", "log_file", path, NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "DEFAULT", "use_json", json, NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &transport, NULL), FJ_OK);
    fj_conf_free(conf);
    opts.executor = executor;
    opts.slots = SLOTS;
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
}

static void close_all(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    ck_assert_int_eq(fj_log_open(NULL, NULL), FJ_OK);
    (void)unlink(path);
}

static void cast(const char *method, int n)
{
    char id[32];
    fj_call_opts opts = FJ_CALL_OPTS_INIT;

    (void)snprintf(id, sizeof id, "req-%d", n);
    json_t *context = json_pack("{s:s}", n % 2 ? "request_id" : "global_request_id", id);
    opts.context = context;
    ck_assert_int_eq(fj_client_cast(client, method, json_pack("{s:i}", "n", n), &opts, NULL), FJ_OK);
    json_decref(context);
}

/* Each line that names a number has the request of that number; answers how many. */
static int check_lines(void)
{
    static const char *const words[] = { "begin ", "end ", "wrong " };
    char line[1024], wanted[64];
    FILE *f = fopen(path, "r");
    int found = 0;

    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL) {
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            const char *at = strstr(line, words[i]);
            if (at == NULL)
                continue;
            (void)snprintf(wanted, sizeof wanted, ": [req-%d speak] ", atoi(at + strlen(words[i])));
            ck_assert_msg(strstr(line, wanted) != NULL, "%s is not in %s", wanted, line);
            found++;
        }
    }
    (void)fclose(f);
    return found;
}

START_TEST(each_line_of_a_method_has_its_request_whichever_others_run_meanwhile)
{
    open_all(executors[_i], "false");
    for (int n = 0; n < REQUESTS; n++)
        cast("speak", n);
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
    fj_log(FJ_LOG_WARNING, "test", "outside");
    ck_assert(fj_log_flush(PATIENCE));
    ck_assert_int_eq(check_lines(), 3 * REQUESTS);
    close_all();
}
END_TEST

START_TEST(tasks_and_jobs_that_a_method_makes_have_its_request_also_when_it_has_returned)
{
    static const char *const texts[] = { "by a task", "by its task", "by a job", "outside" };
    char line[1024];
    int found = 0;

    on_threads = _i < 2;
    open_all(executors[_i], "false");
    cast("delegate", 1);
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
    fj_log(FJ_LOG_WARNING, "test", "outside");
    ck_assert(fj_log_flush(PATIENCE));
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL) {
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            if (strstr(line, texts[i]) == NULL)
                continue;
            ck_assert_msg((strstr(line, ": [req-1 ") != NULL && strstr(line, " delegate] ") != NULL) == (i < 3),
                          "%s", line);
            found++;
        }
    }
    (void)fclose(f);
    ck_assert_int_eq(found, 4);
    close_all();
}
END_TEST

START_TEST(hup_opens_the_file_anew_while_run_is_there_and_is_given_back)
{
    char other[80];
    struct sigaction before, after;

    open_all("threading", "true");
    fj_log(FJ_LOG_WARNING, "test", "which opens the file");
    ck_assert(fj_log_flush(PATIENCE));
    ck_assert_int_eq(sigaction(SIGHUP, NULL, &before), 0);
    ck_assert_int_eq(fj_run_signals(NULL), FJ_OK);
    (void)snprintf(other, sizeof other, "%s.1", path);
    ck_assert_int_eq(rename(path, other), 0);
    ck_assert_int_eq(raise(SIGHUP), 0);
    while (access(path, F_OK) != 0) /* Check ends a test that takes too long */
        (void)sched_yield();
    fj_run_stop();
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
    ck_assert_int_eq(sigaction(SIGHUP, NULL, &after), 0);
    ck_assert(after.sa_handler == before.sa_handler);
    (void)unlink(other);
    close_all();
}
END_TEST

START_TEST(a_facility_that_is_none_is_a_broken_configuration)
{
    fj_conf *conf = fj_conf_new();
    fj_error *err = NULL;

    ck_assert_int_eq(fj_conf_set(conf, "DEFAULT", "use_syslog", "true", NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "DEFAULT", "syslog_log_facility", "LOG_NOWHERE", NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &transport, &err), FJ_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "syslog_log_facility"));
    fj_error_free(err);
    fj_conf_free(conf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log request");
    TCase *c = tcase_create("request");

    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, each_line_of_a_method_has_its_request_whichever_others_run_meanwhile, 0,
                        sizeof executors / sizeof executors[0]);
    tcase_add_loop_test(c, tasks_and_jobs_that_a_method_makes_have_its_request_also_when_it_has_returned, 0,
                        sizeof executors / sizeof executors[0]);
    tcase_add_test(c, hup_opens_the_file_anew_while_run_is_there_and_is_given_back);
    tcase_add_test(c, a_facility_that_is_none_is_a_broken_configuration);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
