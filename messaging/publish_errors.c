/* SPDX-License-Identifier: Apache-2.0 */
/* [DEFAULT] publish_errors: while a transport is open whose configuration says so, lines of level error are sent as notifications, by one
 * notifier for the process, which has a transport of its own.  A program's own fj_log_notify() stands above it. */
#include <fjord/notify_log.h>

#include "base/log.h"
#include "base/native.h"
#include "messaging/internal.h"

typedef struct {
    unsigned users, generation; /* transports, all opened in the process of that generation */
    fj_transport *transport;
    fj_notifier *notifier;
} publisher;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static publisher now; /* under the lock */

static void take(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
}

static void give(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

/* Whoever held it is the parent's.  It is not taken for the fork: others are taken under it, whose order among handlers is not known. */
static void in_child(void)
{
    (void)pthread_mutex_init(&lock, NULL);
}

static void start_once(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

static void end(publisher *p)
{
    p->notifier = fj_notifier_free(p->notifier);
    p->transport = fj_transport_free(p->transport);
}

/* Where nobody is told of notifications there is nothing to send.  The transport is not to have one in turn. */
static fj_code start(const fj_conf *from, publisher *p, fj_error **err)
{
    fj_log_notify_opts o = FJ_LOG_NOTIFY_OPTS_INIT;
    fj_conf *conf = fj_conf_copy(from);
    fj_code code = conf != NULL ? fj_conf_set(conf, "DEFAULT", "publish_errors", "false", err)
                                : fj_fail(err, FJ_NOMEM, "no memory for a configuration");

    if (code == FJ_OK)
        code = fj_notification_transport_open(conf, NULL, &p->transport, err);
    if (code == FJ_OK)
        code = fj_notifier_new(p->transport, NULL, &p->notifier, err);
    o.as = FJ_LOG_AS_ERRORS;
    if (code == FJ_OK && fj_notifier_is_enabled(p->notifier) && fj__log_notifier() == NULL)
        code = fj_log_notify(p->notifier, &o, err);
    fj_conf_free(conf);
    return code;
}

void fj__publish_errors(fj_transport *t)
{
    publisher old = { 0 };
    fj_error *error = NULL;
    fj_code code = FJ_OK;

    if (!fj_conf_bool(t->conf, "DEFAULT", "publish_errors"))
        return;
    (void)pthread_once(&once, start_once);
    take();
    if (now.users == 0 || now.generation != t->generation) {
        old = now; /* of a process that this one was forked from */
        now = (publisher){ 0, t->generation, NULL, NULL };
        code = start(t->conf, &now, &error);
    }
    now.users++;
    t->publishes = true;
    give();
    if (code != FJ_OK)
        fj__log(FJ_LOG_ERROR, "notify", "[DEFAULT] publish_errors: nothing is sent: %s", fj_error_text(error));
    fj_error_free(error);
    end(&old);
}

void fj__publish_errors_end(fj_transport *t)
{
    publisher old = { 0 };

    if (!t->publishes)
        return;
    t->publishes = false;
    take();
    if (now.generation == t->generation && --now.users == 0) {
        old = now;
        now = (publisher){ 0 };
        if (old.notifier == fj__log_notifier())
            (void)fj_log_notify(NULL, NULL, NULL);
    }
    give();
    end(&old); /* it may wait, which nobody may do under a lock */
}
