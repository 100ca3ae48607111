/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_CHAOS_CONTROL_H
#define FJORD_TOOLS_CHAOS_CONTROL_H
/* The control socket: a command a line, a JSON object as its answer. */
#include "tools/chaos/proxy.h"

typedef struct chaos_control chaos_control;

/** @param path  where; nobody but this user can connect   @param proxy  lends
 *  @errors BAD_VALUE (the path), STATE (somebody answers there), SYSTEM, NOMEM */
FJ_MUST_USE fj_code chaos_control_new(chaos_proxy *proxy, const char *path, chaos_control **ret,
                                      fj_error **err);
/** Removes the socket.  NULL is fine. */
chaos_control *chaos_control_free(chaos_control *c);

/** Do one command.  @return gives the answer; NULL when memory ran out */
json_t *chaos_command(chaos_proxy *proxy, const char *line);
void chaos_command_help(FILE *out);

/** `fjord-chaos ctl`: ask and print the answer.  @return the exit code */
int chaos_ctl(int argc, char **argv);

#endif
