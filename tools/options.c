/* SPDX-License-Identifier: Apache-2.0 */
/* The options of the subcommands: what there is, what of it a command takes, and its help. */
#include "base/alloc.h"
#include "tools/common.h"
#include "tools/own.h"
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <string.h>

enum {
    OPT_CONFIG = 256,
    OPT_URL,
    OPT_EXCHANGE,
    OPT_JSON,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_TIMEOUT,
    OPT_NAMESPACE,
    OPT_VERSION,
    OPT_CONTEXT,
    OPT_FANOUT,
    OPT_COUNT,
    OPT_SERVER,
    OPT_EXECUTOR,
    OPT_EXEC,
    OPT_MODULE,
    OPT_ECHO,
    OPT_WORKERS,
    OPT_STRICT,
    OPT_ORIGIN,
    OPT_ALL,
    OPT_DEFAULTS,
    OPT_CONFIG_DIR,
    OPT_WATCH,
    OPT_FOR,
    OPT_HZ,
    OPT_STACK,
    OPT_TOPIC,
    OPT_PRIORITY,
    OPT_PUBLISHER,
    OPT_DRIVER,
    OPT_POOL,
    OPT_FORMAT,
    OPT_MATCH,
    OPT_HELP
};

/* One row an option: for getopt, for --help, and the group that says which commands take it. */
static const struct {
    const char *name, *value; /* value: what it takes; NULL: nothing */
    int id;
    unsigned group;
    const char *help;
} options[] = {
    { "server", "NAME", OPT_SERVER, TOOL_SERVER, "the server of the topic (serve: its own name; the host's)" },
    { "namespace", "N", OPT_NAMESPACE, TOOL_METHOD, "the namespace of the method" },
    { "version", "V", OPT_VERSION, TOOL_METHOD, "the version of the method" },
    { "timeout", "S", OPT_TIMEOUT, TOOL_DEADLINE,
      "seconds until it is given up (serve: until a program is killed)" },
    { "context", "JSON", OPT_CONTEXT, TOOL_CONTEXT, "the request's context, an object" },
    { "fanout", NULL, OPT_FANOUT, TOOL_CAST, "to every server of the topic" },
    { "count", "N", OPT_COUNT, TOOL_COUNT, "so many times (listen: end after so many)" },
    { "exec", "PROGRAM", OPT_EXEC, TOOL_SERVE, "run `sh -c PROGRAM` for each request" },
    { "module", "FILE", OPT_MODULE, TOOL_SERVE, "serve the endpoints of a shared object" },
    { "echo", NULL, OPT_ECHO, TOOL_SERVE, "answer any method with its arguments" },
    { "executor", "NAME", OPT_EXECUTOR, TOOL_SERVE, "how methods run" },
    { "workers", "N", OPT_WORKERS, TOOL_SERVE, "in so many processes, which are kept (0: in this one)" },
    { "strict", NULL, OPT_STRICT, TOOL_CONFIG, "check: a warning is an error" },
    { "origin", NULL, OPT_ORIGIN, TOOL_CONFIG, "show: where each value comes from" },
    { "all", NULL, OPT_ALL, TOOL_CONFIG, "show: what is other programs', too" },
    { "defaults", NULL, OPT_DEFAULTS, TOOL_CONFIG, "show: the table of options, whatever the files say" },
    { "watch", "S", OPT_WATCH, TOOL_INSPECT, "again each S seconds" },
    { "stack", NULL, OPT_STACK, TOOL_INSPECT, "tasks: where each is" },
    { "for", "S", OPT_FOR, TOOL_FOR, "for so many seconds (inspect: of a profile)" },
    { "topic", "T", OPT_TOPIC, TOOL_NOTES, "the topic (that of the configuration: notifications)" },
    { "priority", "P", OPT_PRIORITY, TOOL_NOTES,
      "audit, debug, info, warn, error, critical or sample (notify: info; listen: all; may be repeated)" },
    { "publisher", "ID", OPT_PUBLISHER, TOOL_NOTIFY, "the publisher's id" },
    { "driver", "NAME", OPT_DRIVER, TOOL_NOTIFY, "how it is sent (messagingv2)" },
    { "pool", "NAME", OPT_POOL, TOOL_LISTEN, "a queue of that name, which gets a copy of everything" },
    { "match", "F=REGEX", OPT_MATCH, TOOL_LISTEN,
      "only those whose field fits: publisher_id, event_type, payload.KEY, context.KEY...; may be repeated" },
    { "format", "F", OPT_FORMAT, TOOL_LISTEN, "pretty or json (on a terminal pretty)" },
    { "hz", "N", OPT_HZ, TOOL_INSPECT, "profile: samples a second of processor time (99)" },
    { "config-dir", "D", OPT_CONFIG_DIR, TOOL_COMMON, "read every *.conf of this folder; may be repeated" },
    { "config-file", "F", OPT_CONFIG, TOOL_COMMON, "read this file, or folder of *.conf; may be repeated" },
    { "url", "URL", OPT_URL, TOOL_COMMON, "the broker; better in FJORD_URL or transport_url" },
    { "exchange", "E", OPT_EXCHANGE, TOOL_COMMON, "the control exchange" },
    { "json", NULL, OPT_JSON, TOOL_COMMON, "errors and remarks as JSON objects" },
    { "quiet", NULL, OPT_QUIET, TOOL_COMMON, "no remarks, and of the log only errors" },
    { "verbose", NULL, OPT_VERBOSE, TOOL_COMMON, "more of the log; may be repeated" },
    { "help", NULL, OPT_HELP, TOOL_COMMON, "this" },
};

static size_t row_of(int id)
{
    size_t i = 0;

    while (i < fj__countof(options) - 1 && options[i].id != id)
        i++;
    return i;
}

/* How many words the option at @p word is, as far as it is one of every command's; 0: none of those. */
static int words_of(const char *word)
{
    size_t n = strcspn(word, "=");

    for (size_t i = 0; strncmp(word, "--", 2) == 0 && i < fj__countof(options); i++)
        if (options[i].group == TOOL_COMMON && options[i].id != OPT_HELP && strlen(options[i].name) == n - 2 &&
            strncmp(word + 2, options[i].name, n - 2) == 0)
            return options[i].value != NULL && word[n] == '\0' ? 2 : 1;
    return 0;
}

void tool_command_first(int argc, char **argv)
{
    int at = 1, n;

    while (at < argc && (n = words_of(argv[at])) > 0)
        at += n;
    if (at == 1 || at >= argc)
        return;
    char *command = argv[at];
    memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof *argv);
    argv[1] = command;
}

void tool_options_help(unsigned groups, FILE *out)
{
    for (size_t i = 0; i < fj__countof(options); i++) {
        const char *value = options[i].value != NULL ? options[i].value : "";
        if ((options[i].group & groups) != 0)
            fprintf(out, "  --%s %-*s %s\n", options[i].name, (int)(20 - strlen(options[i].name)), value,
                    options[i].help);
    }
}

/* Take a URL out of argv: what `ps` shows holds no password from here on. */
static int take_url(tool_opts *o, char *text)
{
    char *copy = fj__strdup(text);

    memset(text, '*', strlen(text));
    if (copy == NULL)
        return tool_misuse(o, "out of memory");
    if (o->url != NULL)
        explicit_bzero(o->url, strlen(o->url));
    fj__free(o->url);
    o->url = copy;
    return -1;
}

static int take_seconds(tool_opts *o, const char *option, const char *text, double *ret)
{
    char *end = NULL;

    errno = 0;
    *ret = strtod(text, &end);
    if (end != text && strcmp(end, "s") == 0)
        end++;
    if (errno != 0 || end == text || *end != '\0' || !isfinite(*ret) || *ret <= 0)
        return tool_misuse(o, "--%s takes seconds above 0, such as 2.5", option);
    return -1;
}

static int take_count(tool_opts *o, const char *text)
{
    char *end = NULL;

    errno = 0;
    o->count = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || o->count == 0)
        return tool_misuse(o, "--count takes a number above 0");
    o->counted = true;
    return -1;
}

static int take_hz(tool_opts *o, const char *text)
{
    char *end = NULL;

    errno = 0;
    o->hz = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || o->hz == 0 || o->hz > 1000)
        return tool_misuse(o, "--hz takes a number from 1 to 1000");
    return -1;
}

static int take_workers(tool_opts *o, const char *text)
{
    char *end = NULL;
    unsigned long n;

    errno = 0;
    n = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || n > 1000)
        return tool_misuse(o, "--workers takes a number from 0 to 1000");
    o->workers = (unsigned)n;
    o->as_service = true;
    return -1;
}

static int take_context(tool_opts *o, const char *text)
{
    fj_error *err = NULL;

    json_decref(o->context);
    o->context = NULL;
    if (fj_json_read(text, strlen(text), NULL, &o->context, &err) != FJ_OK) {
        tool_misuse(o, "--context: %s", fj_error_text(err));
        fj_error_free(err);
        return TOOL_USAGE;
    }
    if (!json_is_object(o->context))
        return tool_misuse(o, "--context takes a JSON object");
    return -1;
}

static int take_config(tool_opts *o, const char *path)
{
    if (o->config_count == TOOL_CONFIG_FILES)
        return tool_misuse(o, "at most %d times --config-file and --config-dir", TOOL_CONFIG_FILES);
    o->config_files[o->config_count++] = path;
    return -1;
}

static int take_priority(tool_opts *o, const char *text)
{
    if (o->priority_count == FJ_PRIORITIES)
        return tool_misuse(o, "there are %d priorities", (int)FJ_PRIORITIES);
    o->priorities[o->priority_count++] = text;
    return -1;
}

static int take_match(tool_opts *o, const char *text)
{
    if (o->match_count == TOOL_MATCHES)
        return tool_misuse(o, "at most %d times --match", TOOL_MATCHES);
    o->matches[o->match_count++] = text;
    return -1;
}

/* Those of notifications that only set a field. */
static void take_notes(tool_opts *o, int option, const char *value)
{
    switch (option) {
    case OPT_TOPIC:
        o->topic = value;
        break;
    case OPT_PUBLISHER:
        o->publisher = value;
        break;
    case OPT_DRIVER:
        o->driver = value;
        break;
    case OPT_POOL:
        o->pool = value;
        break;
    case OPT_FORMAT:
        o->format = value;
        break;
    default:
        break;
    }
}

/* The options that only set a field. */
static void take_plain(tool_opts *o, int option, const char *value)
{
    switch (option) {
    case OPT_EXCHANGE:
        o->exchange = value;
        break;
    case OPT_JSON:
        o->json = true;
        break;
    case OPT_QUIET:
        o->quiet = true;
        break;
    case OPT_VERBOSE:
        o->verbose++;
        break;
    case OPT_NAMESPACE:
        o->ns = value;
        break;
    case OPT_VERSION:
        o->version = value;
        break;
    case OPT_FANOUT:
        o->fanout = true;
        break;
    case OPT_SERVER:
        o->server = value;
        break;
    case OPT_EXECUTOR:
        o->executor = value;
        break;
    case OPT_EXEC:
        o->exec = value;
        break;
    case OPT_MODULE:
        o->module = value;
        break;
    case OPT_ECHO:
        o->echo = true;
        break;
    case OPT_STRICT:
        o->strict = true;
        break;
    case OPT_ORIGIN:
        o->origin = true;
        break;
    case OPT_ALL:
        o->all = true;
        break;
    case OPT_DEFAULTS:
        o->defaults = true;
        break;
    case OPT_STACK:
        o->stack = true;
        break;
    default:
        take_notes(o, option, value);
        break;
    }
}

static int take(tool_opts *o, int option, char *value)
{
    switch (option) {
    case OPT_CONFIG:
    case OPT_CONFIG_DIR:
        return take_config(o, value);
    case OPT_URL:
        return take_url(o, value);
    case OPT_TIMEOUT:
        return take_seconds(o, "timeout", value, &o->timeout);
    case OPT_WATCH:
        return take_seconds(o, "watch", value, &o->watch);
    case OPT_FOR:
        return take_seconds(o, "for", value, &o->during);
    case OPT_HZ:
        return take_hz(o, value);
    case OPT_CONTEXT:
        return take_context(o, value);
    case OPT_COUNT:
        return take_count(o, value);
    case OPT_WORKERS:
        return take_workers(o, value);
    case OPT_PRIORITY:
        return take_priority(o, value);
    case OPT_MATCH:
        return take_match(o, value);
    default:
        take_plain(o, option, value);
        return -1;
    }
}

const char *tool_log_level(const tool_opts *o)
{
    static const char *const levels[] = { "warning", "info", "debug", "trace" };

    if (o->verbose > 0)
        return levels[o->verbose < 3 ? o->verbose : 3];
    return o->quiet ? "error" : NULL;
}

static void set_log(const tool_opts *o)
{
    fj_log_level level;

    if (fj_log_level_parse(tool_log_level(o), &level))
        fj_log_set_level(level);
}

/* The option getopt stumbled over, without its value: that may be a secret. */
static int bad_option(const tool_opts *o, char **argv)
{
    const char *word = argv[optind - 1];

    return tool_misuse(o, "option %.*s is not understood, or lacks its value", (int)strcspn(word, "="), word);
}

/* ---- what getopt is told ------------------------------------------------------------------------ */

struct known {
    struct option names[fj__countof(options) + TOOL_OWN_MAX + 1];
    char letters[TOOL_OWN_LETTERS];
};

/* A command's own option stands for the shared one of that name. */
static void list_known(const tool_own *own, struct known *k)
{
    memset(k, 0, sizeof *k);
    size_t n = tool_own_list(own, k->names, k->letters);
    for (size_t i = 0; i < fj__countof(options); i++)
        if (!tool_own_has(own, options[i].name))
            k->names[n++] =
                (struct option){ options[i].name, options[i].value != NULL ? required_argument : no_argument,
                                 NULL, options[i].id };
}

/* Read one option.  @return -1 to go on; TOOL_DONE at the end of the options, with *ret_end; else the exit code */
static int next_option(int argc, char **argv, unsigned allowed, const struct known *known, const tool_own *own,
                       tool_opts *o, bool *ret_end)
{
    int option = getopt_long(argc, argv, known->letters, known->names, NULL), rc;

    *ret_end = option == -1;
    if (option == -1)
        return TOOL_DONE;
    if (option == OPT_HELP) {
        tool_usage(o->command, stdout);
        tool_own_help(own);
        tool_options_help(allowed | TOOL_COMMON, stdout);
        return fflush(stdout) == 0 ? TOOL_DONE : TOOL_REMOTE;
    }
    if (option == '?' || option == ':')
        return bad_option(o, argv);
    if (tool_own_take(own, o, option, &rc))
        return rc;
    rc = take(o, option, optarg);
    if (rc < 0 && (options[row_of(option)].group & (allowed | TOOL_COMMON)) == 0)
        rc = tool_misuse(o, "--%s has no meaning here", options[row_of(option)].name);
    return rc;
}

int tool_parse_own(int argc, char **argv, unsigned allowed, const tool_own *own, tool_opts *ret)
{
    struct known known;
    bool end = false;

    list_known(own, &known);
    *ret = (tool_opts){ .command = argv[0], .count = 1 };
    opterr = 0;
    optind = 1;
    while (!end) {
        int rc = next_option(argc, argv, allowed, &known, own, ret, &end);
        if (!end && rc >= 0)
            return rc;
    }
    ret->rest = argv + optind;
    ret->rest_count = argc - optind;
    set_log(ret);
    return -1;
}

int tool_parse(int argc, char **argv, unsigned allowed, tool_opts *ret)
{
    return tool_parse_own(argc, argv, allowed, NULL, ret);
}

void tool_opts_fini(tool_opts *o)
{
    if (o->url != NULL)
        explicit_bzero(o->url, strlen(o->url));
    fj__free(o->url);
    json_decref(o->context);
    *o = (tool_opts){ .command = o->command };
}
