/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications for the interop tests.
 *   notified listen URL JSON   prints what it handles, a JSON line each, until SIGTERM; JSON is an object of executor, topic, exchange,
 *                              priorities, pool, requeue, refuse (so many are given back first), fail (so many fail first), batch,
 *                              batch_timeout, filter {publisher_id, event_type, context, metadata, payload}, numbers (print payload.n only)
 *   notified send URL JSON     sends; JSON is an object of count, topic, exchange, priority, driver, publisher, event, payload, context,
 *                              pause (wait for a line on standard input after so many).  Each has payload.n, its number, if count is there
 */
#include <fjord/fjord.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 500, RULES = 8 };

static json_t *opts;
static atomic_long refuse, fail;

static const char *text(const char *key, const char *otherwise)
{
    const char *value = json_string_value(json_object_get(opts, key));

    return value != NULL ? value : otherwise;
}

static long number(const char *key, long otherwise)
{
    const json_t *value = json_object_get(opts, key);

    return json_is_integer(value) ? (long)json_integer_value(value) : otherwise;
}

/* One write, so that what is there when the process is killed is whole lines. */
static void put(char *line)
{
    size_t n = line != NULL ? strlen(line) : 0;

    if (line != NULL) {
        line[n] = '\n';
        if (write(STDOUT_FILENO, line, n + 1) < 0)
            exit(1);
    }
    free(line);
}

/* ---- listening ---------------------------------------------------------------------------------- */

static bool one_of(atomic_long *left)
{
    long n = atomic_load(left);

    while (n > 0 && !atomic_compare_exchange_weak(left, &n, n - 1))
        ;
    return n > 0;
}

static void put_number(const json_t *args)
{
    char *line = malloc(24);

    (void)snprintf(line, 24, "%lld",
                   (long long)json_integer_value(json_object_get(json_object_get(args, "payload"), "n")));
    put(line);
}

static fj_code on_message(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)ret;
    if (one_of(&refuse))
        return FJ_REQUEUE;
    if (one_of(&fail))
        return fj_fail(err, FJ_BAD_VALUE, "it is told to fail");
    if (json_is_true(json_object_get(opts, "numbers"))) {
        put_number(args);
        return FJ_OK;
    }
    json_t *line = json_pack("{s:s, s:O, s:O}", "priority", fj_request_method(req), "args", args, "context",
                             fj_request_context(req));
    put(json_dumps(line, JSON_COMPACT));
    json_decref(line);
    return FJ_OK;
}

static size_t rules_of(const json_t *filter, const char *part, fj_notify_rule *rules)
{
    json_t *all = json_object_get(filter, part), *value;
    const char *key;
    size_t n = 0;

    json_object_foreach(all, key, value)
    {
        if (n < RULES)
            rules[n++] = (fj_notify_rule){ key, json_string_value(value) };
    }
    return n;
}

static fj_code add(fj_notify_listener *listener, const fj_endpoint *endpoint, fj_error **err)
{
    const json_t *filter = json_object_get(opts, "filter");
    fj_notify_rule context[RULES], metadata[RULES], payload[RULES];
    fj_notify_filter f =
        FJ_NOTIFY_FILTER(.publisher_id = json_string_value(json_object_get(filter, "publisher_id")),
                         .event_type = json_string_value(json_object_get(filter, "event_type")),
                         .context = context, .metadata = metadata, .payload = payload);

    f.context_count = rules_of(filter, "context", context);
    f.metadata_count = rules_of(filter, "metadata", metadata);
    f.payload_count = rules_of(filter, "payload", payload);
    return fj_notify_listener_add(listener, endpoint, filter != NULL ? &f : NULL, NULL, err);
}

static fj_code listen_to(fj_transport *transport, fj_error **err)
{
    fj_method methods[FJ_PRIORITIES];
    fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;
    fj_target target = FJ_TARGET(.topic = text("topic", "notifications"), .exchange = text("exchange", NULL));
    fj_notify_listener *listener = NULL;
    const json_t *wanted = json_object_get(opts, "priorities");

    endpoint.count = 0;
    for (unsigned p = 0; p < FJ_PRIORITIES; p++) {
        const char *name = fj_priority_name((fj_priority)p);
        bool is = wanted == NULL;
        for (size_t i = 0; i < json_array_size(wanted); i++)
            is = is || strcmp(json_string_value(json_array_get(wanted, i)), name) == 0;
        if (is)
            methods[endpoint.count++] = (fj_method)FJ_METHOD(name, FJ_PLAIN, on_message);
    }
    o.executor = text("executor", "threading");
    o.pool = text("pool", NULL);
    o.allow_requeue = json_is_true(json_object_get(opts, "requeue"));
    o.batch_size = (unsigned)number("batch", 0);
    o.batch_timeout = json_number_value(json_object_get(opts, "batch_timeout"));
    atomic_store(&refuse, number("refuse", 0));
    atomic_store(&fail, number("fail", 0));
    fj_code code = fj_run_signals(err);
    if (code == FJ_OK)
        code = fj_notify_listener_new(transport, &target, 1, &o, &listener, err);
    if (code == FJ_OK)
        code = add(listener, &endpoint, err);
    if (code == FJ_OK)
        code = fj_notify_listener_start(listener, err);
    if (code == FJ_OK) {
        put(strdup("ready"));
        code = fj_run(err);
    }
    fj_notify_listener_free(listener);
    return code;
}

/* ---- sending ------------------------------------------------------------------------------------ */

static json_t *payload_of(long i)
{
    json_t *payload = json_deep_copy(json_object_get(opts, "payload"));

    if (payload == NULL)
        payload = json_object();
    if (json_object_get(opts, "count") != NULL)
        (void)json_object_set_new(payload, "n", json_integer(i));
    return payload;
}

static fj_code send_all(fj_notifier *notifier, fj_priority priority, fj_error **err)
{
    fj_notify_opts o = FJ_NOTIFY_OPTS_INIT;
    long count = number("count", 1), pause = number("pause", 0);
    fj_code code = FJ_OK;

    o.context = json_object_get(opts, "context");
    for (long i = 0; code == FJ_OK && i < count; i++) {
        code = fj_notifier_notify_async(notifier, priority, text("event", "an.event"), payload_of(i), &o, NULL,
                                        err);
        if (code == FJ_OK && (i + 1) % WINDOW == 0)
            code = fj_notifier_flush(notifier, fj_never(), err);
        if (code == FJ_OK && i + 1 == pause) {
            code = fj_notifier_flush(notifier, fj_never(), err);
            put(strdup("paused"));
            (void)getchar();
        }
    }
    return code == FJ_OK ? fj_notifier_flush(notifier, fj_never(), err) : code;
}

static fj_code notify(fj_transport *transport, fj_error **err)
{
    const char *const drivers[] = { text("driver", "messagingv2"), NULL };
    const char *const topics[] = { text("topic", "notifications"), NULL };
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;
    fj_notifier *notifier = NULL;
    fj_priority priority = FJ_NOTIFY_INFO;

    (void)fj_priority_parse(text("priority", "info"), &priority);
    o.drivers = drivers;
    o.topics = topics;
    o.publisher_id = text("publisher", NULL);
    o.exchange = text("exchange", NULL);
    fj_code code = fj_notifier_new(transport, &o, &notifier, err);
    if (code == FJ_OK)
        code = send_all(notifier, priority, err);
    fj_notifier_free(notifier);
    return code;
}

int main(int argc, char **argv)
{
    fj_transport *transport = NULL;
    fj_error *err = NULL;

    opts = argc == 4 ? json_loads(argv[3], 0, NULL) : NULL;
    if (opts == NULL) {
        fprintf(stderr, "usage: notified listen|send URL JSON\n");
        return 2;
    }
    fj_code code = fj_notification_transport_open(NULL, argv[2], &transport, &err);
    if (code == FJ_OK)
        code = strcmp(argv[1], "listen") == 0 ? listen_to(transport, &err) : notify(transport, &err);
    if (code != FJ_OK)
        fprintf(stderr, "notified: %s (%s)\n", fj_error_text(err), fj_code_name(code));
    fj_error_free(err);
    fj_transport_free(transport);
    json_decref(opts);
    return code == FJ_OK ? 0 : 1;
}
