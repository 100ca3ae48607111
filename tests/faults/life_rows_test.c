/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles that are stopped, waited for, closed and freed at any moment, from anywhere: methods, call-backs of futures, and up to eight
 * threads at once, while calls are made, while the server starts, while the broker says nothing or takes nothing.  Each schedule is
 * drawn from a seed; a ledger judges each: all that was begun ends once, by the end of the transport at the latest.
 *
 *   FJ_SCHEDULES=N    so many over fake:// under each executor; 1,000, 200 under a sanitizer
 *   FJ_SEED=N         of the first
 */
#include "tests/faults/rows.h"
#include "tests/support/broker.h"
#include "tests/support/leaks.h"
#include "tests/support/ledger.h"

#include <fjord/fjord.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 8, OPERATIONS = 96, BROKEN = 40, BLOCKED = 15 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SCHEDULES = 200, WATCHDOG_S = 25, WAIT_MS = 5000 };
#else
enum { SCHEDULES = 1000, WATCHDOG_S = 5, WAIT_MS = 1000 };
#endif

struct scene;

typedef struct {
    struct scene *scene;
    unsigned seq;
    fj_future *future;
    bool is_call;
    bool stops; /* its call-back stops the server */
} operation;

typedef struct scene {
    unsigned seed;
    fj_transport *transport;
    fj_server *server;
    fj_client *client;
    ledger *book;
    operation operations[OPERATIONS];
    atomic_uint begun;
    atomic_bool freed; /* nothing may be heard any more */
    atomic_uint late;  /* call-backs after that */
    atomic_uint wrong; /* what answered other than it may */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stuck;          /* answers cannot be sent, and are waited for in vain */
    bool started, again; /* under the lock: the start has returned; the server is to serve twice */
} scene;

static scene *now;
static volatile sig_atomic_t at_seed;

/* ---- chance ------------------------------------------------------------------------------------------------ */

static unsigned roll(unsigned *dice, unsigned sides)
{
    *dice ^= *dice << 13;
    *dice ^= *dice >> 17;
    *dice ^= *dice << 5;
    return *dice % sides;
}

static unsigned dice_of(unsigned seed, unsigned who)
{
    unsigned dice = (seed + 1) * 2654435761u ^ (who + 1) * 40503u;

    return dice != 0 ? dice : 1;
}

static fj_deadline in_us(unsigned us)
{
    return fj_in_seconds(us / 1e6);
}

static void wrong(scene *s, const char *what, fj_code code)
{
    fprintf(stderr, "schedule %u: %s answered %s\n", s->seed, what, fj_code_name(code));
    atomic_fetch_add(&s->wrong, 1);
}

/* ---- operations -------------------------------------------------------------------------------------------- */

static const char *const names[] = { "echo", "nap", "stop", "wait", "free" };

/* A handle is not for those who come after its end. */
static void stop_if_there(scene *s)
{
    (void)pthread_mutex_lock(&s->lock);
    if (s->server != NULL) {
        fj_server_stop(s->server);
        fj_server_stop(s->server);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

/* Of a cast that was sent nobody knows more. */
static void book(const operation *o, fj_code code, const fj_error *err)
{
    if (code == FJ_OK && !o->is_call)
        ledger_ended(o->scene->book, o->seq, FJ_LOST, FJ_SENT_MAYBE);
    else
        ledger_ended(o->scene->book, o->seq, code, code == FJ_OK ? FJ_SENT_YES : fj_error_sent(err));
}

static void ended(fj_future *f, void *user)
{
    operation *o = user;
    scene *s = o->scene;
    fj_error *err = NULL;
    fj_code code = fj_future_result(f, NULL, &err);

    if (atomic_load(&s->freed))
        atomic_fetch_add(&s->late, 1);
    book(o, code, err);
    fj_error_free(err);
    if (o->stops)
        stop_if_there(s);
}

static void begin(scene *s, unsigned *dice)
{
    fj_call_opts opts = FJ_CALL_OPTS_INIT;
    unsigned n = atomic_fetch_add(&s->begun, 1), kind = roll(dice, 16);
    const char *name = kind < 5 ? names[kind] : "echo";
    fj_error *err = NULL;

    if (n >= OPERATIONS)
        return;
    operation *o = &s->operations[n];
    o->scene = s;
    o->is_call = roll(dice, 4) != 0;
    o->stops = roll(dice, 8) == 0;
    o->seq = ledger_begin(s->book);
    opts.by = fj_in_ms(20 + roll(dice, 60));
    ledger_due(s->book, o->seq, opts.by);
    json_t *args = json_pack("{s:i, s:I}", "seq", (int)o->seq, "of", (json_int_t)s->seed);
    fj_code code = o->is_call ? fj_client_call_async(s->client, name, args, &opts, &o->future, &err)
                              : fj_client_cast_async(s->client, name, args, &opts, &o->future, &err);
    if (code == FJ_OK)
        code = fj_future_then(o->future, ended, o);
    if (code != FJ_OK)
        book(o, code, err);
    fj_error_free(err);
    if (code == FJ_OK && roll(dice, 4) == 0)
        (void)fj_future_cancel(o->future);
}

static void call_and_wait(scene *s, unsigned *dice)
{
    fj_call_opts opts = FJ_CALL_OPTS_INIT;
    unsigned seq = ledger_begin(s->book);
    fj_error *err = NULL;

    opts.by = in_us(200 + roll(dice, 2000));
    ledger_due(s->book, seq, opts.by);
    fj_code code =
        fj_client_call(s->client, "echo", json_pack("{s:i, s:I}", "seq", (int)seq, "of", (json_int_t)s->seed),
                       &opts, NULL, &err);
    ledger_ended(s->book, seq, code, code == FJ_OK ? FJ_SENT_YES : fj_error_sent(err));
    fj_error_free(err);
}

/* ---- the server -------------------------------------------------------------------------------------------- */

/* What one schedule left in the queue comes to the next. */
static void note(const json_t *args)
{
    if (json_integer_value(json_object_get(args, "of")) == (json_int_t)now->seed)
        ledger_ran(now->book, (unsigned)json_integer_value(json_object_get(args, "seq")));
}

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)ret, (void)err;
    note(args);
    return FJ_OK;
}

static fj_code nap(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)ret;
    note(args);
    fj_code code = fj_sleep(in_us(500));
    return code == FJ_OK ? code : fj_fail(err, code, "woken early");
}

static fj_code stop(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)ret, (void)err;
    note(args);
    fj_server_stop(now->server);
    return FJ_OK;
}

static fj_code wait_inside(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)ret, (void)err;
    note(args);
    fj_code code = fj_server_wait(now->server, fj_never(), NULL);
    if (code != FJ_STATE)
        wrong(now, "a wait from within a method", code);
    return FJ_OK;
}

/* Nothing is freed, or what comes after it would not be there. */
static fj_code free_inside(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)ret, (void)err;
    note(args);
    (void)fj_server_free(now->server);
    return FJ_OK;
}

static fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo), FJ_METHOD("nap", FJ_PLAIN, nap),
                               FJ_METHOD("stop", FJ_PLAIN, stop), FJ_METHOD("wait", FJ_PLAIN, wait_inside),
                               FJ_METHOD("free", FJ_PLAIN, free_inside) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);

static void in_its_own_kind(const char *executor)
{
    for (unsigned i = 0; i < sizeof methods / sizeof *methods; i++)
        methods[i].flavour = strcmp(executor, "green") == 0 ? FJ_GREEN
                             : strcmp(executor, "coroutine") == 0 || strcmp(executor, "bridged") == 0
                                 ? FJ_CORO
                                 : FJ_PLAIN;
}

static void has_started(scene *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->started = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

static void until_started(scene *s)
{
    (void)pthread_mutex_lock(&s->lock);
    while (!s->started)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    (void)pthread_mutex_unlock(&s->lock);
}

/* What a program's main() does, once or twice. */
static void *serve(void *user)
{
    scene *s = user;

    for (int i = 0; i < 1 + s->again; i++) {
        fj_code code = fj_server_start(s->server, NULL);
        if (i == s->again)
            has_started(s);
        if (code != FJ_OK && code != FJ_TIMEOUT && code != FJ_UNREACHABLE && code != FJ_LOST)
            wrong(s, "the start", code);
        if (code != FJ_OK)
            continue;
        if (i < s->again)
            fj_server_stop(s->server);
        code = fj_server_run(s->server, NULL);
        if (code != FJ_OK && code != FJ_STATE) /* waited for by another thread already */
            wrong(s, "the run", code);
        code = fj_server_wait(s->server, fj_in_ms(WAIT_MS), NULL);
        if (code != FJ_OK && !(code == FJ_TIMEOUT && s->stuck))
            wrong(s, "the wait", code);
        if (code == FJ_OK && i < s->again && (code = fj_server_reset(s->server, NULL)) != FJ_OK)
            wrong(s, "the reset", code);
    }
    return NULL;
}

/* ---- those that end it -------------------------------------------------------------------------------------- */

struct hand {
    scene *scene;
    unsigned dice;
    pthread_t thread;
};

static void act(scene *s, unsigned *dice)
{
    fj_code code;

    switch (roll(dice, 8)) {
    case 0:
    case 1:
        fj_server_stop(s->server);
        break;
    case 2: /* STATE: it is not stopped */
        code = fj_server_wait(s->server, in_us(roll(dice, 3000)), NULL);
        if (code != FJ_OK && code != FJ_STATE && code != FJ_TIMEOUT)
            wrong(s, "a wait", code);
        break;
    case 3:
        call_and_wait(s, dice);
        break;
    case 4:
        (void)!fj_client_flush(s->client, in_us(roll(dice, 2000)), NULL);
        break;
    case 5:
        (void)usleep(roll(dice, 300));
        break;
    default:
        begin(s, dice);
        break;
    }
}

static void *hand_acts(void *user)
{
    struct hand *h = user;

    for (unsigned i = 1 + roll(&h->dice, 5); i > 0; i--)
        act(h->scene, &h->dice);
    return NULL;
}

/* ---- one schedule ------------------------------------------------------------------------------------------- */

static void hangs(int sig)
{
    static const char text[] = "a schedule hangs; its seed (FJ_SEED=, FJ_SCHEDULES=1): ";
    char digits[12];
    unsigned n = (unsigned)at_seed, i = sizeof digits;

    (void)sig;
    digits[--i] = '\n';
    do
        digits[--i] = (char)('0' + n % 10);
    while ((n /= 10) != 0 && i > 0);
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    (void)!write(STDERR_FILENO, digits + i, sizeof digits - i);
    abort();
}

static void open_scene(scene *s, const char *executor, const fj_conf *conf, const char *url)
{
    const fj_target here = FJ_TARGET(.topic = "t", .server = "s"), there = FJ_TARGET(.topic = "t");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;

    opts.executor = executor;
    opts.slots = strcmp(executor, "blocking") == 0 ? 1 : 4;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    s->book = ledger_new(2 * OPERATIONS);
    ck_assert_ptr_nonnull(s->book);
    ck_assert_int_eq(fj_transport_open(conf, url, &s->transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(s->transport, &there, NULL, &s->client, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(s->transport, &here, &opts, &s->server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(s->server, &endpoint, NULL, NULL), FJ_OK);
}

/* Everything ends, in an order of chance where there is a choice. */
static void close_scene(scene *s, unsigned *dice)
{
    char text[256];

    if (roll(dice, 2) == 0)
        s->client = fj_client_free(s->client);
    fj_server *server = s->server;
    (void)pthread_mutex_lock(&s->lock);
    s->server = NULL;
    (void)pthread_mutex_unlock(&s->lock);
    fj_server_free(server);
    s->client = fj_client_free(s->client);
    s->transport = fj_transport_free_by(s->transport, fj_in_ms(WAIT_MS));
    atomic_store(&s->freed, true);
    for (unsigned i = 0; i < OPERATIONS && i < atomic_load(&s->begun); i++) {
        fj_future *f = s->operations[i].future;
        if (f != NULL && !fj_future_done(f))
            wrong(s, "a future after the end of its transport", FJ_AGAIN);
        fj_future_unref(f);
    }
    bool balanced = ledger_balanced(s->book, text, sizeof text);
    ck_assert_msg(balanced, "schedule %u: %s", s->seed, text);
    ck_assert_msg(atomic_load(&s->late) == 0, "schedule %u: call-backs after the end", s->seed);
    ck_assert_msg(atomic_load(&s->wrong) == 0, "schedule %u: see above", s->seed);
    ledger_free(s->book);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
}

static void schedule(const char *executor, const fj_conf *conf, const char *url, bool stuck, unsigned seed)
{
    unsigned dice = dice_of(seed, 0), n = roll(&dice, 16) == 0 ? THREADS : roll(&dice, 4);
    struct hand hands[THREADS];
    pthread_t server;
    scene *s = calloc(1, sizeof *s);

    ck_assert_ptr_nonnull(s);
    s->seed = seed;
    s->stuck = stuck;
    s->again = roll(&dice, 4) == 0;
    at_seed = (sig_atomic_t)seed;
    now = s;
    (void)alarm(WATCHDOG_S);
    open_scene(s, executor, conf, url);
    if (roll(&dice, 8) == 0)
        fj_server_stop(s->server); /* before the start: nothing */
    ck_assert_int_eq(pthread_create(&server, NULL, serve, s), 0);
    if (roll(&dice, 2) == 0)
        until_started(s);
    for (unsigned i = 0; i < n; i++) {
        hands[i] = (struct hand){ .scene = s, .dice = dice_of(seed, i + 1) };
        ck_assert_int_eq(pthread_create(&hands[i].thread, NULL, hand_acts, &hands[i]), 0);
    }
    for (unsigned i = roll(&dice, 6); i > 0; i--)
        begin(s, &dice);
    for (unsigned i = 0; i < n; i++)
        (void)pthread_join(hands[i].thread, NULL);
    until_started(s);
    fj_server_stop(s->server);
    (void)pthread_join(server, NULL);
    close_scene(s, &dice);
    free(s);
}

/* ---- the rows ------------------------------------------------------------------------------------------------ */

static unsigned number(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text != NULL && *text != '\0' ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void swallow(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level, (void)component, (void)text;
}

/* The broker hears of the last ends in its own time, or the watchdog barks. */
static void until_alone(broker *b)
{
    while (b != NULL && broker_connections(b) > 0)
        (void)usleep(1000);
}

static void schedules(const char *executor, const fj_conf *conf, const char *url, bool stuck, broker *b,
                      unsigned n)
{
    unsigned first = number("FJ_SEED", 1);

    (void)signal(SIGALRM, hangs);
    in_its_own_kind(executor);
    if (getenv("FJ_LOUD") == NULL)
        fj_log_set(swallow, NULL);
    schedule(executor, conf, url, stuck, first); /* what the process makes once */
    until_alone(b);
    leaks_begin();
    for (unsigned i = 1; i < n; i++)
        schedule(executor, conf, url, stuck, first + i);
    until_alone(b);
    (void)alarm(0);
    leaks_end(executor);
}

START_TEST(over_fake)
{
    schedules(rows_executors[_i], NULL, "fake://", false, NULL, number("FJ_SCHEDULES", SCHEDULES));
}
END_TEST

/* Over a broker that is not as it should be. */
static void over_broken(const char *executor, void (*spoil)(broker *b), bool stuck)
{
    static const char text[] =
        "[fjord]\nconnect_timeout = 0.05\nstart_timeout = 0.1\n[oslo_messaging_rabbit]\n"
        "kombu_reconnect_delay = 0.01\nrabbit_retry_interval = 0.01\nrabbit_retry_backoff = 0.01\n";
    fj_conf *conf = fj_conf_new();
    broker *b = broker_new();
    char url[64];

    ck_assert(conf != NULL && b != NULL);
    ck_assert_int_eq(fj_conf_parse(conf, "life", text, strlen(text), NULL), FJ_OK);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", (unsigned)broker_port(b));
    spoil(b);
    schedules(executor, conf, url, stuck, b, stuck ? BLOCKED : BROKEN);
    broker_free(b);
    fj_conf_free(conf);
}

static void says_nothing(broker *b)
{
    broker_greet(b, "", 0);
}

START_TEST(while_connecting)
{
    over_broken(rows_executors[_i], says_nothing, false);
}
END_TEST

static void is_blocked(broker *b)
{
    broker_rule_add(b, &(broker_rule){ .kind = BROKER_BLOCK,
                                       .at = AMQP_CHANNEL_OPEN_METHOD,
                                       .times = 1000000,
                                       .text = "low on memory" });
}

START_TEST(while_blocked)
{
    over_broken(rows_executors[_i], is_blocked, true);
}
END_TEST

static void is_good(broker *b)
{
    (void)b;
}

START_TEST(over_a_broker)
{
    over_broken(rows_executors[_i], is_good, false);
}
END_TEST

int main(void)
{
    Suite *s = rows_suite("life");

    rows_add_each(s, "L6 all is stopped, waited for and freed at any moment, from anywhere, over fake://",
                  over_fake);
    rows_add_each(s, "L6 the same while a broker that says nothing is connected to", while_connecting);
    rows_add_each(s, "L6 the same while the broker is blocked", while_blocked);
    rows_add_each(s, "L6 the same over a broker in order", over_a_broker);
    return rows_run(s);
}
