/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_OWN_H
#define FJORD_TOOLS_OWN_H
/* The options that one command alone has, as getopt_long() wants them.  Where there are none, `own` is NULL. */
#include "tools/common.h"
#include <getopt.h>

enum { TOOL_OWN_LETTERS = 2 * TOOL_OWN_MAX + 2 };

/** Their help, a line each, to standard output. */
void tool_own_help(const tool_own *own);
bool tool_own_has(const tool_own *own, const char *name);
/** Fill @p names and @p letters, which begin with ':' and end by NUL.  @return how many names there are */
size_t tool_own_list(const tool_own *own, struct option *names, char letters[TOOL_OWN_LETTERS]);
/** What getopt_long() answered, if it is one of them.
 *  @return false: it is none; else *ret_rc is -1 to go on, or the exit code */
bool tool_own_take(const tool_own *own, const tool_opts *o, int option, int *ret_rc);

#endif
