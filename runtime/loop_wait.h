/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_LOOP_WAIT_H
#define FJORD_RUNTIME_LOOP_WAIT_H
/*
 * Tasks that wait for descriptors: any number of them for one, in either direction, beside the reader and the writer it may
 * have.  These answer as libc does; what they mean by it is in runtime/hooks/table.h.
 */
#include <fjord/clock.h>
#include <fjord/error.h>
#include <poll.h>
#include <stdbool.h>

/** wait_fd of the table.  Only in a task. */
int fj__wait_fd(int fd, short events, fj_deadline by);
/** wait_fds of the table.  Only in a task. */
int fj__wait_fds(struct pollfd *fds, nfds_t n, fj_deadline by);
/** closing of the table.  @thread any */
void fj__wait_closing(unsigned first, unsigned last);
/** watched of the table.  @thread any */
bool fj__wait_watched(unsigned first, unsigned last);
/** The errno value for why a wait of this task ended; ETIMEDOUT for every TIMEOUT. */
int fj__wait_errno(fj_code code);

#endif
