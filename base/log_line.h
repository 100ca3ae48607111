/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_LOG_LINE_H
#define FJORD_BASE_LOG_LINE_H
/* One line of the log, and how it is written. */
#include <fjord/log.h>

#include <sys/types.h>
#include <time.h>

/** What is known of a line.  Texts are never NULL, "" for unknown, and as they were given: nothing in them is escaped. */
typedef struct {
    fj_log_level level;
    struct timespec when;
    pid_t pid, tid;
    long offset; /**< of local time, in seconds to the east: what syslog shows */
    unsigned line;
    unsigned long dropped; /**< how many lines were lost just before this one */
    const char *file, *function;
    const char *component, *request, *message, *method;
    const char *text;
    size_t text_n;
} fj__log_line;

typedef enum { FJ__LOG_TEXT, FJ__LOG_JSON, FJ__LOG_SYSLOG, FJ__LOG_JOURNAL } fj__log_format;

/** What a text is cut to before it waits for a writer, in bytes: all of it escaped, it still fits in a datagram. */
enum { FJ__LOG_TEXT_MAX = 16 * 1024 };
/** Room for all but the text, when each of its parts is as long as a ring lets it be, and all of it escapes. */
enum { FJ__LOG_HEAD_MAX = 8192 };

/** Write into @p out, of @p size bytes, what of @p text may go to a terminal: control characters, what turns the direction of
 *  writing, and bytes that are no UTF-8 are escaped as in C.  Ends with a NUL; what does not fit is left out, never half an escape.
 *  @return how long it is, or would be */
size_t fj__log_escape(char *out, size_t size, const char *text, size_t n);
/** Who gets each line besides where it goes, on the thread that logs, with nothing held; it keeps nothing of it.  NULL: nobody. */
void fj__log_tap(void (*fn)(const fj__log_line *line));
/** The line in a format, which ends in a newline; a text that does not fit ends in "...".
 *  @param ident  who logs: of syslog and journald   @param facility of syslog, as LOG_USER
 *  @return its length; 0: all that comes before the text did not fit */
size_t fj__log_render(char *out, size_t size, const fj__log_line *line, fj__log_format format,
                      const char *ident, int facility);

#endif
