/* SPDX-License-Identifier: Apache-2.0 */
/* What oslo.messaging's envelope costs: a body read and written by Fjord, beside jansson's two parses and two dumps of the same.  Each line is
 * a cell, a side in it and microseconds a body; bench/run plays rounds of this. */
#include "bench/support/plan.h"
#include <fjord/body.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_A_SIDE 3000000 /* of bodies: some tens of milliseconds */

static const fj_target target = FJ_TARGET(.topic = "bench");
static fj_json_opts opts;

static void tell(const char *which, const char *size, const char *side, double seconds, long n)
{
    printf("{\"cell\": \"envelope %s, %s\", \"side\": \"%s\", \"us\": %.4f}\n", which, size, side,
           seconds / (double)n * 1e6);
}

static json_t *record(long i)
{
    return json_pack("{s:I, s:s, s:f, s:b, s:[i,i]}", "id", (json_int_t)i, "name", "volume-\xc3\xa9", "size",
                     1.5, "bootable", 1, "hosts", 1, 2);
}

static void write_fjord(const json_t *args, char **ret, size_t *n)
{
    fj_send send = { .size = sizeof send, .target = &target, .method = "echo", .flags = FJ_SEND_CALL };

    send.args = (json_t *)(uintptr_t)args; /* only read */
    plan_check(fj_body_request(&send, "0123456789abcdef0123456789abcdef",
                               "reply_0123456789abcdef0123456789abcdef", &opts, ret, n, NULL) == FJ_OK,
               "writing a request");
}

static void read_fjord(const char *body, size_t n)
{
    fj_incoming in = { 0 };
    fj_body_names names = FJ_BODY_NAMES_INIT;

    plan_check(fj_body_take(body, n, &opts, &in, &names, NULL) == FJ_OK, "reading a request");
    json_decref(in.message);
    json_decref(in.context);
    fj_body_names_fini(&names);
}

/* @return the message: a new reference */
static json_t *read_jansson(const char *body, size_t n)
{
    json_t *outer = json_loadb(body, n, 0, NULL);
    json_t *inner = json_loads(json_string_value(json_object_get(outer, "oslo.message")), 0, NULL);

    plan_check(inner != NULL, "reading with jansson");
    json_decref(outer);
    return inner;
}

static void write_jansson(const json_t *message)
{
    char *inner = json_dumps(message, 0);
    json_t *outer = json_pack("{s:s, s:s}", "oslo.version", "2.0", "oslo.message", inner);
    char *body = json_dumps(outer, 0);

    plan_check(body != NULL, "writing with jansson");
    json_decref(outer);
    free(inner);
    free(body);
}

/* Arguments with which a request has the size, or just more. */
static json_t *args_of(size_t size)
{
    json_t *list = json_array(), *args = json_pack("{s:o}", "x", list);

    for (long i = 0;; i++) {
        char *body = NULL;
        size_t n = 0;

        write_fjord(args, &body, &n);
        free(body);
        if (n >= size)
            return args;
        plan_check(json_array_append_new(list, record(i)) == 0, "making arguments");
    }
}

static void measure(size_t size, const char *name)
{
    json_t *args = args_of(size);
    char *body = NULL;
    size_t n = 0;

    write_fjord(args, &body, &n);
    json_t *message = read_jansson(body, n);
    long times = (long)(BYTES_A_SIDE / n);
    double start = plan_now();
    for (long i = 0; i < times; i++)
        read_fjord(body, n);
    tell("in", name, "fjord", plan_now() - start, times);
    start = plan_now();
    for (long i = 0; i < times; i++)
        json_decref(read_jansson(body, n));
    tell("in", name, "jansson", plan_now() - start, times);
    start = plan_now();
    for (long i = 0; i < times; i++) {
        char *again = NULL;

        write_fjord(args, &again, &n);
        free(again);
    }
    tell("out", name, "fjord", plan_now() - start, times);
    start = plan_now();
    for (long i = 0; i < times; i++)
        write_jansson(message);
    tell("out", name, "jansson", plan_now() - start, times);
    json_decref(message);
    json_decref(args);
    free(body);
}

int main(void)
{
    opts = fj_body_json_opts(NULL);
    measure(382, "382 B");
    measure(3000, "3 kB");
    measure(30000, "30 kB");
    return 0;
}
