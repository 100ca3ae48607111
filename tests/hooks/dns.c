/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

START_TEST(names_are_looked_up_on_a_thread_and_numbers_are_not)
{
    struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *ret = NULL;
    struct sockaddr_in a;
    char host[64], port[16];

    ck_assert_int_eq(getaddrinfo("localhost", "80", &hints, &ret), 0);
    ck_assert_uint_eq(toy_asked().offloads, 1);
    memcpy(&a, ret->ai_addr, sizeof a);
    freeaddrinfo(ret);
    ck_assert_int_eq(a.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    hints.ai_flags = AI_NUMERICHOST;
    ck_assert_int_eq(getaddrinfo("127.0.0.1", "80", &hints, &ret), 0);
    freeaddrinfo(ret);
    ck_assert_int_eq(getaddrinfo("127.0.0.1", "80", NULL, &ret), 0);
    ck_assert_int_eq(((struct sockaddr_in *)(void *)ret->ai_addr)->sin_port, htons(80));
    freeaddrinfo(ret);
    hints.ai_flags = AI_PASSIVE;
    ck_assert_int_eq(getaddrinfo("127.0.0.1", NULL, &hints, &ret), 0);
    ck_assert_int_eq(ret->ai_family, AF_INET);
    freeaddrinfo(ret);
    ck_assert_int_eq(getaddrinfo(NULL, NULL, NULL, &ret), EAI_NONAME);
    ck_assert_int_eq(getnameinfo((struct sockaddr *)&a, sizeof a, host, sizeof host, port, sizeof port,
                                 NI_NUMERICHOST | NI_NUMERICSERV),
                     0);
    ck_assert_str_eq(host, "127.0.0.1");
    ck_assert_uint_eq(toy_asked().offloads, 1);
    ck_assert_int_eq(
        getnameinfo((struct sockaddr *)&a, sizeof a, host, sizeof host, port, sizeof port, NI_NUMERICSERV), 0);
    ck_assert_str_eq(port, "80");
    ck_assert_uint_eq(toy_asked().offloads, 2);
}
END_TEST

START_TEST(the_older_calls_do_the_same)
{
    struct in_addr loopback = { .s_addr = htonl(INADDR_LOOPBACK) };
    struct hostent *h = gethostbyname("localhost");

    ck_assert_ptr_nonnull(h);
    ck_assert_int_eq(h->h_addrtype, AF_INET);
    ck_assert_mem_eq(h->h_addr_list[0], &loopback, sizeof loopback);
    h = gethostbyname2("localhost", AF_INET);
    ck_assert_ptr_nonnull(h);
    ck_assert_str_eq(h->h_name, "localhost");
    h = gethostbyaddr(&loopback, sizeof loopback, AF_INET);
    ck_assert_ptr_nonnull(h);
    ck_assert_mem_eq(h->h_addr_list[0], &loopback, sizeof loopback);
    ck_assert_uint_eq(toy_asked().offloads, 3);
}
END_TEST

START_TEST(those_with_memory_of_the_callers_tell_when_it_is_too_little)
{
    struct in_addr loopback = { .s_addr = htonl(INADDR_LOOPBACK) };
    struct hostent h, *ret = NULL;
    char buf[1024];
    int error = 0;

    ck_assert_int_eq(gethostbyname_r("localhost", &h, buf, 4, &ret, &error), ERANGE);
    ck_assert_int_eq(errno, ERANGE);
    ck_assert_int_eq(gethostbyname_r("localhost", &h, buf, sizeof buf, &ret, &error), 0);
    ck_assert_ptr_eq(ret, &h);
    ck_assert_int_eq(gethostbyname2_r("localhost", AF_INET, &h, buf, sizeof buf, &ret, &error), 0);
    ck_assert_ptr_eq(ret, &h);
    ck_assert_int_eq(gethostbyaddr_r(&loopback, sizeof loopback, AF_INET, &h, buf, sizeof buf, &ret, &error),
                     0);
    ck_assert_ptr_eq(ret, &h);
    ck_assert_uint_eq(toy_asked().offloads, 4);
}
END_TEST

START_TEST(without_a_thread_they_say_so)
{
    struct hostent h, *ret = &h;
    struct addrinfo *list = NULL;
    char buf[64];
    int error = 0;

    toy_no_threads(ECANCELED);
    ck_assert_int_eq(getaddrinfo("localhost", NULL, NULL, &list), EAI_SYSTEM);
    ck_assert_int_eq(errno, ECANCELED);
    ck_assert_int_eq(gethostbyname_r("localhost", &h, buf, sizeof buf, &ret, &error), ECANCELED);
    ck_assert_ptr_null(ret);
    ck_assert_int_eq(error, NETDB_INTERNAL);
    toy_no_threads(EAGAIN);
    h_errno = 0;
    ck_assert_ptr_null(gethostbyname("localhost"));
    ck_assert_int_eq(h_errno, TRY_AGAIN);
}
END_TEST

Suite *dns_suite(void)
{
    Suite *s = suite_create("hooks: names");
    TCase *c = tcase_create("dns");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
    tcase_add_test(c, names_are_looked_up_on_a_thread_and_numbers_are_not);
    tcase_add_test(c, the_older_calls_do_the_same);
    tcase_add_test(c, those_with_memory_of_the_callers_tell_when_it_is_too_little);
    tcase_add_test(c, without_a_thread_they_say_so);
    suite_add_tcase(s, c);
    return s;
}
