/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VISIT_H
#define VISIT_H
/* What the three hosts run: the calculator as a server, and a task that calls it, both on the loop that they give. */
#include <fjord/fjord.h>

typedef struct visit visit;

/** Serve, and call: @p over is called when all answers are there, in a task of the loop.  @return NULL, and says why */
visit *visit_begin(const char *conf_file, fj_loop *loop, void (*over)(void *user), void *user);
/** Stop and free all, while the host's loop stands.  @return an exit code */
int visit_end(visit *v);
/** Whether the host is to own every descriptor: `NAME service.conf drive`. */
int visit_drives(int argc, char **argv);

#endif
