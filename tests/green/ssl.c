/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's own sockets (BIO_s_connect), which block, in green tasks. */
#include "tests/green/rig.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 50

static SSL_CTX *context;
static int listener = -1, port;

static void begin(void)
{
    char ca[256];

    context = SSL_CTX_new(TLS_client_method());
    ck_assert_ptr_nonnull(context);
    (void)snprintf(ca, sizeof ca, "%s/nginx/cert.pem", green_env("FJ_TEST_HOME"));
    ck_assert_int_eq(SSL_CTX_load_verify_locations(context, ca, NULL), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    green_begin();
    listener = green_listen(&port);
}

static void end(void)
{
    (void)close(listener);
    green_end();
    SSL_CTX_free(context);
}

/* Connected, with the handshake done; NULL when that failed. */
static BIO *open_one(void)
{
    BIO *b = BIO_new_ssl_connect(context);
    char to[64];

    ck_assert_ptr_nonnull(b);
    (void)snprintf(to, sizeof to, "127.0.0.1:%s", green_env("FJ_TEST_HTTPS"));
    ck_assert_int_eq(BIO_set_conn_hostname(b, to), 1);
    ck_assert_int_eq(BIO_do_connect(b), 1);
    ck_assert_int_eq(BIO_do_handshake(b), 1);
    return b;
}

static void ask(BIO *b)
{
    char request[128];
    int n = snprintf(request, sizeof request, "GET /held?port=%d HTTP/1.0\r\n\r\n", port);

    ck_assert_int_eq(BIO_write(b, request, n), n);
}

GREEN_TASK(gets)
{
    BIO *b = open_one();
    char got[4096];
    int n = 0, r = 0;

    ask(b);
    while ((r = BIO_read(b, got + n, (int)sizeof got - 1 - n)) > 0)
        n += r;
    got[n] = '\0';
    ck_assert_ptr_nonnull(strstr(got, "200 OK"));
    ck_assert_ptr_nonnull(strstr(got, "\r\n\r\nheld\n"));
    BIO_free_all(b);
    return FJ_OK;
}

GREEN_TASK(answers_when_all_are_there)
{
    static const char whole[] = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nheld\n";
    int fds[MANY];
    char request[4096];

    for (unsigned i = 0; i < MANY; i++) {
        fds[i] = accept(listener, NULL, NULL);
        ck_assert_int_ge(fds[i], 0);
    }
    green_one_thread();
    for (unsigned i = 0; i < MANY; i++) {
        ck_assert_int_gt(read(fds[i], request, sizeof request), 0);
        ck_assert_int_eq(write(fds[i], whole, sizeof whole - 1), sizeof whole - 1);
        ck_assert_int_eq(close(fds[i]), 0);
    }
    return FJ_OK;
}

START_TEST(fifty_requests_wait_in_the_server_at_once_for_one_thread)
{
    fj_task *task = green_spawn(answers_when_all_are_there, NULL);

    green_many(MANY, gets);
    ck_assert_int_eq(green_join(task), FJ_OK);
}
END_TEST

GREEN_TASK(reads_for_long)
{
    BIO *b = open_one();
    char got[64];

    ask(b);
    ck_assert_int_le(BIO_read(b, got, sizeof got), 0);
    ck_assert(!BIO_should_retry(b));
    ck_assert_int_eq(fj_yield(), FJ_OK);
    BIO_free_all(b);
    return FJ_OK;
}

static void cancel(void)
{
    fj_task *task = green_spawn(reads_for_long, NULL);
    int fd = accept(listener, NULL, NULL);

    ck_assert_int_ge(fd, 0);
    ck_assert(fj_task_cancel(task));
    ck_assert_int_eq(green_join(task), FJ_OK);
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(a_task_that_is_cancelled_in_a_read_does_not_retry)
{
    in_green(cancel);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("OpenSSL in green tasks");
    TCase *c = tcase_create("hooked");

    tcase_add_checked_fixture(c, begin, end);
    tcase_add_test(c, fifty_requests_wait_in_the_server_at_once_for_one_thread);
    tcase_add_test(c, a_task_that_is_cancelled_in_a_read_does_not_retry);
    suite_add_tcase(s, c);
    return green_main(s);
}
