/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_LOG_LIMIT_H
#define FJORD_BASE_LOG_LIMIT_H
/* How many lines of a component are let through in a time.  No locks of its own: who logs has one. */
#include <fjord/log.h>

#include <stdint.h>

typedef struct {
    unsigned burst, seconds;
    unsigned long left_out; /**< lines of the component in the time before this one, to be told of */
    bool first;             /**< this one is the first that is left out, to be told of */
} fj__log_limit_told;

/** Begin anew.  @return whether there is a limit */
bool fj__log_limit_set(unsigned burst, unsigned seconds, int except);
/** One line more, at @p now in ns.  @return whether it is let through */
bool fj__log_limit_pass(fj_log_level level, const char *component, int64_t now, fj__log_limit_told *ret);

#endif
