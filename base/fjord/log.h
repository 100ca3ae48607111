/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_LOG_H
#define FJORD_LOG_H
/*
 * Logging.  The library writes to standard error at FJ_LOG_WARNING and above until the program says
 * otherwise; a callback replaces standard error.  Nothing secret is ever handed to it.
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

typedef enum { FJ_LOG_ERROR = 0, FJ_LOG_WARNING, FJ_LOG_INFO, FJ_LOG_DEBUG, FJ_LOG_TRACE } fj_log_level;

/** One log line.  @p component is "conf", "amqp", "fake", "rpc", "executor"...; control characters of @p text are escaped, so that it
 *  has no newline.
 *  Called from whichever thread logs, never with a lock of the library held; may be called from several
 *  threads at once; must not call back into the library. */
typedef void (*fj_log_fn)(void *user, fj_log_level level, const char *component, const char *text);

/** Send the log to @p fn, and nowhere else; NULL restores what fj_log_open() said, or standard error.  @thread any */
FJ_API void fj_log_set(fj_log_fn fn, void *user);
/** The highest level that is logged, for all components.  @thread any */
FJ_API void fj_log_set_level(fj_log_level level);
/** Component switches in one string: "amqp=debug,rpc=info,-fake" (a bare name means trace; "all" every
 *  component; "-" in front silences).  The environment's FJ_TRACE is read once at first use in the same
 *  language.  @errors BAD_VALUE names the word that is not understood.  @thread any */
FJ_API fj_code fj_log_switch(const char *switches, fj_error **err);
/** "error", "warning", "info", "debug", "trace" (any case) to a level; false when it is none. */
FJ_API bool fj_log_level_parse(const char *text, fj_log_level *ret);
FJ_API const char *fj_log_level_name(fj_log_level level);
/** Let at most @p burst lines of each component through in @p seconds, which oslo.log calls rate_limit_burst and rate_limit_interval.
 *  What is left out is counted, and told of.  @param burst, seconds  0: no limit, as in the beginning
 *  @param except  lines of this fj_log_level and graver ones are always let through; -1: none   @thread any */
FJ_API void fj_log_limit(unsigned burst, unsigned seconds, int except);
/** Write one line, as the library does: for plug-ins.  @p component is their name.  @thread any */
FJ_API void fj_log(fj_log_level level, const char *component, const char *format, ...) FJ_PRINTF(3, 4);

/** Where lines go; all of them, when there are several. */
typedef struct {
    size_t size;
    const char *file;     /**< appended to, made with mode 0640; a pipe's name will do, too; NULL: none */
    const char *facility; /**< of syslog, as "user", "daemon" or "LOG_LOCAL0"; NULL: no syslog */
    bool journal;         /**< journald, with fields: docs/logging.md */
    bool to_stderr;       /**< as is the case when nothing else is said */
    bool json;            /**< the file and standard error get an object a line */
    const char *ident; /**< the program's name for syslog and journald; NULL: program_invocation_short_name */
    const char *syslog_socket, *journal_socket; /**< NULL: /dev/log and /run/systemd/journal/socket */
    size_t ring;                                /**< bytes of lines that may wait for each of them; 0: 1 MiB */
} fj_log_opts;
#define FJ_LOG_OPTS(...)                         \
    {                                            \
        .size = sizeof(fj_log_opts), __VA_ARGS__ \
    }

/** Send the log to other places from now on; NULL: to standard error, as in the beginning.  Each place has a thread that writes, so
 *  that a line never waits for one: what a place cannot take is kept, and counted when it is too much.  What is not there yet, or does
 *  not work, is tried again and again.  The places before get rid of what they have, or give it up after a second.
 *  @param opts lends   @errors BAD_VALUE a facility that is none; NOMEM; nothing has changed then   @thread any   Does not block. */
FJ_API FJ_MUST_USE fj_code fj_log_open(const fj_log_opts *opts, fj_error **err);
/** Open the file anew, as after logrotate has renamed it (which is noticed at the next line anyway): for SIGHUP.  fj_run() does so.
 *  @thread any; in a signal's handler, too */
FJ_API void fj_log_reopen(void);
/** Wait until all lines are written, @p ms milliseconds at most; exit() does so for a second.
 *  @return whether they are   @thread any   @blocks the thread, also in a task */
FJ_API bool fj_log_flush(int ms);

FJ_END_DECLS
#endif
