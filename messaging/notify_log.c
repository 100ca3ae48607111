/* SPDX-License-Identifier: Apache-2.0 */
/* The notification driver log: a line each, in the component "notification", with secrets hidden. */
#include "base/alloc.h"
#include "base/log.h"
#include "messaging/notify_drivers.h"
#include "transports/message.h"

#include <string.h>

#define COMPONENT "notification"
#define NAME "oslo.messaging.notification" /* of oslo.messaging's loggers */

/* What a key has in its name when its value is for nobody to see, as oslo.utils judges it. */
static const char *const secrets[] = { "password",    "passphrase", "adminpass", "admin_pass", "new_pass",
                                       "auth_token",  "token",      "secret",    "pswd",       "private_key",
                                       "credential",  "cookie",     "sslkey",    "fernetkey",  "encrypted_key",
                                       "configdrive", "passwd" };

static bool is_secret(const char *key)
{
    for (size_t i = 0; i < fj__countof(secrets); i++)
        if (strcasestr(key, secrets[i]) != NULL)
            return true;
    return false;
}

/* Hides what is secret in @p value, which is nobody else's.  @return false: no memory */
static bool mask(json_t *value, unsigned depth)
{
    enum { DEPTH_MAX = 1000 }; /* deeper than any option allows */
    const char *key;
    json_t *one;
    void *next;
    bool ok = depth < DEPTH_MAX;

    for (size_t i = 0; ok && json_is_array(value) && i < json_array_size(value); i++)
        ok = mask(json_array_get(value, i), depth + 1);
    json_object_foreach_safe(value, next, key, one)
    {
        if (!ok)
            break;
        if (json_is_object(one) || json_is_array(one) || !is_secret(key))
            ok = mask(one, depth + 1);
        else
            ok = json_object_set_new(value, key, json_string("***")) == 0;
    }
    return ok;
}

/* @return false: there is no level for it, as in Python */
static bool level_of(fj_priority priority, fj_log_level *ret)
{
    switch (priority) {
    case FJ_NOTIFY_DEBUG:
        *ret = FJ_LOG_DEBUG;
        return true;
    case FJ_NOTIFY_AUDIT:
    case FJ_NOTIFY_INFO:
        *ret = FJ_LOG_INFO;
        return true;
    case FJ_NOTIFY_WARN:
        *ret = FJ_LOG_WARNING;
        return true;
    case FJ_NOTIFY_ERROR:
    case FJ_NOTIFY_CRITICAL:
        *ret = FJ_LOG_ERROR;
        return true;
    default:
        return false;
    }
}

static fj_code notify(void *state, const fj_notification *n, fj_future **ret, fj_error **err)
{
    fj_log_level level = FJ_LOG_INFO;
    char *text = NULL;

    (void)state, (void)ret;
    if (!level_of(n->priority, &level))
        return fj_fail(err, FJ_UNSUPPORTED, "the log has no level for the priority %s",
                       fj_priority_name(n->priority));
    if (!fj__log_on(level, COMPONENT))
        return FJ_OK;
    json_t *message = fj__notification_json(n);
    fj_code code = message != NULL && mask(message, 0)
                       ? fj_json_write(message, NULL, &text, NULL, err)
                       : fj_fail(err, FJ_BAD_VALUE, "the notification is not UTF-8, or memory ran out");
    if (code == FJ_OK)
        fj__log(level, COMPONENT, NAME ".%s %s", n->event_type, text);
    free(text);
    json_decref(message);
    return code;
}

const fj_notify_driver fj__notify_log = {
    FJ_NOTIFY_DRIVER_ABI, sizeof(fj_notify_driver), "log", NULL, notify, NULL
};
