/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_GREEN_H
#define FJORD_RUNTIME_GREEN_H
/* Green from inside the library: what of libfjord-green is there, and the switch of each thread. */
#include <fjord/green.h>

/** This thread's switch, or NULL when there is no libfjord-green.  Lends, for the thread's life. */
int *fj__green_switch(void);
/** Debug mode is on: from now on who holds mutexes is watched. */
void fj__green_watch(void);
/** Whether mutexes are watched, and not patched: to wait with one held blocks whoever wants it on this thread. */
bool fj__green_watched(void);
/** Whether every group of @p what has its hooks before libc's functions.
 *  @errors UNSUPPORTED: the text says what is missing and what to do   @thread any */
fj_code fj__green_check(unsigned what, fj_error **err);
/** What finds the functions behind the hooks; NULL when there is no libfjord-green. */
void *(*fj__green_original(void))(const char *name);
/** The group of that name: "socket" and so on; 0: there is none. */
unsigned fj__green_group(const char *name);
/** The names of the groups of @p what, by commas.  Gives; NULL when memory ran out. */
char *fj__green_group_names(unsigned what);

#endif
