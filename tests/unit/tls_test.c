/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of the rabbit driver: who is believed, who is not and why, and that bytes pass whole. */
#include "tests/support/broker.h"
#include "tests/support/tls_front.h"

#include <arpa/inet.h>
#include <check.h>
#include <fjord/driver.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LONG_MS = 20000 };

static char folder[] = "/tmp/fjord-tls-XXXXXX";
static broker *b;
static tls_front *front;
static tls_front_opts opts;
static fj_conf *conf;
static fj_driver *driver;
static fj_error *error;

static void make_certs(void)
{
    char command[256];

    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(command, sizeof command, "scripts/certs %s >/dev/null 2>&1", folder);
    ck_assert_int_eq(system(command), 0);
}

static void remove_certs(void)
{
    char command[256];

    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void set(const char *group, const char *key, const char *value)
{
    ck_assert_int_eq(fj_conf_set(conf, group, key, value, NULL), FJ_OK);
}

static void set_rabbit(const char *key, const char *value)
{
    set("oslo_messaging_rabbit", key, value);
}

/* An option that names a file of the folder. */
static void set_file(const char *key, const char *name)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    set_rabbit(key, path);
}

static void set_up(void)
{
    b = broker_new();
    ck_assert_ptr_nonnull(b);
    conf = fj_conf_new();
    ck_assert_ptr_nonnull(conf);
    set_rabbit("kombu_reconnect_delay", "0.02");
    set_rabbit("rabbit_retry_interval", "0.02");
    set_rabbit("ssl", "true");
    set_file("ssl_ca_file", "ca.pem");
    opts = (tls_front_opts){ .folder = folder, .cert = "good" };
}

static void hang_up(void)
{
    if (driver == NULL)
        return;
    driver->ops->close(driver);
    ck_assert_int_eq(driver->ops->stop(driver, fj_in_ms(LONG_MS), NULL), FJ_OK);
    driver->ops->free(driver);
    driver = NULL;
}

static void tear_down(void)
{
    hang_up();
    if (front != NULL)
        front = tls_front_free(front);
    b = broker_free(b);
    fj_conf_free(conf);
    error = fj_error_free(error);
}

static fj_code dial(const char *host, uint16_t port)
{
    const fj_driver_ops *ops = NULL;
    fj_url *url = NULL;
    char text[96];

    (void)snprintf(text, sizeof text, "rabbit://guest:guest@%s:%u/", host, (unsigned)port);
    ck_assert_int_eq(fj_url_parse(text, &url, NULL), FJ_OK);
    ck_assert_int_eq(fj_driver_find(conf, "rabbit", &ops, NULL), FJ_OK);
    fj_code code = ops->open(conf, url, &driver, &error);
    fj_url_free(url);
    return code;
}

static fj_code cast_by(const char *topic, json_t *args, fj_deadline by)
{
    fj_target to = FJ_TARGET(.topic = topic);
    fj_send s = { .size = sizeof s, .target = &to, .method = "m", .args = args, .retry = 0, .by = by };
    fj_future *future = NULL;

    error = fj_error_free(error);
    ck_assert_int_eq(driver->ops->send(driver, &s, &future, NULL), FJ_OK);
    fj_code code = fj_future_wait(future, fj_in_ms(LONG_MS), NULL, &error);
    fj_future_unref(future);
    return code;
}

static fj_code cast(void)
{
    return cast_by("nowhere", NULL, fj_in_ms(LONG_MS));
}

/* A front with `opts`, dialled as @p host: what becomes of a cast. */
static fj_code outcome(const char *host)
{
    front = tls_front_new(broker_port(b), &opts);
    ck_assert_int_eq(dial(host, tls_front_port(front)), FJ_OK);
    return cast();
}

/* It is not sent, for a reason that says @p words (up to NULL). */
static void refused(const char *host, ...)
{
    va_list words;
    const char *word;

    ck_assert_int_eq(outcome(host), FJ_TLS);
    ck_assert_int_eq(fj_error_sent(error), FJ_SENT_NO);
    va_start(words, host);
    while ((word = va_arg(words, const char *)) != NULL)
        ck_assert_msg(strstr(fj_error_text(error), word) != NULL, "\"%s\" is not in: %s", word,
                      fj_error_text(error));
    va_end(words);
    ck_assert_uint_eq(broker_seen(b, AMQP_CONNECTION_START_OK_METHOD), 0);
}

/* ---- who is believed ---- */

START_TEST(a_certificate_for_the_name_is_taken_and_the_name_is_asked_for)
{
    char asked[64];

    opts.cert = "name-only";
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
    tls_front_asked(front, asked, sizeof asked);
    ck_assert_str_eq(asked, "localhost");
}
END_TEST

START_TEST(a_certificate_for_the_address_is_taken_and_no_name_is_asked_for)
{
    char asked[64];

    ck_assert_int_eq(outcome("127.0.0.1"), FJ_OK);
    tls_front_asked(front, asked, sizeof asked);
    ck_assert_str_eq(asked, "");
}
END_TEST

START_TEST(a_certificate_for_the_name_alone_is_not_one_for_the_address)
{
    opts.cert = "name-only";
    refused("127.0.0.1", "not for 127.0.0.1", "but for localhost", NULL);
}
END_TEST

START_TEST(a_certificate_for_another_host_is_refused_and_its_names_are_told)
{
    opts.cert = "wrong-host";
    refused("localhost", "not for localhost", "but for elsewhere.example", NULL);
}
END_TEST

START_TEST(an_expired_certificate_is_refused_with_its_date)
{
    opts.cert = "expired";
    refused("localhost", "has expired", "2021-01-01", NULL);
}
END_TEST

START_TEST(a_certificate_of_the_future_is_refused_with_its_date)
{
    opts.cert = "not-yet";
    refused("localhost", "not yet valid", "2048-01-01", NULL);
}
END_TEST

START_TEST(a_certificate_of_an_unknown_authority_is_refused)
{
    opts.cert = "stranger";
    refused("localhost", "not trusted", "ssl_ca_file", NULL);
}
END_TEST

START_TEST(without_a_file_of_authorities_those_of_the_system_count)
{
    set_rabbit("ssl_ca_file", "");
    refused("localhost", "not trusted", NULL);
}
END_TEST

START_TEST(a_self_signed_certificate_is_refused)
{
    opts.cert = "self-signed";
    refused("localhost", "self-signed", NULL);
}
END_TEST

START_TEST(a_self_signed_certificate_that_is_trusted_is_taken)
{
    opts.cert = "self-signed";
    set_file("ssl_ca_file", "self-signed.pem");
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
}
END_TEST

START_TEST(a_name_need_not_fit_when_the_configuration_says_so_but_the_chain_must)
{
    set_rabbit("ssl_enforce_hostname_verification", "false");
    opts.cert = "wrong-host";
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
    hang_up();
    tls_front_cert(front, "stranger");
    ck_assert_int_eq(dial("localhost", tls_front_port(front)), FJ_OK);
    ck_assert_int_eq(cast(), FJ_TLS);
}
END_TEST

START_TEST(nothing_is_verified_only_when_the_configuration_says_so)
{
    set("fjord", "tls_verify", "false");
    opts.cert = "expired";
    ck_assert_int_eq(outcome("127.0.0.1"), FJ_OK);
}
END_TEST

/* ---- who we are ---- */

START_TEST(who_has_no_certificate_where_one_is_wanted_is_told)
{
    static const int versions[] = { TLS1_3_VERSION, TLS1_2_VERSION };

    opts.clients = "ca";
    opts.most = versions[_i];
    refused("localhost", "ssl_cert_file", NULL);
}
END_TEST

START_TEST(a_certificate_of_our_own_is_shown)
{
    opts.clients = "ca";
    set_file("ssl_cert_file", "client.pem");
    set_file("ssl_key_file", "client.key");
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
}
END_TEST

START_TEST(the_key_may_be_in_the_certificates_file)
{
    opts.clients = "ca";
    set_file("ssl_cert_file", "client-both.pem");
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
}
END_TEST

START_TEST(a_certificate_that_the_broker_does_not_trust_is_named)
{
    opts.clients = "ca";
    set_file("ssl_cert_file", "other-client.pem");
    set_file("ssl_key_file", "other-client.key");
    refused("localhost", "ssl_cert_file", NULL);
}
END_TEST

/* ---- what is not even begun ---- */

static void bad_conf(const char *key, const char *word)
{
    ck_assert_int_eq(dial("localhost", 1), FJ_BAD_CONFIG);
    ck_assert_msg(strstr(fj_error_text(error), key) != NULL, "%s", fj_error_text(error));
    ck_assert_msg(strstr(fj_error_text(error), word) != NULL, "%s", fj_error_text(error));
}

START_TEST(a_file_that_is_not_there_is_named)
{
    set_file("ssl_ca_file", "nobody.pem");
    bad_conf("ssl_ca_file", "No such file");
}
END_TEST

START_TEST(a_file_that_is_no_certificate_is_named)
{
    set_file("ssl_cert_file", "client.key");
    bad_conf("ssl_cert_file", "client.key");
}
END_TEST

START_TEST(a_key_of_another_certificate_is_told)
{
    set_file("ssl_cert_file", "client.pem");
    set_file("ssl_key_file", "good.key");
    bad_conf("ssl_key_file", "key values mismatch");
}
END_TEST

START_TEST(a_key_without_its_certificate_is_told)
{
    set_file("ssl_key_file", "client.key");
    bad_conf("ssl_key_file", "ssl_cert_file");
}
END_TEST

static const char *const broken[] = { "SSLv2", "SSLv3", "TLSv1", "TLSv1_1" };

START_TEST(versions_that_are_broken_are_not_configured)
{
    set_rabbit("ssl_version", broken[_i]);
    bad_conf("ssl_version", broken[_i]);
}
END_TEST

START_TEST(a_version_that_nobody_knows_is_told)
{
    set_rabbit("ssl_version", "TLSv9");
    bad_conf("ssl_version", "TLSv9");
}
END_TEST

START_TEST(fips_mode_is_had_or_refused)
{
    set_rabbit("ssl_enforce_fips_mode", "true");
    if (dial("localhost", 1) != FJ_OK)
        ck_assert_msg(strstr(fj_error_text(error), "FIPS provider") != NULL, "%s", fj_error_text(error));
}
END_TEST

/* ---- versions ---- */

START_TEST(an_old_version_is_not_spoken)
{
    opts.most = TLS1_1_VERSION;
    opts.ciphers = "ALL:@SECLEVEL=0";
    refused("localhost", "version", NULL);
}
END_TEST

START_TEST(the_version_that_is_configured_is_the_only_one)
{
    set_rabbit("ssl_version", "TLSv1_3");
    opts.most = TLS1_2_VERSION;
    refused("localhost", "version", NULL);
}
END_TEST

START_TEST(version_1_2_is_spoken)
{
    set_rabbit("ssl_version", "TLSv1_2");
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
}
END_TEST

/* ---- never plain ---- */

START_TEST(a_port_that_speaks_plain_is_told_and_nothing_is_said_to_it)
{
    broker_greet(b, "AMQP\0\0\x09\x01", 8);
    ck_assert_int_eq(dial("127.0.0.1", broker_port(b)), FJ_OK);
    ck_assert_int_eq(cast(), FJ_TLS);
    ck_assert_msg(strstr(fj_error_text(error), "not TLS") != NULL, "%s", fj_error_text(error));
    ck_assert_uint_eq(broker_seen(b, AMQP_CONNECTION_START_OK_METHOD), 0);
}
END_TEST

START_TEST(who_speaks_plain_to_a_port_of_tls_is_told)
{
    static const char alert[] =
        "\x15\x03\x03\x00\x02\x02\x46"; /* fatal, protocol_version: RFC 8446 section 6 */

    set_rabbit("ssl", "false");
    broker_greet(b, alert, sizeof alert - 1);
    ck_assert_int_eq(dial("127.0.0.1", broker_port(b)), FJ_OK);
    ck_assert_int_ne(cast(), FJ_OK);
    ck_assert_msg(strstr(fj_error_text(error), "TLS") != NULL, "%s", fj_error_text(error));
}
END_TEST

START_TEST(a_port_that_accepts_and_says_nothing_ends_in_time)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    set("fjord", "connect_timeout", "0.2");
    ck_assert_int_eq(dial("127.0.0.1", ntohs(at.sin_port)), FJ_OK);
    ck_assert_int_eq(cast(), FJ_UNREACHABLE);
    (void)close(fd);
}
END_TEST

/* ---- bytes ---- */

static fj_listener *listen_here(void)
{
    fj_target here = FJ_TARGET(.topic = "t", .server = "s");
    fj_listen_opts o = FJ_LISTEN_OPTS_INIT;
    fj_listener *l = NULL;

    ck_assert_int_eq(driver->ops->listen(driver, &here, &o, fj_in_ms(LONG_MS), &l, NULL), FJ_OK);
    return l;
}

static void free_listener(fj_listener *l)
{
    l->ops->close(l);
    ck_assert_int_eq(l->ops->stop(l, fj_in_ms(LONG_MS), NULL), FJ_OK);
    l->ops->free(l);
}

/* A cast to ourselves comes as it was sent.  @param size  of its argument */
static void there_and_back(fj_listener *l, size_t size)
{
    char *text = malloc(size + 1);
    fj_incoming *in = NULL;
    size_t n = 0;

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + i % 26);
    text[size] = '\0';
    ck_assert_int_eq(cast_by("t", json_pack("{s:s}", "text", text), fj_in_ms(LONG_MS)), FJ_OK);
    ck_assert_int_eq(l->ops->poll(l, fj_in_ms(LONG_MS), 1, &in, &n, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(in->message, "args"), "text")), text);
    ck_assert_int_eq(l->ops->ack(l, &in, 1, fj_in_ms(LONG_MS), NULL), FJ_OK);
    in->ops->done(in);
    in->ops->free(in);
    free(text);
}

static const unsigned sizes[] = { 1, 100, 16000, 16384, 20000, 70000, 3000000 };

START_TEST(messages_of_every_size_pass_whole_in_records_of_every_size)
{
    static const unsigned records[] = { 0, 512 };

    opts.record = records[_i % 2];
    opts.most = _i < 2 ? 0 : TLS1_2_VERSION;
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
    fj_listener *l = listen_here();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        there_and_back(l, sizes[i]);
    free_listener(l);
}
END_TEST

START_TEST(keys_that_are_changed_on_the_way_lose_nothing)
{
    opts.least = TLS1_3_VERSION;
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
    fj_listener *l = listen_here();
    tls_front_rekey(front);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        there_and_back(l, sizes[i]);
    free_listener(l);
}
END_TEST

START_TEST(a_lost_connection_is_made_again_by_tls)
{
    static const bool without[] = { false, true };

    opts.ends_without_bye = without[_i];
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
    fj_listener *l = listen_here();
    unsigned shook = tls_front_shook(front);
    if (without[_i])
        tls_front_cut(front);
    else
        broker_fault(b, BROKER_HANG_UP, 0);
    fj_deadline by = fj_in_ms(LONG_MS);
    while (tls_front_shook(front) < shook + 2) {
        ck_assert(!fj_passed(by));
        (void)cast();
    }
    there_and_back(l, 100);
    free_listener(l);
}
END_TEST

START_TEST(who_closes_says_goodbye)
{
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
    hang_up();
    ck_assert(tls_front_bye(front));
}
END_TEST

START_TEST(who_gives_a_connection_up_says_goodbye)
{
    static const uint8_t rubbish[] = { 99, 0, 0, 0, 0, 0, 0, 0 };
    broker_rule rule = {
        .kind = BROKER_SEND, .at = AMQP_BASIC_PUBLISH_METHOD, .bytes = rubbish, .n = sizeof rubbish
    };

    ck_assert_int_eq(outcome("localhost"), FJ_OK);
    broker_rule_add(b, &rule);
    ck_assert_int_ne(cast(), FJ_OK);
    ck_assert(tls_front_bye(front));
}
END_TEST

/* ---- while it is in use ---- */

static void copy(const char *from, const char *to)
{
    char command[512];

    (void)snprintf(command, sizeof command, "cp %s/%s %s/%s", folder, from, folder, to);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(a_reload_takes_the_files_anew_for_what_connects_from_now_on)
{
    copy("other-ca.pem", "now-trusted.pem");
    set_file("ssl_ca_file", "now-trusted.pem");
    ck_assert_int_eq(outcome("localhost"), FJ_TLS);
    copy("ca.pem", "now-trusted.pem");
    ck_assert_int_eq(driver->ops->reload(driver, conf, &error), FJ_OK);
    fj_deadline by = fj_in_ms(LONG_MS);
    fj_code code;
    while ((code = cast()) != FJ_OK)
        ck_assert_msg(!fj_passed(by), "%s", fj_error_text(error));
}
END_TEST

START_TEST(a_reload_of_rubbish_changes_nothing)
{
    copy("ca.pem", "now-trusted.pem");
    set_file("ssl_ca_file", "now-trusted.pem");
    ck_assert_int_eq(outcome("localhost"), FJ_OK);
    copy("client.key", "now-trusted.pem");
    ck_assert_int_eq(driver->ops->reload(driver, conf, &error), FJ_BAD_CONFIG);
    ck_assert_msg(strstr(fj_error_text(error), "ssl_ca_file") != NULL, "%s", fj_error_text(error));
    tls_front_cut(front);
    fj_deadline by = fj_in_ms(LONG_MS);
    while (cast() != FJ_OK)
        ck_assert_msg(!fj_passed(by), "%s", fj_error_text(error));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("TLS");
    TCase *c = tcase_create("TLS");

    tcase_add_unchecked_fixture(c, make_certs, remove_certs);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_certificate_for_the_name_is_taken_and_the_name_is_asked_for);
    tcase_add_test(c, a_certificate_for_the_address_is_taken_and_no_name_is_asked_for);
    tcase_add_test(c, a_certificate_for_the_name_alone_is_not_one_for_the_address);
    tcase_add_test(c, a_certificate_for_another_host_is_refused_and_its_names_are_told);
    tcase_add_test(c, an_expired_certificate_is_refused_with_its_date);
    tcase_add_test(c, a_certificate_of_the_future_is_refused_with_its_date);
    tcase_add_test(c, a_certificate_of_an_unknown_authority_is_refused);
    tcase_add_test(c, without_a_file_of_authorities_those_of_the_system_count);
    tcase_add_test(c, a_self_signed_certificate_is_refused);
    tcase_add_test(c, a_self_signed_certificate_that_is_trusted_is_taken);
    tcase_add_test(c, a_name_need_not_fit_when_the_configuration_says_so_but_the_chain_must);
    tcase_add_test(c, nothing_is_verified_only_when_the_configuration_says_so);
    tcase_add_loop_test(c, who_has_no_certificate_where_one_is_wanted_is_told, 0, 2);
    tcase_add_test(c, a_certificate_of_our_own_is_shown);
    tcase_add_test(c, the_key_may_be_in_the_certificates_file);
    tcase_add_test(c, a_certificate_that_the_broker_does_not_trust_is_named);
    tcase_add_test(c, a_file_that_is_not_there_is_named);
    tcase_add_test(c, a_file_that_is_no_certificate_is_named);
    tcase_add_test(c, a_key_of_another_certificate_is_told);
    tcase_add_test(c, a_key_without_its_certificate_is_told);
    tcase_add_loop_test(c, versions_that_are_broken_are_not_configured, 0, 4);
    tcase_add_test(c, a_version_that_nobody_knows_is_told);
    tcase_add_test(c, fips_mode_is_had_or_refused);
    tcase_add_test(c, an_old_version_is_not_spoken);
    tcase_add_test(c, the_version_that_is_configured_is_the_only_one);
    tcase_add_test(c, version_1_2_is_spoken);
    tcase_add_test(c, a_port_that_speaks_plain_is_told_and_nothing_is_said_to_it);
    tcase_add_test(c, who_speaks_plain_to_a_port_of_tls_is_told);
    tcase_add_test(c, a_port_that_accepts_and_says_nothing_ends_in_time);
    tcase_add_loop_test(c, messages_of_every_size_pass_whole_in_records_of_every_size, 0, 4);
    tcase_add_test(c, keys_that_are_changed_on_the_way_lose_nothing);
    tcase_add_loop_test(c, a_lost_connection_is_made_again_by_tls, 0, 2);
    tcase_add_test(c, who_closes_says_goodbye);
    tcase_add_test(c, who_gives_a_connection_up_says_goodbye);
    tcase_add_test(c, a_reload_takes_the_files_anew_for_what_connects_from_now_on);
    tcase_add_test(c, a_reload_of_rubbish_changes_nothing);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
