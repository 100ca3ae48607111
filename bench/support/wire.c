/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include "broker.h"
#include "plan.h"
#include <amqp_framing.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define FRONT 7 /* type, channel and size before a frame's payload */
#define EXTRA 8 /* and the end behind it */
#define END 0xCE
#define METHOD_MAX 1024 /* bytes of a method or of properties, as these are */
#define READ_MAX ((size_t)256 << 10)

/* ---- bytes ---- */

static void room(wire_bytes *b, size_t more)
{
    if (b->max - b->n >= more)
        return;
    b->max = 2 * (b->n + more);
    b->at = realloc(b->at, b->max);
    plan_check(b->at != NULL, "allocating a buffer");
}

static uint64_t number(const uint8_t *at, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | at[i];
    return v;
}

static void put(uint8_t *at, uint64_t v, size_t n)
{
    while (n-- > 0) {
        at[n] = (uint8_t)v;
        v >>= 8;
    }
}

/* ---- out ---- */

/* The frame around a payload that stands in its place already. */
static void close_frame(wire_bytes *b, uint8_t type, size_t n)
{
    uint8_t *at = b->at + b->n;

    at[0] = type;
    put(at + 1, 1, 2);
    put(at + 3, n, 4);
    at[FRONT + n] = END;
    b->n += n + EXTRA;
}

static void put_method(wire_bytes *b, amqp_method_number_t id, void *decoded)
{
    room(b, METHOD_MAX + EXTRA);
    uint8_t *at = b->at + b->n + FRONT;
    put(at, id, 4);
    int n = amqp_encode_method(id, decoded, (amqp_bytes_t){ METHOD_MAX - 4, at + 4 });
    plan_check(n >= 0, "encoding a method");
    close_frame(b, AMQP_FRAME_METHOD, (size_t)n + 4);
}

static void put_header(wire_bytes *b, amqp_basic_properties_t *properties, size_t size)
{
    room(b, METHOD_MAX + EXTRA);
    uint8_t *at = b->at + b->n + FRONT;
    put(at, AMQP_BASIC_CLASS, 2);
    put(at + 2, 0, 2);
    put(at + 4, size, 8);
    int n = amqp_encode_properties(AMQP_BASIC_CLASS, properties, (amqp_bytes_t){ METHOD_MAX - 12, at + 12 });
    plan_check(n >= 0, "encoding properties");
    close_frame(b, AMQP_FRAME_HEADER, (size_t)n + 12);
}

void wire_publish(wire *w, const char *exchange, amqp_bytes_t key, amqp_bytes_t reply_to, const void *body,
                  size_t n)
{
    amqp_basic_publish_t method = { .exchange = amqp_cstring_bytes(exchange), .routing_key = key };
    amqp_basic_properties_t properties = broker_properties(reply_to);

    put_method(&w->out, AMQP_BASIC_PUBLISH_METHOD, &method);
    put_header(&w->out, &properties, n);
    for (size_t at = 0, part; at < n; at += part) {
        part = n - at < w->frame_max - EXTRA ? n - at : w->frame_max - EXTRA;
        room(&w->out, part + EXTRA);
        memcpy(w->out.at + w->out.n + FRONT, (const uint8_t *)body + at, part);
        close_frame(&w->out, AMQP_FRAME_BODY, part);
    }
}

static void put_ack(wire *w)
{
    amqp_basic_ack_t ack = { .delivery_tag = w->to_ack, .multiple = 1 };

    if (w->to_ack != 0)
        put_method(&w->out, AMQP_BASIC_ACK_METHOD, &ack);
    w->to_ack = 0;
}

static void write_all(const wire *w, const uint8_t *at, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(w->fd, at, n, MSG_NOSIGNAL);

        plan_check(sent > 0 || errno == EINTR, "sending");
        at += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
    }
}

void wire_flush(wire *w)
{
    put_ack(w);
    write_all(w, w->out.at, w->out.n);
    w->out.n = 0;
}

void wire_flush_ack_first(wire *w)
{
    size_t answers = w->out.n;

    put_ack(w);
    write_all(w, w->out.at + answers, w->out.n - answers);
    write_all(w, w->out.at, answers);
    w->out.n = 0;
}

/* ---- in ---- */

static bool on_method(wire *w, const uint8_t *at, size_t n, wire_event *ret)
{
    amqp_method_number_t id = (amqp_method_number_t)number(at, 4);
    void *decoded = NULL;

    plan_check(amqp_decode_method(id, &w->pool, (amqp_bytes_t){ n - 4, (void *)(uintptr_t)(at + 4) },
                                  &decoded) == AMQP_STATUS_OK,
               "decoding a method");
    if (id == AMQP_BASIC_DELIVER_METHOD) {
        w->tag = ((amqp_basic_deliver_t *)decoded)->delivery_tag;
        return false;
    }
    plan_check(id == AMQP_BASIC_ACK_METHOD, "expecting a message or a confirm");
    const amqp_basic_ack_t *ack = decoded;
    *ret = (wire_event){ .confirm = true, .tag = ack->delivery_tag, .multiple = ack->multiple };
    return true;
}

static bool whole(wire *w, const uint8_t *body, wire_event *ret)
{
    *ret = (wire_event){ .tag = w->tag, .reply_to = w->reply_to, .body = body, .n = w->size };
    w->to_ack = w->tag;
    return true;
}

static bool on_header(wire *w, const uint8_t *at, size_t n, wire_event *ret)
{
    void *decoded = NULL;

    plan_check(n >= 12 && amqp_decode_properties(AMQP_BASIC_CLASS, &w->pool,
                                                 (amqp_bytes_t){ n - 12, (void *)(uintptr_t)(at + 12) },
                                                 &decoded) == AMQP_STATUS_OK,
               "decoding properties");
    const amqp_basic_properties_t *p = decoded;
    w->size = number(at + 4, 8);
    w->whole.n = 0;
    w->reply_to = amqp_empty_bytes;
    if (p->_flags & AMQP_BASIC_REPLY_TO_FLAG) {
        plan_check(p->reply_to.len < sizeof w->name, "keeping a name");
        memcpy(w->name, p->reply_to.bytes, p->reply_to.len);
        w->reply_to = (amqp_bytes_t){ p->reply_to.len, w->name };
    }
    return w->size == 0 && whole(w, NULL, ret);
}

static bool on_body(wire *w, const uint8_t *at, size_t n, wire_event *ret)
{
    if (n == w->size)
        return whole(w, at, ret);
    room(&w->whole, n);
    memcpy(w->whole.at + w->whole.n, at, n);
    w->whole.n += n;
    return w->whole.n == w->size && whole(w, w->whole.at, ret);
}

static bool on_frame(wire *w, uint8_t type, const uint8_t *at, size_t n, wire_event *ret)
{
    switch (type) {
    case AMQP_FRAME_METHOD:
        return on_method(w, at, n, ret);
    case AMQP_FRAME_HEADER:
        return on_header(w, at, n, ret);
    case AMQP_FRAME_BODY:
        return on_body(w, at, n, ret);
    default:
        return false; /* a heartbeat */
    }
}

bool wire_next(wire *w, wire_event *ret)
{
    for (;;) {
        const uint8_t *at = w->in.at + w->read;
        size_t left = w->in.n - w->read;

        if (left < EXTRA)
            return false;
        size_t n = number(at + 3, 4);
        plan_check(n <= w->frame_max - EXTRA, "reading a frame");
        if (left < n + EXTRA)
            return false;
        plan_check(at[FRONT + n] == END, "finding a frame's end");
        w->read += n + EXTRA;
        if (on_frame(w, at[0], at + FRONT, n, ret))
            return true;
    }
}

static bool readable(const wire *w, double by)
{
    double left = by - plan_now();
    struct pollfd p = { .fd = w->fd, .events = POLLIN };

    if (left < 0)
        left = 0;
    struct timespec t = { (time_t)left, (long)((left - (double)(time_t)left) * 1e9) };
    return ppoll(&p, 1, &t, NULL) == 1;
}

bool wire_wait(wire *w, double by)
{
    if (by > 0 && !readable(w, by))
        return false;
    memmove(w->in.at, w->in.at + w->read, w->in.n - w->read);
    w->in.n -= w->read;
    w->read = 0;
    recycle_amqp_pool(&w->pool);
    room(&w->in, READ_MAX);
    ssize_t n = recv(w->fd, w->in.at + w->in.n, w->in.max - w->in.n, 0);
    plan_check(n > 0, "reading");
    w->in.n += (size_t)n;
    return true;
}

void wire_init(wire *w, amqp_connection_state_t c)
{
    plan_check(!amqp_frames_enqueued(c) && !amqp_data_in_buffer(c), "taking over the connection");
    memset(w, 0, sizeof *w);
    w->fd = amqp_get_sockfd(c);
    plan_check(fcntl(w->fd, F_SETFL, 0) == 0, "making the socket a blocking one");
    w->frame_max = (uint32_t)amqp_get_frame_max(c);
    room(&w->in, READ_MAX);
    room(&w->out, READ_MAX);
    init_amqp_pool(&w->pool, 4096);
}

void wire_fini(wire *w)
{
    free(w->out.at);
    free(w->in.at);
    free(w->whole.at);
    empty_amqp_pool(&w->pool);
}
