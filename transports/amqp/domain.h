/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_DOMAIN_H
#define FJORD_AMQP_DOMAIN_H
/*
 * A pump domain: two passive connections to one broker (one consuming, one publishing), the lock that guards all
 * their state, and the token of whoever may sleep on their sockets.  docs/internals/locks.md has the rules.
 *
 *   lock    held for microseconds; never over poll, user code, a completion or a log line
 *   token   `led`: at most one thread pumps.  A blocked caller leads while it waits, and hands on when it leaves; when
 *           nobody is there and something is outstanding, the keeper thread leads, until a caller wants to.
 */
#include "runtime/timers.h"
#include "transports/amqp/link.h"

#include <fjord/driver.h>
#include <fjord/future.h>
#include <fjord/loop.h>
#include <pthread.h>

typedef struct fj__domain fj__domain;
typedef struct fj__channel fj__channel;
typedef struct fj__amqp_listener fj__amqp_listener;
typedef struct fj__replies fj__replies;
typedef struct fj__publisher fj__publisher;

/** The first number of a listener's channel: 1 is the reply queue's. */
enum { FJ__LISTENER_CHANNEL = 2 };

enum { FJ__SEEN_QUEUES = 16 };

/** What is seen of a channel, and of the queues that it consumes, as many as there is room for. */
typedef struct {
    uint16_t number;
    const char *role, *state;
    unsigned prefetch, consumers, queues;
    size_t unacked, unconfirmed, queued, calls;
    struct {
        char name[256];
        const char *role;
        size_t waiting, in_hand, capacity;
    } queue[FJ__SEEN_QUEUES];
} fj__channel_view;

/** A channel of a link and what is done with its events.  All under the lock. */
struct fj__channel {
    uint16_t id; /* 0: none */
    fj__channel *next;
    void (*up)(fj__channel *c, fj_deadline now); /* the link is open: open the channel and set up */
    void (*event)(fj__channel *c, const fj__event *ev, fj_deadline now);
    void (*down)(fj__channel *c, const fj_error *error, fj_deadline now);   /* the link was lost */
    void (*failed)(fj__channel *c, const fj_error *error, fj_deadline now); /* a round of attempts failed */
    void (*look)(const fj__channel *c, fj__channel_view *ret);              /* everything but the number */
};

/** Something done under the lock whose outcome is delivered after it. */
typedef struct fj__outcome fj__outcome;
struct fj__outcome {
    fj__outcome *next;
    void (*deliver)(fj__outcome *o); /* with no lock held */
    bool slow;                       /* it runs user code: whoever delivers it must not hold the token */
};

struct fj__sleeper;

struct fj__domain {
    pthread_mutex_t lock;
    unsigned generation; /* of the process that made it: a forked child leaves it alone */
    const fj__amqp_settings *settings;
    fj__link consuming, publishing;
    fj__channel *consuming_channels, *publishing_channels;
    fj__timers timers;
    fj__timer put_off; /* until when what is in the output may wait for more */
    fj__publisher *publisher;
    fj__replies *replies;

    int wake_fd;      /* ends the leader's sleep */
    bool led;         /* the token is taken */
    pthread_t leader; /* who has it */
    unsigned turn;    /* + 1 each time it is taken: a leader may find that it has lost it */
    bool keeper_leads;
    bool sleeping; /* the leader is in poll */
    int64_t sleep_until;
    struct fj__sleeper *waiters; /* blocked callers that do not lead, newest first */

    pthread_t keeper;
    pthread_cond_t keeper_cond;
    bool keeper_started, keeper_stop, keeper_kicked;
    int64_t keeper_until; /* when it wakes by itself */

    /* Of a loop's domain; loop is NULL in the plain one, and once its loop is gone: then threads pump it. */
    fj_loop *loop;
    const void *key; /* under which the loop keeps it */
    fj_source source;
    /* its loop is gone: what it has begun is finished, then its connections are closed, or a new loop
     * takes it over */
    bool leaving;
    bool orphan;      /* its driver is gone: the loop frees it */
    fj__domain *next; /* of the driver's */

    unsigned parked;      /* tasks that wait, and cannot lead */
    unsigned urgent;      /* operations that nobody waits for: the keeper leads at once */
    bool closed, blocked; /* blocked: the broker takes no messages now */
    fj__outcome *outcomes, **outcomes_end;
};

/** @errors NOMEM, SYSTEM */
fj_code fj__domain_new(const fj__amqp_settings *settings, fj__domain **ret, fj_error **err);
/** Ends the keeper; frees the publisher and the replies, too.  Nobody else may be in it. */
void fj__domain_free(fj__domain *d);

/** Whether nobody listens, calls or publishes over it.  @locks needs the domain's */
bool fj__domain_idle(const fj__domain *d);
/** End what is pending with CLOSED and @p text, and say goodbye to the broker.  @locks needs the domain's */
void fj__domain_close(fj__domain *d, const char *text);
/** Take the close back, once the broker was left, of a domain that is idle.  @return false until then   @locks needs the
 *  domain's */
bool fj__domain_reopen(fj__domain *d);

void fj__domain_lock(fj__domain *d);
/** Release the lock, then deliver what was gathered under it. */
void fj__domain_unlock(fj__domain *d);
/** Gather an outcome.  @locks needs the domain's */
void fj__domain_gather(fj__domain *d, fj__outcome *o);
/** A log line for after the lock.  @param text takes   @locks needs the domain's */
void fj__domain_note(fj__domain *d, fj_log_level level, char *text);

/** After anything was queued or a deadline set: write what can be written (on a loop's own thread that is done before it sleeps), wake the leader if it must know, and
 *  unless the caller itself will wait next (@p waits), start the keeper where nobody leads.  @locks needs the domain's */
void fj__domain_touch(fj__domain *d, fj__link *link, bool waits);
/** The same for acknowledgements that may wait for others, if @p more are to come soon: until there are some, or for a moment. */
void fj__domain_touch_acks(fj__domain *d, bool more);
/** The same for a cast that nobody waits for: alone it leaves at once, but what follows within a moment leaves together. */
void fj__domain_touch_casts(fj__domain *d);

/** Have every ready() of those who wait asked again.  @locks needs the domain's */
void fj__domain_rouse(fj__domain *d);
/** Block until ready(user), called under the lock, says true, or @p by: lead, or sleep on @p gate while another leads.
 *  @param gate lends; nudge it to have ready() asked again.
 *  @return OK; TIMEOUT, also of an fj_timeout around it; CANCELLED, in a task that is to end   @locks takes the domain's */
fj_code fj__domain_wait(fj__domain *d, fj_future *gate, bool (*ready)(void *user), void *user, fj_deadline by);
/** One pass that does not block, if nobody leads.  @locks takes the domain's */
void fj__domain_pump(fj__domain *d);

/* What a pump drives: no sleep in here.  All need the lock. */
/** The descriptors and the time: the wake-up first, then the links'. */
void fj__domain_watch(const fj__domain *d, fj_watch *ret);
/** Read, decode, write, run timers: as far as it goes without blocking.  @param ready lends: as watch() gave it, with what
 *  is ready; n = 0: only the time has come.   With the token. */
void fj__domain_turn(fj__domain *d, const fj_watch *ready, fj_deadline now);
fj_deadline fj__domain_due(const fj__domain *d);
/** For an owner that is late: write heartbeats, run timers; nothing is read, and nobody judged. */
void fj__domain_tend(fj__domain *d, fj_deadline now);
/** When a heartbeat is next due. */
fj_deadline fj__domain_beat_due(const fj__domain *d);
/** Whether bytes wait to be written, or a connection is being made. */
bool fj__domain_unwritten(const fj__domain *d);
/** Whether somebody must sleep on the sockets though no caller waits. */
bool fj__domain_outstanding(const fj__domain *d);

/** Give @p c the lowest free number from @p first on, and set it up if the link is open.  @return false: none free */
bool fj__domain_attach(fj__domain *d, fj__link *link, fj__channel *c, uint16_t first, fj_deadline now);
void fj__domain_detach(fj__domain *d, fj__link *link, fj__channel *c);

#endif
