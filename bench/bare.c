/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's floor: the ping-pong of an RPC written on librabbitmq alone, without reading any JSON.
 * `bare server PORT`, `bare client PORT CALLS WARM-UP`; and one way, as notifications go: `bare sink PORT COUNT`,
 * `bare source PORT COUNT WINDOW`.  A topic exchange, each message acknowledged on both sides,
 * publisher confirms asked for but not waited for, an exclusive reply queue, a request of 300 bytes in an envelope
 * like oslo.messaging's. */
#include <amqp.h>
#include <amqp_tcp_socket.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BODY 300
#define EXCHANGE "bench"
#define TOPIC "bench_bare"
#define HEAD \
    "{\"oslo.version\":\"2.0\",\"oslo.message\":\"{\\\"method\\\":\\\"echo\\\",\\\"args\\\":{\\\"x\\\":\\\""
#define TAIL "\\\"}}\"}"

static void check(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bare: %s failed\n", what);
        exit(1);
    }
}

static void replied(amqp_connection_state_t c, const char *what)
{
    check(amqp_get_rpc_reply(c).reply_type == AMQP_RESPONSE_NORMAL, what);
}

static amqp_connection_state_t connect_to(const char *port)
{
    amqp_connection_state_t c = amqp_new_connection();
    amqp_socket_t *s = c == NULL ? NULL : amqp_tcp_socket_new(c);

    check(s != NULL, "making a connection");
    check(amqp_socket_open(s, "127.0.0.1", (int)strtol(port, NULL, 10)) == AMQP_STATUS_OK, "connecting");
    check(amqp_login(c, "/", 0, 131072, 60, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type ==
              AMQP_RESPONSE_NORMAL,
          "logging in");
    amqp_channel_open(c, 1);
    replied(c, "opening a channel");
    amqp_confirm_select(c, 1);
    replied(c, "asking for confirms");
    amqp_exchange_declare(c, 1, amqp_cstring_bytes(EXCHANGE), amqp_cstring_bytes("topic"), 0, 0, 0, 0,
                          amqp_empty_table);
    replied(c, "declaring the exchange");
    return c;
}

static void consume(amqp_connection_state_t c, amqp_bytes_t queue)
{
    amqp_basic_consume(c, 1, queue, amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    replied(c, "consuming");
}

/* The next message, acknowledged; what else comes on the way are confirms. */
static void take(amqp_connection_state_t c, amqp_envelope_t *ret)
{
    for (;;) {
        amqp_rpc_reply_t r;
        amqp_frame_t frame;

        amqp_maybe_release_buffers(c);
        r = amqp_consume_message(c, ret, NULL, 0);
        if (r.reply_type == AMQP_RESPONSE_NORMAL)
            break;
        check(r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
                  r.library_error == AMQP_STATUS_UNEXPECTED_STATE,
              "waiting for a message");
        check(amqp_simple_wait_frame(c, &frame) == AMQP_STATUS_OK, "reading a frame");
        check(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD,
              "expecting a confirm");
    }
    check(amqp_basic_ack(c, 1, ret->delivery_tag, 0) == AMQP_STATUS_OK, "acknowledging");
}

static void publish(amqp_connection_state_t c, const char *exchange, amqp_bytes_t key, amqp_bytes_t reply_to,
                    amqp_bytes_t body)
{
    amqp_basic_properties_t p = { 0 };

    p._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
    p.content_type = amqp_cstring_bytes("application/json");
    p.content_encoding = amqp_cstring_bytes("utf-8");
    p.delivery_mode = 2;
    if (reply_to.len > 0) {
        p._flags |= AMQP_BASIC_REPLY_TO_FLAG;
        p.reply_to = reply_to;
    }
    check(amqp_basic_publish(c, 1, amqp_cstring_bytes(exchange), key, 0, 0, &p, body) == AMQP_STATUS_OK,
          "publishing");
}

static void serve(amqp_connection_state_t c)
{
    amqp_bytes_t queue = amqp_cstring_bytes(TOPIC);

    amqp_queue_declare(c, 1, queue, 0, 0, 0, 1, amqp_empty_table);
    replied(c, "declaring the queue");
    amqp_queue_bind(c, 1, queue, amqp_cstring_bytes(EXCHANGE), queue, amqp_empty_table);
    replied(c, "binding the queue");
    consume(c, queue);
    puts("ready");
    (void)fflush(stdout);
    for (;;) {
        amqp_envelope_t e;

        take(c, &e);
        publish(c, "", e.message.properties.reply_to, amqp_empty_bytes, e.message.body);
        amqp_destroy_envelope(&e);
    }
}

static void calls(amqp_connection_state_t c, amqp_bytes_t reply_to, amqp_bytes_t body, long n)
{
    for (long i = 0; i < n; i++) {
        amqp_envelope_t e;

        publish(c, EXCHANGE, amqp_cstring_bytes(TOPIC), reply_to, body);
        take(c, &e);
        check(e.message.body.len == body.len, "getting the same back");
        amqp_destroy_envelope(&e);
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(amqp_connection_state_t c, long n, long warm_up)
{
    char text[BODY];
    amqp_bytes_t body = { BODY, text }, reply_to;
    amqp_queue_declare_ok_t *q = amqp_queue_declare(c, 1, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
    double start;

    replied(c, "declaring the reply queue");
    reply_to = amqp_bytes_malloc_dup(q->queue);
    check(reply_to.bytes != NULL, "copying a name");
    consume(c, reply_to);
    memset(text, 'x', sizeof(text));
    memcpy(text, HEAD, strlen(HEAD));
    memcpy(text + BODY - strlen(TAIL), TAIL, strlen(TAIL));
    calls(c, reply_to, body, warm_up);
    start = now();
    calls(c, reply_to, body, n);
    printf("%.6f\n", now() - start);
    amqp_bytes_free(reply_to);
}

/* ---- one way ------------------------------------------------------------------------------------ */

#define ONE_WAY "bench_bare_one_way"
#define NOTICE 430   /* bytes of a notification as Fjord's bench sends it */
#define PREFETCH 128 /* as a listener of 64 slots has it */

static void make_queue(amqp_connection_state_t c)
{
    amqp_bytes_t queue = amqp_cstring_bytes(ONE_WAY);

    amqp_queue_declare(c, 1, queue, 0, 0, 0, 0, amqp_empty_table);
    replied(c, "declaring the queue");
    amqp_queue_bind(c, 1, queue, amqp_cstring_bytes(EXCHANGE), queue, amqp_empty_table);
    replied(c, "binding the queue");
}

static void sink(amqp_connection_state_t c, long n)
{
    double first = 0;

    make_queue(c);
    amqp_basic_qos(c, 1, 0, PREFETCH, 0);
    replied(c, "setting the prefetch");
    consume(c, amqp_cstring_bytes(ONE_WAY));
    puts("ready");
    (void)fflush(stdout);
    for (long i = 0; i < n; i++) {
        amqp_envelope_t e;

        take(c, &e);
        if (i == 0)
            first = now();
        check(e.message.body.len == NOTICE, "getting a whole message");
        amqp_destroy_envelope(&e);
    }
    printf("%.6f\n", now() - first);
}

/* Wait until the broker has confirmed all up to the tag. */
static void confirmed(amqp_connection_state_t c, uint64_t tag, uint64_t *left)
{
    while (*left > 0) {
        amqp_frame_t frame;
        const amqp_basic_ack_t *ack;

        amqp_maybe_release_buffers(c);
        check(amqp_simple_wait_frame(c, &frame) == AMQP_STATUS_OK, "reading a frame");
        check(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD,
              "expecting a confirm");
        ack = frame.payload.method.decoded;
        *left = ack->multiple ? tag - ack->delivery_tag : *left - 1;
    }
}

static void source(amqp_connection_state_t c, long n, long window)
{
    char text[NOTICE];
    uint64_t left = 0;

    make_queue(c);
    memset(text, 'x', sizeof text);
    for (long i = 1; i <= n; i++) {
        publish(c, EXCHANGE, amqp_cstring_bytes(ONE_WAY), amqp_empty_bytes, (amqp_bytes_t){ NOTICE, text });
        left++;
        if (i % window == 0 || i == n)
            confirmed(c, (uint64_t)i, &left);
    }
}

int main(int argc, char **argv)
{
    int server = argc == 3 && strcmp(argv[1], "server") == 0;
    int sinks = argc == 4 && strcmp(argv[1], "sink") == 0,
        sources = argc == 5 && strcmp(argv[1], "source") == 0;
    amqp_connection_state_t c;

    if (!server && !sinks && !sources && (argc != 5 || strcmp(argv[1], "client") != 0)) {
        fprintf(stderr,
                "usage: bare server PORT | bare client PORT CALLS WARM-UP | bare sink PORT COUNT | bare source "
                "PORT COUNT WINDOW\n");
        return 2;
    }
    c = connect_to(argv[2]);
    if (server)
        serve(c);
    else if (sinks)
        sink(c, strtol(argv[3], NULL, 10));
    else if (sources)
        source(c, strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10));
    else
        measure(c, strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10));
    amqp_connection_close(c, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(c);
    return 0;
}
