/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_NOTIFY_H
#define FJORD_MESSAGING_NOTIFY_H
/* What systemd is told, by its own library, which is loaded only where $NOTIFY_SOCKET says that somebody listens. */
#include <fjord/base.h>
#include <fjord/clock.h>

typedef struct {
    int (*tell)(int unset_environment, const char *state); /* NULL: nobody listens */
    int64_t watchdog_ns;                                   /* WATCHDOG is due at least so often; 0: never */
} fj__notify;

void fj__notify_open(fj__notify *n);
/** When those who must turn are asked next whether they do: in a quarter of what systemd waits, so that one round that is missed costs
 *  nothing; never, if there is no watchdog. */
fj_deadline fj__notify_round(const fj__notify *n);
/** Tell @p format, which is lines of NAME=VALUE (sd_notify(3)). */
void fj__notify_tell(const fj__notify *n, const char *format, ...) FJ_PRINTF(2, 3);
/** RELOADING, with the time that systemd wants with it. */
void fj__notify_reloading(const fj__notify *n);
/** In a worker: it has nothing to tell, and what it starts has not either. */
void fj__notify_forget(void);

#endif
