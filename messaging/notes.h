/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_NOTES_H
#define FJORD_MESSAGING_NOTES_H
/* What makes a server one of notifications: a fj_notify_listener is a fj_server that has this. */
#include <fjord/driver.h>
#include <fjord/notify_listener.h>
#include <fjord/server.h>

typedef struct {
    fj_target *targets;
    size_t n;
    char *pool;
    bool requeue;
    unsigned batch;
    double batch_timeout;
    fj_transport *own; /* opened for it; NULL: it has its caller's */
} fj__notes;

/** The server that @p listener is. */
fj_server *fj__listener_server(fj_notify_listener *listener);
/** Accepts NULL. */
void fj__notes_free(fj__notes *notes);
/** Listen, in batches if that is wanted.  @param priorities  which   @param ret gives */
fj_code fj__notes_listen(const fj__notes *notes, fj_driver *d, const fj_dispatcher *dispatcher,
                         const fj_listen_opts *opts, fj_deadline by, fj_listener **ret, fj_error **err);

/* notify_batch.c */

/** Put a listener in front of @p under that gives batches, one message {"priority", "batch": [{"message", "context"}]} each, of one priority.
 *  One that is done with, given back or freed, is so whole.
 *  @param under  takes on ok: it is freed with it   @param timeout seconds; 0: none   @param ret gives */
fj_code fj__notify_batches(fj_listener *under, unsigned size, double timeout, fj_listener **ret,
                           fj_error **err);

#endif
