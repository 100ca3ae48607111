/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `fjord bench`, which are those of the simulator. */
#include "base/alloc.h"
#include "tools/bench/bench.h"
#include <errno.h>
#include <math.h>
#include <string.h>

enum {
    TOPIC,
    SERVER,
    TARGETS,
    THREADS,
    MESSAGES,
    DURATION,
    WAIT,
    TIMEOUT,
    IS_CAST,
    IS_FANOUT,
    SYNC,
    EXIT_WAIT,
    REQUEUE,
    EXECUTOR,
    RESULTS
};

#define SERVERS (BENCH_RPC_SERVER | BENCH_NOTIFY_SERVER | BENCH_BATCH_SERVER)
#define CLIENTS (BENCH_RPC_CLIENT | BENCH_NOTIFY_CLIENT)
#define NOTES (BENCH_NOTIFY_SERVER | BENCH_BATCH_SERVER | BENCH_NOTIFY_CLIENT)
#define ALL (SERVERS | CLIENTS)

static const tool_own_option rows[] = {
    [TOPIC] = { "topic", "T", '\0', "of a server, or of notifications (profiler_topic)" },
    [SERVER] = { "server", "NAME", 's', "rpc-server: its name (profiler_server)" },
    [TARGETS] = { "targets", "T.S...", '\0',
                  "rpc-client: topics and servers, in turn (profiler_topic.profiler_server)" },
    [THREADS] = { NULL, "N", 'p', "clients: so many threads send (1)" },
    [MESSAGES] = { NULL, "N", 'm', "clients: so many messages of each thread (1)" },
    [DURATION] = { NULL, "S", 'l', "end after so many seconds; clients send until then, whatever -m says" },
    [WAIT] = { NULL, "S", 'w', "servers: how long each message takes; clients: the pause between two" },
    [TIMEOUT] = { "timeout", "S", '\0', "clients: seconds until a message is given up (3)" },
    [IS_CAST] = { "is-cast", NULL, '\0', "rpc-client: casts, not calls" },
    [IS_FANOUT] = { "is-fanout", NULL, '\0', "rpc-client: casts to every server of the topic" },
    [SYNC] = { "sync", "call|fanout", '\0', "rpc-client: tell servers when it begins, and when they may end" },
    [EXIT_WAIT] = { "exit-wait", "S", '\0', "rpc-client: keep connections so long after the last message" },
    [REQUEUE] = { "requeue", NULL, '\0', "servers of notifications: give each back to its queue once" },
    [EXECUTOR] = { "executor", "NAME", 'e', "servers: how methods run" },
    [RESULTS] = { NULL, "FILE", 'j', "write the results there, as JSON" },
};
_Static_assert(fj__countof(rows) <= TOOL_OWN_MAX, "TOOL_OWN_MAX is too small");

static const unsigned modes[] = {
    [TOPIC] = BENCH_RPC_SERVER | NOTES,
    [SERVER] = BENCH_RPC_SERVER,
    [TARGETS] = BENCH_RPC_CLIENT,
    [THREADS] = CLIENTS,
    [MESSAGES] = CLIENTS,
    [DURATION] = ALL,
    [WAIT] = ALL,
    [TIMEOUT] = CLIENTS,
    [IS_CAST] = BENCH_RPC_CLIENT,
    [IS_FANOUT] = BENCH_RPC_CLIENT,
    [SYNC] = BENCH_RPC_CLIENT,
    [EXIT_WAIT] = BENCH_RPC_CLIENT,
    [REQUEUE] = BENCH_NOTIFY_SERVER | BENCH_BATCH_SERVER,
    [EXECUTOR] = SERVERS,
    [RESULTS] = ALL,
};
_Static_assert(fj__countof(modes) == fj__countof(rows), "each option has its modes");

static const struct {
    const char *name;
    bench_mode mode;
} names[] = {
    { "rpc-server", BENCH_RPC_SERVER },       { "rpc-client", BENCH_RPC_CLIENT },
    { "notify-server", BENCH_NOTIFY_SERVER }, { "batch-notify-server", BENCH_BATCH_SERVER },
    { "notify-client", BENCH_NOTIFY_CLIENT },
};

/* ---- values ------------------------------------------------------------------------------------- */

struct reading {
    bench_plan *plan;
    unsigned given; /* a bit for each row */
};

static int misused(const tool_opts *o, size_t row, const char *what)
{
    const char letter[] = { rows[row].letter, '\0' };
    bool is_long = rows[row].name != NULL;

    return tool_misuse(o, "%s%s %s", is_long ? "--" : "-", is_long ? rows[row].name : letter, what);
}

static int take_number(const tool_opts *o, size_t row, const char *text, unsigned long most, unsigned long *ret)
{
    char *end = NULL;

    errno = 0;
    *ret = strtoul(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && *text != '-' && *ret >= 1 && *ret <= most)
        return -1;
    return misused(o, row, row == THREADS ? "takes a number from 1 to 4096" : "takes a number above 0");
}

/* One below 0 is none, as -1 is to the simulator. */
static int take_seconds(const tool_opts *o, size_t row, const char *text, double *ret)
{
    char *end = NULL;

    errno = 0;
    *ret = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !isfinite(*ret))
        return misused(o, row, "takes seconds, such as 2.5");
    if (*ret < 0)
        *ret = 0;
    return -1;
}

static int take_target(const tool_opts *o, char *text, bench_plan *plan)
{
    if (plan->target_count == BENCH_TARGETS)
        return tool_misuse(o, "at most %d targets", BENCH_TARGETS);
    if (!bench_target_parse(text, &plan->targets[plan->target_count]))
        return tool_misuse(o, "a target is TOPIC or TOPIC.SERVER");
    plan->target_count++;
    return -1;
}

static int take_sync(const tool_opts *o, const char *text, bench_plan *plan)
{
    if (strcmp(text, "call") == 0)
        plan->sync = BENCH_SYNC_CALL;
    else if (strcmp(text, "fanout") == 0)
        plan->sync = BENCH_SYNC_FANOUT;
    else
        return misused(o, SYNC, "is call or fanout");
    return -1;
}

static int take_text(const tool_opts *o, size_t row, const char *text, const char **ret)
{
    *ret = text;
    return *text != '\0' ? -1 : misused(o, row, "takes a name");
}

static int take(const tool_opts *o, size_t row, char *value, void *user)
{
    struct reading *reading = user;
    bench_plan *plan = reading->plan;
    unsigned long number = 0;
    int rc = -1;

    reading->given |= 1u << row;
    switch (row) {
    case TOPIC:
        return take_text(o, row, value, &plan->topic);
    case SERVER:
        return take_text(o, row, value, &plan->server);
    case EXECUTOR:
        return take_text(o, row, value, &plan->executor);
    case RESULTS:
        return take_text(o, row, value, &plan->file);
    case TARGETS:
        return take_target(o, value, plan);
    case THREADS:
        rc = take_number(o, row, value, BENCH_THREADS, &number);
        plan->threads = (unsigned)number;
        return rc;
    case MESSAGES:
        return take_number(o, row, value, (unsigned long)INT64_MAX, &plan->messages);
    case DURATION:
        return take_seconds(o, row, value, &plan->duration);
    case WAIT:
        return take_seconds(o, row, value, &plan->wait);
    case TIMEOUT:
        rc = take_seconds(o, row, value, &plan->timeout);
        return rc < 0 && plan->timeout <= 0 ? misused(o, row, "takes seconds above 0") : rc;
    case EXIT_WAIT:
        return take_seconds(o, row, value, &plan->exit_wait);
    case SYNC:
        return take_sync(o, value, plan);
    case IS_CAST:
        plan->is_cast = true;
        return -1;
    case IS_FANOUT:
        plan->is_fanout = true;
        return -1;
    default:
        plan->requeue = true;
        return -1;
    }
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static int find_mode(const tool_opts *o, bench_plan *plan)
{
    const char *word = o->rest_count > 0 ? o->rest[0] : "";

    for (size_t i = 0; i < fj__countof(names); i++) {
        if (strcmp(word, names[i].name) == 0) {
            plan->mode = names[i].mode;
            plan->mode_name = names[i].name;
            return -1;
        }
    }
    return tool_misuse(
        o, "it is one of rpc-server, rpc-client, notify-server, batch-notify-server, notify-client");
}

/* --targets takes all words that follow it: getopt takes one, and leaves the others. */
static int take_rest(const tool_opts *o, const struct reading *reading)
{
    bool targets = (reading->given & 1u << TARGETS) != 0;
    int rc = -1;

    for (int i = 1; rc < 0 && i < o->rest_count; i++)
        rc = targets ? take_target(o, o->rest[i], reading->plan)
                     : tool_misuse(o, "it takes options only after %s", reading->plan->mode_name);
    return rc;
}

static int check(const tool_opts *o, const struct reading *reading)
{
    const bench_plan *plan = reading->plan;
    char text[64];

    for (size_t i = 0; i < fj__countof(rows); i++) {
        if ((reading->given & 1u << i) == 0 || (modes[i] & plan->mode) != 0)
            continue;
        (void)snprintf(text, sizeof text, "has no meaning with %s", plan->mode_name);
        return misused(o, i, text);
    }
    if (plan->is_fanout && !plan->is_cast)
        return tool_misuse(o, "--is-fanout needs --is-cast: a call has one answer");
    return -1;
}

int bench_options(int argc, char **argv, tool_opts *o, bench_plan *ret)
{
    *ret = (bench_plan){
        .topic = "profiler_topic", .server = "profiler_server", .threads = 1, .messages = 1, .timeout = 3
    };
    struct reading reading = { ret, 0 };
    const tool_own own = { rows, fj__countof(rows), take, &reading };
    int rc = tool_parse_own(argc, argv, TOOL_COMMON, &own, o);
    if (rc < 0)
        rc = find_mode(o, ret);
    if (rc < 0)
        rc = take_rest(o, &reading);
    if (rc < 0)
        rc = check(o, &reading);
    if (rc < 0 && ret->target_count == 0)
        ret->targets[ret->target_count++] = (bench_target){ "profiler_topic", "profiler_server" };
    o->notes = (ret->mode & NOTES) != 0;
    return rc;
}
