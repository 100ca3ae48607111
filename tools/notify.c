/* SPDX-License-Identifier: Apache-2.0 */
/* fjord notify: send a notification. */
#include "tools/common.h"
#include <errno.h>
#include <string.h>

enum { PATIENCE_S = 60 }; /* without --timeout */

/* All of a file, or of standard input, as JSON.  @return -1 to go on; else the exit code */
static int read_payload(const tool_opts *o, const char *name, json_t **ret)
{
    FILE *file = name != NULL ? fopen(name, "re") : stdin;
    char *text = NULL;
    size_t room = 0;
    fj_error *err = NULL;
    int rc = -1;

    if (name == NULL)
        name = "standard input";
    ssize_t n = file != NULL ? getdelim(&text, &room, '\0', file) : -1;
    if (file == NULL || (n < 0 && ferror(file) != 0))
        rc = tool_misuse(o, "%s: %s", name, strerror(errno));
    else if (fj_json_read(n > 0 ? text : "", n > 0 ? (size_t)n : 0, NULL, ret, &err) != FJ_OK)
        rc = tool_misuse(o, "%s: %s", name, fj_error_text(err));
    if (file != NULL && file != stdin)
        (void)fclose(file);
    fj_error_free(err);
    free(text);
    return rc;
}

static int payload_of(const tool_opts *o, json_t **ret)
{
    const char *word = o->rest_count == 2 ? o->rest[1] : "";

    if (strcmp(word, "-") == 0)
        return read_payload(o, NULL, ret);
    if (word[0] == '@')
        return read_payload(o, word + 1, ret);
    return tool_args(o, 1, ret);
}

static fj_code send_all(const tool_opts *o, fj_notifier *notifier, fj_priority priority, json_t *payload,
                        fj_error **err)
{
    fj_notify_opts opts = FJ_NOTIFY_OPTS_INIT;
    fj_code rc = FJ_OK;

    opts.context = o->context;
    opts.by = fj_in_seconds(o->timeout > 0 ? o->timeout : PATIENCE_S); /* for all of them together */
    for (unsigned long i = 0; rc == FJ_OK && i < o->count; i++)
        rc =
            fj_notifier_notify_async(notifier, priority, o->rest[0], json_deep_copy(payload), &opts, NULL, err);
    return rc == FJ_OK ? fj_notifier_flush(notifier, opts.by, err) : rc;
}

static fj_code notify(tool_opts *o, fj_priority priority, json_t *payload, fj_error **err)
{
    const char *const driver[] = { o->driver != NULL ? o->driver : "messagingv2", NULL };
    const char *const topic[] = { o->topic, NULL };
    fj_notifier_opts opts = FJ_NOTIFIER_OPTS_INIT;
    fj_transport *transport = NULL;
    fj_notifier *notifier = NULL;
    fj_code rc = tool_open(o, &transport, err);

    opts.publisher_id = o->publisher;
    opts.drivers = driver;
    opts.topics = o->topic != NULL ? topic : NULL;
    opts.exchange = o->exchange;
    if (rc == FJ_OK)
        rc = fj_notifier_new(transport, &opts, &notifier, err);
    if (rc == FJ_OK && !fj_notifier_is_enabled(notifier))
        rc = fj_fail(err, FJ_NO_DRIVER, "there is no notification driver %s", driver[0]);
    if (rc == FJ_OK)
        rc = send_all(o, notifier, priority, payload, err);
    fj_notifier_free(notifier);
    fj_transport_free(transport);
    return rc;
}

int tool_notify(int argc, char **argv)
{
    fj_priority priority = FJ_NOTIFY_INFO;
    json_t *payload = NULL;
    fj_error *err = NULL;
    tool_opts o;
    int rc = tool_parse(argc, argv, TOOL_DEADLINE | TOOL_CONTEXT | TOOL_COUNT | TOOL_NOTES | TOOL_NOTIFY, &o);

    if (rc < 0 && o.rest_count < 1)
        rc = tool_misuse(&o, "EVENT_TYPE is needed");
    if (rc < 0 && o.priority_count > 1)
        rc = tool_misuse(&o, "a notification has one priority");
    if (rc < 0 && o.priority_count == 1 && !fj_priority_parse(o.priorities[0], &priority))
        rc = tool_misuse(&o, "--priority is audit, debug, info, warn, error, critical or sample");
    o.notes = true;
    if (rc < 0)
        rc = payload_of(&o, &payload);
    if (rc < 0)
        rc = notify(&o, priority, payload, &err) == FJ_OK ? TOOL_DONE : tool_fail(&o, err);
    json_decref(payload);
    tool_opts_fini(&o);
    return rc;
}
