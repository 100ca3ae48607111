/* SPDX-License-Identifier: Apache-2.0 */
/* What a broker says when it closes a channel, in words that name what was wanted, what is there, and the key to look at. */
#include "transports/amqp/topology.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

enum { PART = 160 };

/* RabbitMQ (rabbit_misc:assert_args_equivalence): inequivalent arg 'NAME' for THING: received WANTED but current is FOUND */
typedef struct {
    char argument[PART], thing[PART], wanted[PART], found[PART];
} difference;

static const struct {
    const char *argument, *key;
} keys[] = {
    { "durable", "[oslo_messaging_rabbit] amqp_durable_queues" },
    { "auto_delete", "[oslo_messaging_rabbit] amqp_auto_delete" },
    { "x-queue-type", "[oslo_messaging_rabbit] rabbit_quorum_queue" },
    { "x-ha-policy", "[oslo_messaging_rabbit] rabbit_ha_queues" },
    { "x-expires", "[oslo_messaging_rabbit] rabbit_transient_queues_ttl" },
    { "x-max-age", "[oslo_messaging_rabbit] rabbit_transient_queues_ttl" },
    { "x-delivery-limit", "[oslo_messaging_rabbit] rabbit_quorum_delivery_limit" },
    { "x-max-in-memory-length", "[oslo_messaging_rabbit] rabbit_quorum_max_memory_length" },
    { "x-max-in-memory-bytes", "[oslo_messaging_rabbit] rabbit_quorum_max_memory_bytes" },
    { "type", "[DEFAULT] control_exchange" },
};

static const char *key_of(const char *argument)
{
    for (size_t i = 0; i < fj__countof(keys); i++) {
        if (strcmp(keys[i].argument, argument) == 0)
            return keys[i].key;
    }
    return NULL;
}

/* The part from @p at until @p end, which is found; @return behind it, or NULL. */
static const char *take(const char *at, const char *end, char ret[PART])
{
    const char *stop = at != NULL ? strstr(at, end) : NULL;

    if (stop == NULL)
        return NULL;
    (void)snprintf(ret, PART, "%.*s", (int)(stop - at < PART ? stop - at : PART - 1), at);
    return stop + strlen(end);
}

/* "'true'", "the value 'x' of type 'longstr'" and "none" as true, x and none. */
static void bare(char value[PART])
{
    char *open = strchr(value, '\''), *close = open != NULL ? strchr(open + 1, '\'') : NULL;

    if (close == NULL)
        return;
    *close = '\0';
    (void)memmove(value, open + 1, (size_t)(close - open));
}

static bool difference_of(const char *text, difference *ret)
{
    char before[PART];
    const char *at = take(text, "inequivalent arg '", before);

    at = take(at, "' for ", ret->argument);
    at = take(at, ": received ", ret->thing);
    at = take(at, " but current is ", ret->wanted);
    if (at == NULL)
        return false;
    (void)snprintf(ret->found, PART, "%.*s", PART - 1, at);
    bare(ret->wanted);
    bare(ret->found);
    return true;
}

static fj_error *mismatch(unsigned code, const char *text)
{
    difference is;
    fj_error *error = NULL;

    if (!difference_of(text, &is)) {
        (void)fj_fail(&error, FJ_MISMATCH,
                      "the broker closed the channel: %u %s (see [oslo_messaging_rabbit] amqp_durable_queues, "
                      "amqp_auto_delete, rabbit_quorum_queue)",
                      code, text);
        return error;
    }
    const char *key = key_of(is.argument);
    (void)fj_fail(&error, FJ_MISMATCH,
                  "the broker closed the channel: %u %s has %s=%s, wanted %s (%s%s; or delete it)", code,
                  is.thing, is.argument, is.found, is.wanted,
                  key != NULL ? "see " : "another program declared it", key != NULL ? key : "");
    return error;
}

fj_error *fj__channel_error(const fj__event *ev)
{
    const char *text = ev->text != NULL ? ev->text : "";
    const char *hint = "";
    fj_error *error = NULL;
    fj_code code;

    switch (ev->code) {
    case AMQP_ACCESS_REFUSED:
        code = FJ_ACCESS;
        hint = " (see the user's permissions on the virtual host of transport_url)";
        break;
    case AMQP_NOT_FOUND:
        code = FJ_NO_QUEUE;
        break;
    case AMQP_RESOURCE_LOCKED:
        code = FJ_MISMATCH;
        hint = " (it has exclusive=true, wanted false: it is another connection's alone, and goes with it)";
        break;
    case AMQP_PRECONDITION_FAILED:
        return mismatch(ev->code, text);
    default:
        code = FJ_PROTOCOL;
        break;
    }
    (void)fj_fail(&error, code, "the broker closed the channel: %u %s%s", (unsigned)ev->code, text, hint);
    return error;
}

bool fj__is_durable_mismatch(const fj__event *ev)
{
    return ev->code == AMQP_PRECONDITION_FAILED && ev->cause == AMQP_EXCHANGE_DECLARE_METHOD &&
           ev->text != NULL && strstr(ev->text, "'durable'") != NULL;
}

bool fj__is_durable_mismatch_of(const fj__event *ev, const char *name)
{
    const char *at = fj__is_durable_mismatch(ev) ? strstr(ev->text, name) : NULL;
    size_t n = strlen(name);

    while (at != NULL && !(at != ev->text && at[-1] == '\'' && at[n] == '\''))
        at = strstr(at + 1, name);
    return at != NULL;
}
