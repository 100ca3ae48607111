/* SPDX-License-Identifier: Apache-2.0 */
/* The `fjord-chaos` command: options, signals, and the loop. */
#include "base/alloc.h"
#include "tools/chaos/control.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { DONE = 0, FAILED = 1, USAGE = 2 };

typedef struct {
    chaos_options proxy;
    const char *plan, *check, *log, *control;
    bool has_seed, help, version;
} options;

static const char usage_text[] =
    "usage:\n"
    "  fjord-chaos --listen [ADDRESS:]PORT --to HOST:PORT [--plan FILE] [--seed N] [--log FILE] [--frames]\n"
    "              [--control SOCKET] [--connections N]\n"
    "  fjord-chaos --check FILE\n"
    "  fjord-chaos ctl SOCKET COMMAND...\n"
    "options:\n"
    "  --listen [ADDRESS:]PORT  where clients connect; 127.0.0.1 without an address, port 0: one that is free\n"
    "  --to HOST:PORT           the broker\n"
    "  --plan FILE              the rules, see docs/chaos.md; without it everything passes\n"
    "  --seed N                 of the dice; instead of the plan's\n"
    "  --log FILE               a JSON object a line of what is done; - is standard output\n"
    "  --frames                 log every frame, too\n"
    "  --control SOCKET         take commands there\n"
    "  --connections N          at most so many at a time (1000); more wait\n"
    "  --check FILE             say what is wrong with a plan, and end\n"
    "  --version, --help\n"
    "commands:\n";

static int misuse(const char *text, const char *what)
{
    fprintf(stderr, "fjord-chaos: %s%s\n", what, text);
    return USAGE;
}

static int failed(fj_error *err)
{
    int rc = fj_error_code(err) == FJ_BAD_VALUE ? USAGE : FAILED;

    fprintf(stderr, "fjord-chaos: %s\n", fj_error_text(err));
    fj_error_free(err);
    return rc;
}

static bool take_number(const char *text, uint64_t *ret)
{
    char *end = NULL;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *text != '-';
}

static int take(int option, const char *value, options *o)
{
    uint64_t n = 0;

    switch (option) {
    case 'l':
        o->proxy.listen = value;
        return DONE;
    case 't':
        o->proxy.to = value;
        return DONE;
    case 'p':
        o->plan = value;
        return DONE;
    case 's':
        o->has_seed = true;
        return take_number(value, &o->proxy.seed) ? DONE : misuse("--seed takes a number", "");
    case 'o':
        o->log = value;
        return DONE;
    case 'f':
        o->proxy.frames = true;
        return DONE;
    case 'c':
        o->control = value;
        return DONE;
    case 'n':
        if (!take_number(value, &n) || n == 0 || n > 100000)
            return misuse("--connections takes a number from 1 to 100000", "");
        o->proxy.connections = (size_t)n;
        return DONE;
    case 'k':
        o->check = value;
        return DONE;
    case 'h':
        o->help = true;
        return DONE;
    case 'v':
        o->version = true;
        return DONE;
    default:
        return misuse(": is not understood, or lacks its value", value);
    }
}

static int parse(int argc, char **argv, options *o)
{
    static const struct option known[] = {
        { "listen", required_argument, NULL, 'l' },  { "to", required_argument, NULL, 't' },
        { "plan", required_argument, NULL, 'p' },    { "seed", required_argument, NULL, 's' },
        { "log", required_argument, NULL, 'o' },     { "frames", no_argument, NULL, 'f' },
        { "control", required_argument, NULL, 'c' }, { "connections", required_argument, NULL, 'n' },
        { "check", required_argument, NULL, 'k' },   { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },       { NULL, 0, NULL, 0 },
    };
    int option, rc = DONE;

    opterr = 0;
    while (rc == DONE && (option = getopt_long(argc, argv, "", known, NULL)) != -1)
        rc = take(option, option == '?' ? argv[optind - 1] : optarg, o);
    if (rc == DONE && optind < argc)
        return misuse(": is not understood", argv[optind]);
    return rc;
}

static int check(const char *path)
{
    chaos_plan plan;
    fj_error *err = NULL;

    if (chaos_plan_load(path, &plan, &err) != FJ_OK)
        return failed(err);
    printf("%s: %zu rules\n", path, plan.count);
    chaos_plan_fini(&plan);
    return fflush(stdout) == 0 ? DONE : FAILED;
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static void on_end(fj_loop *loop, int number, void *user)
{
    (void)number;
    (void)user;
    fj_loop_stop(loop);
}

static void on_stats(fj_loop *loop, int number, void *user)
{
    json_t *stats = chaos_proxy_stats(user);
    char *text = stats != NULL ? json_dumps(stats, JSON_COMPACT) : NULL;

    (void)loop;
    (void)number;
    if (text != NULL) {
        printf("%s\n", text);
        (void)fflush(stdout);
    }
    fj__free(text);
    json_decref(stats);
}

static fj_code take_signals(fj_loop *loop, chaos_proxy *proxy, fj_error **err)
{
    fj_code rc = fj_loop_add_signal(loop, SIGTERM, on_end, NULL, err);

    if (rc == FJ_OK)
        rc = fj_loop_add_signal(loop, SIGINT, on_end, NULL, err);
    return rc == FJ_OK ? fj_loop_add_signal(loop, SIGUSR1, on_stats, proxy, err) : rc;
}

static fj_code add_rules(chaos_proxy *proxy, chaos_plan *plan, fj_error **err)
{
    fj_code rc = FJ_OK;

    for (size_t i = 0; rc == FJ_OK && i < plan->count; i++) {
        rc = chaos_proxy_add(proxy, plan->rules[i], err);
        if (rc == FJ_OK)
            plan->rules[i] = NULL;
    }
    return rc;
}

static fj_code open_log(const options *o, FILE **ret, fj_error **err)
{
    *ret = o->log == NULL ? NULL : strcmp(o->log, "-") == 0 ? stdout : fopen(o->log, "ae");
    if (o->log != NULL && *ret == NULL)
        return fj_fail(err, FJ_SYSTEM, "%s: %s", o->log, strerror(errno));
    return FJ_OK;
}

static void say_where(const chaos_proxy *proxy)
{
    char at[64];

    chaos_proxy_address(proxy, at, sizeof at);
    printf("fjord-chaos: listening at %s, seed %llu\n", at, (unsigned long long)proxy->seed);
    (void)fflush(stdout);
}

/* Each connection has two descriptors. */
static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run(options *o)
{
    chaos_plan plan = { 0 };
    chaos_proxy *proxy = NULL;
    chaos_control *control = NULL;
    fj_loop *loop = NULL;
    fj_error *err = NULL;
    fj_code rc = o->plan != NULL ? chaos_plan_load(o->plan, &plan, &err) : FJ_OK;

    if (rc == FJ_OK && !o->has_seed)
        o->proxy.seed = plan.seed;
    if (rc == FJ_OK)
        rc = open_log(o, &o->proxy.log, &err);
    if (rc == FJ_OK)
        rc = fj_loop_new(&loop, &err);
    if (rc == FJ_OK)
        rc = chaos_proxy_new(loop, &o->proxy, &proxy, &err);
    if (rc == FJ_OK)
        rc = add_rules(proxy, &plan, &err);
    if (rc == FJ_OK && o->control != NULL)
        rc = chaos_control_new(proxy, o->control, &control, &err);
    if (rc == FJ_OK)
        rc = take_signals(loop, proxy, &err);
    if (rc == FJ_OK) {
        say_where(proxy);
        rc = fj_loop_run_forever(loop, &err);
    }
    chaos_control_free(control);
    chaos_proxy_free(proxy);
    fj_loop_free(loop);
    chaos_plan_fini(&plan);
    if (o->proxy.log != NULL && o->proxy.log != stdout && fclose(o->proxy.log) != 0 && rc == FJ_OK)
        rc = fj_fail(&err, FJ_SYSTEM, "%s: %s", o->log, strerror(errno));
    return rc == FJ_OK ? DONE : failed(err);
}

int main(int argc, char **argv)
{
    options o = { .has_seed = false };
    int rc;

    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && strcmp(argv[1], "ctl") == 0)
        return chaos_ctl(argc - 2, argv + 2);
    rc = parse(argc, argv, &o);
    if (rc != DONE)
        return rc;
    if (o.help) {
        fputs(usage_text, stdout);
        chaos_command_help(stdout);
        return fflush(stdout) == 0 ? DONE : FAILED;
    }
    if (o.version) {
        printf("fjord-chaos %s\n", fj_version());
        return DONE;
    }
    if (o.check != NULL)
        return check(o.check);
    if (o.proxy.listen == NULL || o.proxy.to == NULL) {
        fputs(usage_text, stderr);
        chaos_command_help(stderr);
        return USAGE;
    }
    allow_descriptors();
    return run(&o);
}
