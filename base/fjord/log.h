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

/** One log line.  @p component is "conf", "amqp", "fake", "rpc", "executor"...; @p text has no newline.
 *  Called from whichever thread logs, never with a lock of the library held; may be called from several
 *  threads at once; must not call back into the library. */
typedef void (*fj_log_fn)(void *user, fj_log_level level, const char *component, const char *text);

/** Send the log to @p fn; NULL restores standard error.  @thread any */
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
/** Write one line, as the library does: for plug-ins.  @p component is their name.  @thread any */
FJ_API void fj_log(fj_log_level level, const char *component, const char *format, ...) FJ_PRINTF(3, 4);

FJ_END_DECLS
#endif
