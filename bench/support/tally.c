/* SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

tally tally_new(long capacity)
{
    tally t = { calloc((size_t)capacity, sizeof(double)), 0, capacity };

    plan_check(t.took != NULL, "allocating a tally");
    return t;
}

void tally_add(tally *t, double seconds)
{
    if (t->n < t->capacity)
        t->took[t->n++] = seconds;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The least that so large a part of all does not exceed, in microseconds. */
static double part(const tally *t, double q)
{
    long at = (long)(q * (double)t->n);

    return t->n == 0 ? 0 : t->took[at < t->n ? at : t->n - 1] * 1e6;
}

void tally_report(tally *t, const plan *p, double seconds)
{
    char line[256];

    if (t->n > 0)
        qsort(t->took, (size_t)t->n, sizeof(double), by_size);
    (void)snprintf(
        line, sizeof line,
        "{\"seconds\": %.6f, \"done\": %ld, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}",
        seconds, t->n, part(t, 0.5), part(t, 0.99), part(t, 0.999), part(t, 1));
    plan_say(p, line);
}

void tally_free(tally *t)
{
    free(t->took);
    *t = (tally){ 0 };
}
