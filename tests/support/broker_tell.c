/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the broker of tests how to be, and doing there what other clients and operators do. */
#include "tests/support/broker_impl.h"

void broker_tune(broker *b, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat)
{
    bk_lock(b);
    b->channel_max = channel_max;
    b->frame_max = frame_max;
    b->heartbeat = heartbeat;
    bk_unlock(b);
}

void broker_split(broker *b, size_t n)
{
    bk_lock(b);
    b->split = n;
    bk_unlock(b);
}

void broker_greet(broker *b, const void *bytes, size_t n)
{
    bk_lock(b);
    free(b->greeting);
    b->greeting = bytes != NULL ? bk_must(malloc(n + 1)) : NULL;
    b->greeting_len = n;
    if (n != 0 && bytes != NULL)
        memcpy(b->greeting, bytes, n);
    bk_unlock(b);
}

void broker_mechanisms(broker *b, const char *list)
{
    bk_lock(b);
    free(b->mechanisms);
    b->mechanisms = bk_must(strdup(list));
    bk_unlock(b);
}

void broker_user(broker *b, const char *user, const char *password)
{
    bk_lock(b);
    free(b->user);
    free(b->password);
    b->user = bk_must(strdup(user));
    b->password = bk_must(strdup(password));
    bk_unlock(b);
}

/* ---- asking it ---- */

void broker_pace(broker *b, size_t read_most, size_t write_most, int ms)
{
    bk_lock(b);
    b->read_most = read_most;
    b->write_most = write_most;
    b->pause_ms = ms;
    bk_unlock_and_wake(b);
}

unsigned broker_publish(broker *b, const char *x, const char *key, const amqp_basic_properties_t *properties,
                        const void *body, size_t n)
{
    uint8_t encoded[4096];
    amqp_basic_properties_t none = { 0 };
    int len =
        amqp_encode_properties(AMQP_BASIC_CLASS, (void *)(uintptr_t)(properties != NULL ? properties : &none),
                               (amqp_bytes_t){ sizeof encoded, encoded });
    bk_must_ok(len >= 0);
    return broker_publish_with(b, x, key, encoded, (size_t)len, body, n);
}

unsigned broker_publish_with(broker *b, const char *x, const char *key, const void *properties,
                             size_t properties_n, const void *body, size_t n)
{
    message m = { .exchange = (char *)(uintptr_t)x,
                  .key = (char *)(uintptr_t)key,
                  .properties = (uint8_t *)(uintptr_t)properties,
                  .properties_len = properties_n,
                  .body = (uint8_t *)(uintptr_t)(n != 0 ? body : ""),
                  .body_len = n };

    bk_lock(b);
    recycle_amqp_pool(&b->pool);
    unsigned taken = bk_route(b, &m);
    bk_deliver_all(b);
    bk_unlock_and_wake(b);
    return taken;
}

void broker_queue_delete(broker *b, const char *name)
{
    bk_lock(b);
    bk_queue_delete(b, name);
    bk_unlock_and_wake(b);
}

void broker_forget(broker *b)
{
    bk_lock(b);
    bk_forget(b);
    bk_unlock_and_wake(b);
}

void broker_exchange_delete(broker *b, const char *name)
{
    bk_lock(b);
    for (binding **at = &b->bindings; *at != NULL;) {
        if (strcmp((*at)->exchange, name) == 0)
            bk_unbind(b, at);
        else
            at = &(*at)->next;
    }
    bk_exchange_delete(b, name);
    bk_unlock_and_wake(b);
}

void broker_unbind(broker *b, const char *x, const char *q, const char *key)
{
    bk_lock(b);
    binding **at = bk_binding_of(b, x, q, key);
    if (*at != NULL)
        bk_unbind(b, at);
    bk_unlock_and_wake(b);
}

void broker_queue_add(broker *b, const char *name, const char *x, const char *key)
{
    amqp_queue_declare_t m = { 0 };

    bk_lock(b);
    if (bk_queue_of(b, name) == NULL)
        (void)bk_queue_add(b, NULL, name, &m);
    if (x != NULL && *bk_binding_of(b, x, name, key) == NULL) {
        binding *made = bk_must(calloc(1, sizeof *made));
        *made = (binding){ b->bindings, bk_must(strdup(x)), bk_must(strdup(name)), bk_must(strdup(key)) };
        b->bindings = made;
    }
    bk_unlock(b);
}

char *broker_get(broker *b, const char *name, int ms)
{
    char *body = NULL;

    if (!broker_wait_ready(b, name, 1, ms))
        return NULL;
    bk_lock(b);
    queue *q = bk_queue_of(b, name);
    message *m = q != NULL ? bk_pop(q) : NULL;
    if (m != NULL)
        body = bk_must(strndup((const char *)m->body, m->body_len));
    bk_message_free(m);
    bk_unlock(b);
    return body;
}

/* The first that was kept back is the last of the list. */
static void say_held(conn *c, channel *ch, bool backwards)
{
    while (ch->held != NULL) {
        held **at = &ch->held;
        while (!backwards && (*at)->next != NULL)
            at = &(*at)->next;
        held *kept = *at;
        *at = kept->next;
        bk_say_confirm(c, ch, kept->tag, false, false);
        free(kept);
    }
}

void broker_confirm_held(broker *b, bool backwards)
{
    bk_lock(b);
    for (conn *c = b->conns; c != NULL; c = c->next) {
        for (channel *ch = c->channels; ch != NULL; ch = ch->next)
            say_held(c, ch, backwards);
    }
    bk_unlock_and_wake(b);
}
