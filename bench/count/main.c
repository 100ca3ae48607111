/* SPDX-License-Identifier: Apache-2.0 */
/* `count CELL N` does what the cell says N times; `count --list` has a line a cell: how many times are enough, which threads are
 * counted, and its name. */
#include "bench/count/count.h"
#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const count_cell *const tables[] = { count_calls, count_bodies, count_frames, count_amqp,
                                            count_runtime };
enum { TABLES = sizeof tables / sizeof tables[0], SEED = 1 };

void count_check(fj_code code, const char *what, const fj_error *err)
{
    if (code == FJ_OK)
        return;
    (void)fprintf(stderr, "count: %s: %s\n", what, err != NULL ? fj_error_text(err) : fj_code_text(code));
    exit(EXIT_FAILURE);
}

static void list(void)
{
    for (size_t t = 0; t < TABLES; t++) {
        for (const count_cell *c = tables[t]; c->name != NULL; c++)
            printf("%ld %s %s\n", c->n, c->first_thread ? "first" : "all", c->name);
    }
}

static const count_cell *find(const char *name)
{
    for (size_t t = 0; t < TABLES; t++) {
        for (const count_cell *c = tables[t]; c->name != NULL; c++) {
            if (strcmp(c->name, name) == 0)
                return c;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list();
        return 0;
    }
    const count_cell *cell = argc == 3 ? find(argv[1]) : NULL;
    long n = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (cell == NULL || n <= 0) {
        (void)fprintf(stderr, "usage: count CELL N | count --list\n");
        return 2;
    }
    json_object_seed(SEED); /* else collisions in objects are the dice's */
    cell->run(cell, n);
    return 0;
}
