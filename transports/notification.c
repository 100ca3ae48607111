/* SPDX-License-Identifier: Apache-2.0 */
/* Notifications as text: oslo.messaging's fields in its order (wire.md section 14). */
#include <fjord/notification.h>

#include "base/alloc.h"
#include "base/json.h"
#include "transports/message.h"

#include <strings.h>

static const struct {
    const char *lower, *upper;
} names[FJ_PRIORITIES] = { { "audit", "AUDIT" },  { "debug", "DEBUG" }, { "info", "INFO" },
                           { "warn", "WARN" },    { "error", "ERROR" }, { "critical", "CRITICAL" },
                           { "sample", "SAMPLE" } };

const char *fj_priority_name(fj_priority priority)
{
    return (unsigned)priority < FJ_PRIORITIES ? names[priority].lower : NULL;
}

const char *fj__priority_upper(fj_priority priority)
{
    return (unsigned)priority < FJ_PRIORITIES ? names[priority].upper : NULL;
}

bool fj_priority_parse(const char *text, fj_priority *ret)
{
    if (text != NULL && strcasecmp(text, "warning") == 0)
        text = "warn";
    for (unsigned i = 0; text != NULL && i < FJ_PRIORITIES; i++) {
        if (strcasecmp(text, names[i].lower) == 0) {
            *ret = (fj_priority)i;
            return true;
        }
    }
    return false;
}

fj_code fj__notification_check(const fj_notification *n, fj_error **err)
{
    if (n->topic == NULL || n->topic[0] == '\0')
        return fj_fail(err, FJ_BAD_TARGET, "a notification needs a topic");
    if (fj_priority_name(n->priority) == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "there is no priority %d", (int)n->priority);
    if (n->event_type == NULL || n->message_id == NULL || n->timestamp == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "a notification needs an event type, a message id and a timestamp");
    if (n->context != NULL && !json_is_object(n->context))
        return fj_fail(err, FJ_BAD_VALUE, "the context of %s is not a JSON object", n->event_type);
    if (n->version != 1 && n->version != 2)
        return fj_fail(err, FJ_BAD_VALUE, "there is no version %u of notifications", n->version);
    return FJ_OK;
}

char *fj__notification_key(const fj_notification *n)
{
    return fj__format("%s.%s", n->topic, names[n->priority].lower);
}

/* A member whose key is a literal: ", " and ": " go with it. */
#define PUT_TEXT(o, key, text)                  \
    do {                                        \
        fj__json_out_lit(o, ", \"" key "\": "); \
        fj__json_out_text(o, text);             \
    } while (0)

fj_code fj__message_notification(const fj_notification *n, const char *unique_id, const fj_json_opts *opts,
                                 char **ret, size_t *ret_n, fj_error **err)
{
    fj__json_out o = fj__json_out_new(opts);

    o.depth = 1; /* what follows stands in one object */
    fj__json_out_lit(&o, "{\"message_id\": ");
    fj__json_out_text(&o, n->message_id);
    PUT_TEXT(&o, "publisher_id", n->publisher_id);
    PUT_TEXT(&o, "event_type", n->event_type);
    PUT_TEXT(&o, "priority", names[n->priority].upper);
    fj__json_out_lit(&o, ", \"payload\": ");
    fj__json_out_value(&o, n->payload);
    PUT_TEXT(&o, "timestamp", n->timestamp);
    PUT_TEXT(&o, "_unique_id", unique_id);
    fj__message_put_context(&o, n->context);
    fj__json_out_lit(&o, "}");
    return n->version == 1 ? fj__json_out_finish(&o, ret, ret_n, err)
                           : fj__message_seal(&o, opts, ret, ret_n, err);
}

/* A member, also a null one.  @param value takes */
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

json_t *fj__notification_json(const fj_notification *n)
{
    json_t *message = json_object();
    json_t *payload = n->payload != NULL ? json_deep_copy(n->payload) : json_null();

    if (put(message, "message_id", json_string(n->message_id)) &&
        put(message, "publisher_id", text_or_null(n->publisher_id)) &&
        put(message, "event_type", json_string(n->event_type)) &&
        put(message, "priority", json_string(names[n->priority].upper)) &&
        json_object_set(message, "payload", payload) == 0 &&
        put(message, "timestamp", json_string(n->timestamp))) {
        json_decref(payload);
        return message;
    }
    json_decref(payload);
    json_decref(message);
    return NULL;
}
