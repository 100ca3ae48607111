/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule's action needs beyond plain fields: bytes, frames, and that nothing is missing. */
#include "base/alloc.h"
#include "tools/chaos/rule.h"
#include <string.h>

static int nibble(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static fj_code read_hex(const json_t *value, const char *where, chaos_rule *rule, fj_error **err)
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);

    if (!json_is_string(value) || n % 2 != 0 || n == 0 || n / 2 > CHAOS_FRAME_MAX)
        return fj_fail(err, FJ_BAD_VALUE, "%s.hex: must be bytes in hexadecimal, such as \"00ff\"", where);
    rule->data = fj__alloc(n / 2);
    if (rule->data == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    rule->data_n = n / 2;
    for (size_t i = 0; i < n; i += 2) {
        int high = nibble(text[i]), low = nibble(text[i + 1]);
        if (high < 0 || low < 0)
            return fj_fail(err, FJ_BAD_VALUE, "%s.hex: must be bytes in hexadecimal, such as \"00ff\"", where);
        rule->data[i / 2] = (uint8_t)(high << 4 | low);
    }
    return FJ_OK;
}

/* What a broker sends when it is shut down: the usual reason to inject a close. */
static json_t *arguments_of(const chaos_method *m, const json_t *args)
{
    json_t *copy = args != NULL ? json_copy((json_t *)(uintptr_t)args) : json_object();

    if (copy != NULL && strcmp(m->name, "connection.close") == 0 &&
        json_object_get(copy, "reply_code") == NULL) {
        (void)json_object_set_new(copy, "reply_code", json_integer(320));
        if (json_object_get(copy, "reply_text") == NULL)
            (void)json_object_set_new(copy, "reply_text", json_string("CONNECTION_FORCED - fjord-chaos"));
    }
    return copy;
}

static fj_code make_frame(const json_t *what, const char *where, chaos_rule *rule, fj_error **err)
{
    static const uint8_t heartbeat[] = { 8, 0, 0, 0, 0, 0, 0, 0xCE };
    const json_t *name = json_object_get(what, "frame"), *args = json_object_get(what, "args"),
                 *channel = json_object_get(what, "channel");
    const chaos_method *m = json_is_string(name) ? chaos_method_named(json_string_value(name)) : NULL;
    fj__buf frame = { 0 };
    uint16_t on = (uint16_t)json_integer_value(channel);
    fj_code rc = FJ_OK;

    if (m == NULL && (!json_is_string(name) || strcmp(json_string_value(name), "heartbeat") != 0))
        return fj_fail(err, FJ_BAD_VALUE,
                       "%s.frame: must be a method such as \"basic.cancel\", or \"heartbeat\"", where);
    if (args != NULL && (m == NULL || !json_is_object(args)))
        return fj_fail(err, FJ_BAD_VALUE, "%s.args: must be an object of the method's arguments", where);
    if (channel != NULL &&
        (!json_is_integer(channel) || json_integer_value(channel) < 0 || json_integer_value(channel) > 65535))
        return fj_fail(err, FJ_BAD_VALUE, "%s.channel: must be an integer from 0 to 65535", where);
    rule->own_channel = channel == NULL && m != NULL && m->class_id != 10;
    if (m == NULL)
        rc = fj__buf_append(&frame, heartbeat, sizeof heartbeat) ? FJ_OK
                                                                 : fj_fail(err, FJ_NOMEM, "out of memory");
    else {
        json_t *with = arguments_of(m, args);
        rc = chaos_frame_make(m, on, with, &frame, err);
        json_decref(with);
        if (rc == FJ_BAD_VALUE)
            fj_error_prefix(err, "%s.args", where);
    }
    rule->data = frame.bytes;
    rule->data_n = fj__buf_len(&frame);
    return rc;
}

static fj_code missing(const char *where, const char *what, fj_error **err)
{
    return fj_fail(err, FJ_BAD_VALUE, "%s: needs %s", where, what);
}

/* What an action cannot do without, and the defaults that depend on it. */
fj_code chaos_rule_complete(const json_t *what, const char *where, chaos_rule *rule, fj_error **err)
{
    bool hex = json_object_get(what, "hex") != NULL, size = json_object_get(what, "size") != NULL;
    chaos_action a = rule->action;

    if (a == CHAOS_DELAY && json_object_get(what, "ms") == NULL)
        return missing(where, "ms", err);
    if (a == CHAOS_TRICKLE && rule->rate == 0)
        return missing(where, "a rate above 0, in bytes a second", err);
    if (a == CHAOS_THROTTLE && json_object_get(what, "rate") == NULL &&
        json_object_get(what, "segment") == NULL)
        return missing(where, "rate or segment", err);
    if (a == CHAOS_GARBAGE && hex == size)
        return missing(where, "either hex or size", err);
    if (a == CHAOS_DROP && size != (rule->trigger == CHAOS_ON_BYTES))
        return missing(where, "size where bytes are dropped, and has none where a frame is", err);
    if (a == CHAOS_TRUNCATE && json_object_get(what, "at") == NULL)
        return missing(where, "at", err);
    if (a == CHAOS_INJECT && hex == (json_object_get(what, "frame") != NULL))
        return missing(where, "either frame or hex", err);
    if (rule->trigger != CHAOS_ON_FRAME && json_object_get(what, "at") != NULL)
        return fj_fail(err, FJ_BAD_VALUE, "%s.at: has a meaning within a frame only", where);
    if (a == CHAOS_INJECT && rule->side == CHAOS_BOTH)
        return fj_fail(err, FJ_BAD_VALUE, "%s.side: a frame is injected towards the client or the server",
                       where);
    if (rule->side < 0 && a != CHAOS_HALF_CLOSE)
        rule->side = a == CHAOS_INJECT ? CHAOS_CLIENT : CHAOS_BOTH;
    if (a == CHAOS_CORRUPT && json_object_get(what, "at") == NULL && rule->trigger == CHAOS_ON_FRAME)
        rule->at.kind = CHAOS_AT_RANDOM;
    if (hex)
        return read_hex(json_object_get(what, "hex"), where, rule, err);
    return a == CHAOS_INJECT ? make_frame(what, where, rule, err) : FJ_OK;
}
