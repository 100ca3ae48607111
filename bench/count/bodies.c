/* SPDX-License-Identifier: Apache-2.0 */
/* oslo.messaging's envelope, read and written. */
#include "bench/support/bodies.h"
#include "bench/count/count.h"

#include <stdlib.h>

static void read_one(const char *body, size_t n, const fj_json_opts *opts)
{
    fj_body_names names = FJ_BODY_NAMES_INIT;
    fj_incoming in = { 0 };

    count_check(fj_body_take(body, n, opts, &in, &names, NULL), "reading a request", NULL);
    json_decref(in.message);
    json_decref(in.context);
    fj_body_names_fini(&names);
}

static void in(const count_cell *cell, long times)
{
    fj_json_opts opts = fj_body_json_opts(NULL);
    json_t *args = bodies_args((size_t)strtoul(cell->what, NULL, 10), &opts);
    char *body = NULL;
    size_t n = 0;

    bodies_write(args, &opts, &body, &n);
    for (long i = 0; i < times; i++)
        read_one(body, n, &opts);
    free(body);
    json_decref(args);
}

static void out(const count_cell *cell, long times)
{
    fj_json_opts opts = fj_body_json_opts(NULL);
    json_t *args = bodies_args((size_t)strtoul(cell->what, NULL, 10), &opts);

    for (long i = 0; i < times; i++) {
        char *body = NULL;
        size_t n = 0;

        bodies_write(args, &opts, &body, &n);
        free(body);
    }
    json_decref(args);
}

const count_cell count_bodies[] = {
    { "envelope in, 382 B", in, 1000, "382", NULL, 1, false },
    { "envelope in, 3 kB", in, 200, "3000", NULL, 1, false },
    { "envelope in, 30 kB", in, 20, "30000", NULL, 1, false },
    { "envelope out, 382 B", out, 1000, "382", NULL, 1, false },
    { "envelope out, 3 kB", out, 200, "3000", NULL, 1, false },
    { "envelope out, 30 kB", out, 20, "30000", NULL, 1, false },
    { 0 },
};
