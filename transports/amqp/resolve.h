/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_RESOLVE_H
#define FJORD_AMQP_RESOLVE_H
/* Names to addresses without blocking: getaddrinfo(3) knows no deadline, so it runs on a thread of its own. */
#include <netdb.h>
#include <stdbool.h>

typedef struct fj__resolve fj__resolve;

/** Begin.  A numeric address is answered at once, without a thread.  @p wake_fd, an eventfd, is written when the
 *  answer is there; it is duplicated, so that it may be closed meanwhile.  @return NULL when out of memory or threads */
fj__resolve *fj__resolve_start(const char *host, const char *port, int wake_fd);
/** @param ret gives on success: freeaddrinfo()   @param gai_error 0 or what getaddrinfo answered
 *  @return false: not yet */
bool fj__resolve_done(fj__resolve *r, struct addrinfo **ret, int *gai_error);
/** Give up or clean up; never blocks (an unfinished lookup frees itself when it ends).  Accepts NULL. */
void fj__resolve_free(fj__resolve *r);

#endif
