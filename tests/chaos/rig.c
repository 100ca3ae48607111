/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/chaos/rig.h"
#include "base/alloc.h"
#include "runtime/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

fj_loop *loop;
chaos_proxy *proxy;
int client = -1, server = -1;
FILE *rig_log;

static int listener = -1;
static char *log_text;
static size_t log_n;

/* JSON as a C string is unreadable with its double quotes. */
static char *quoted(const char *text)
{
    char *copy = strdup(text);

    for (char *c = copy; *c != '\0'; c++)
        if (*c == '\'')
            *c = '"';
    return copy;
}

static struct sockaddr_in here(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static uint16_t listen_here(void)
{
    struct sockaddr_in at = here(0);

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listener, 64), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &(socklen_t){ sizeof at }), 0);
    return ntohs(at.sin_port);
}

void rig_connect(int *ret_client, int *ret_server)
{
    char at[64];

    chaos_proxy_address(proxy, at, sizeof at);
    struct sockaddr_in to = here((uint16_t)strtoul(strrchr(at, ':') + 1, NULL, 10));
    *ret_client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)setsockopt(*ret_client, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    (void)connect(*ret_client, (struct sockaddr *)&to, sizeof to);
    rig_turn();
    if (ret_server != NULL) {
        *ret_server = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        ck_assert_int_ge(*ret_server, 0);
        rig_turn();
    }
}

void rig_begin(const char *rules, uint64_t seed)
{
    char to[32], *text = quoted(rules), *plan_text = fj__format("{\"rules\": %s}", text);
    chaos_options o = { .listen = "0", .to = to, .seed = seed };
    fj_error *err = NULL;
    chaos_plan plan;

    fj__clock_set_fake(1000000000);
    rig_log = o.log = open_memstream(&log_text, &log_n);
    (void)snprintf(to, sizeof to, "127.0.0.1:%u", listen_here());
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    ck_assert_msg(chaos_plan_read(plan_text, strlen(plan_text), "plan", &plan, &err) == FJ_OK, "%s",
                  fj_error_text(err));
    ck_assert_msg(chaos_proxy_new(loop, &o, &proxy, &err) == FJ_OK, "%s", fj_error_text(err));
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert_int_eq(chaos_proxy_add(proxy, plan.rules[i], NULL), FJ_OK);
        plan.rules[i] = NULL;
    }
    chaos_plan_fini(&plan);
    fj__free(plan_text);
    free(text);
    if (strstr(rules, "'accept'") == NULL)
        rig_connect(&client, &server);
}

void rig_end(void)
{
    proxy = chaos_proxy_free(proxy);
    loop = fj_loop_free(loop);
    (void)close(client);
    (void)close(server);
    (void)close(listener);
    client = server = listener = -1;
    if (rig_log != NULL)
        (void)fclose(rig_log);
    rig_log = NULL;
    free(log_text);
    log_text = NULL;
    fj__clock_set_fake(-1);
}

void rig_end_of_test(void)
{
    if (loop != NULL)
        rig_end();
}

void rig_add(const char *rule)
{
    char *text = quoted(rule), *command = fj__format("add %s", text);
    json_t *said = chaos_command(proxy, command);

    ck_assert_msg(json_is_true(json_object_get(said, "ok")), "%s",
                  json_string_value(json_object_get(said, "error")));
    json_decref(said);
    fj__free(command);
    free(text);
}

/* A turn in which nothing is done says so; loopback delivers at once, but not always in the same turn. */
void rig_turn(void)
{
    for (int idle = 0; idle < 5;)
        idle = fj_loop_turn(loop, fj_in_ms(0), NULL) == FJ_OK ? 0 : idle + 1;
}

void rig_pass(int64_t ms)
{
    fj__clock_advance(fj_in_ms(ms));
    rig_turn();
}

void put(int fd, const void *bytes, size_t n)
{
    ck_assert_int_eq(send(fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
    rig_turn();
}

size_t take(int fd, uint8_t *to, size_t max)
{
    size_t have = 0;
    ssize_t n;

    rig_turn();
    while (have < max && (n = recv(fd, to + have, max - have, 0)) > 0) {
        have += (size_t)n;
        rig_turn();
    }
    return have;
}

void expect(int fd, const void *bytes, size_t n)
{
    static uint8_t got[4 << 20];
    size_t have = take(fd, got, n + 64 < sizeof got ? n + 64 : sizeof got);

    ck_assert_uint_eq(have, n);
    if (n > 0)
        ck_assert_mem_eq(got, bytes, n);
}

void expect_nothing(int fd)
{
    char c;

    rig_turn();
    ck_assert_int_eq(recv(fd, &c, 1, 0), -1);
    ck_assert_int_eq(errno, EAGAIN);
}

void expect_end(int fd)
{
    char c;

    rig_turn();
    ck_assert_int_eq(recv(fd, &c, 1, 0), 0);
}

void expect_reset(int fd)
{
    char c;

    rig_turn();
    ck_assert_int_eq(recv(fd, &c, 1, 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

static fj__buf *next_frame(void)
{
    static fj__buf frames[16];
    static unsigned next;
    fj__buf *b = &frames[next++ % 16];

    fj__buf_clear(b);
    return b;
}

static wire wire_of(const fj__buf *b)
{
    return (wire){ fj__buf_data(b), fj__buf_len(b) };
}

wire method(const char *name, unsigned channel, const char *args)
{
    fj__buf *b = next_frame();
    char *text = quoted(args != NULL ? args : "{}");
    json_t *json = json_loads(text, 0, NULL);

    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(chaos_frame_make(chaos_method_named(name), (uint16_t)channel, json, b, NULL), FJ_OK);
    json_decref(json);
    free(text);
    return wire_of(b);
}

static wire frame(uint8_t type, unsigned channel, const uint8_t *payload, size_t n)
{
    fj__buf *b = next_frame();
    uint8_t head[7] = { type,      (uint8_t)(channel >> 8), (uint8_t)channel,
                        0,         (uint8_t)(n >> 16),      (uint8_t)(n >> 8),
                        (uint8_t)n };

    ck_assert(fj__buf_append(b, head, sizeof head) && fj__buf_append(b, payload, n) &&
              fj__buf_append(b, "\xCE", 1));
    return wire_of(b);
}

wire header(unsigned channel, uint64_t size, const char *reply_to)
{
    uint8_t p[300] = { 0, 60, 0, 0 };
    size_t n = reply_to != NULL ? strlen(reply_to) : 0;

    for (int i = 0; i < 8; i++)
        p[4 + i] = (uint8_t)(size >> (8 * (7 - i)));
    /* content_type, delivery_mode, reply_to */
    p[12] = reply_to != NULL ? 0x92 : 0x90;
    p[14] = 4;
    memcpy(p + 15, "text", 4);
    p[19] = 2;
    p[20] = (uint8_t)n;
    if (n > 0)
        memcpy(p + 21, reply_to, n);
    return frame(2, channel, p, reply_to != NULL ? 21 + n : 20);
}

wire body(unsigned channel, const char *text)
{
    return frame(3, channel, (const uint8_t *)text, strlen(text));
}

wire joined(wire a, wire b)
{
    fj__buf *to = next_frame();

    ck_assert(fj__buf_append(to, a.bytes, a.n) && fj__buf_append(to, b.bytes, b.n));
    return wire_of(to);
}

wire bytes_of(const char *text)
{
    return (wire){ (const uint8_t *)text, strlen(text) };
}

void put_wire(int fd, wire w)
{
    put(fd, w.bytes, w.n);
}

void expect_wire(int fd, wire w)
{
    expect(fd, w.bytes, w.n);
}

size_t logged(const char *text)
{
    size_t n = 0;

    (void)fflush(rig_log);
    for (const char *at = log_text; (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

int rig_main(const char *name, void (*add)(TCase *tests))
{
    Suite *suite = suite_create(name);
    TCase *tests = tcase_create(name);
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, NULL, rig_end_of_test);
    add(tests);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
