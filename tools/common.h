/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_COMMON_H
#define FJORD_TOOLS_COMMON_H
/* What the subcommands of `fjord` share: options, arguments, the transport, and how errors end the program. */
#include <fjord/fjord.h>
#include <poll.h>
#include <stdio.h>

/** Exit codes. */
enum { TOOL_DONE = 0, TOOL_REMOTE = 1, TOOL_USAGE = 2, TOOL_TIMEOUT = 3, TOOL_UNREACHABLE = 4 };

/** Which options a subcommand takes. */
enum {
    TOOL_COMMON = 1 << 0,   /* --config-file --url --exchange --json --quiet --verbose --help */
    TOOL_DEADLINE = 1 << 1, /* --timeout */
    TOOL_METHOD = 1 << 2,   /* --namespace --version */
    TOOL_CONTEXT = 1 << 3,  /* --context */
    TOOL_CAST = 1 << 4,     /* --fanout */
    TOOL_SERVER = 1 << 5,   /* --server */
    TOOL_SERVE = 1 << 6,    /* --executor --exec --module --echo --workers */
    TOOL_CONFIG = 1 << 7,   /* --strict --origin --all --defaults */
    TOOL_INSPECT = 1 << 8,  /* --watch --hz --stack */
    TOOL_COUNT = 1 << 9,    /* --count */
    TOOL_FOR = 1 << 10,     /* --for */
    TOOL_NOTES = 1 << 11,   /* --topic --priority */
    TOOL_NOTIFY = 1 << 12,  /* --publisher --driver */
    TOOL_LISTEN = 1 << 13   /* --pool --format --match */
};

#define TOOL_CONFIG_FILES 16
#define TOOL_MATCHES 16

typedef struct {
    const char *command;
    const char *config_files[TOOL_CONFIG_FILES];
    size_t config_count;
    char *url; /* owned: a secret */
    const char *exchange, *ns, *version, *server;
    const char *executor, *exec, *module;
    const char *topic, *publisher, *driver, *pool, *format;
    const char *priorities[FJ_PRIORITIES];
    size_t priority_count;
    const char *matches[TOOL_MATCHES];
    size_t match_count;
    json_t *context;      /* owned */
    double timeout;       /* seconds; 0: not given */
    double watch, during; /* the same, of --watch and --for */
    unsigned long count, hz;
    unsigned verbose, workers;
    bool json, quiet, fanout, echo;
    bool as_service; /* --workers was given */
    bool counted;    /* --count was given */
    bool strict, origin, all, defaults;
    bool stack;
    bool notes;  /* the transport is for notifications; no option, set by commands */
    char **rest; /* the arguments that are no options */
    int rest_count;
} tool_opts;

/** One subcommand.  @return the exit code */
typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage; /* the line after "fjord " */
} tool_command;

int tool_call(int argc, char **argv);
int tool_cast(int argc, char **argv);
int tool_serve(int argc, char **argv);
int tool_ping(int argc, char **argv);
int tool_notify(int argc, char **argv);
int tool_listen(int argc, char **argv);
int tool_bench(int argc, char **argv);
int tool_config(int argc, char **argv);
int tool_inspect(int argc, char **argv);
int tool_version(int argc, char **argv);

/** Read the options of argv[0] (the subcommand) on; a URL in argv is overwritten there at once.
 *  @param ret give back with tool_opts_fini(), on failure too
 *  @return -1 to go on; else the exit code (TOOL_DONE after --help) */
int tool_parse(int argc, char **argv, unsigned allowed, tool_opts *ret);

/** An option that one command alone has. */
typedef struct {
    const char *name;  /* NULL: it has a letter only */
    const char *value; /* what it takes; NULL: nothing */
    char letter;       /* '\0': none */
    const char *help;
} tool_own_option;

#define TOOL_OWN_MAX 24

typedef struct {
    const tool_own_option *rows;
    size_t count; /* TOOL_OWN_MAX at most */
    /** Row @p row is there.  @return -1 to go on; else the exit code */
    int (*take)(const tool_opts *o, size_t row, char *value, void *user);
    void *user;
} tool_own;

/** tool_parse() of a command with options of its own, which stand for shared ones of the same name. */
int tool_parse_own(int argc, char **argv, unsigned allowed, const tool_own *own, tool_opts *ret);
void tool_opts_fini(tool_opts *o);
/** Put the command before the options of every command that were given in front of it. */
void tool_command_first(int argc, char **argv);
/** The options of these groups, a line each. */
void tool_options_help(unsigned groups, FILE *out);
/** The level of the log that --verbose and --quiet ask for; NULL: neither was given. */
const char *tool_log_level(const tool_opts *o);
/** How a command is written (main.c). */
void tool_usage(const char *command, FILE *out);

/** Say what is wrong with the command line.  @return TOOL_USAGE */
int tool_misuse(const tool_opts *o, const char *format, ...) FJ_PRINTF(2, 3);
/** Print @p err (takes) to standard error, as text or JSON.  @return the exit code of its code */
int tool_fail(const tool_opts *o, fj_error *err);
/** Print a value to standard output as one line of JSON.  @return the exit code */
int tool_print(const tool_opts *o, const json_t *value);
/** A remark to standard error, unless --quiet. */
void tool_note(const tool_opts *o, const char *format, ...) FJ_PRINTF(2, 3);

/** The configuration of --config-file and --config-dir, or where there is none, of the default places.  @param ret gives */
fj_code tool_conf(const tool_opts *o, fj_conf **ret, fj_error **err);
/** The transport of --url, FJORD_URL or the configuration, in that order.  @param ret gives */
fj_code tool_open(tool_opts *o, fj_transport **ret, fj_error **err);

/** TOPIC.SERVER, split at its last dot in place unless --server was given, and the other parts of a target.
 *  @param ret lends from @p o and @p text */
void tool_target(const tool_opts *o, char *text, fj_target *ret);
/** key=text and key:=json from the @p first of the rest on.  @param ret gives
 *  @return -1 to go on; else the exit code */
int tool_args(const tool_opts *o, int first, json_t **ret);

/* config_check.c, config_show.c, config_man.c: see config.c */

int tool_config_check(const tool_opts *o);
int tool_config_show(const tool_opts *o);
/** fjord.conf(5), in mdoc. */
int tool_config_man(const tool_opts *o);
/** What may be shown of a URL: its password hidden.  @return gives; NULL when memory ran out */
char *tool_shown_url(const char *text);

/* exec.c: --exec */

/** Run `sh -c program` with @p input on its standard input.
 *  @param limit  when it is killed   @param ret gives the JSON value it wrote
 *  @errors RAISED (RuntimeError) with its standard error as the text when it failed or was
 *          killed, BAD_JSON for other output, SYSTEM, NOMEM   @blocks until it ends, or @p limit; a task suspends */
FJ_MAY_AWAIT fj_code tool_exec(const char *program, const json_t *input, fj_deadline limit, json_t **ret,
                               fj_error **err);
/** Kill the programs that run, and each that is started from now on.  @thread any */
void tool_exec_end(void);

/* wait.c */

/** poll(2) until @p by.  A task suspends, and its loop goes on; of its descriptors each is there once, for POLLIN or
 *  POLLOUT.
 *  @return OK, also at @p by, and when nothing is ready   @errors SYSTEM, NOMEM, CANCELLED in a task that is to end */
FJ_MAY_AWAIT fj_code tool_wait(struct pollfd *p, nfds_t n, fj_deadline by, fj_error **err);

#endif
