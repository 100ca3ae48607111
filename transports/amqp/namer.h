/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_NAMER_H
#define FJORD_AMQP_NAMER_H
/*
 * Names of queues that a service has again after it was restarted: HOST:PROCESS:N, as oslo.messaging's queue manager makes them (wire.md
 * section 3).  N counts within the process group, from 1: it is kept in /dev/shm, which all processes of the service share, and
 * begins again with a new group.
 */
#include <fjord/error.h>

typedef struct fj__namer fj__namer;

/** @param host, process  copied; NULL and "": those of the machine and the program
 *  @param lock_path  copied: the folder of oslo.concurrency's locks, where a program in Python of the same names has its; NULL:
 *                    beside the counter
 *  @param ret gives   @errors BAD_CONFIG: a name that is none of a file; NOMEM */
fj_code fj__namer_new(const char *host, const char *process, const char *lock_path, fj__namer **ret,
                      fj_error **err);
/** Accepts NULL, answers NULL. */
fj__namer *fj__namer_free(fj__namer *n);
/** The next name.  @param ret gives   @errors SYSTEM: the files cannot be had; NOMEM
 *  @thread any, several at once   @blocks for microseconds; while another process holds the lock, for a second at most */
fj_code fj__namer_next(const fj__namer *n, char **ret, fj_error **err);

#endif
