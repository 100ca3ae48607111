/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_NOTIFY_DRIVERS_H
#define FJORD_MESSAGING_NOTIFY_DRIVERS_H
/* The notification drivers there are, and those that are open for somebody: a notifier, or the driver that routes to others. */
#include <fjord/notify_driver.h>

/* notify_messaging.c, notify_routing.c, notify_log.c, notify_test.c */
extern const fj_notify_driver fj__notify_messaging, fj__notify_messagingv2, fj__notify_routing, fj__notify_log,
    fj__notify_test, fj__notify_noop;

/** Drivers that are open. */
typedef struct {
    struct fj__notify_open {
        const fj_notify_driver *ops;
        void *state;
    } * all;
    size_t n, room;
} fj__notify_drivers;

/** Open one more; one that is open already stays as it is.
 *  @param ret_at  its place; may be NULL   @errors NO_DRIVER: there is none; those of its open */
fj_code fj__notify_drivers_add(fj__notify_drivers *d, const char *name, const fj_notify_driver_opts *opts,
                               size_t *ret_at, fj_error **err);
void fj__notify_drivers_fini(fj__notify_drivers *d);

/** The futures of one notification, until they are one. */
typedef struct {
    fj_future **all;
    size_t n, room;
    bool refused; /* the last one has failed at once */
} fj__notify_sent;

/** One that is begun, or has failed at once.  @param future takes; NULL with OK: there is nothing to wait for   @param error takes */
void fj__notify_sent_add(fj__notify_sent *s, fj_code code, fj_future *future, fj_error *error);
/** All of them, as one.  @param ret gives; NULL when there is nothing to wait for   @p s is spent.   @errors of the only one that failed
 *  at once, if it is the only one; NOMEM */
fj_code fj__notify_sent_end(fj__notify_sent *s, fj_future **ret, fj_error **err);

#endif
