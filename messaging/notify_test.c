/* SPDX-License-Identifier: Apache-2.0 */
/* The notification drivers that go nowhere: test, which keeps what it gets for whoever asks, and noop. */
#include <fjord/notify.h>

#include "base/native.h"
#include "messaging/notify_drivers.h"
#include "transports/message.h"

#include <pthread.h>

enum { KEPT_MAX = 10000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static json_t *kept;

static fj_code keep(void *state, const fj_notification *n, fj_future **ret, fj_error **err)
{
    json_t *context = n->context != NULL ? json_deep_copy(n->context) : json_object();
    json_t *one = json_pack("{s:o, s:o, s:s, s:i}", "context", context, "message", fj__notification_json(n),
                            "priority", fj__priority_upper(n->priority), "retry", n->retry);

    (void)state, (void)ret;
    if (one == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "the notification is not UTF-8, or memory ran out");
    (void)fj__native.pthread_mutex_lock(&lock);
    if (kept == NULL)
        kept = json_array();
    if (json_array_size(kept) == KEPT_MAX)
        (void)json_array_remove(kept, 0);
    int bad = json_array_append_new(kept, one);
    (void)fj__native.pthread_mutex_unlock(&lock);
    return bad == 0 ? FJ_OK : fj_fail(err, FJ_NOMEM, "no memory to keep a notification");
}

json_t *fj_notify_test_take(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
    json_t *all = kept;
    kept = NULL;
    (void)fj__native.pthread_mutex_unlock(&lock);
    return all != NULL ? all : json_array();
}

static fj_code nowhere(void *state, const fj_notification *n, fj_future **ret, fj_error **err)
{
    (void)state, (void)n, (void)ret, (void)err;
    return FJ_OK;
}

const fj_notify_driver fj__notify_test = {
    FJ_NOTIFY_DRIVER_ABI, sizeof(fj_notify_driver), "test", NULL, keep, NULL
};
const fj_notify_driver fj__notify_noop = {
    FJ_NOTIFY_DRIVER_ABI, sizeof(fj_notify_driver), "noop", NULL, nowhere, NULL
};
