/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BACKDOOR_H
#define FJORD_BACKDOOR_H
/*
 * The backdoor: a socket on which a running process tells what it does, to `fjord inspect` and to anybody who writes a line to it
 * (docs/inspect.md).  Only the user of the process and root may; nothing of it runs on a loop's thread but a loop's own answer.
 *
 * `fjord serve` and the processes of a fj_service open it where [fjord] backdoor says.  Other programs call fj_backdoor_start().
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

/** Open the backdoor of this process.
 *  @param path  lends: where the socket is made, with mode 0600; %p stands for the process id, %n for @p name, %w for the number of
 *  a worker ("main" elsewhere), %% for one of them.  One that a dead process left is replaced
 *  @param name  lends: what the process is called there; NULL: the program's name
 *  @errors STATE there is one already; BUSY another process answers there; BAD_VALUE the path is too long, or has a % that stands
 *          for nothing; SYSTEM a file that is no socket, a folder that is not there; NOMEM
 *  @thread any; a child of fork has none and may open its own   @blocks no longer than a few system calls */
FJ_API FJ_MUST_USE fj_code fj_backdoor_start(const char *path, const char *name, fj_error **err);
/** Close it and remove the socket; what is being asked is answered first.  Nothing when there is none.
 *  @thread any but a loop's while it runs   @blocks until the last answer is made: 10 seconds at most, if a loop is blocked */
FJ_API void fj_backdoor_stop(void);

FJ_END_DECLS
#endif
