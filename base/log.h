/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_LOG_H
#define FJORD_BASE_LOG_H
/* Logging from inside the library.  Secrets are redacted by type: a text that is secret is kept as
 * fj__secret, which no format can print; fj__secret_text() is called only where the bytes are sent. */
#include <fjord/log.h>

/** Whether a line of that level and component would go anywhere: asked before costly formatting.  @thread any */
bool fj__log_on(fj_log_level level, const char *component);
/** Write one line.  Not with a lock of the library held (a callback may be slow).  @thread any */
#define fj__log(level, component, ...) fj__log_at(__FILE__, __LINE__, __func__, level, component, __VA_ARGS__)
void fj__log_at(const char *file, unsigned line, const char *function, fj_log_level level,
                const char *component, const char *format, ...) FJ_PRINTF(6, 7);

/** What the line is about: NULL what is not known; lends, until the line is written. */
typedef struct {
    const char *request; /**< the id that a request has through all services */
    const char *message; /**< the id of the message that it came by */
    const char *method;
} fj__log_context;
/** Who knows: asked on the thread that logs.  NULL: nobody. */
void fj__log_context_set(void (*fn)(fj__log_context *ret));
/** The levels in force: {"level": of what has none of its own, "components": {name: level}}, "off" for silence.  Gives; NULL: no
 *  memory.  @thread any */
json_t *fj__log_levels(void);
/** Whether "all" was switched, and so stands above fj_log_set_level(). */
bool fj__log_has_all(void);
/** Whether lines go to a file.  @thread any */
bool fj__log_has_file(void);

typedef struct {
    char *hidden; /**< never printed */
} fj__secret;

/** The text of a secret, "" for none: only for the bytes that go to the peer. */
static inline const char *fj__secret_text(const fj__secret *s)
{
    return s->hidden != NULL ? s->hidden : "";
}
/** Overwrite and free. */
void fj__secret_clear(fj__secret *s);

#endif
