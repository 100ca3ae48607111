/* SPDX-License-Identifier: Apache-2.0 */
/* The notification drivers messaging and messagingv2: to the broker, once for each topic. */
#include "base/alloc.h"
#include "messaging/internal.h"
#include "messaging/notify_drivers.h"

struct messaging {
    fj_driver *driver;
    const char *const *topics;
};

static fj_code open_(const fj_notify_driver_opts *opts, void **ret, fj_error **err)
{
    fj_driver *d = opts->transport->driver;

    if (!fj__driver_has(d, notify))
        return fj_fail(err, FJ_UNSUPPORTED, "the transport %s:// sends no notifications", d->ops->name);
    struct messaging *m = fj__alloc(sizeof *m);
    if (m == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    *m = (struct messaging){ d, opts->topics };
    *ret = m;
    return FJ_OK;
}

static fj_code send_all(const struct messaging *m, const fj_notification *from, unsigned version,
                        fj_future **ret, fj_error **err)
{
    fj_notification n = *from;
    fj__notify_sent sent = { 0 };

    n.version = version;
    if (m->topics[0] != NULL && m->topics[1] != NULL)
        n.flags &= ~(unsigned)FJ_SEND_WAITED; /* who waits for several helps none of them along */
    for (const char *const *topic = m->topics; *topic != NULL; topic++) {
        fj_future *future = NULL;
        fj_error *error = NULL;
        n.topic = *topic;
        fj_code code = m->driver->ops->notify(m->driver, &n, &future, &error);
        fj__notify_sent_add(&sent, code, future, error);
    }
    return fj__notify_sent_end(&sent, ret, err);
}

static fj_code notify(void *state, const fj_notification *n, fj_future **ret, fj_error **err)
{
    return send_all(state, n, 1, ret, err);
}

static fj_code notify2(void *state, const fj_notification *n, fj_future **ret, fj_error **err)
{
    return send_all(state, n, 2, ret, err);
}

static void close_(void *state)
{
    fj__free(state);
}

const fj_notify_driver fj__notify_messaging = {
    FJ_NOTIFY_DRIVER_ABI, sizeof(fj_notify_driver), "messaging", open_, notify, close_
};
const fj_notify_driver fj__notify_messagingv2 = {
    FJ_NOTIFY_DRIVER_ABI, sizeof(fj_notify_driver), "messagingv2", open_, notify2, close_
};
