/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DISPATCHER_LIVE_H
#define FJORD_DISPATCHER_LIVE_H
/*
 * What can be seen of a dispatcher from outside: the requests that it has in hand, and what it has counted of each method.
 *
 * The lock guards the list and is held for a few instructions: whoever looks takes a few requests at a time, and keeps its place
 * with a mark between them.
 */
#include "base/counters.h"
#include "dispatcher/request.h"

struct fj__live {
    atomic_uint lock;
    fj__live_link first; /* of a ring: the oldest follows */
};

void fj__live_init(fj__live *l);
/** From now on it can be seen, until: */
void fj__live_add(fj__live *l, fj_request *req);
/** Before anything of it is freed. */
void fj__live_remove(fj__live *l, fj_request *req);

/** The requests in hand, the oldest first, a thousand at most.  @param server  whose they are, lends
 *  Gives an array; NULL when memory ran out.  @thread any */
json_t *fj__dispatcher_calls(fj_dispatcher *d, const char *server);
/** What was counted, as fj__counters_json() says.  @thread any */
json_t *fj__dispatcher_counters(fj_dispatcher *d, const char *server);

#endif
