/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LOAD_METHODS_H
#define TESTS_LOAD_METHODS_H
/* What tests/load/mixed.c serves: green methods and coroutines that wait in their own ways, for each other, and at the same locks. */
#include "tests/load/database.h"

/** What they share: the data of the endpoint. */
typedef struct {
    fj_client *client; /* for calls of the same server */
    fj_mutex *mutex;
    fj_semaphore *permits;
    fj_queue *queue; /* as many items are put as got */
    unsigned inside; /* the mutex: never above 1 */
    database *db;    /* NULL: green methods just sleep */
} shared;

/** Every method takes `n`, and answers n + 1; those at the end of the list call those at its beginning. */
extern const fj_endpoint load_endpoint;
enum { LOAD_METHODS = 10 };
extern const char *const load_names[LOAD_METHODS];

#endif
