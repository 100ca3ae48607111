/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of judged_service, judged by the ledger: `judged_load URL RUNS SEED SECONDS-A-CALL [kills]`.
 * With `kills` a cast may be lost: servers take messages before they run them, and may die in between.  A call tells of that by its
 * deadline, a cast by nothing; they are counted.
 * Says `ready`, works until its standard input ends, waits for what is under way, and says in one JSON object what became of it all;
 * exit status 0 when the ledger balances.  Its operations are those of the lower half of RUNS. */
#include "tests/interop/judged_runs.h"
#include "tests/support/ledger.h"

#include <fjord/fjord.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, BATCH = 8, PAUSE_MS = 2 };

static judged_runs runs;
static ledger *book;
static fj_client *client;
static double patience;
static atomic_bool over;
static bool *is_cast; /* by number */
static bool kills;

static const char *const ways[] = { "run", "nap", "wait", "defer" };
enum { WAYS = sizeof ways / sizeof *ways };

static unsigned begin(fj_call_opts *o)
{
    unsigned seq = ledger_begin(book);

    o->by = fj_in_seconds(patience);
    ledger_due(book, seq, o->by);
    return seq;
}

static json_t *args_of(unsigned seq, unsigned dice)
{
    return json_pack("{s:i, s:i}", "seq", (int)seq, "ms", (int)(dice % 20));
}

/* @param err takes   @param ret  of a call: its own number */
static void ended(unsigned seq, fj_code code, fj_error *err, const json_t *ret)
{
    if (code == FJ_OK && ret != NULL && json_integer_value(ret) != (json_int_t)seq)
        ledger_ended(book, seq, FJ_INTERNAL, FJ_SENT_YES); /* somebody else's answer: it ends twice */
    ledger_ended(book, seq, code, fj_error_sent(err));
    fj_error_free(err);
}

static void one(unsigned dice)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_error *err = NULL;
    json_t *ret = NULL;
    unsigned seq = begin(&o);
    const char *way = ways[dice % WAYS];
    bool cast = dice / WAYS % 4 == 0;
    is_cast[seq] = cast;
    fj_code rc = cast ? fj_client_cast(client, way, args_of(seq, dice / 16), &o, &err)
                      : fj_client_call(client, way, args_of(seq, dice / 16), &o, &ret, &err);

    ended(seq, rc, err, cast ? NULL : ret);
    json_decref(ret);
}

/* Several at once. */
static void batch(unsigned dice)
{
    fj_future *futures[BATCH];
    unsigned seqs[BATCH];

    for (unsigned i = 0; i < BATCH; i++) {
        fj_call_opts o = FJ_CALL_OPTS_INIT;
        fj_error *err = NULL;
        seqs[i] = begin(&o);
        futures[i] = NULL;
        fj_code rc = fj_client_call_async(client, ways[(dice + i) % WAYS], args_of(seqs[i], dice / 4), &o,
                                          &futures[i], &err);
        if (rc != FJ_OK)
            ended(seqs[i], rc, err, NULL);
    }
    for (unsigned i = 0; i < BATCH; i++) {
        fj_error *err = NULL;
        json_t *ret = NULL;
        if (futures[i] == NULL)
            continue;
        fj_code rc = fj_future_wait(futures[i], fj_never(), &ret, &err);
        ended(seqs[i], rc, err, ret);
        json_decref(ret);
        fj_future_unref(futures[i]);
    }
}

static void *load(void *user)
{
    unsigned seed = *(unsigned *)user;

    while (!atomic_load(&over)) {
        unsigned dice = (unsigned)rand_r(&seed);
        if (dice % 16 == 0)
            batch(dice / 16);
        else
            one(dice / 16);
        (void)!fj_sleep(fj_in_ms(PAUSE_MS)); /* a load, not a flood: what is queued is to run */
    }
    return NULL;
}

/* What ran is known to the end; casts may still run. */
static unsigned not_once(unsigned all)
{
    unsigned n = 0;

    for (unsigned i = 0; i < all; i++)
        n += atomic_load(&runs.count[i]) != 1;
    return n;
}

static int judge(double wait)
{
    static const fj_code codes[] = { FJ_OK, FJ_TIMEOUT, FJ_LOST, FJ_UNREACHABLE, FJ_UNDELIVERABLE };
    unsigned all = ledger_begin(book), lost = 0;
    char text[300];

    for (fj_deadline by = fj_in_seconds(wait); not_once(all) > 0 && !kills && !fj_passed(by);)
        (void)!fj_sleep(fj_in_ms(20));
    ledger_ended(book, all, FJ_OK, FJ_SENT_YES); /* the one that was begun to know how many there are */
    for (unsigned i = 0; i <= all; i++) {
        unsigned ran = i < all ? atomic_load(&runs.count[i]) : 1;
        if (ran == 0 && kills && is_cast[i]) {
            lost++;
            ran = 1;
        }
        for (; ran > 0; ran--)
            ledger_ran(book, i);
    }
    bool good = ledger_balanced(book, text, sizeof text);
    json_t *out = json_pack("{s:b, s:s, s:i, s:i, s:i, s:i}", "balanced", good, "text", text, "latest",
                            (int)ledger_latest(book), "all", (int)all, "not once", (int)not_once(all),
                            "casts lost", (int)lost);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        (void)json_object_set_new(out, fj_code_name(codes[i]),
                                  json_integer((json_int_t)ledger_count(book, codes[i]) - (i == 0)));
    (void)json_dumpf(out, stdout, JSON_COMPACT);
    (void)puts("");
    json_decref(out);
    return good ? 0 : 1;
}

static int die(const char *what, fj_error *err)
{
    (void)fprintf(stderr, "judged_load: %s: %s\n", what, fj_error_text(err));
    fj_error_free(err);
    return 2;
}

int main(int argc, char **argv)
{
    const fj_target there = FJ_TARGET(.topic = "judged");
    fj_transport *transport = NULL;
    fj_error *err = NULL;
    fj_conf *conf = fj_conf_new();
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];
    char line[16];

    if (argc < 5 || conf == NULL || !judged_runs_open(&runs, argv[2]))
        return 2;
    patience = atof(argv[4]);
    kills = argc > 5;
    book = ledger_new((unsigned)runs.n / 2);
    is_cast = calloc(runs.n, sizeof *is_cast);
    if (book == NULL || is_cast == NULL)
        return 2;
    if (fj_transport_open(conf, argv[1], &transport, &err) != FJ_OK ||
        fj_client_new(transport, &there, NULL, &client, &err) != FJ_OK)
        return die("open", err);
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = (unsigned)strtoul(argv[3], NULL, 10) + i;
        (void)pthread_create(&threads[i], NULL, load, &seeds[i]);
    }
    (void)puts("ready");
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL)
        continue;
    atomic_store(&over, true);
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    int status = judge(10);
    fj_client_free(client);
    fj_transport_free(transport);
    fj_conf_free(conf);
    ledger_free(book);
    free(is_cast);
    return status;
}
