/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration's dialect, precedence and errors. */
#include "base/alloc.h"
#include "base/options.h"
#include <check.h>
#include <fjord/conf.h>
#include <fjord/log.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static fj_conf *parsed(const char *text)
{
    fj_conf *conf = fj_conf_new();
    fj_error *err = NULL;

    ck_assert_ptr_nonnull(conf);
    fj_code code = fj_conf_parse(conf, "t.conf", text, strlen(text), &err);
    ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
    return conf;
}

/* @p text is refused, with an error that holds @p want and not @p hidden. */
static void refused(const char *text, const char *want, const char *hidden)
{
    fj_conf *conf = fj_conf_new();
    fj_error *err = NULL;

    ck_assert_ptr_nonnull(conf);
    ck_assert_msg(fj_conf_parse(conf, "t.conf", text, strlen(text), &err) == FJ_BAD_CONFIG, "%s", text);
    ck_assert_msg(strstr(fj_error_text(err), want) != NULL, "%s", fj_error_text(err));
    ck_assert_msg(hidden == NULL || strstr(fj_error_text(err), hidden) == NULL, "%s", fj_error_text(err));
    ck_assert_str_eq(fj_conf_str(conf, "fjord", "executor"), "threading");
    ck_assert_str_eq(fj_conf_str(conf, "DEFAULT", "transport_url"), "rabbit://");
    fj_error_free(err);
    fj_conf_free(conf);
}

START_TEST(the_defaults_are_those_of_oslo)
{
    fj_conf *c = fj_conf_new();

    ck_assert_str_eq(fj_conf_str(c, "DEFAULT", "transport_url"), "rabbit://");
    ck_assert_str_eq(fj_conf_str(c, "DEFAULT", "control_exchange"), "openstack");
    ck_assert(fj_conf_float(c, "DEFAULT", "rpc_response_timeout") == 60.0);
    ck_assert_int_eq(fj_conf_int(c, "DEFAULT", "executor_thread_pool_size"), 64);
    ck_assert(!fj_conf_bool(c, "DEFAULT", "rpc_ping_enabled"));
    ck_assert(fj_conf_bool(c, "oslo_messaging_rabbit", "direct_mandatory_flag"));
    ck_assert_str_eq(fj_conf_list(c, "oslo_messaging_notifications", "topics")[0], "notifications");
    ck_assert_ptr_null(fj_conf_list(c, "oslo_messaging_notifications", "topics")[1]);
    ck_assert_ptr_null(fj_conf_str(c, "oslo_messaging_notifications", "transport_url"));
    ck_assert_str_eq(fj_conf_origin(c, "fjord", "ack"), "default");
    fj_conf_free(c);
}
END_TEST

START_TEST(the_dialect_is_oslo_configs)
{
    fj_conf *c =
        parsed("[DEFAULT]\ncontrol_exchange = 'nova '\r\n# comment\n; another\n\n[fjord]\nexecutor: green\n"
               "[oslo_messaging_rabbit]\nrabbit_qos_prefetch_count=7\nSSL = x\nssl = Yes\n"
               "kombu_reconnect_delay = 1.5\n[oslo_messaging_notifications]\n"
               "topics = a, b,\n  c\ndriver = one\ndriver = two\ntransport_url = rabbit://u:p=q:r@h/\n");
    const char *const *driver = fj_conf_list(c, "oslo_messaging_notifications", "driver");
    const char *const *topics = fj_conf_list(c, "oslo_messaging_notifications", "topics");

    ck_assert_str_eq(fj_conf_str(c, "DEFAULT", "control_exchange"), "nova ");
    ck_assert_str_eq(fj_conf_str(c, "fjord", "executor"), "green");
    ck_assert_str_eq(fj_conf_origin(c, "fjord", "executor"), "t.conf:7");
    ck_assert_int_eq(fj_conf_int(c, "oslo_messaging_rabbit", "rabbit_qos_prefetch_count"), 7);
    ck_assert(fj_conf_bool(c, "oslo_messaging_rabbit", "ssl"));
    ck_assert(fj_conf_float(c, "oslo_messaging_rabbit", "kombu_reconnect_delay") == 1.5);
    ck_assert_str_eq(fj_conf_str(c, "oslo_messaging_notifications", "transport_url"), "rabbit://u:p=q:r@h/");
    ck_assert_str_eq(topics[0], "a");
    ck_assert_str_eq(topics[1], "b");
    ck_assert_str_eq(topics[2], "c");
    ck_assert_ptr_null(topics[3]);
    ck_assert_str_eq(driver[0], "one");
    ck_assert_str_eq(driver[1], "two");
    ck_assert_ptr_null(driver[2]);
    fj_conf_free(c);
}
END_TEST

START_TEST(older_names_count_and_both_spellings_of_quorum)
{
    fj_conf *c = parsed(
        "[DEFAULT]\nrpc_thread_pool_size = 3\n[oslo_messaging_rabbit]\nrabbit_quroum_max_memory_bytes = 9\n"
        "rabbit_quorum_max_memory_length = 8\n");

    ck_assert_int_eq(fj_conf_int(c, "DEFAULT", "executor_thread_pool_size"), 3);
    ck_assert_int_eq(fj_conf_int(c, "oslo_messaging_rabbit", "rabbit_quorum_max_memory_bytes"), 9);
    ck_assert_int_eq(fj_conf_int(c, "oslo_messaging_rabbit", "rabbit_quorum_max_memory_length"), 8);
    ck_assert_str_eq(fj_conf_origin(c, "DEFAULT", "rpc_thread_pool_size"), "t.conf:2");
    fj_conf_free(c);
}
END_TEST

START_TEST(dollars_are_substituted)
{
    fj_conf *c = parsed("[DEFAULT]\nwho = me\ncontrol_exchange = "
                        "${who}-$who-$$who-${other.key}-$5-\\$who\n[other]\nkey = $deep\n"
                        "deep = down\nlost = $nowhere\n");
    char *text = NULL;

    ck_assert_str_eq(fj_conf_str(c, "DEFAULT", "control_exchange"), "me-me-$who-down-$5-$who");
    ck_assert(fj_conf_lookup(c, "other", "key", &text, NULL) == FJ_OK);
    ck_assert_str_eq(text, "down");
    free(text);
    ck_assert(fj_conf_lookup(c, "other", "lost", &text, NULL) == FJ_BAD_CONFIG);
    ck_assert(fj_conf_lookup(c, "other", "absent", &text, NULL) == FJ_NOT_FOUND);
    fj_conf_free(c);
}
END_TEST

START_TEST(every_error_names_its_file_and_line)
{
    refused("[fjord]\n\njunk\n", "t.conf:3", NULL);
    refused("[fjord\n", "t.conf:1", NULL);
    refused("[]\n", "t.conf:1", NULL);
    refused("  continued\n", "t.conf:1", NULL);
    refused("= 5\n", "t.conf:1", NULL);
    refused("[fjord]\nack = sometimes\n", "t.conf:2", NULL);
    refused("[fjord]\nexecutor = green\nmax_json_depth = 0\n", "t.conf:3", NULL);
    refused("[DEFAULT]\nrpc_response_timeout = soon\n", "t.conf:2", NULL);
    refused("[DEFAULT]\nrpc_response_timeout = 2.5\n", "t.conf:2", NULL);
    refused("[fjord]\ndrain = nan\n", "t.conf:2", NULL);
    refused("[DEFAULT]\nexecutor_thread_pool_size = 99999999999999999999\n", "t.conf:2", NULL);
    refused("ack = done\n", "t.conf:1: ack", NULL);
    refused("[oslo_messaging_rabbit]\nssl = maybe\n", "t.conf:2", NULL);
    refused("[DEFAULT]\n\ncontrol_exchange = $nowhere\n", "t.conf:3", NULL);
    refused("[DEFAULT]\ncontrol_exchange = $a\na = $b\nb = $a\n", "t.conf:2", NULL);
}
END_TEST

START_TEST(a_password_with_a_dollar_shows_in_no_error)
{
    refused("[DEFAULT]\ntransport_url = rabbit://u:x$hunter2@h/\n", "t.conf:2", "hunter2");
    refused("[DEFAULT]\ntransport_url = rabbit://u:hunter2@h/\nrpc_response_timeout = $transport_url\n",
            "t.conf:3", "hunter2");
}
END_TEST

START_TEST(substitutions_cannot_fill_the_memory)
{
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof text, "[DEFAULT]\ncontrol_exchange = $a0\n");

    for (int i = 0; i < 14; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "a%d = $a%d$a%d$a%d$a%d$a%d$a%d$a%d$a%d\n", i, i + 1,
                              i + 1, i + 1, i + 1, i + 1, i + 1, i + 1, i + 1);
    (void)snprintf(text + n, sizeof text - n, "a14 = 0123456789\n");
    refused(text, "t.conf:2", NULL);
    (void)snprintf(text + n, sizeof text - n, "a14 =\n");
    refused(text, "t.conf:2", NULL); /* nor take for ever to make nothing */
}
END_TEST

START_TEST(set_is_above_the_environment_and_that_above_files)
{
    ck_assert_int_eq(setenv("OS_FJORD__EXECUTOR", "blocking", 1), 0);
    fj_conf *c = parsed("[fjord]\nexecutor = green\n");
    fj_error *err = NULL;

    ck_assert_str_eq(fj_conf_str(c, "fjord", "executor"), "blocking");
    ck_assert_str_eq(fj_conf_origin(c, "fjord", "executor"), "OS_FJORD__EXECUTOR");
    ck_assert(fj_conf_set(c, "fjord", "executor", "one", NULL) == FJ_OK);
    ck_assert(fj_conf_set(c, "fjord", "executor", "two", NULL) == FJ_OK);
    ck_assert_str_eq(fj_conf_str(c, "fjord", "executor"), "two");
    ck_assert_str_eq(fj_conf_origin(c, "fjord", "executor"), "set");
    ck_assert(fj_conf_set(c, "fjord", "executor", NULL, NULL) == FJ_OK);
    ck_assert_str_eq(fj_conf_str(c, "fjord", "executor"), "blocking");
    ck_assert(fj_conf_set(c, "fjord", "nothing", "x", &err) == FJ_NOT_FOUND);
    ck_assert(fj_conf_set(c, "fjord", "ack", "x", &err) == FJ_BAD_CONFIG);
    ck_assert_str_eq(fj_conf_str(c, "fjord", "ack"), "admit");
    fj_error_free(err);
    fj_conf_free(c);
    ck_assert_int_eq(unsetenv("OS_FJORD__EXECUTOR"), 0);
}
END_TEST

START_TEST(a_multi_valued_option_adds_up_over_files_unless_it_is_set)
{
    static const char more[] = "[oslo_messaging_notifications]\ndriver = three\n";
    fj_conf *c = parsed("[oslo_messaging_notifications]\ndriver = one\ndriver = two\n");

    ck_assert(fj_conf_parse(c, "u.conf", more, sizeof more - 1, NULL) == FJ_OK);
    ck_assert_str_eq(fj_conf_list(c, "oslo_messaging_notifications", "driver")[2], "three");
    ck_assert(fj_conf_set(c, "oslo_messaging_notifications", "driver", "only", NULL) == FJ_OK);
    ck_assert_str_eq(fj_conf_list(c, "oslo_messaging_notifications", "driver")[0], "only");
    ck_assert_ptr_null(fj_conf_list(c, "oslo_messaging_notifications", "driver")[1]);
    fj_conf_free(c);
}
END_TEST

static void put_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void drop_file(const char *folder, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_int_eq(unlink(path), 0);
}

START_TEST(a_folder_is_read_in_alphabetical_order_and_whole_or_not_at_all)
{
    char folder[] = "/tmp/fj-conf-XXXXXX";
    fj_conf *c = NULL, *copy = NULL;
    fj_error *err = NULL;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    put_file(folder, "b.conf", "[fjord]\nexecutor = b\n");
    put_file(folder, "a.conf", "[fjord]\nexecutor = a\nack = done\n");
    put_file(folder, "c.txt", "junk\n");
    ck_assert(fj_conf_load(folder, &c, &err) == FJ_OK);
    ck_assert_str_eq(fj_conf_str(c, "fjord", "executor"), "b");
    ck_assert_str_eq(fj_conf_str(c, "fjord", "ack"), "done");
    copy = fj_conf_copy(c);
    fj_conf_free(c);
    ck_assert_str_eq(fj_conf_str(copy, "fjord", "executor"), "b");
    put_file(folder, "a.conf", "[fjord]\nexecutor = other\nack = admit\n");
    put_file(folder, "b.conf", "junk\n");
    ck_assert(fj_conf_read(copy, folder, &err) == FJ_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "/b.conf:1"));
    ck_assert_str_eq(fj_conf_str(copy, "fjord", "executor"), "b");
    ck_assert(fj_conf_read(copy, "/nowhere/at/all.conf", &err) == FJ_NOT_FOUND);
    fj_error_free(err);
    fj_conf_free(copy);
    drop_file(folder, "a.conf");
    drop_file(folder, "b.conf");
    drop_file(folder, "c.txt");
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(every_option_of_the_table_is_well_formed_and_the_sample_parses)
{
    char *sample = fj__options_sample();

    for (size_t i = 0; fj__option_at(i) != NULL; i++) {
        const fj__option *o = fj__option_at(i);
        ck_assert_ptr_eq(fj__option_find(o->group, o->name), o);
        ck_assert_msg(o->def == NULL || fj__option_check(o, o->def, NULL) == FJ_OK, "%s", o->name);
        ck_assert_msg((o->choices != NULL) == (o->type == FJ__OPT_CHOICE), "%s", o->name);
        ck_assert_msg(o->effect == FJ__FOREIGN || o->help[0] != '\0', "%s", o->name);
        ck_assert(o->effect == FJ__FOREIGN || strstr(sample, o->name) != NULL);
    }
    fj_conf_free(parsed(sample));
    free(sample);
}
END_TEST

static char heard[2048];

static void hear(void *user, fj_log_level level, const char *component, const char *line)
{
    (void)user, (void)component;
    size_t n = strlen(heard);
    (void)snprintf(heard + n, sizeof heard - n, "%s %s\n", fj_log_level_name(level), line);
}

/* ---- reloading ------------------------------------------------------------------------------------------------ */

static char changes[1024];

static void note_change(void *user, const char *group, const char *key, bool now)
{
    (void)user;
    size_t n = strlen(changes);
    (void)snprintf(changes + n, sizeof changes - n, "%s.%s %s\n", group, key, now ? "now" : "later");
}

START_TEST(a_reload_takes_in_what_reloads_and_tells_what_does_not)
{
    char folder[] = "/tmp/fj-conf-XXXXXX";
    fj_conf *c = NULL;
    fj_error *err = NULL;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    put_file(folder, "a.conf", "[fjord]\ndrain = 1\nack = admit\n[other]\nx = 1\n");
    ck_assert(fj_conf_load(folder, &c, &err) == FJ_OK);
    ck_assert(fj_conf_set(c, "fjord", "start_timeout", "9", NULL) == FJ_OK);
    ck_assert(fj_conf_parse(c, "m", "[fjord]\nresend = maybe\n", 23, NULL) == FJ_OK);
    const char *lent = fj_conf_str(c, "fjord", "drain");
    ck_assert(fj_conf_reload(c, note_change, NULL, &err) == FJ_OK);
    ck_assert_str_eq(changes, "");
    put_file(folder, "a.conf", "[fjord]\ndrain = 2\nack = done\n[other]\nx = 2\n");
    put_file(folder, "b.conf", "[DEFAULT]\nrpc_response_timeout = 7\n[fjord]\nstart_timeout = 8\n");
    ck_assert(fj_conf_reload(c, note_change, NULL, &err) == FJ_OK);
    ck_assert_str_eq(changes, "DEFAULT.rpc_response_timeout now\nfjord.ack later\nfjord.drain now\n");
    ck_assert_str_eq(lent, "1");
    ck_assert_str_eq(fj_conf_str(c, "fjord", "drain"), "2");
    ck_assert_str_eq(fj_conf_str(c, "fjord", "ack"), "admit");
    ck_assert_str_eq(fj_conf_str(c, "fjord", "start_timeout"), "9");
    ck_assert_str_eq(fj_conf_str(c, "fjord", "resend"), "maybe");
    char *text = NULL;
    ck_assert(fj_conf_lookup(c, "other", "x", &text, NULL) == FJ_OK);
    ck_assert_str_eq(text, "2");
    free(text);
    put_file(folder, "b.conf", "junk\n");
    ck_assert(fj_conf_reload(c, NULL, NULL, &err) == FJ_BAD_CONFIG);
    ck_assert_int_eq(fj_conf_int(c, "DEFAULT", "rpc_response_timeout"), 7);
    fj_error_free(err);
    fj_conf_free(c);
    drop_file(folder, "a.conf");
    drop_file(folder, "b.conf");
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

static atomic_bool reload_ends;

static void *read_on(void *user)
{
    const fj_conf *c = user;
    size_t torn = 0;

    while (!atomic_load(&reload_ends)) {
        const char *exchange = fj_conf_str(c, "fjord", "log_components");
        torn += strcmp(exchange, "amqp=info") != 0 && strcmp(exchange, "fake=debug") != 0;
        torn += fj_conf_int(c, "fjord", "drain") < 1;
    }
    return (void *)(uintptr_t)torn;
}

START_TEST(threads_read_while_another_reloads)
{
    char folder[] = "/tmp/fj-conf-XXXXXX";
    fj_conf *c = NULL;
    pthread_t readers[2];
    void *torn = NULL;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    put_file(folder, "a.conf", "[fjord]\ndrain = 1\nlog_components = amqp=info\n");
    ck_assert(fj_conf_load(folder, &c, NULL) == FJ_OK);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_on, c), 0);
    for (int i = 0; i < 50; i++) {
        put_file(folder, "a.conf",
                 i % 2 == 0 ? "[fjord]\ndrain = 2\nlog_components = fake=debug\n"
                            : "[fjord]\ndrain = 1\nlog_components = amqp=info\n");
        ck_assert(fj_conf_reload(c, NULL, NULL, NULL) == FJ_OK);
        ck_assert_int_eq(fj_conf_int(c, "fjord", "drain"), i % 2 == 0 ? 2 : 1);
    }
    atomic_store(&reload_ends, true);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(readers[i], &torn), 0);
        ck_assert_ptr_null(torn);
    }
    fj_conf_free(c);
    drop_file(folder, "a.conf");
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(an_older_name_counts_by_its_file_and_is_warned_of)
{
    static const char later[] = "[DEFAULT]\nrpc_thread_pool_size = 5\namqp_auto_delete = yes\n";
    fj_conf *c = parsed("[DEFAULT]\nexecutor_thread_pool_size = 4\nrpc_thread_pool_size = 3\n");

    ck_assert_int_eq(fj_conf_int(c, "DEFAULT", "executor_thread_pool_size"), 4);
    ck_assert(fj_conf_parse(c, "u.conf", later, sizeof later - 1, NULL) == FJ_OK);
    ck_assert_int_eq(fj_conf_int(c, "DEFAULT", "executor_thread_pool_size"), 5);
    ck_assert(fj_conf_bool(c, "oslo_messaging_rabbit", "amqp_auto_delete"));
    fj_log_set(hear, NULL);
    ck_assert_uint_eq(fj__conf_note_unused(c), 0);
    ck_assert_str_eq(heard,
                     "warning u.conf:2: [DEFAULT] rpc_thread_pool_size is deprecated; it is now [DEFAULT] "
                     "executor_thread_pool_size\n"
                     "warning u.conf:3: [DEFAULT] amqp_auto_delete is deprecated; it is now "
                     "[oslo_messaging_rabbit] amqp_auto_delete\n");
    fj_conf_free(c);
}
END_TEST

START_TEST(an_empty_number_is_unset_and_reads_as_its_default)
{
    fj_conf *c = parsed("[DEFAULT]\nrpc_response_timeout =\nexecutor_thread_pool_size = 0_7\n");

    ck_assert_ptr_null(fj_conf_str(c, "DEFAULT", "rpc_response_timeout"));
    ck_assert_int_eq(fj_conf_int(c, "DEFAULT", "rpc_response_timeout"), 60);
    ck_assert_str_eq(fj_conf_str(c, "DEFAULT", "executor_thread_pool_size"), "7");
    fj_conf_free(c);
}
END_TEST

/* ---- options that do nothing ---------------------------------------------------------------------------------- */

START_TEST(an_option_that_is_set_and_does_nothing_is_told_of)
{
    fj_conf *c = parsed("[DEFAULT]\nrpc_conn_pool_size = 30\n[oslo_messaging_metrics]\nmetrics_enabled = true\n"
                        "[oslo_messaging_rabbit]\nheartbeat_in_pthread = true\nrabbit_ha_queues = true\n");

    fj_log_set(hear, NULL);
    fj_log_set_level(FJ_LOG_INFO);
    ck_assert_uint_eq(fj__conf_note_unused(c), 1);
    ck_assert_str_eq(
        heard, "info t.conf:6: [oslo_messaging_rabbit] heartbeat_in_pthread has no effect: Fjord needs no such "
               "setting\n"
               "warning t.conf:4: [oslo_messaging_metrics] metrics_enabled has no effect: Fjord cannot do "
               "this (yet)\n");
    fj_conf_free(c);
}
END_TEST

/* The names and defaults that `oslo-config-generator --namespace oslo.messaging` lists in 14.0.3, and those that
 * master added, but for the groups of other drivers.
 * Of one the default is ours: ssl_enforce_hostname_verification. */
START_TEST(every_option_of_oslo_is_known_with_its_default)
{
    static const char *const all[] = {
        "DEFAULT conn_pool_min_size 2",
        "DEFAULT conn_pool_ttl 1200",
        "DEFAULT control_exchange openstack",
        "DEFAULT executor_thread_pool_size 64",
        "DEFAULT rpc_conn_pool_size 30",
        "DEFAULT rpc_ping_enabled false",
        "DEFAULT rpc_response_timeout 60",
        "DEFAULT rpc_thread_pool_size 64",
        "DEFAULT transport_url rabbit://",
        "oslo_messaging_metrics metrics_buffer_size 1000",
        "oslo_messaging_metrics metrics_enabled false",
        "oslo_messaging_metrics metrics_process_name ",
        "oslo_messaging_metrics metrics_socket_file /var/tmp/metrics_collector.sock",
        "oslo_messaging_metrics metrics_thread_stop_timeout 10",
        "oslo_messaging_notifications driver ",
        "oslo_messaging_notifications retry -1",
        "oslo_messaging_notifications routing_config ",
        "oslo_messaging_notifications topics notifications",
        "oslo_messaging_notifications transport_url ",
        "oslo_messaging_rabbit amqp_auto_delete false",
        "oslo_messaging_rabbit amqp_durable_queues false",
        "oslo_messaging_rabbit conn_pool_min_size 2",
        "oslo_messaging_rabbit conn_pool_ttl 1200",
        "oslo_messaging_rabbit direct_mandatory_flag true",
        "oslo_messaging_rabbit enable_cancel_on_failover false",
        "oslo_messaging_rabbit heartbeat_in_pthread false",
        "oslo_messaging_rabbit heartbeat_rate 2",
        "oslo_messaging_rabbit heartbeat_timeout_threshold 60",
        "oslo_messaging_rabbit hostname ",
        "oslo_messaging_rabbit kombu_compression ",
        "oslo_messaging_rabbit kombu_failover_strategy round-robin",
        "oslo_messaging_rabbit kombu_missing_consumer_retry_timeout 60",
        "oslo_messaging_rabbit kombu_reconnect_delay 1.0",
        "oslo_messaging_rabbit kombu_reconnect_splay ",
        "oslo_messaging_rabbit kombu_reconnect_timeout 60",
        "oslo_messaging_rabbit kombu_ssl_ca_certs ",
        "oslo_messaging_rabbit kombu_ssl_certfile ",
        "oslo_messaging_rabbit kombu_ssl_keyfile ",
        "oslo_messaging_rabbit kombu_ssl_version ",
        "oslo_messaging_rabbit processname ",
        "oslo_messaging_rabbit rabbit_ha_queues false",
        "oslo_messaging_rabbit rabbit_interval_max 30",
        "oslo_messaging_rabbit rabbit_login_method AMQPLAIN",
        "oslo_messaging_rabbit rabbit_qos_prefetch_count 0",
        "oslo_messaging_rabbit rabbit_quorum_delivery_limit 0",
        "oslo_messaging_rabbit rabbit_quorum_max_memory_bytes 0",
        "oslo_messaging_rabbit rabbit_quorum_max_memory_length 0",
        "oslo_messaging_rabbit rabbit_quorum_queue false",
        "oslo_messaging_rabbit rabbit_quroum_max_memory_bytes 0",
        "oslo_messaging_rabbit rabbit_quroum_max_memory_length 0",
        "oslo_messaging_rabbit rabbit_retry_backoff 2",
        "oslo_messaging_rabbit rabbit_retry_interval 1",
        "oslo_messaging_rabbit rabbit_stream_fanout false",
        "oslo_messaging_rabbit rabbit_transient_queues_ttl 1800",
        "oslo_messaging_rabbit rabbit_transient_quorum_queue false",
        "oslo_messaging_rabbit rabbit_use_ssl false",
        "oslo_messaging_rabbit rpc_conn_pool_size 30",
        "oslo_messaging_rabbit ssl false",
        "oslo_messaging_rabbit ssl_ca_file ",
        "oslo_messaging_rabbit ssl_cert_file ",
        "oslo_messaging_rabbit ssl_enforce_fips_mode false",
        "oslo_messaging_rabbit ssl_enforce_hostname_verification true",
        "oslo_messaging_rabbit ssl_key_file ",
        "oslo_messaging_rabbit ssl_version ",
        "oslo_messaging_rabbit use_queue_manager false",
    };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char group[64], name[64], def[64] = "";
        ck_assert_int_ge(sscanf(all[i], "%63s %63s %63s", group, name, def), 2);
        const fj__option *o = fj__option_find(group, name);
        ck_assert_msg(o != NULL, "%s is not known", all[i]);
        ck_assert_str_eq(o->def != NULL ? o->def : "", def);
    }
}
END_TEST

START_TEST(the_sample_in_the_tree_is_that_of_the_table)
{
    char *sample = fj__options_sample();
    size_t n = strlen(sample);
    char *kept = calloc(n + 2, 1);
    FILE *in = fopen("conf/fjord.conf", "r");

    ck_assert_ptr_nonnull(in);
    ck_assert_uint_eq(fread(kept, 1, n + 1, in), n);
    ck_assert_str_eq(kept, sample); /* mended by: fjord config sample >conf/fjord.conf */
    (void)fclose(in);
    free(kept);
    free(sample);
}
END_TEST

START_TEST(memory_that_runs_out_is_an_error_and_leaks_nothing)
{
    static const char text[] =
        "[DEFAULT]\na = 1\ncontrol_exchange = x$a\n[oslo_messaging_notifications]\ndriver = y\n";

    for (unsigned long nth = 1;; nth++) {
        fj_conf *c = fj_conf_new();
        ck_assert_ptr_nonnull(c);
        (void)fj__alloc_fail(nth, false);
        fj_code code = fj_conf_parse(c, "t", text, sizeof text - 1, NULL);
        unsigned long counted = fj__alloc_fail(0, false);
        ck_assert(code == FJ_OK || code == FJ_NOMEM);
        if (code == FJ_OK)
            ck_assert_str_eq(fj_conf_str(c, "DEFAULT", "control_exchange"), "x1");
        else
            ck_assert_str_eq(fj_conf_str(c, "DEFAULT", "control_exchange"), "openstack");
        fj_conf_free(c);
        if (counted < nth)
            break;
    }
}
END_TEST

START_TEST(a_reload_without_memory_changes_nothing)
{
    char folder[] = "/tmp/fj-conf-XXXXXX";
    bool done = false;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (unsigned long nth = 1; !done; nth++) {
        fj_conf *c = NULL;
        put_file(folder, "a.conf", "[fjord]\ndrain = 1\nack = admit\npatch = time\n");
        ck_assert(fj_conf_load(folder, &c, NULL) == FJ_OK);
        put_file(folder, "a.conf", "[fjord]\ndrain = 2\nack = done\npatch = time,dns\n");
        (void)fj__alloc_fail(nth, false);
        fj_code code = fj_conf_reload(c, NULL, NULL, NULL);
        done = fj__alloc_fail(0, false) < nth;
        ck_assert(code == FJ_OK || code == FJ_NOMEM);
        ck_assert_int_eq(fj_conf_int(c, "fjord", "drain"), code == FJ_OK ? 2 : 1);
        ck_assert_str_eq(fj_conf_str(c, "fjord", "ack"), "admit");
        ck_assert_ptr_null(fj_conf_list(c, "fjord", "patch")[1]);
        fj_conf_free(c);
    }
    drop_file(folder, "a.conf");
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf");
    TCase *tests = tcase_create("conf");

    tcase_set_timeout(tests, 60); /* of a machine with other things to do */
    tcase_add_test(tests, the_defaults_are_those_of_oslo);
    tcase_add_test(tests, the_dialect_is_oslo_configs);
    tcase_add_test(tests, older_names_count_and_both_spellings_of_quorum);
    tcase_add_test(tests, dollars_are_substituted);
    tcase_add_test(tests, every_error_names_its_file_and_line);
    tcase_add_test(tests, a_password_with_a_dollar_shows_in_no_error);
    tcase_add_test(tests, substitutions_cannot_fill_the_memory);
    tcase_add_test(tests, set_is_above_the_environment_and_that_above_files);
    tcase_add_test(tests, a_multi_valued_option_adds_up_over_files_unless_it_is_set);
    tcase_add_test(tests, a_folder_is_read_in_alphabetical_order_and_whole_or_not_at_all);
    tcase_add_test(tests, every_option_of_the_table_is_well_formed_and_the_sample_parses);
    tcase_add_test(tests, a_reload_takes_in_what_reloads_and_tells_what_does_not);
    tcase_add_test(tests, threads_read_while_another_reloads);
    tcase_add_test(tests, an_older_name_counts_by_its_file_and_is_warned_of);
    tcase_add_test(tests, an_empty_number_is_unset_and_reads_as_its_default);
    tcase_add_test(tests, an_option_that_is_set_and_does_nothing_is_told_of);
    tcase_add_test(tests, every_option_of_oslo_is_known_with_its_default);
    tcase_add_test(tests, the_sample_in_the_tree_is_that_of_the_table);
    tcase_add_test(tests, a_reload_without_memory_changes_nothing);
    tcase_add_test(tests, memory_that_runs_out_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
