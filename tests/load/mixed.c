/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Half green methods, half coroutines, calling each other on one bridged server, for as long as is wanted: every call is answered
 * by its deadline, nobody stands still, and memory does not grow.
 *
 *     mixed [-s SECONDS (3)] [-c CALLERS (20)] [-g MOST-KIB-OF-GROWTH (4096)] [-u URL (fake://)] [-r SEED (1)] [-p]
 *
 * With -p green methods ask PostgreSQL, by libpq; PGHOST and its kin say where it is.
 * A method may call another one: callers × 3 must not be more than the 64 slots.
 */
#include "tests/load/methods.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CALLERS_MOST = 21, DEADLINE_MS = 20000, PAIRS = 3 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEPS_WHAT_IS_FREED 1
#elif defined(__has_feature)
#define KEEPS_WHAT_IS_FREED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define KEEPS_WHAT_IS_FREED 0
#endif

static struct {
    double seconds;
    unsigned callers, seed;
    long growth;
    const char *url;
    bool database;
} options = { 3, 20, 1, 4096, "fake://", false };

static fj_conf *conf;
static fj_transport *transport;
static fj_server *server;
static shared all;
static fj_deadline until;
static atomic_uint calling;
static atomic_ulong answered, late, wrong;
static long first_kib;

/* ---- memory --------------------------------------------------------------------------------------- */

static long resident_kib(void)
{
    long pages = 0, ignored;
    FILE *in = fopen("/proc/self/statm", "re");

    if (in != NULL) {
        if (fscanf(in, "%ld %ld", &ignored, &pages) != 2)
            pages = 0;
        (void)fclose(in);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Once all that is kept for reuse is there. */
static void warm(fj_loop *loop, void *user)
{
    (void)loop, (void)user;
    first_kib = resident_kib();
}

/* ---- callers -------------------------------------------------------------------------------------- */

static void complain(const char *method, json_int_t n, fj_code code, const fj_error *err)
{
    (void)fprintf(stderr, "%s(%lld): %s: %s\n", method, (long long)n, fj_code_name(code), fj_error_text(err));
}

static void call_one(unsigned *dice)
{
    const char *method = load_names[(unsigned)rand_r(dice) % LOAD_METHODS];
    json_int_t n = rand_r(dice);
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    json_t *ret = NULL;
    fj_error *err = NULL;

    o.by = fj_in_ms(DEADLINE_MS);
    fj_code code = fj_client_call(all.client, method, json_pack("{s:I}", "n", n), &o, &ret, &err);
    if (code == FJ_OK && json_integer_value(ret) == n + 1)
        atomic_fetch_add(&answered, 1);
    else if (code == FJ_TIMEOUT)
        atomic_fetch_add(&late, 1);
    else
        atomic_fetch_add(&wrong, 1);
    if (code != FJ_OK)
        complain(method, n, code, err);
    json_decref(ret);
    fj_error_free(err);
}

static void *call(void *user)
{
    unsigned dice = options.seed + (unsigned)(uintptr_t)user;

    while (!fj_passed(until))
        call_one(&dice);
    if (atomic_fetch_sub(&calling, 1) == 1)
        fj_server_stop(server);
    return NULL;
}

/* ---- the server ----------------------------------------------------------------------------------- */

static fj_code set_up(fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = "mixed", .server = "load"), there = FJ_TARGET(.topic = "mixed");
    fj_queue_opts one = FJ_QUEUE_OPTS_INIT;
    fj_code code = FJ_OK;

    conf = fj_conf_new();
    one.bound = 1;
    all.db = options.database ? database_new() : NULL;
    if (conf == NULL || (options.database && all.db == NULL) ||
        fj_mutex_new("the load's mutex", 0, &all.mutex) != FJ_OK ||
        fj_semaphore_new("the load's permits", PAIRS, PAIRS, &all.permits) != FJ_OK)
        return fj_fail(err, FJ_NOMEM, "no memory");
    code = fj_queue_new(&one, &all.queue, err);
    if (code == FJ_OK)
        code = fj_conf_set(conf, "fjord", "executor", "bridged", err);
    if (code == FJ_OK)
        code = fj_conf_set(conf, "fjord", "strict", "true", err); /* with the hooks, or not at all */
    if (code == FJ_OK)
        code = fj_transport_open(conf, options.url, &transport, err);
    if (code == FJ_OK)
        code = fj_client_new(transport, &there, NULL, &all.client, err);
    if (code == FJ_OK)
        code = fj_server_new(transport, &here, NULL, &server, err);
    if (code == FJ_OK)
        code = fj_server_add(server, &load_endpoint, &all, err);
    return code == FJ_OK ? fj_server_start(server, err) : code;
}

static void tear_down(void)
{
    fj_server_free(server);
    fj_client_free(all.client);
    fj_transport_free(transport);
    fj_queue_free(all.queue);
    fj_semaphore_free(all.permits);
    fj_mutex_free(all.mutex);
    database_free(all.db);
    fj_conf_free(conf);
}

static fj_code serve(fj_error **err)
{
    pthread_t threads[CALLERS_MOST];
    fj_loop *loop = NULL;
    fj_code code = fj_loop_current(&loop, err);

    if (code == FJ_OK)
        code = fj_loop_call_later(loop, options.seconds / 3 < 30 ? options.seconds / 3 : 30, warm, NULL, "warm",
                                  NULL);
    if (code != FJ_OK)
        return code;
    until = fj_in_seconds(options.seconds);
    atomic_store(&calling, options.callers);
    for (unsigned i = 0; i < options.callers; i++) {
        if (pthread_create(&threads[i], NULL, call, (void *)(uintptr_t)i) != 0) {
            perror("pthread_create");
            exit(EXIT_FAILURE);
        }
    }
    code = fj_server_run(server, err);
    for (unsigned i = 0; i < options.callers; i++)
        (void)pthread_join(threads[i], NULL);
    return code == FJ_OK ? fj_server_wait(server, fj_in_ms(DEADLINE_MS), err) : code;
}

/* ---- the judgement -------------------------------------------------------------------------------- */

static unsigned tests, failures;

static void check(bool good, const char *what)
{
    failures += good ? 0 : 1;
    (void)printf("%sok %u - %s\n", good ? "" : "not ", ++tests, what);
}

static void judge(fj_code code, long last_kib)
{
    (void)printf("# %lu calls answered in %g s, %lu late, %lu wrong\n", answered, options.seconds, late, wrong);
    (void)printf("# resident: %ld KiB when warm, %ld KiB at the end\n", first_kib, last_kib);
    if (all.db != NULL)
        (void)printf("# %u connections to the database\n", database_size(all.db));
    check(code == FJ_OK, "the server ran and drained");
    check(late == 0, "every call was answered by its deadline");
    check(wrong == 0 && answered > 0, "and answered right");
    check(!fj_mutex_locked(all.mutex) && fj_semaphore_value(all.permits) == PAIRS &&
              fj_queue_size(all.queue) == 0,
          "no lock, permit or item is left");
    if (!KEEPS_WHAT_IS_FREED)
        check(first_kib > 0 && last_kib - first_kib <= options.growth, "memory did not grow");
    (void)printf("1..%u\n", tests);
}

static bool read_options(int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "s:c:g:u:r:p")) != -1) {
        if (c == 's')
            options.seconds = strtod(optarg, NULL);
        else if (c == 'c')
            options.callers = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'g')
            options.growth = strtol(optarg, NULL, 10);
        else if (c == 'u')
            options.url = optarg;
        else if (c == 'r')
            options.seed = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'p')
            options.database = true;
        else
            return false;
    }
    return optind == argc && options.seconds > 0 && options.callers > 0 && options.callers <= CALLERS_MOST;
}

int main(int argc, char **argv)
{
    fj_error *err = NULL;

    if (!read_options(argc, argv)) {
        (void)fprintf(stderr,
                      "usage: %s [-s SECONDS] [-c CALLERS, at most %d] [-g KIB] [-u URL] [-r SEED] [-p]\n",
                      argv[0], CALLERS_MOST);
        return 2;
    }
    fj_code code = set_up(&err);
    if (code == FJ_OK)
        code = serve(&err);
    if (code != FJ_OK)
        (void)fprintf(stderr, "%s\n", fj_error_text(err));
    fj_error_free(err);
    judge(code, resident_kib());
    tear_down();
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
