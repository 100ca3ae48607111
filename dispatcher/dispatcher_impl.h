/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DISPATCHER_IMPL_H
#define FJORD_DISPATCHER_IMPL_H
/* A dispatcher inside: dispatcher.c has the tables and requests of RPC, notified.c is what is otherwise for notifications. */
#include "base/counters.h"
#include "dispatcher/filter.h"
#include "dispatcher/live.h"

#include <fjord/dispatcher.h>

struct fj__entry {
    const fj_endpoint *endpoint;
    void *data;
    _Atomic(fj__counted *) *rows; /* by method, once it was called; NULL: by name */
    fj__filter *filter;           /* of notifications; NULL: none */
};

struct fj_dispatcher {
    fj_access access;
    fj_serializer serializer;
    bool ping;     /* answered by an entry of its own, after all others */
    bool notified; /* of notifications: methods are named by priorities */
    bool requeues; /* who fails gets the message again */
    struct fj__entry *entries;
    size_t n, capacity;
    fj__counters *counters;
    fj__live live;
};

const fj_method *fj__endpoint_method(const fj_endpoint *e, const char *name);
/** The counters of a method, known by its place in its table; of one for all names, by the name that was asked for. */
fj__counted *fj__entry_row(fj_dispatcher *d, const struct fj__entry *entry, const fj_method *method,
                           const char *name);
/** A request of a message whose method is known; name, arguments and context are still to be put in.
 *  @param in takes on ok   @return gives one reference; NULL: no memory */
fj_request *fj__request_new(fj_dispatcher *d, fj_incoming *in, const struct fj__entry *entry,
                            const fj_method *method, const char *name, fj_request_done_fn done, void *user);
/** From now on it can be seen. */
void fj__request_show(fj_request *req);

/* ---- notified.c: notifications ------------------------------------------------------------------- */

/** As fj_dispatcher_begin(). */
fj_code fj__notified_begin(fj_dispatcher *d, fj_incoming *in, fj_request_done_fn done, void *user,
                           fj_request **ret, fj_error **err);
/** As fj_dispatcher_run(), once its turn has come.  Takes nothing. */
void fj__notified_run(fj_dispatcher *d, fj_request *req, fj_invoke_fn invoke, void *user);
/** Whether a notification that ended in @p failure goes back to its queue. */
bool fj__notified_goes_back(const fj_request *req, const fj_error *failure);

#endif
