/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_LOG_OUT_H
#define FJORD_BASE_LOG_OUT_H
/* Where lines go. */
#include "base/log_line.h"

/** Complete a line, whose texts may be NULL, and send it on.  Never blocks, but for what a call-back of the program does. */
void fj__log_deliver(fj__log_line *line);
void fj__log_before_fork(void);
void fj__log_after_fork(bool child);

#endif
