/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a rule: tables say which fields there are, of what type, and which action takes them. */
#include "tools/chaos/rule.h"
#include "base/alloc.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

#define BIT(action) (1u << (action))
#define ALL_BUT_ACCEPT (CHAOS_ON_FRAME | CHAOS_ON_BYTES | CHAOS_ON_TIME)
#define IN_A_STREAM (CHAOS_ON_FRAME | CHAOS_ON_BYTES)

/* What each action is called, and on what it can act. */
static const struct {
    const char *name;
    unsigned triggers;
} actions[CHAOS_ACTIONS] = {
    [CHAOS_DELAY] = { "delay", IN_A_STREAM | CHAOS_ON_ACCEPT },
    [CHAOS_TRICKLE] = { "trickle", CHAOS_ON_FRAME },
    [CHAOS_SPLIT] = { "split", CHAOS_ON_FRAME },
    [CHAOS_THROTTLE] = { "throttle", ALL_BUT_ACCEPT },
    [CHAOS_STALL] = { "stall", ALL_BUT_ACCEPT },
    [CHAOS_HOLD] = { "hold", ALL_BUT_ACCEPT },
    [CHAOS_DISCARD] = { "discard", ALL_BUT_ACCEPT },
    [CHAOS_HALF_CLOSE] = { "half-close", ALL_BUT_ACCEPT },
    [CHAOS_CLOSE] = { "close", ALL_BUT_ACCEPT },
    [CHAOS_RESET] = { "reset", ALL_BUT_ACCEPT },
    [CHAOS_GARBAGE] = { "garbage", ALL_BUT_ACCEPT },
    [CHAOS_INJECT] = { "inject", CHAOS_ON_FRAME | CHAOS_ON_TIME },
    [CHAOS_DROP] = { "drop", IN_A_STREAM },
    [CHAOS_DUPLICATE] = { "duplicate", CHAOS_ON_FRAME },
    [CHAOS_REORDER] = { "reorder", CHAOS_ON_FRAME },
    [CHAOS_TRUNCATE] = { "truncate", CHAOS_ON_FRAME },
    [CHAOS_CORRUPT] = { "corrupt", IN_A_STREAM },
    [CHAOS_REFUSE] = { "refuse", CHAOS_ON_ACCEPT },
    [CHAOS_IGNORE] = { "ignore", CHAOS_ON_ACCEPT },
};

typedef enum { INTEGER, REAL, TEXT, BOOLEAN, PLACE, SIDE, DIRECTION, ELSEWHERE } type;

typedef struct {
    const char *name;
    type type;
    unsigned of; /* triggers, of fields of `when`; actions, of fields of `do` */
    size_t offset;
    double min, max;
} field;

#define WHEN(name, type, of, member, min, max)                 \
    {                                                          \
        name, type, of, offsetof(chaos_rule, member), min, max \
    }
#define FRAMES CHAOS_ON_FRAME

static const field when_fields[] = {
    WHEN("frame", ELSEWHERE, FRAMES, kind, 0, 0),
    WHEN("bytes", INTEGER, CHAOS_ON_BYTES, bytes, 0, 0x1p53),
    WHEN("accept", ELSEWHERE, CHAOS_ON_ACCEPT, kind, 0, 0),
    WHEN("seconds", REAL, CHAOS_ON_TIME, seconds, 0, 1e9),
    WHEN("direction", DIRECTION, ALL_BUT_ACCEPT, direction, 0, 0),
    WHEN("conn", INTEGER, ~0u, conn, 1, 0x1p53),
    WHEN("channel", INTEGER, FRAMES, channel, 0, 65535),
    WHEN("queue", TEXT, FRAMES, texts[CHAOS_QUEUE], 0, 0),
    WHEN("exchange", TEXT, FRAMES, texts[CHAOS_EXCHANGE], 0, 0),
    WHEN("routing_key", TEXT, FRAMES, texts[CHAOS_ROUTING_KEY], 0, 0),
    WHEN("consumer_tag", TEXT, FRAMES, texts[CHAOS_CONSUMER_TAG], 0, 0),
    WHEN("reply_to", TEXT, FRAMES, texts[CHAOS_REPLY_TO], 0, 0),
    WHEN("nth", INTEGER, FRAMES | CHAOS_ON_ACCEPT, nth, 1, 0x1p53),
    WHEN("times", INTEGER, FRAMES | CHAOS_ON_ACCEPT, times, 0, 0x1p53),
    WHEN("probability", REAL, ~0u, probability, 0, 1),
    WHEN("per", ELSEWHERE, FRAMES, per_plan, 0, 0),
    WHEN("after", REAL, FRAMES, after, 0, 1e9),
    WHEN("before", REAL, FRAMES, before, 0, 1e9),
};

#define PLACED                                                                                              \
    (BIT(CHAOS_STALL) | BIT(CHAOS_HOLD) | BIT(CHAOS_DISCARD) | BIT(CHAOS_HALF_CLOSE) | BIT(CHAOS_CLOSE) |   \
     BIT(CHAOS_RESET) | BIT(CHAOS_GARBAGE) | BIT(CHAOS_INJECT) | BIT(CHAOS_TRUNCATE) | BIT(CHAOS_CORRUPT) | \
     BIT(CHAOS_THROTTLE))

static const field do_fields[] = {
    WHEN("action", ELSEWHERE, ~0u, action, 0, 0),
    WHEN("ms", REAL, BIT(CHAOS_DELAY), ms, 0, 86400000),
    WHEN("jitter", REAL, BIT(CHAOS_DELAY), jitter, 0, 86400000),
    WHEN("rate", INTEGER, BIT(CHAOS_TRICKLE) | BIT(CHAOS_THROTTLE), rate, 0, 1e12),
    WHEN("segment", INTEGER, BIT(CHAOS_SPLIT) | BIT(CHAOS_THROTTLE), segment, 0, CHAOS_FRAME_MAX),
    WHEN("gap", REAL, BIT(CHAOS_SPLIT) | BIT(CHAOS_THROTTLE), gap, 0, 86400000),
    WHEN("for", REAL, BIT(CHAOS_STALL) | BIT(CHAOS_HOLD), duration, 0, 1e9),
    WHEN("at", PLACE, PLACED, at, 0, CHAOS_FRAME_MAX),
    WHEN("side", SIDE, BIT(CHAOS_HALF_CLOSE) | BIT(CHAOS_RESET) | BIT(CHAOS_INJECT), side, 0, 0),
    WHEN("size", INTEGER, BIT(CHAOS_GARBAGE) | BIT(CHAOS_DROP), size, 1, CHAOS_FRAME_MAX),
    WHEN("hex", ELSEWHERE, BIT(CHAOS_GARBAGE) | BIT(CHAOS_INJECT), data, 0, 0),
    WHEN("message", BOOLEAN, BIT(CHAOS_DROP) | BIT(CHAOS_DUPLICATE), message, 0, 0),
    WHEN("copies", INTEGER, BIT(CHAOS_DUPLICATE), copies, 1, 1000),
    WHEN("xor", INTEGER, BIT(CHAOS_CORRUPT), xor_mask, 1, 255),
    WHEN("count", INTEGER, BIT(CHAOS_CORRUPT), count, 1, CHAOS_FRAME_MAX),
    WHEN("frame", ELSEWHERE, BIT(CHAOS_INJECT), data, 0, 0),
    WHEN("args", ELSEWHERE, BIT(CHAOS_INJECT), data, 0, 0),
    WHEN("channel", ELSEWHERE, BIT(CHAOS_INJECT), own_channel, 0, 65535),
};

const char *chaos_action_name(chaos_action action)
{
    return actions[action].name;
}

const char *chaos_side_name(int side)
{
    return side == CHAOS_CLIENT ? "client" : side == CHAOS_SERVER ? "server" : "both";
}

const char *chaos_direction_name(int direction)
{
    return direction == CHAOS_CLIENT ? "c2s" : direction == CHAOS_SERVER ? "s2c" : "both";
}

/* ---- values of each type --------------------------------------------------------------------------------------- */

static fj_code read_integer(const json_t *value, const field *f, int64_t *to, fj_error **err)
{
    json_int_t n = json_integer_value(value);

    if (!json_is_integer(value) || (double)n < f->min || (double)n > f->max)
        return fj_fail(err, FJ_BAD_VALUE, "must be an integer from %.0f to %.0f", f->min, f->max);
    *to = n;
    return FJ_OK;
}

static fj_code read_real(const json_t *value, const field *f, double *to, fj_error **err)
{
    double x = json_number_value(value);

    if (!json_is_number(value) || !(x >= f->min) || !(x <= f->max))
        return fj_fail(err, FJ_BAD_VALUE, "must be a number from %g to %g", f->min, f->max);
    *to = x;
    return FJ_OK;
}

static fj_code read_text(const json_t *value, char **to, fj_error **err)
{
    if (!json_is_string(value) || json_string_length(value) > 255 ||
        strlen(json_string_value(value)) != json_string_length(value))
        return fj_fail(err, FJ_BAD_VALUE, "must be a string of at most 255 bytes, without NUL");
    *to = fj__strdup(json_string_value(value));
    return *to != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}

static fj_code read_boolean(const json_t *value, bool *to, fj_error **err)
{
    if (!json_is_boolean(value))
        return fj_fail(err, FJ_BAD_VALUE, "must be true or false");
    *to = json_is_true(value);
    return FJ_OK;
}

static fj_code read_place(const json_t *value, chaos_at *to, fj_error **err)
{
    static const char *const words[] = { "before", "after", "middle", "random" };
    const char *word = json_string_value(value);

    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) <= CHAOS_FRAME_MAX) {
        *to = (chaos_at){ CHAOS_AT_OFFSET, (size_t)json_integer_value(value) };
        return FJ_OK;
    }
    for (unsigned i = 0; word != NULL && i < fj__countof(words); i++)
        if (strcmp(word, words[i]) == 0) {
            to->kind = i == 0   ? CHAOS_AT_OFFSET
                       : i == 1 ? CHAOS_AT_END
                       : i == 2 ? CHAOS_AT_MIDDLE
                                : CHAOS_AT_RANDOM;
            return FJ_OK;
        }
    return fj_fail(err, FJ_BAD_VALUE,
                   "must be \"before\", \"after\", \"middle\", \"random\", or a number of bytes up to %d",
                   CHAOS_FRAME_MAX);
}

static fj_code read_word(const json_t *value, const char *first, const char *second, int *to, fj_error **err)
{
    const char *word = json_is_string(value) ? json_string_value(value) : "";

    if (strcmp(word, first) != 0 && strcmp(word, second) != 0 && strcmp(word, "both") != 0)
        return fj_fail(err, FJ_BAD_VALUE, "must be \"%s\", \"%s\" or \"both\"", first, second);
    *to = strcmp(word, first) == 0 ? CHAOS_CLIENT : strcmp(word, second) == 0 ? CHAOS_SERVER : CHAOS_BOTH;
    return FJ_OK;
}

static fj_code read_field(const json_t *value, const field *f, chaos_rule *rule, fj_error **err)
{
    void *to = (char *)rule + f->offset;

    switch (f->type) {
    case INTEGER:
        return read_integer(value, f, to, err);
    case REAL:
        return read_real(value, f, to, err);
    case TEXT:
        return read_text(value, to, err);
    case BOOLEAN:
        return read_boolean(value, to, err);
    case PLACE:
        return read_place(value, to, err);
    case SIDE:
        return read_word(value, "client", "server", to, err);
    case DIRECTION:
        return read_word(value, "c2s", "s2c", to, err);
    case ELSEWHERE:
    default:
        return FJ_OK;
    }
}

/* Read the fields of one object.  @param kind  the trigger's or the action's bit   @param what  its word, for errors */
static fj_code read_fields(const json_t *object, const char *where, const field *fields, size_t n,
                           unsigned kind, const char *what, chaos_rule *rule, fj_error **err)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const field *f = NULL;
        for (size_t i = 0; i < n; i++)
            if (strcmp(fields[i].name, key) == 0)
                f = &fields[i];
        if (f == NULL)
            return fj_fail(err, FJ_BAD_VALUE, "%s.%s: there is no such key", where, key);
        if ((f->of & kind) == 0)
            return fj_fail(err, FJ_BAD_VALUE, "%s.%s: has no meaning with %s", where, key, what);
        fj_code rc = read_field(value, f, rule, err);
        if (rc != FJ_OK) {
            fj_error_prefix(err, "%s.%s", where, key);
            return rc;
        }
    }
    return FJ_OK;
}

/* ---- when ------------------------------------------------------------------------------------------------------ */

static fj_code read_which(const json_t *value, const char *where, chaos_rule *rule, fj_error **err)
{
    const char *word = json_is_string(value) ? json_string_value(value) : "";
    size_t n = strlen(word);

    if (strcmp(word, "any") == 0)
        return FJ_OK;
    for (int k = CHAOS_PROTOCOL; k <= CHAOS_HEARTBEAT; k++)
        if (strcmp(word, chaos_kind_name((chaos_kind)k)) == 0) {
            rule->kind = k;
            return FJ_OK;
        }
    rule->kind = CHAOS_METHOD;
    if (n > 2 && strcmp(word + n - 2, ".*") == 0 && chaos_class_named(word, n - 2, &rule->class_id))
        return FJ_OK;
    rule->method = chaos_method_named(word);
    if (rule->method != NULL)
        return FJ_OK;
    return fj_fail(err, FJ_BAD_VALUE,
                   "%s.frame: must be \"any\", \"protocol\", \"method\", \"header\", \"body\", \"heartbeat\", "
                   "a method such as "
                   "\"basic.publish\", or a class such as \"basic.*\"",
                   where);
}

static fj_code find_trigger(const json_t *when, const char *where, chaos_rule *rule, fj_error **err)
{
    static const struct {
        const char *key;
        chaos_trigger trigger;
    } triggers[] = { { "frame", CHAOS_ON_FRAME },
                     { "bytes", CHAOS_ON_BYTES },
                     { "accept", CHAOS_ON_ACCEPT },
                     { "seconds", CHAOS_ON_TIME } };
    unsigned found = 0;

    if (!json_is_object(when))
        return fj_fail(err, FJ_BAD_VALUE, "%s: must be there, and an object", where);
    for (size_t i = 0; i < fj__countof(triggers); i++)
        if (json_object_get(when, triggers[i].key) != NULL) {
            rule->trigger = triggers[i].trigger;
            found++;
        }
    if (found != 1)
        return fj_fail(err, FJ_BAD_VALUE, "%s: must have one of frame, bytes, accept and seconds", where);
    return FJ_OK;
}

static fj_code read_when(const json_t *when, const char *where, chaos_rule *rule, fj_error **err)
{
    static const char *const names[] = { [CHAOS_ON_FRAME] = "frame",
                                         [CHAOS_ON_BYTES] = "bytes",
                                         [CHAOS_ON_ACCEPT] = "accept",
                                         [CHAOS_ON_TIME] = "seconds" };
    const json_t *per;
    fj_code rc = find_trigger(when, where, rule, err);

    if (rc == FJ_OK)
        rc = read_fields(when, where, when_fields, fj__countof(when_fields), rule->trigger,
                         names[rule->trigger], rule, err);
    if (rc == FJ_OK && rule->trigger == CHAOS_ON_FRAME)
        rc = read_which(json_object_get(when, "frame"), where, rule, err);
    if (rc == FJ_OK && rule->trigger == CHAOS_ON_ACCEPT && !json_is_true(json_object_get(when, "accept")))
        rc = fj_fail(err, FJ_BAD_VALUE, "%s.accept: must be true", where);
    per = json_object_get(when, "per");
    if (rc == FJ_OK && per != NULL) {
        rule->per_plan = json_is_string(per) && strcmp(json_string_value(per), "plan") == 0;
        if (!rule->per_plan && (!json_is_string(per) || strcmp(json_string_value(per), "connection") != 0))
            rc = fj_fail(err, FJ_BAD_VALUE, "%s.per: must be \"connection\" or \"plan\"", where);
    }
    return rc;
}

/* ---- do -------------------------------------------------------------------------------------------------------- */

static fj_code read_do(const json_t *what, const char *where, chaos_rule *rule, fj_error **err)
{
    const char *name = json_string_value(json_object_get(what, "action"));
    chaos_action a = CHAOS_DELAY;
    fj_code rc;

    if (!json_is_object(what))
        return fj_fail(err, FJ_BAD_VALUE, "%s: must be there, and an object", where);
    while (a < CHAOS_ACTIONS && (name == NULL || strcmp(actions[a].name, name) != 0))
        a++;
    if (a == CHAOS_ACTIONS)
        return fj_fail(err, FJ_BAD_VALUE,
                       "%s.action: must be one of delay, trickle, split, throttle, stall, hold, discard, "
                       "half-close, close, reset, garbage, inject, drop, duplicate, reorder, truncate, "
                       "corrupt, refuse and "
                       "ignore",
                       where);
    if ((actions[a].triggers & rule->trigger) == 0)
        return fj_fail(err, FJ_BAD_VALUE, "%s.action: %s cannot act on what `when` names", where, name);
    rule->action = a;
    rc = read_fields(what, where, do_fields, fj__countof(do_fields), BIT(a), name, rule, err);
    return rc == FJ_OK ? chaos_rule_complete(what, where, rule, err) : rc;
}

/* ---- the rule -------------------------------------------------------------------------------------------------- */

static fj_code read_name(const json_t *value, const char *where, chaos_rule *rule, fj_error **err)
{
    const json_t *name = json_object_get(value, "name");
    const char *key;
    json_t *part;

    json_object_foreach(
        (json_t *)(uintptr_t)value, key,
        part) if (strcmp(key, "name") != 0 && strcmp(key, "when") != 0 && strcmp(key, "do") != 0 &&
                  strcmp(key, "comment") !=
                      0) return fj_fail(err, FJ_BAD_VALUE,
                                        "%s.%s: there is no such key; a rule has name, when, do and comment",
                                        where, key);
    if (name == NULL)
        return FJ_OK;
    if (!json_is_string(name) || json_string_length(name) == 0 || json_string_length(name) > 64)
        return fj_fail(err, FJ_BAD_VALUE, "%s.name: must be a string of 1 to 64 bytes", where);
    rule->name = fj__strdup(json_string_value(name));
    return rule->name != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}

fj_code chaos_rule_read(const json_t *value, const char *where, chaos_rule **ret, fj_error **err)
{
    chaos_rule *rule = fj__zalloc(sizeof *rule);
    char at[64];
    fj_code rc;

    if (rule == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    *rule = (chaos_rule){ .direction = CHAOS_BOTH,
                          .kind = -1,
                          .channel = -1,
                          .nth = 1,
                          .times = 1,
                          .probability = 1,
                          .before = HUGE_VAL,
                          .duration = -1,
                          .copies = 1,
                          .count = 1,
                          .side = -1 };
    rc = json_is_object(value) ? read_name(value, where, rule, err)
                               : fj_fail(err, FJ_BAD_VALUE, "%s: must be an object", where);
    if (rc == FJ_OK) {
        (void)snprintf(at, sizeof at, "%s.when", where);
        rc = read_when(json_object_get(value, "when"), at, rule, err);
    }
    if (rc == FJ_OK) {
        (void)snprintf(at, sizeof at, "%s.do", where);
        rc = read_do(json_object_get(value, "do"), at, rule, err);
    }
    if (rc == FJ_OK)
        *ret = rule;
    else
        chaos_rule_free(rule);
    return rc;
}

chaos_rule *chaos_rule_free(chaos_rule *rule)
{
    if (rule == NULL)
        return NULL;
    fj__free(rule->name);
    for (size_t i = 0; i < CHAOS_TEXTS; i++)
        fj__free(rule->texts[i]);
    fj__free(rule->data);
    fj__free(rule);
    return NULL;
}
