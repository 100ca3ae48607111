/* SPDX-License-Identifier: Apache-2.0 */
/* From a name to a connection, and how soon one that is dead is noticed.  The resolver is the test's own. */
#include "tests/support/broker.h"
#include "tests/support/said.h"

#include <arpa/inet.h>
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <fjord/fjord.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LONG_MS = 10000, SHORT_MS = 300, BACKLOG = 8, FDS = 1024, HEARTBEAT_S = 1 };

static broker *b;
static fj_transport *transport;
static fj_client *client;
static fj_server *server;

/* ---- a resolver -------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hangs;
static unsigned asked, hanging;
static const char *addresses[4]; /* of "many.test", in this order */
static uint16_t ports[4];        /* 0: the one that was asked for */

static struct addrinfo *one(const char *address, uint16_t port, struct addrinfo *next)
{
    struct both {
        struct addrinfo info;
        struct sockaddr_in6 at;
    } *both = calloc(1, sizeof *both);
    struct sockaddr_in *v4 = (struct sockaddr_in *)&both->at;

    both->info = (struct addrinfo){ .ai_socktype = SOCK_STREAM,
                                    .ai_addr = (struct sockaddr *)&both->at,
                                    .ai_next = next };
    if (inet_pton(AF_INET6, address, &both->at.sin6_addr) == 1) {
        both->info.ai_family = both->at.sin6_family = AF_INET6;
        both->info.ai_addrlen = sizeof both->at;
        both->at.sin6_port = htons(port);
    } else {
        both->info.ai_family = v4->sin_family = AF_INET;
        both->info.ai_addrlen = sizeof *v4;
        v4->sin_port = htons(port);
        (void)inet_pton(AF_INET, address, &v4->sin_addr);
    }
    return &both->info;
}

/* In place of libc's. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    static int (*libc)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    if ((hints->ai_flags & AI_NUMERICHOST) != 0 || strcmp(name, "many.test") != 0) {
        if (libc == NULL)
            *(void **)&libc = dlsym(RTLD_NEXT, "getaddrinfo");
        return libc(name, service, hints, ret);
    }
    (void)pthread_mutex_lock(&lock);
    asked++;
    hanging++;
    (void)pthread_cond_broadcast(&changed);
    while (hangs)
        (void)pthread_cond_wait(&changed, &lock);
    hanging--;
    *ret = NULL;
    for (size_t i = 4; i-- > 0;) {
        if (addresses[i] != NULL)
            *ret = one(addresses[i], ports[i] != 0 ? ports[i] : (uint16_t)atoi(service), *ret);
    }
    (void)pthread_mutex_unlock(&lock);
    return *ret != NULL ? 0 : EAI_NONAME;
}

static void set_hangs(bool on)
{
    (void)pthread_mutex_lock(&lock);
    hangs = on;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

/* ---- peers that are none -------------------------------------------------------------------------------- */

typedef struct {
    int fd, fill[BACKLOG];
    uint16_t port;
} peer;

static peer listening(int backlog)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof at;
    peer p = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };

    memset(p.fill, -1, sizeof p.fill);
    ck_assert_int_eq(bind(p.fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(p.fd, backlog), 0);
    ck_assert_int_eq(getsockname(p.fd, (struct sockaddr *)&at, &n), 0);
    p.port = ntohs(at.sin_port);
    return p;
}

/* It accepts and says nothing. */
static peer mute(void)
{
    return listening(16);
}

/* A black hole: its backlog is full, so that nobody answers who knocks. */
static peer hole(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    peer p = listening(0);

    at.sin_port = htons(p.port);
    for (int i = 0; i < BACKLOG; i++) {
        p.fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(p.fill[i], (struct sockaddr *)&at, sizeof at);
    }
    return p;
}

static void gone(peer *p)
{
    for (int i = 0; i < BACKLOG; i++) {
        if (p->fill[i] >= 0)
            (void)close(p->fill[i]);
    }
    (void)close(p->fd);
}

/* ---- fixtures ----------------------------------------------------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static void open_at(const char *host, unsigned port, const char *connect_timeout)
{
    fj_conf *conf = fj_conf_new();
    fj_target there = FJ_TARGET(.topic = "t");
    char url[100];

    ck_assert_ptr_nonnull(conf);
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "connect_timeout", connect_timeout, NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "oslo_messaging_rabbit", "heartbeat_timeout_threshold", "1", NULL),
                     FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "oslo_messaging_rabbit", "kombu_reconnect_delay", "0.02", NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "oslo_messaging_rabbit", "rabbit_retry_interval", "0.02", NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "oslo_messaging_rabbit", "rabbit_retry_backoff", "0", NULL), FJ_OK);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@%s:%u/", host, port);
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    fj_conf_free(conf);
}

static void set_up(void)
{
    said_begin();
    b = broker_new();
    ck_assert_ptr_nonnull(b);
    broker_tune(b, 2047, 131072, HEARTBEAT_S);
}

static void tear_down(void)
{
    set_hangs(false);
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    b = broker_free(b);
}

static fj_code cast(int ms, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(ms);
    return fj_client_cast(client, "echo", NULL, &o, err);
}

static void assert_works(void)
{
    fj_error *err = NULL;
    fj_code rc = cast(LONG_MS, &err);

    ck_assert_msg(rc == FJ_OK, "%s: %s", fj_code_name(rc), fj_error_text(err));
}

/* ---- names -------------------------------------------------------------------------------------------- */

START_TEST(every_address_of_a_name_is_tried_and_a_dead_one_does_not_eat_all_the_time)
{
    peer first = hole(), second = mute();

    addresses[0] = "::1"; /* nobody listens there */
    addresses[1] = addresses[2] = addresses[3] = "127.0.0.1";
    ports[1] = first.port;
    ports[2] = second.port;
    open_at("many.test", broker_port(b), "4");
    assert_works();
    ck_assert_uint_eq(said("(publishing connection)", NULL), 0); /* the attempt did not fail */
    gone(&first);
    gone(&second);
}
END_TEST

START_TEST(the_address_that_worked_is_the_first_to_be_tried_again)
{
    peer dead = hole();

    addresses[0] = addresses[1] = "127.0.0.1";
    ports[0] = dead.port;
    open_at("many.test", broker_port(b), "4");
    assert_works();
    fj_deadline began = fj_now();
    broker_fault(b, BROKER_HANG_UP, 0);
    (void)cast(LONG_MS, NULL);
    assert_works();
    ck_assert_int_lt(fj_now().ns - began.ns, 2000000000); /* which the dead one would have had */
    ck_assert_uint_ge(asked, 2);
    gone(&dead);
}
END_TEST

START_TEST(a_name_of_dead_addresses_ends_by_the_deadline_of_the_call_and_in_words)
{
    peer dead = hole();
    fj_error *err = NULL;

    addresses[0] = addresses[1] = "127.0.0.1";
    ports[0] = ports[1] = dead.port;
    open_at("many.test", 5672, "0.2");
    fj_deadline by = fj_in_ms(LONG_MS);
    ck_assert_int_eq(cast(2 * SHORT_MS, &err), FJ_UNREACHABLE);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "many.test:5672"));
    ck_assert(!fj_passed(by));
    fj_error_free(err);
    gone(&dead);
}
END_TEST

START_TEST(a_name_that_nobody_knows_is_told)
{
    fj_error *err = NULL;

    open_at("many.test", 5672, "4");
    ck_assert_int_eq(cast(SHORT_MS, &err), FJ_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "looking up many.test"));
    fj_error_free(err);
}
END_TEST

START_TEST(a_resolver_that_hangs_holds_nobody_up_and_hangs_no_more_than_so_many_threads)
{
    addresses[0] = "127.0.0.1";
    set_hangs(true);
    open_at("many.test", broker_port(b), "0.01"); /* so that it is asked again and again */
    fj_deadline by = fj_in_ms(LONG_MS);
    ck_assert_int_eq(cast(SHORT_MS, NULL), FJ_UNREACHABLE);
    ck_assert(!fj_passed(by));
    ck_assert_int_eq(cast(4 * SHORT_MS, NULL), FJ_UNREACHABLE);
    (void)pthread_mutex_lock(&lock);
    ck_assert_uint_ge(hanging, 2);
    ck_assert_uint_le(hanging, 32);
    (void)pthread_mutex_unlock(&lock);
    set_hangs(false);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    open_at("many.test", broker_port(b), "4");
    assert_works();
}
END_TEST

/* ---- what is dead ----------------------------------------------------------------------------------------- */

/* The kernel's patience with our connections to the broker: the least and the most; -1: there are none. */
static void patience(int *ret_least, int *ret_most)
{
    *ret_least = *ret_most = -1;
    for (int fd = 0; fd < FDS; fd++) {
        struct sockaddr_in to;
        socklen_t n = sizeof to, size = sizeof(int);
        int ms = 0;
        if (getpeername(fd, (struct sockaddr *)&to, &n) != 0 || to.sin_family != AF_INET ||
            ntohs(to.sin_port) != broker_port(b) ||
            getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &size) != 0)
            continue;
        *ret_least = *ret_least < 0 || ms < *ret_least ? ms : *ret_least;
        *ret_most = ms > *ret_most ? ms : *ret_most;
    }
}

START_TEST(the_kernel_waits_two_heartbeats_for_bytes_to_be_taken_but_while_we_are_blocked)
{
    broker_rule block = { .kind = BROKER_BLOCK, .at = AMQP_BASIC_PUBLISH_METHOD };
    broker_rule unblock = { .kind = BROKER_UNBLOCK, .at = AMQP_BASIC_PUBLISH_METHOD };
    int least, most;

    open_at("127.0.0.1", broker_port(b), "4");
    assert_works();
    patience(&least, &most);
    ck_assert_int_eq(least, 2000 * HEARTBEAT_S);
    ck_assert_int_eq(most, 2000 * HEARTBEAT_S);
    broker_rule_add(b, &block);
    assert_works();
    patience(&least, &most);
    ck_assert_int_eq(most, 0);
    broker_rule_add(b, &unblock);
    broker_fault(b, BROKER_UNBLOCK, 0);
    assert_works();
    patience(&least, &most);
    ck_assert_int_eq(least, 2000 * HEARTBEAT_S);
}
END_TEST

START_TEST(a_broker_that_falls_silent_is_noticed_after_two_heartbeats)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target here = FJ_TARGET(.topic = "t", .server = "s");

    open_at("127.0.0.1", broker_port(b), "4");
    opts.executor = "threading";
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    unsigned consumed = broker_seen(b, AMQP_BASIC_CONSUME_METHOD);
    broker_fault(b, BROKER_STALL, 0);
    ck_assert(broker_wait(b, AMQP_BASIC_CONSUME_METHOD, consumed + 3, LONG_MS));
    ck_assert_uint_eq(said("(consuming connection)", "no heartbeat for 2 s"), 1);
    assert_works();
}
END_TEST

START_TEST(half_a_frame_that_never_ends_is_noticed_by_the_heartbeat)
{
    static const uint8_t half[] = { 1, 0, 0, 0, 0, 0, 20, 0, 10 };
    broker_rule rule = {
        .kind = BROKER_SEND, .at = AMQP_CONFIRM_SELECT_METHOD, .times = 1, .bytes = half, .n = sizeof half
    };
    broker_rule mute_ = { .kind = BROKER_MUTE, .at = AMQP_CHANNEL_OPEN_METHOD, .times = 1 };

    broker_rule_add(b, &mute_); /* with the connection */
    broker_rule_add(b, &rule);
    open_at("127.0.0.1", broker_port(b), "4");
    ck_assert_int_eq(cast(LONG_MS, NULL), FJ_LOST); /* it was written: nobody knows */
    assert_works();
    ck_assert_uint_eq(said("(publishing connection)", "no heartbeat for 2 s"), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("amqp dial");
    TCase *c = tcase_create("driver");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, every_address_of_a_name_is_tried_and_a_dead_one_does_not_eat_all_the_time);
    tcase_add_test(c, the_address_that_worked_is_the_first_to_be_tried_again);
    tcase_add_test(c, a_name_of_dead_addresses_ends_by_the_deadline_of_the_call_and_in_words);
    tcase_add_test(c, a_name_that_nobody_knows_is_told);
    tcase_add_test(c, a_resolver_that_hangs_holds_nobody_up_and_hangs_no_more_than_so_many_threads);
    tcase_add_test(c, the_kernel_waits_two_heartbeats_for_bytes_to_be_taken_but_while_we_are_blocked);
    tcase_add_test(c, a_broker_that_falls_silent_is_noticed_after_two_heartbeats);
    tcase_add_test(c, half_a_frame_that_never_ends_is_noticed_by_the_heartbeat);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
