/* SPDX-License-Identifier: Apache-2.0 */
/* fjord listen: print notifications as they come. */
#include "base/alloc.h"
#include "tools/common.h"
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

struct listening {
    const tool_opts *o;
    bool pretty;
    unsigned long seen;
    int rc; /* of the last line printed */
};

/* ---- what is printed ---------------------------------------------------------------------------- */

static json_t *line_of(fj_request *req, const json_t *args)
{
    const json_t *metadata = json_object_get(args, "metadata");
    json_t *context = json_deep_copy(fj_request_context(req));

    (void)json_object_del(context, "client_timeout"); /* it is the reader's own, not the sender's */
    return json_pack("{s:O, s:s, s:O, s:O, s:O, s:O, s:o}", "timestamp", json_object_get(metadata, "timestamp"),
                     "priority", fj_request_method(req), "event_type", json_object_get(args, "event_type"),
                     "publisher_id", json_object_get(args, "publisher_id"), "message_id",
                     json_object_get(metadata, "message_id"), "payload", json_object_get(args, "payload"),
                     "context", context);
}

static const char *text_or(const json_t *value, const char *otherwise)
{
    const char *text = json_string_value(value);

    return text != NULL ? text : otherwise;
}

/* What peers say may hold anything, and a terminal obeys what it is told: JSON escapes all that is not ASCII. */
static bool print_quoted(const char *before, const json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
    size_t n = text != NULL ? strlen(text) : 0;
    bool quoted = json_is_string(value) && n >= 2;

    if (text != NULL)
        printf("%s%.*s", before, (int)(quoted ? n - 2 : n), quoted ? text + 1 : text);
    free(text);
    return text != NULL;
}

/* "2026-11-23 05:01:46.725307 INFO     compute.create  compute.host1", and the payload beneath it, indented. */
static int print_pretty(const tool_opts *o, const json_t *line)
{
    const json_t *payload = json_object_get(line, "payload");
    fj_error *err = NULL;

    (void)print_quoted("", json_object_get(line, "timestamp"));
    printf(" %-8s", text_or(json_object_get(line, "priority"), ""));
    (void)print_quoted(" ", json_object_get(line, "event_type"));
    (void)print_quoted("  ", json_object_get(line, "publisher_id"));
    if (json_object_size(json_object_get(line, "context")) > 0)
        (void)print_quoted("\n    context ", json_object_get(line, "context"));
    if (json_object_size(payload) > 0 || json_array_size(payload) > 0 ||
        (!json_is_object(payload) && !json_is_array(payload))) {
        char *text = json_dumps(payload, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_INDENT(2));
        fputs("\n    ", stdout);
        for (const char *c = text; c != NULL && *c != '\0'; c++) {
            putchar(*c);
            if (*c == '\n')
                fputs("    ", stdout);
        }
        free(text);
    }
    putchar('\n');
    if (fflush(stdout) == 0)
        return TOOL_DONE;
    (void)fj_fail(&err, FJ_SYSTEM, "standard output takes no more");
    return tool_fail(o, err);
}

/* ---- the endpoint ------------------------------------------------------------------------------- */

static bool enough(const struct listening *l)
{
    return l->rc != TOOL_DONE || (l->o->counted && l->seen >= l->o->count);
}

/* What is not printed is left to others. */
static fj_code print(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct listening *l = fj_request_data(req);
    json_t *line = enough(l) ? NULL : line_of(req, args);

    (void)ret;
    if (line == NULL)
        return enough(l) ? FJ_REQUEUE : fj_fail(err, FJ_NOMEM, "out of memory");
    l->rc = l->pretty ? print_pretty(l->o, line) : tool_print(l->o, line);
    json_decref(line);
    if (l->rc == TOOL_DONE)
        l->seen++;
    if (enough(l))
        fj_run_stop();
    return l->rc == TOOL_DONE ? FJ_OK : FJ_REQUEUE;
}

/* Methods of the priorities that are wanted: of all, if none is named. */
static size_t methods_of(const tool_opts *o, fj_method *methods, int *ret_rc)
{
    fj_priority priority;
    bool wanted[FJ_PRIORITIES] = { false };
    size_t n = 0;

    for (size_t i = 0; i < o->priority_count; i++) {
        if (!fj_priority_parse(o->priorities[i], &priority)) {
            *ret_rc = tool_misuse(o, "--priority is audit, debug, info, warn, error, critical or sample");
            return 0;
        }
        wanted[priority] = true;
    }
    for (unsigned p = 0; p < FJ_PRIORITIES; p++)
        if (wanted[p] || o->priority_count == 0)
            methods[n++] = (fj_method)FJ_METHOD(fj_priority_name((fj_priority)p), FJ_PLAIN, print);
    return n;
}

/* ---- --match ------------------------------------------------------------------------------------ */

struct matching {
    fj_notify_filter filter;
    fj_notify_rule context[TOOL_MATCHES], metadata[TOOL_MATCHES], payload[TOOL_MATCHES];
    char texts[TOOL_MATCHES][256]; /* of the fields */
};

static bool take_rule(const char *field, const char *name, const char *pattern, fj_notify_rule *rules,
                      size_t *n)
{
    size_t length = strlen(name);

    if (strncmp(field, name, length) != 0 || field[length] != '.' || field[length + 1] == '\0')
        return false;
    rules[(*n)++] = (fj_notify_rule){ field + length + 1, pattern };
    return true;
}

/* @return -1 to go on; else the exit code */
static int take_match(const tool_opts *o, size_t i, struct matching *m)
{
    const char *text = o->matches[i], *eq = strchr(text, '=');
    fj_notify_filter *f = &m->filter;
    char *field = m->texts[i];

    if (eq == NULL || (size_t)(eq - text) >= sizeof m->texts[i])
        return tool_misuse(o, "--match takes FIELD=REGEX");
    memcpy(field, text, (size_t)(eq - text));
    field[eq - text] = '\0';
    if (strcmp(field, "publisher_id") == 0)
        f->publisher_id = eq + 1;
    else if (strcmp(field, "event_type") == 0)
        f->event_type = eq + 1;
    else if (!take_rule(field, "context", eq + 1, m->context, &f->context_count) &&
             !take_rule(field, "metadata", eq + 1, m->metadata, &f->metadata_count) &&
             !take_rule(field, "payload", eq + 1, m->payload, &f->payload_count))
        return tool_misuse(
            o, "--match knows publisher_id, event_type, context.KEY, metadata.KEY and payload.KEY, not %s",
            field);
    return -1;
}

static int matching_of(const tool_opts *o, struct matching *m)
{
    int rc = -1;

    *m = (struct matching){ .filter = FJ_NOTIFY_FILTER(.publisher_id = NULL) };
    m->filter.context = m->context;
    m->filter.metadata = m->metadata;
    m->filter.payload = m->payload;
    for (size_t i = 0; rc < 0 && i < o->match_count; i++)
        rc = take_match(o, i, m);
    return rc;
}

/* ---- listening ---------------------------------------------------------------------------------- */

static void on_alarm(int sig)
{
    (void)sig;
    fj_run_stop(); /* NOLINT(bugprone-signal-handler): it is made for that */
}

static void set_alarm(double seconds)
{
    struct itimerval in = { .it_value = { .tv_sec = (time_t)seconds } };

    in.it_value.tv_usec = (suseconds_t)((seconds - (double)in.it_value.tv_sec) * 1e6);
    if (in.it_value.tv_sec == 0 && in.it_value.tv_usec == 0)
        in.it_value.tv_usec = 1;
    (void)signal(SIGALRM, on_alarm);
    (void)setitimer(ITIMER_REAL, &in, NULL);
}

static fj_code run(const tool_opts *o, fj_notify_listener *listener, const char *topic, fj_error **err)
{
    fj_code rc = fj_run_signals(err);

    if (rc == FJ_OK)
        rc = fj_notify_listener_start(listener, err);
    if (rc != FJ_OK)
        return rc;
    tool_note(o, o->json ? "{\"ready\": true}" : "fjord listen: ready, topic %s", topic);
    if (o->during > 0)
        set_alarm(o->during);
    return fj_run(err);
}

static fj_code listen_to(tool_opts *o, const fj_endpoint *endpoint, const fj_notify_filter *filter,
                         struct listening *l, fj_error **err)
{
    fj_notify_listener_opts opts = FJ_NOTIFY_LISTENER_OPTS_INIT;
    fj_notify_listener *listener = NULL;
    fj_transport *transport = NULL;
    fj_code rc = tool_open(o, &transport, err);

    opts.executor = "blocking";
    opts.allow_requeue = true;
    opts.pool = o->pool;
    if (rc == FJ_OK) {
        const char *const *topics =
            fj_conf_list(fj_transport_conf(transport), "oslo_messaging_notifications", "topics");
        const char *topic = o->topic != NULL                      ? o->topic
                            : topics != NULL && topics[0] != NULL ? topics[0]
                                                                  : "notifications";
        fj_target target = FJ_TARGET(.exchange = o->exchange, .topic = topic);
        rc = fj_notify_listener_new(transport, &target, 1, &opts, &listener, err);
        if (rc == FJ_OK)
            rc = fj_notify_listener_add(listener, endpoint, filter, l, err);
        if (rc == FJ_OK)
            rc = run(o, listener, topic, err);
    }
    fj_notify_listener_free(listener);
    fj_transport_free(transport);
    return rc;
}

static int listen_all(tool_opts *o, const fj_notify_filter *filter)
{
    fj_method *methods = fj__zalloc(FJ_PRIORITIES * sizeof *methods);
    fj_endpoint endpoint = { .size = sizeof endpoint, .methods = methods, .method_size = sizeof *methods };
    fj_error *err = NULL;
    struct listening l = { .o = o,
                           .pretty = o->format != NULL ? strcmp(o->format, "pretty") == 0 : isatty(1) == 1 };
    int rc = -1;

    if (methods == NULL)
        return tool_misuse(o, "out of memory");
    endpoint.count = methods_of(o, methods, &rc);
    if (rc < 0 && listen_to(o, &endpoint, filter, &l, &err) != FJ_OK)
        rc = tool_fail(o, err);
    else if (rc < 0 && l.rc != TOOL_DONE)
        rc = l.rc;
    else if (rc < 0)
        rc = o->counted && l.seen < o->count ? TOOL_TIMEOUT : TOOL_DONE;
    fj__free(methods);
    return rc;
}

int tool_listen(int argc, char **argv)
{
    struct matching m;
    tool_opts o;
    int rc = tool_parse(argc, argv, TOOL_COUNT | TOOL_FOR | TOOL_NOTES | TOOL_LISTEN, &o);

    if (rc < 0 && o.rest_count > 0)
        rc = tool_misuse(&o, "it takes options only");
    if (rc < 0 && o.format != NULL && strcmp(o.format, "pretty") != 0 && strcmp(o.format, "json") != 0)
        rc = tool_misuse(&o, "--format is pretty or json");
    o.notes = true;
    if (rc < 0)
        rc = matching_of(&o, &m);
    if (rc < 0)
        rc = listen_all(&o, o.match_count > 0 ? &m.filter : NULL);
    tool_opts_fini(&o);
    return rc;
}
