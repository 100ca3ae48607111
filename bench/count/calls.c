/* SPDX-License-Identifier: Apache-2.0 */
/* Calls over fake://: by tasks of the loop that serves, or by a thread to servers on others. */
#include "bench/count/count.h"
#include "bench/count/rig.h"
#include <fjord/fjord.h>

#include <pthread.h>
#include <string.h>

#define MANY 64

static const char url[] = "fake://";

static void *serve(void *user)
{
    fj_error *err = NULL;

    count_check(fj_server_run(user, &err), "serving", err);
    return NULL;
}

static void on_loop(const count_cell *cell, long n)
{
    rig r;

    rig_open(&r, url, cell->what);
    rig_by_tasks(&r, cell->how, n, cell->at_once);
    rig_close(&r);
}

/* Futures, waited for in the order in which they began. */
static void from_thread(rig *r, const char *method, long n, long at_once)
{
    fj_future *ring[MANY] = { NULL };
    fj_error *err = NULL;

    for (long i = 0; i < n + at_once; i++) {
        fj_future **call = &ring[i % at_once];
        json_t *ret = NULL;

        if (*call != NULL) {
            count_check(fj_future_wait(*call, fj_never(), &ret, &err), "an answer", err);
            rig_look_at(ret);
        }
        *call = fj_future_unref(*call);
        if (i < n)
            count_check(fj_client_call_async(r->client, method, rig_args(method), NULL, call, &err), "a call",
                        err);
    }
}

static void between_threads(const count_cell *cell, long n)
{
    bool driven = strcmp(cell->what, "blocking") == 0;
    pthread_t server;
    rig r;

    rig_open(&r, url, cell->what);
    if (driven)
        count_check(pthread_create(&server, NULL, serve, r.server) == 0 ? FJ_OK : FJ_SYSTEM, "a thread", NULL);
    from_thread(&r, cell->how, n, cell->at_once);
    if (driven) {
        fj_server_stop(r.server);
        (void)pthread_join(server, NULL);
    }
    rig_close(&r);
}

#define ON_LOOP(executor)                                                                          \
    { "fake " executor ", reference, 1", on_loop, 2000, executor, "fresh", 1, false },             \
        { "fake " executor ", copy, 1", on_loop, 2000, executor, "echo", 1, false },               \
        { "fake " executor ", reference, 64", on_loop, 64L * 40, executor, "fresh", MANY, false }, \
    {                                                                                              \
        "fake " executor ", copy, 64", on_loop, 64L * 40, executor, "echo", MANY, false            \
    }

const count_cell count_calls[] = {
    ON_LOOP("green"),
    ON_LOOP("coroutine"),
    ON_LOOP("bridged"),
    { "fake blocking, reference, 1", between_threads, 2000, "blocking", "fresh", 1, false },
    { "fake blocking, copy, 1", between_threads, 2000, "blocking", "echo", 1, false },
    { "fake threading, reference, 1", between_threads, 2000, "threading", "fresh", 1, false },
    { "fake threading, copy, 1", between_threads, 2000, "threading", "echo", 1, false },
    { "fake threading, reference, 64", between_threads, 64L * 40, "threading", "fresh", MANY, false },
    { 0 },
};
