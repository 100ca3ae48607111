/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl in green tasks. */
#include "tests/green/rig.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 200
#define LARGE ((size_t)8 << 20)

typedef struct {
    char *bytes;
    size_t n, room;
} text;

static size_t keep(char *bytes, size_t size, size_t n, void *user)
{
    text *t = user;

    if (t->n + size * n + 1 > t->room) {
        t->room = 2 * (t->n + size * n + 1);
        t->bytes = realloc(t->bytes, t->room);
        ck_assert_ptr_nonnull(t->bytes);
    }
    memcpy(t->bytes + t->n, bytes, size * n);
    t->n += size * n;
    t->bytes[t->n] = '\0';
    return size * n;
}

static CURL *open_at(const char *base, const char *path, text *to)
{
    CURL *c = curl_easy_init();
    char url[256];

    ck_assert_ptr_nonnull(c);
    (void)snprintf(url, sizeof url, "%s%s", base, path);
    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_URL, url), CURLE_OK);
    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L), CURLE_OK);
    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep), CURLE_OK);
    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_WRITEDATA, to), CURLE_OK);
    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_PROXY, ""), CURLE_OK);
    return c;
}

static const char *plain_base(void)
{
    static char base[64];

    (void)snprintf(base, sizeof base, "http://127.0.0.1:%d", green_port("FJ_TEST_HTTP"));
    return base;
}

static const char *secret_base(void)
{
    static char base[64];

    (void)snprintf(base, sizeof base, "https://127.0.0.1:%d", green_port("FJ_TEST_HTTPS"));
    return base;
}

static CURL *open_secret(const char *path, text *to)
{
    CURL *c = open_at(secret_base(), path, to);
    char ca[256];

    (void)snprintf(ca, sizeof ca, "%s/nginx/cert.pem", green_env("FJ_TEST_HOME"));
    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_CAINFO, ca), CURLE_OK);
    return c;
}

static void perform(CURL *c)
{
    CURLcode code = curl_easy_perform(c);
    long status = 0;

    ck_assert_msg(code == CURLE_OK, "%s", curl_easy_strerror(code));
    ck_assert_int_eq(curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status), CURLE_OK);
    ck_assert_int_eq(status, 200);
}

/* What @p c, opened to put it into @p t, is answered. */
static void expect(CURL *c, text *t, const char *answer)
{
    perform(c);
    ck_assert_str_eq(t->bytes, answer);
    curl_easy_cleanup(c);
    free(t->bytes);
}

/* ---- many at once: the server hands them on to the test, which answers when it has them all ------- */

static int listener = -1, port;
static unsigned expected;
static char held[64];

static void begin(void)
{
    ck_assert_int_eq(curl_global_init(CURL_GLOBAL_ALL), CURLE_OK);
    green_begin();
    listener = green_listen(&port);
    (void)snprintf(held, sizeof held, "/held?port=%d", port);
}

static void end(void)
{
    (void)close(listener);
    green_end();
    curl_global_cleanup();
}

static void answer(int fd)
{
    static const char whole[] = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nheld\n";
    char request[4096];
    size_t n = 0;

    do {
        ssize_t r = read(fd, request + n, sizeof request - 1 - n);

        ck_assert_int_gt(r, 0);
        n += (size_t)r;
        request[n] = '\0';
    } while (strstr(request, "\r\n\r\n") == NULL);
    ck_assert_int_eq(write(fd, whole, sizeof whole - 1), sizeof whole - 1);
    ck_assert_int_eq(close(fd), 0);
}

GREEN_TASK(answers_when_all_are_there)
{
    int *fds = calloc(expected, sizeof(int));

    ck_assert_ptr_nonnull(fds);
    for (unsigned i = 0; i < expected; i++) {
        fds[i] = accept(listener, NULL, NULL);
        ck_assert_int_ge(fds[i], 0);
    }
    green_one_thread();
    for (unsigned i = 0; i < expected; i++)
        answer(fds[i]);
    free(fds);
    return FJ_OK;
}

GREEN_TASK(gets)
{
    text t = { 0 };

    expect(open_at(plain_base(), held, &t), &t, "held\n");
    return FJ_OK;
}

GREEN_TASK(gets_secretly)
{
    text t = { 0 };

    expect(open_secret(held, &t), &t, "held\n");
    return FJ_OK;
}

static void all_at_once(unsigned n, fj_task_fn fn)
{
    fj_task *task = NULL;

    expected = n;
    task = green_spawn(answers_when_all_are_there, NULL);
    green_many(n, fn);
    ck_assert_int_eq(green_join(task), FJ_OK);
}

START_TEST(two_hundred_requests_wait_in_the_server_at_once_for_one_thread)
{
    all_at_once(MANY, gets);
}
END_TEST

START_TEST(with_tls_as_well)
{
    all_at_once(50, gets_secretly);
}
END_TEST

static unsigned running, at_once;

GREEN_TASK(waits_a_little)
{
    text t = { 0 };

    if (++running > at_once)
        at_once = running;
    expect(open_at(plain_base(), "/sleep?s=0.02", &t), &t, "slept\n");
    running--;
    return FJ_OK;
}

START_TEST(ten_requests_overlap)
{
    running = at_once = 0;
    green_many(10, waits_a_little);
    ck_assert_uint_gt(at_once, 1);
}
END_TEST

START_TEST(without_hooks_the_same_tasks_go_one_after_the_other)
{
    running = at_once = 0;
    green_many(10, waits_a_little);
    ck_assert_uint_eq(at_once, 1);
}
END_TEST

/* ---- what libcurl can do -------------------------------------------------------------------------- */

static void check_large(const text *t)
{
    ck_assert_uint_eq(t->n, LARGE);
    for (size_t i = 0; i < LARGE; i += 16 * 1024)
        ck_assert_uint_eq(strtoul(t->bytes + i, NULL, 10), i / 16);
}

GREEN_TASK(loads_much)
{
    text t = { 0 };
    CURL *c = GREEN_NUMBER % 2 == 0 ? open_at(plain_base(), "/big", &t) : open_secret("/big", &t);

    perform(c);
    check_large(&t);
    curl_easy_cleanup(c);
    free(t.bytes);
    return FJ_OK;
}

START_TEST(large_files_come_whole)
{
    green_many(6, loads_much);
}
END_TEST

GREEN_TASK(sends_much)
{
    const size_t n = (size_t)2 << 20;
    char *body = malloc(n + 1);
    text t = { 0 };
    CURL *c = open_at(plain_base(), "/post", &t);

    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)('a' + (i + i / 8191 + GREEN_NUMBER) % 26);
    body[n] = '\0';
    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)n), CURLE_OK);
    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_POSTFIELDS, body), CURLE_OK);
    perform(c);
    ck_assert_uint_eq(t.n, n);
    ck_assert(memcmp(t.bytes, body, n) == 0);
    curl_easy_cleanup(c);
    free(t.bytes);
    free(body);
    return FJ_OK;
}

START_TEST(large_bodies_go_whole)
{
    green_many(6, sends_much);
}
END_TEST

GREEN_TASK(asks_again)
{
    text t = { 0 };
    CURL *c = open_at(plain_base(), "/hello", &t);
    long connects = 0, all = 0;

    for (int i = 0; i < 20; i++) {
        t.n = 0;
        perform(c);
        ck_assert_str_eq(t.bytes, "hello\n");
        ck_assert_int_eq(curl_easy_getinfo(c, CURLINFO_NUM_CONNECTS, &connects), CURLE_OK);
        all += connects;
    }
    ck_assert_int_eq(all, 1);
    curl_easy_cleanup(c);
    free(t.bytes);
    return FJ_OK;
}

START_TEST(a_connection_is_kept_between_requests)
{
    green_many(20, asks_again);
}
END_TEST

/* libcurl makes a thread to look up a name; what it does there is not green. */
GREEN_TASK(looks_up)
{
    text t = { 0 };
    char base[64];

    (void)snprintf(base, sizeof base, "http://localhost:%d", green_port("FJ_TEST_HTTP"));
    expect(open_at(base, "/hello", &t), &t, "hello\n");
    return FJ_OK;
}

START_TEST(names_are_looked_up_by_its_threads)
{
    green_many(30, looks_up);
}
END_TEST

/* ---- the multi interface: its waits are poll's, too ----------------------------------------------- */

static void one_more(void)
{
    text t = { 0 };

    expect(open_at(plain_base(), "/hello", &t), &t, "hello\n");
}

GREEN_TASK(asks_meanwhile)
{
    one_more();
    ++*(unsigned *)user;
    return FJ_OK;
}

#define TOGETHER 20

static void drive(CURLM *m)
{
    int left = 1;

    while (left > 0) {
        ck_assert_int_eq(curl_multi_perform(m, &left), CURLM_OK);
        if (left > 0)
            ck_assert_int_eq(curl_multi_poll(m, NULL, 0, 10000, NULL), CURLM_OK);
    }
}

static void many_in_one_task(void)
{
    CURLM *m = curl_multi_init();
    CURL *each[TOGETHER];
    text texts[TOGETHER] = { { 0 } };
    unsigned others = 0;
    fj_task *other = green_spawn(asks_meanwhile, &others);

    for (unsigned i = 0; i < TOGETHER; i++) {
        each[i] = open_at(plain_base(), "/sleep?s=0.1", &texts[i]);
        ck_assert_int_eq(curl_multi_add_handle(m, each[i]), CURLM_OK);
    }
    drive(m);
    ck_assert_uint_eq(others, 1); /* a hundred milliseconds are enough for one that does not wait */
    for (unsigned i = 0; i < TOGETHER; i++) {
        ck_assert_str_eq(texts[i].bytes, "slept\n");
        (void)curl_multi_remove_handle(m, each[i]);
        curl_easy_cleanup(each[i]);
        free(texts[i].bytes);
    }
    ck_assert_int_eq(curl_multi_cleanup(m), CURLM_OK);
    ck_assert_int_eq(green_join(other), FJ_OK);
}

START_TEST(many_transfers_of_one_task_let_others_run)
{
    in_green(many_in_one_task);
}
END_TEST

/* ---- what ends a request -------------------------------------------------------------------------- */

GREEN_TASK(runs_out_of_time)
{
    text t = { 0 };
    CURL *c = open_at(plain_base(), "/sleep?s=30", &t);

    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, 50L), CURLE_OK);
    ck_assert_int_eq(curl_easy_perform(c), CURLE_OPERATION_TIMEDOUT);
    curl_easy_cleanup(c);
    return FJ_OK;
}

START_TEST(its_own_timeout_ends_a_request)
{
    green_many(20, runs_out_of_time);
}
END_TEST

GREEN_TASK(connects_to_the_deaf)
{
    text t = { 0 };
    char base[64];
    CURL *c = NULL;

    (void)snprintf(base, sizeof base, "http://127.0.0.1:%d", *(int *)user);
    c = open_at(base, "/", &t);
    ck_assert_int_eq(curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, 50L), CURLE_OK);
    ck_assert_int_eq(curl_easy_perform(c), CURLE_OPERATION_TIMEDOUT);
    curl_easy_cleanup(c);
    return FJ_OK;
}

START_TEST(its_own_timeout_ends_a_connect)
{
    int deaf = 0, more[2];
    int fd = green_listen_deaf(&deaf, more);
    fj_task *a = green_spawn(connects_to_the_deaf, &deaf), *b = green_spawn(connects_to_the_deaf, &deaf);

    ck_assert_int_eq(green_join(a), FJ_OK);
    ck_assert_int_eq(green_join(b), FJ_OK);
    (void)close(fd);
    (void)close(more[0]);
    (void)close(more[1]);
}
END_TEST

typedef struct {
    CURLcode code;
    fj_code after;
    bool began;
} outcome;

GREEN_TASK(gets_for_long)
{
    outcome *o = user;
    text t = { 0 };
    CURL *c = open_at(plain_base(), held, &t);

    o->began = true;
    o->code = curl_easy_perform(c);
    o->after = fj_yield();
    curl_easy_cleanup(c);
    return FJ_OK;
}

static outcome ended_by(bool (*ended)(fj_task *task))
{
    outcome o = { 0 };
    fj_task *task = green_spawn(gets_for_long, &o);
    int fd = accept(listener, NULL, NULL); /* its request is on its way */

    ck_assert_int_ge(fd, 0);
    ck_assert(ended(task));
    ck_assert_int_eq(green_join(task), FJ_OK);
    ck_assert_int_eq(close(fd), 0);
    return o;
}

static void cancel_and_kill(void)
{
    outcome o = ended_by(fj_task_cancel);

    ck_assert_int_ne(o.code, CURLE_OK);
    ck_assert_int_eq(o.after, FJ_OK);
    o = ended_by(fj_task_kill);
    ck_assert_int_ne(o.code, CURLE_OK);
    ck_assert_int_eq(o.after, FJ_CANCELLED);
}

START_TEST(a_task_that_is_cancelled_in_a_request_ends_it)
{
    in_green(cancel_and_kill);
}
END_TEST

static void time_out(void)
{
    text t = { 0 };
    CURL *c = open_at(plain_base(), "/sleep?s=30", &t);
    fj_timeout timeout;

    fj_timeout_begin(&timeout, fj_in_ms(50));
    ck_assert_int_ne(curl_easy_perform(c), CURLE_OK);
    ck_assert(fj_timeout_end(&timeout));
    curl_easy_cleanup(c);
    one_more();
}

START_TEST(a_timeout_around_a_request_ends_it)
{
    in_green(time_out);
}
END_TEST

/* ---- servers that go ------------------------------------------------------------------------------ */

GREEN_TASK(is_hung_up_on)
{
    text t = { 0 };
    CURL *c = open_at(plain_base(), "/hangup", &t);

    ck_assert_int_eq(curl_easy_perform(c), CURLE_GOT_NOTHING);
    curl_easy_cleanup(c);
    return FJ_OK;
}

START_TEST(who_is_hung_up_on_says_so)
{
    green_many(20, is_hung_up_on);
}
END_TEST

GREEN_TASK(is_cut_off)
{
    text t = { 0 };
    CURL *c = open_at(plain_base(), held, &t);
    CURLcode code = curl_easy_perform(c);

    ck_assert_msg(code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR, "%s", curl_easy_strerror(code));
    curl_easy_cleanup(c);
    return FJ_OK;
}

/* system() is on the pool, so that the others hear of it meanwhile. */
GREEN_TASK(restarts_the_server)
{
    int fds[MANY];

    for (unsigned i = 0; i < MANY; i++) {
        fds[i] = accept(listener, NULL, NULL);
        ck_assert_int_ge(fds[i], 0);
    }
    green_servers("kill", "nginx");
    green_servers("start", "nginx");
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_int_eq(close(fds[i]), 0);
    one_more();
    return FJ_OK;
}

START_TEST(a_server_may_be_restarted_while_two_hundred_wait)
{
    fj_task *task = green_spawn(restarts_the_server, NULL);

    green_many(MANY, is_cut_off);
    ck_assert_int_eq(green_join(task), FJ_OK);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("libcurl in green tasks");
    TCase *hooked = tcase_create("hooked"), *bare = tcase_create("bare");

    tcase_add_checked_fixture(hooked, begin, end);
    tcase_add_test(hooked, two_hundred_requests_wait_in_the_server_at_once_for_one_thread);
    tcase_add_test(hooked, with_tls_as_well);
    tcase_add_test(hooked, ten_requests_overlap);
    tcase_add_test(hooked, large_files_come_whole);
    tcase_add_test(hooked, large_bodies_go_whole);
    tcase_add_test(hooked, a_connection_is_kept_between_requests);
    tcase_add_test(hooked, names_are_looked_up_by_its_threads);
    tcase_add_test(hooked, many_transfers_of_one_task_let_others_run);
    tcase_add_test(hooked, its_own_timeout_ends_a_request);
    tcase_add_test(hooked, its_own_timeout_ends_a_connect);
    tcase_add_test(hooked, a_task_that_is_cancelled_in_a_request_ends_it);
    tcase_add_test(hooked, a_timeout_around_a_request_ends_it);
    tcase_add_test(hooked, who_is_hung_up_on_says_so);
    tcase_add_test(hooked, a_server_may_be_restarted_while_two_hundred_wait);
    suite_add_tcase(s, hooked);
    tcase_add_checked_fixture(bare, green_begin_bare, green_end);
    tcase_add_test(bare, without_hooks_the_same_tasks_go_one_after_the_other);
    suite_add_tcase(s, bare);
    return green_main(s);
}
