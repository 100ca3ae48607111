/* SPDX-License-Identifier: Apache-2.0 */
/* Frames in, and what each method does. */
#include "tests/support/broker_impl.h"

void bk_channel_drop(broker *b, conn *c, uint16_t number)
{
    for (channel **at = &c->channels; *at != NULL; at = &(*at)->next) {
        channel *ch = *at;
        if (ch->number != number)
            continue;
        for (consumer **k = &b->consumers; *k != NULL;) {
            if ((*k)->conn == c && (*k)->channel == number) {
                char *name = bk_must(strdup((*k)->queue));
                bk_consumer_drop(k);
                bk_requeue_all(b, c, ch);
                bk_auto_delete(b, name);
                free(name);
                k = &b->consumers;
            } else {
                k = &(*k)->next;
            }
        }
        bk_requeue_all(b, c, ch);
        *at = ch->next;
        bk_message_free(ch->message);
        while (ch->held != NULL) {
            held *kept = ch->held;
            ch->held = kept->next;
            free(kept);
        }
        free(ch);
        return;
    }
}

void bk_conn_drop(broker *b, conn **at)
{
    conn *c = *at;

    *at = c->next;
    while (c->channels != NULL)
        bk_channel_drop(b, c, c->channels->number);
    for (queue *q = b->queues; q != NULL;) {
        if (q->owner == c) {
            bk_queue_delete(b, q->name);
            q = b->queues;
        } else {
            q = q->next;
        }
    }
    while (c->late != NULL) {
        late *unsaid = c->late;
        c->late = unsaid->next;
        free(unsaid);
    }
    (void)close(c->fd);
    fj__buf_fini(&c->in);
    fj__buf_fini(&c->out);
    free(c);
    bk_deliver_all(b);
}

/* ---- the handshake ---- */

static void greet(broker *b, conn *c)
{
    amqp_table_entry_t is[2] = { { .key = amqp_cstring_bytes("product") },
                                 { .key = amqp_cstring_bytes("version") } };

    if (b->greeting != NULL) {
        bk_must_ok(fj__buf_append(&c->out, b->greeting, b->greeting_len));
        return;
    }
    is[0].value.kind = is[1].value.kind = AMQP_FIELD_KIND_UTF8;
    is[0].value.value.bytes = amqp_cstring_bytes("TestBroker");
    is[1].value.value.bytes = amqp_cstring_bytes("1.0");
    amqp_connection_start_t start = {
        0, 9, { 2, is }, amqp_cstring_bytes(b->mechanisms), amqp_cstring_bytes("en_US")
    };
    bk_say(c, 0, AMQP_CONNECTION_START_METHOD, &start);
}

static bool contains(amqp_bytes_t in, const char *what)
{
    return memmem(in.bytes, in.len, what, strlen(what)) != NULL;
}

static void keep_capabilities(broker *b, const amqp_table_t *properties)
{
    char text[512] = ",";

    for (int i = 0; i < properties->num_entries; i++) {
        const amqp_table_entry_t *e = &properties->entries[i];
        if (!bk_same("capabilities", e->key) || e->value.kind != AMQP_FIELD_KIND_TABLE)
            continue;
        const amqp_table_t *all = &e->value.value.table;
        for (int j = 0; j < all->num_entries; j++) {
            size_t n = strlen(text);
            if (all->entries[j].value.kind == AMQP_FIELD_KIND_BOOLEAN && all->entries[j].value.value.boolean)
                (void)snprintf(text + n, sizeof text - n, "%.*s,", (int)all->entries[j].key.len,
                               (const char *)all->entries[j].key.bytes);
        }
    }
    free(b->capabilities);
    b->capabilities = bk_must(strdup(text));
}

static void on_start_ok(broker *b, conn *c, const amqp_connection_start_ok_t *ok)
{
    amqp_connection_tune_t tune = { b->channel_max, b->frame_max, b->heartbeat };

    keep_capabilities(b, &ok->client_properties);
    if (b->user != NULL && !(contains(ok->response, b->user) && contains(ok->response, b->password)))
        bk_say_close(c, AMQP_ACCESS_REFUSED, "ACCESS_REFUSED - Login was refused");
    else
        bk_say(c, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
}

static void on_tune_ok(conn *c, const amqp_connection_tune_ok_t *ok)
{
    c->frame_max = ok->frame_max != 0 ? ok->frame_max : 131072;
    c->heartbeat = ok->heartbeat;
    c->beat_at = bk_now_ms() + ok->heartbeat * 500;
    c->tuned = true;
}

static void on_connection(broker *b, conn *c, amqp_method_number_t id, void *decoded)
{
    amqp_connection_open_ok_t open_ok = { 0 };
    amqp_connection_close_ok_t close_ok = { 0 };

    switch (id) {
    case AMQP_CONNECTION_START_OK_METHOD:
        on_start_ok(b, c, decoded);
        break;
    case AMQP_CONNECTION_TUNE_OK_METHOD:
        on_tune_ok(c, decoded);
        break;
    case AMQP_CONNECTION_OPEN_METHOD:
        bk_say(c, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &open_ok);
        break;
    case AMQP_CONNECTION_CLOSE_METHOD:
        bk_say(c, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &close_ok);
        c->hang_up = true;
        break;
    default: /* close-ok */
        c->hang_up = true;
        break;
    }
}

static void on_basic(broker *b, conn *c, channel *ch, amqp_method_number_t id, void *decoded)
{
    amqp_basic_qos_ok_t qos_ok = { 0 };
    amqp_basic_recover_ok_t recover_ok = { 0 };
    const amqp_basic_ack_t *ack = decoded;
    const amqp_basic_nack_t *nack = decoded;
    const amqp_basic_reject_t *reject = decoded;

    switch (id) {
    case AMQP_BASIC_QOS_METHOD:
        ch->prefetch = ((const amqp_basic_qos_t *)decoded)->prefetch_count;
        bk_say(c, ch->number, AMQP_BASIC_QOS_OK_METHOD, &qos_ok);
        break;
    case AMQP_BASIC_CONSUME_METHOD:
        bk_on_consume(b, c, ch, decoded);
        break;
    case AMQP_BASIC_CANCEL_METHOD:
        bk_on_cancel(b, c, ch, decoded);
        break;
    case AMQP_BASIC_GET_METHOD:
        bk_on_get(b, c, ch, decoded);
        break;
    case AMQP_BASIC_ACK_METHOD:
        bk_on_ack(b, c, ch, ack->delivery_tag, ack->multiple, true);
        break;
    case AMQP_BASIC_NACK_METHOD:
        bk_on_ack(b, c, ch, nack->delivery_tag, nack->multiple, !nack->requeue);
        break;
    case AMQP_BASIC_REJECT_METHOD:
        bk_on_ack(b, c, ch, reject->delivery_tag, false, !reject->requeue);
        break;
    case AMQP_BASIC_RECOVER_METHOD:
        bk_requeue_all(b, c, ch);
        bk_say(c, ch->number, AMQP_BASIC_RECOVER_OK_METHOD, &recover_ok);
        break;
    default:
        break;
    }
}

static void on_channel(broker *b, conn *c, channel *ch, amqp_method_number_t id, void *decoded)
{
    amqp_confirm_select_ok_t select_ok = { 0 };
    amqp_exchange_delete_ok_t exchange_ok = { 0 };
    char *name;

    switch (id) {
    case AMQP_EXCHANGE_DECLARE_METHOD:
        bk_on_exchange_declare(b, c, ch, decoded);
        break;
    case AMQP_EXCHANGE_DELETE_METHOD:
        name = bk_text_of(((const amqp_exchange_delete_t *)decoded)->exchange);
        bk_exchange_delete(b, name);
        free(name);
        bk_say(c, ch->number, AMQP_EXCHANGE_DELETE_OK_METHOD, &exchange_ok);
        break;
    case AMQP_QUEUE_DECLARE_METHOD:
        bk_on_queue_declare(b, c, ch, decoded);
        break;
    case AMQP_QUEUE_BIND_METHOD:
        bk_on_bind(b, c, ch, decoded);
        break;
    case AMQP_QUEUE_UNBIND_METHOD:
        bk_on_unbind(b, c, ch, decoded);
        break;
    case AMQP_QUEUE_PURGE_METHOD:
        bk_on_purge(b, c, ch, decoded);
        break;
    case AMQP_QUEUE_DELETE_METHOD:
        bk_on_queue_delete(b, c, ch, decoded);
        break;
    case AMQP_CONFIRM_SELECT_METHOD:
        ch->confirms = true;
        if (!((const amqp_confirm_select_t *)decoded)->nowait)
            bk_say(c, ch->number, AMQP_CONFIRM_SELECT_OK_METHOD, &select_ok);
        break;
    default:
        on_basic(b, c, ch, id, decoded);
        break;
    }
}

static void note(broker *b, amqp_method_number_t id)
{
    size_t i = 0;

    while (i < b->seen_count && b->seen[i].id != id)
        i++;
    if (i == b->seen_count && b->seen_count < sizeof b->seen / sizeof b->seen[0])
        b->seen[b->seen_count++] = (seen){ id, 0 };
    if (i < b->seen_count)
        b->seen[i].count++;
    (void)pthread_cond_broadcast(&b->changed);
}

static void do_method(broker *b, conn *c, uint16_t number, amqp_method_number_t id, void *decoded)
{
    channel *ch = bk_channel_of(c, number);
    amqp_channel_open_ok_t open_ok = { 0 };
    amqp_channel_close_ok_t close_ok = { 0 };

    if (number == 0) {
        on_connection(b, c, id, decoded);
    } else if (id == AMQP_CHANNEL_OPEN_METHOD) {
        if (ch == NULL) {
            ch = bk_must(calloc(1, sizeof *ch));
            ch->number = number;
            ch->next = c->channels;
            c->channels = ch;
        }
        bk_say(c, number, AMQP_CHANNEL_OPEN_OK_METHOD, &open_ok);
    } else if (id == AMQP_CHANNEL_CLOSE_METHOD) {
        bk_channel_drop(b, c, number);
        bk_say(c, number, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok);
    } else if (id == AMQP_CHANNEL_CLOSE_OK_METHOD) {
        bk_channel_drop(b, c, number);
    } else if (ch == NULL) {
        bk_say_close(c, 504, "CHANNEL_ERROR - expected 'channel.open'");
    } else if (!ch->closing) {
        on_channel(b, c, ch, id, decoded);
    }
}

static void on_method(broker *b, conn *c, const fj__frame *frame)
{
    void *decoded = NULL;
    amqp_method_number_t id = fj__get32(frame->payload);
    amqp_bytes_t args = { frame->len - 4, (void *)(uintptr_t)(frame->payload + 4) };
    channel *ch = bk_channel_of(c, frame->channel);

    recycle_amqp_pool(&b->pool);
    if (amqp_decode_method(id, &b->pool, args, &decoded) < 0) {
        bk_say_close(c, AMQP_SYNTAX_ERROR, "SYNTAX_ERROR");
        return;
    }
    note(b, id);
    if (id == AMQP_BASIC_PUBLISH_METHOD) { /* its faults strike when all of it is there */
        if (ch != NULL && !ch->closing)
            bk_begin_publish(ch, decoded);
        return;
    }
    if (ch != NULL && ch->closing && id != AMQP_CHANNEL_CLOSE_METHOD && id != AMQP_CHANNEL_CLOSE_OK_METHOD)
        return; /* not looked at any more */
    const rule *r = bk_strike(b, c, id);
    size_t before = fj__buf_len(&c->out);
    if (r == NULL || bk_misbehave(b, c, ch, &r->is, id))
        do_method(b, c, frame->channel, id, decoded);
    if (r != NULL)
        bk_spoil_answers(c, &r->is, before);
}

static void on_frame(broker *b, conn *c, const fj__frame *frame)
{
    channel *ch = bk_channel_of(c, frame->channel);

    if (frame->type == FJ__FRAME_METHOD && frame->len >= 4)
        on_method(b, c, frame);
    else if (frame->type == FJ__FRAME_HEARTBEAT)
        atomic_fetch_add(&b->beats, 1);
    else if (ch != NULL && !ch->closing)
        bk_on_content(b, c, ch, frame);
}

void bk_read_frames(broker *b, conn *c)
{
    fj__frame frame;
    char why[96];

    if (!c->greeted) {
        if (fj__buf_len(&c->in) < 8)
            return;
        fj__buf_consume(&c->in, 8);
        c->greeted = true;
        greet(b, c);
    }
    while (!c->hang_up && !c->stalled && fj__buf_len(&c->in) != 0) {
        fj__frame_result r =
            fj__frame_parse(fj__buf_data(&c->in), fj__buf_len(&c->in), c->frame_max, UINT16_MAX, &frame, why);
        if (r == FJ__FRAME_SHORT)
            break;
        if (r == FJ__FRAME_BAD) {
            bk_say_close(c, AMQP_FRAME_ERROR, why);
            c->hang_up = true;
            break;
        }
        on_frame(b, c, &frame);
        fj__buf_consume(&c->in, frame.len + FJ__FRAME_EXTRA);
    }
    bk_deliver_all(b);
}
