/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_NOTIFY_DRIVER_H
#define FJORD_NOTIFY_DRIVER_H
/*
 * The contract of a notification driver: where notifications go.  One const table; those built in (messaging, messagingv2, routing,
 * log, test, noop) and those loaded from the plug-in folder are equal under it.
 *
 * A plug-in exports `const fj_notify_driver *fj_notify_driver_plugin(void)` and is a file `<name>.so` in [fjord] plugin_dir, or is
 * named by its absolute path.  It is never unloaded.
 */
#include <fjord/base.h>
#include <fjord/conf.h>
#include <fjord/error.h>
#include <fjord/future.h>
#include <fjord/notification.h>
#include <fjord/transport.h>

FJ_BEGIN_DECLS

#define FJ_NOTIFY_DRIVER_ABI 1u

/** What a notifier gives its drivers.  All lend, until close(). */
typedef struct {
    size_t size;
    const fj_conf *conf;
    fj_transport *transport;
    const char *const *topics; /**< ended by NULL */
} fj_notify_driver_opts;

typedef struct {
    uint32_t abi; /**< FJ_NOTIFY_DRIVER_ABI */
    size_t size;
    const char *name;
    /** For one notifier.  Never blocks on the network.  May be NULL.  @param ret gives: what the others get */
    fj_code (*open)(const fj_notify_driver_opts *opts, void **ret, fj_error **err);
    /** Begin to send one.  Never blocks.  Any thread, task, or call-back of a loop; several at once.
     *  @param n    lends; exchange may be set, topic is not
     *  @param ret  gives a future of when it is there; left NULL: it is there, or needs nobody to wait for it
     *  @errors known at once: then no future */
    fj_code (*notify)(void *state, const fj_notification *n, fj_future **ret, fj_error **err);
    /** The notifier is freed.  May be NULL. */
    void (*close)(void *state);
} fj_notify_driver;

FJ_END_DECLS
#endif
