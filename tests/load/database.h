/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LOAD_DATABASE_H
#define TESTS_LOAD_DATABASE_H
/* Connections to PostgreSQL (PGHOST, PGPORT... say where), by libpq as it is, each used by one green task at a time. */
#include <fjord/fjord.h>

typedef struct database database;

database *database_new(void);
database *database_free(database *d);
/** Have the server think for @p us microseconds, and add one to @p n.  @errors SYSTEM: what libpq says */
fj_code database_ask(database *d, json_int_t n, unsigned us, fj_error **err);
/** How many connections were made. */
unsigned database_size(const database *d);

#endif
