/* SPDX-License-Identifier: Apache-2.0 */
/* The log: a JSON object a line, written at once, so that a test may wait for it. */
#include "base/alloc.h"
#include "tools/chaos/proxy.h"
#include <arpa/inet.h>
#include <time.h>

void chaos_address_text(const struct sockaddr_storage *at, char *ret, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (at->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)at;
        (void)inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
        (void)snprintf(ret, size, "[%s]:%u", host, ntohs(six->sin6_port));
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)at;
        (void)inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
        (void)snprintf(ret, size, "%s:%u", host, ntohs(four->sin_port));
    }
}

/* Of nanoseconds, as seconds that are short to print. */
static double microseconds(int64_t ns)
{
    int64_t us = ns / 1000;

    return (double)us / 1e6;
}

void chaos_report(chaos_proxy *p, json_t *what)
{
    struct timespec now;
    json_t *line;
    char *text = NULL;

    if (p->log == NULL || what == NULL) {
        json_decref(what);
        return;
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    line = json_pack("{s:f, s:f}", "time", (double)now.tv_sec + microseconds(now.tv_nsec), "t",
                     microseconds(fj_now().ns - p->began));
    if (line != NULL && json_object_update(line, what) == 0)
        text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(16));
    if (text != NULL) {
        (void)fprintf(p->log, "%s\n", text);
        (void)fflush(p->log);
    }
    fj__free(text);
    json_decref(line);
    json_decref(what);
}

static void add_frame(json_t *line, const chaos_frame *frame)
{
    (void)json_object_set_new(line, "frame", json_string(chaos_frame_name(frame)));
    (void)json_object_set_new(line, "channel", json_integer(frame->channel));
    if (frame->kind != CHAOS_METHOD && frame->method != NULL)
        (void)json_object_set_new(line, "of", json_string(frame->method->name));
    for (size_t i = 0; i < CHAOS_TEXTS; i++)
        if (frame->texts[i].bytes != NULL) /* what is no UTF-8 is left out: jansson refuses it */
            (void)json_object_set_new(line, chaos_text_names[i],
                                      json_stringn((const char *)frame->texts[i].bytes, frame->texts[i].n));
}

void chaos_report_action(chaos_pipe *p, const chaos_rule *rule, const chaos_frame *frame, int64_t place)
{
    json_t *line;

    if (p->conn->proxy->log == NULL)
        return;
    line = json_pack("{s:s, s:I, s:s, s:s, s:s}", "event", "action", "conn", (json_int_t)p->conn->id, "dir",
                     chaos_direction_name(p->direction), "rule", rule->name, "action",
                     chaos_action_name(rule->action));
    if (line != NULL && frame != NULL) {
        (void)json_object_set_new(line, "nth", json_integer((json_int_t)p->scan.frames));
        add_frame(line, frame);
    }
    if (line != NULL && place >= 0)
        (void)json_object_set_new(line, "at", json_integer(place));
    chaos_report(p->conn->proxy, line);
}

void chaos_report_frame(chaos_pipe *p, const chaos_frame *frame, size_t n)
{
    json_t *line;

    if (p->conn->proxy->log == NULL)
        return;
    line =
        json_pack("{s:s, s:I, s:s, s:I, s:I}", "event", "frame", "conn", (json_int_t)p->conn->id, "dir",
                  chaos_direction_name(p->direction), "nth", (json_int_t)p->scan.frames, "size", (json_int_t)n);
    if (line != NULL)
        add_frame(line, frame);
    chaos_report(p->conn->proxy, line);
}

void chaos_report_conn(const chaos_conn *conn, const char *event, const char *why)
{
    json_t *line;

    if (conn->proxy->log == NULL)
        return;
    line = json_pack("{s:s, s:I, s:s}", "event", event, "conn", (json_int_t)conn->id, "peer", conn->peer);
    if (line != NULL && why != NULL)
        (void)json_object_set_new(line, "why", json_string(why));
    chaos_report(conn->proxy, line);
}
