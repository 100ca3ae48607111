/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/load/database.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 64 };

/* All tasks are one loop's, and none waits between looking and taking: no lock is needed. */
struct database {
    PGconn *idle[MOST];
    unsigned n_idle, made;
};

database *database_new(void)
{
    return calloc(1, sizeof(database));
}

database *database_free(database *d)
{
    while (d != NULL && d->n_idle > 0)
        PQfinish(d->idle[--d->n_idle]);
    free(d);
    return NULL;
}

unsigned database_size(const database *d)
{
    return d->made;
}

static PGconn *take(database *d)
{
    if (d->n_idle > 0)
        return d->idle[--d->n_idle];
    d->made++;
    return PQconnectdb("");
}

static void give(database *d, PGconn *c)
{
    if (PQstatus(c) == CONNECTION_OK && d->n_idle < MOST)
        d->idle[d->n_idle++] = c;
    else
        PQfinish(c);
}

static fj_code query(PGconn *c, json_int_t n, unsigned us, fj_error **err)
{
    char number[24], seconds[24];
    const char *values[] = { number, seconds };
    fj_code code = FJ_OK;

    (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, n);
    (void)snprintf(seconds, sizeof seconds, "%u.%06u", us / 1000000, us % 1000000);
    if (PQstatus(c) != CONNECTION_OK)
        return fj_fail(err, FJ_SYSTEM, "no database: %s", PQerrorMessage(c));
    PGresult *r = PQexecParams(c, "select $1::int8 + 1, pg_sleep($2::float8)", 2, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        code = fj_fail(err, FJ_SYSTEM, "the database says: %s", PQerrorMessage(c));
    else if (strtoll(PQgetvalue(r, 0, 0), NULL, 10) != n + 1)
        code = fj_fail(err, FJ_INTERNAL, "the answer is another question's: %s", PQgetvalue(r, 0, 0));
    PQclear(r);
    return code;
}

fj_code database_ask(database *d, json_int_t n, unsigned us, fj_error **err)
{
    PGconn *c = take(d);
    fj_code code = query(c, n, us, err);

    give(d, c);
    return code;
}
