/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_LOG_H
#define FJORD_BASE_LOG_H
/* Logging from inside the library.  Secrets are redacted by type: a text that is secret is kept as
 * fj__secret, which no format can print; fj__secret_text() is called only where the bytes are sent. */
#include <fjord/log.h>

/** Whether a line of that level and component would go anywhere: asked before costly formatting.  @thread any */
bool fj__log_on(fj_log_level level, const char *component);
/** Write one line.  Not with a lock of the library held (a callback may be slow).  @thread any */
void fj__log(fj_log_level level, const char *component, const char *format, ...) FJ_PRINTF(3, 4);

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
