/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_INTERNAL_H
#define FJORD_MESSAGING_INTERNAL_H
/* What the files of this room know of one another. */
#include <fjord/driver.h>
#include <fjord/executor.h>
#include <fjord/notify.h>
#include <fjord/server.h>
#include <fjord/transport.h>

#include "base/counters.h"
#include "base/inspect.h"
#include "messaging/chain.h"

#include <string.h>

/** What a driver says of one kind. */
typedef struct {
    const struct fj_transport *transport;
    const char *kind;
    fj__inspected source;
} fj__shown;

struct fj_transport {
    fj_driver *driver;
    fj_conf *conf;
    fj__chain chain; /* of interceptors */
    char *url;       /* passwords hidden */
    unsigned generation;
    bool notifies;          /* it was opened for notifications, by the URL they are to have */
    bool publishes;         /* it is a user of publish_errors.c's notifier */
    fj__counters *counters; /* of its clients */
    fj__shown shown[3];     /* what its driver says */
    fj__inspected counted;
};

/** Let what goes on in @p transport, whose driver is open, be seen from outside (inspected.c). */
void fj__transport_show(fj_transport *transport);
/** The opposite, before the driver is closed.  Waits for whoever is just looking. */
void fj__transport_hide(fj_transport *transport);

/** FORKED in a child of the process that opened it.  Takes no lock.  @thread any */
fj_code fj__transport_check(const fj_transport *transport, fj_error **err);

/** The transport that notifications of @p transport's configuration have to themselves.  @param ret gives; NULL: they share it */
fj_code fj__notify_own_transport(const fj_transport *transport, fj_transport **ret, fj_error **err);

/** Send errors of the log as notifications from now on, if the configuration of @p t says so (publish_errors.c).
 *  That they cannot be is logged.   @thread any, never blocks */
void fj__publish_errors(fj_transport *t);
/** @p t is about to be closed.  @blocks for three seconds at most; a task waits for two of them */
void fj__publish_errors_end(fj_transport *t);
/** Whose lines of the log are sent by now; NULL: nobody's.  For comparisons.  @thread any */
const fj_notifier *fj__log_notifier(void);

/** WRONG_CONTEXT on a loop's thread outside a task, where a wait would stop the loop. */
fj_code fj__may_wait(fj_error **err);

/** Log what the configuration says, and where; of what it leaves out nothing changes.  @errors BAD_CONFIG NOMEM   @thread any */
fj_code fj__log_configure(const fj_conf *conf, fj_error **err);

/** A copy of a caller's struct that may be older (shorter) or newer than ours; @p into holds our defaults. */
static inline void fj__copy_sized(void *into, size_t into_size, const void *from, size_t from_size)
{
    memcpy(into, from, from_size < into_size ? from_size : into_size);
}

/** Whether a driver has a slot that its table may be too old for. */
#define fj__driver_has(d, slot) \
    ((d)->ops->size >= offsetof(fj_driver_ops, slot) + sizeof(d)->ops->slot && (d)->ops->slot != NULL)

/** A number of the configuration, in whatever way its option is typed; @p otherwise when it is unset.  @thread any */
double fj__conf_number(const fj_conf *conf, const char *group, const char *key, double otherwise);

/** A target whose strings are its own. */
fj_code fj__target_copy(const fj_target *from, fj_target *into);
void fj__target_fini(fj_target *t);

/* ---- the started servers of the process (run.c) ------------------------------------------------- */

typedef struct fj__running {
    struct fj__running *next;
    fj_server *server;
    bool listed;
    unsigned pins; /* fj_run() looks at it */
} fj__running;

void fj__run_add(fj__running *r);
/** Take it off the list; waits until fj_run() has let go of it. */
void fj__run_remove(fj__running *r);
/** Wake fj_run(): the state of a server changed.  Async-signal-safe. */
void fj__run_wake(void);
/** Whether fj_run() is, or will be, told to end.  @thread any */
bool fj__run_told(void);
/** End fj_run() without a drain, as a second signal does.  @thread any */
void fj__run_hurry(void);
/** Whom fj_run() tells, on its thread. */
typedef struct {
    void (*beats)(void *user);  /* between two turns, after fj__run_ask_beat() */
    void (*drains)(void *user); /* it turns no more: the drain begins */
    void *user;
} fj__run_watcher;
/** @param w  lends; NULL: nobody.  Not while fj_run() runs. */
void fj__run_watch(const fj__run_watcher *w);
/** @thread any */
void fj__run_ask_beat(void);
/** How many slots a server of this process on @p topic has, when all are taken; else 0.  @thread any */
unsigned fj__run_full(const char *topic);

/* ---- a server as fj_run() drives it (server.c) -------------------------------------------------- */

bool fj__server_on(const fj_server *s, const char *topic);
unsigned fj__server_taken(const fj_server *s, unsigned *ret_slots);
/** Whether somebody must drive it, and this thread may. */
bool fj__server_steps(const fj_server *s);
/** Whether messages reach it now: it runs, and its driver says that the broker is there.  @thread any */
bool fj__server_listens(fj_server *s);
/** Whether it runs, in this process. */
bool fj__server_runs(fj_server *s);
/** Give up what still runs: a wait in progress, or to come, ends within a second.  @return whether there was anything
 *  @thread any */
bool fj__server_abort(fj_server *s);
double fj__server_drain(const fj_server *s);
/** It is the @p number th of those that say they are @p instance (32 hexadecimal digits), and takes over what one before it, which
 *  died, had at the broker for itself.  Before it starts. */
void fj__server_is(fj_server *s, const char *instance, unsigned number);
/** Leave the broker though something may still run: what is its own there is deleted.  After fj_server_wait(). */
void fj__server_leave(fj_server *s, fj_deadline by);
/** The loop it is on, or NULL. */
fj_loop *fj__server_loop(const fj_server *s);
void fj__server_watch(fj_server *s, fj_watch *ret);
/** The descriptor that is readable while decoded messages wait. */
int fj__server_ready(fj_server *s);
/** Read what has come and process what waits.  Blocks as the methods do. */
void fj__server_turn(fj_server *s);

#endif
