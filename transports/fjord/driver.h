/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DRIVER_H
#define FJORD_DRIVER_H
/*
 * The contract of a transport driver.  A driver is one const table; the objects it makes begin with a
 * pointer to their table.  Built-in drivers and those loaded from a folder of plug-ins are equal under it.
 *
 * Life of each object: made -> close (never blocks, idempotent, any thread) -> stop (waits until `by`; no
 * completion or call-back after it) -> free (accepts what is stopped; the driver only after its listeners).
 *
 * A plug-in exports `const fj_driver_ops *fj_driver_plugin(void)`; it is never unloaded, and its table is read when it is found.
 * docs/transport-plugins.md shows one, <fjord/body.h> has the bodies of messages, examples/plugins/unix is whole.
 *
 * What is called by any thread may be called by a green task, which libc's blocking functions suspend, locks that are held or not:
 * a driver calls them by their names in <fjord/original.h>.  It completes futures with no lock of its own held: what waits for
 * them may run at once, and send.  Its threads have all signals blocked.  In a forked child nothing of it is called any more.
 *
 * Servers on loops need nothing of a driver that servers on threads do not: it leaves `parks` false, ignores the `loop`
 * of fj_listen_opts, and the executor drives its listeners by watch(), pump() and fd(), and polls with a deadline that has
 * passed.  A driver with a thread of its own that decodes messages says in watch() that it wants fd() and nothing else,
 * and its pump() is empty.  Clients in tasks need its futures to complete by themselves: fj_future_ops.wait is for plain
 * threads.  See each slot for what that asks of it.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/conf.h>
#include <fjord/error.h>
#include <fjord/future.h>
#include <fjord/loop.h>
#include <fjord/notification.h>
#include <fjord/target.h>
#include <fjord/url.h>
#include <fjord/watch.h>

FJ_BEGIN_DECLS

#define FJ_DRIVER_ABI 1u

typedef struct fj_driver fj_driver;
typedef struct fj_listener fj_listener;
typedef struct fj_incoming fj_incoming;

/* ---- incoming: one received message ------------------------------------------------------------ */

/* States: received -> acked (when it gets a slot) -> answered, or -> requeued.  Every slot may be called
 * from any thread; none blocks. */
typedef struct {
    uint32_t abi; /**< FJ_DRIVER_ABI */
    /** Answer a message with wants_reply; a second answer is dropped.  Lends both; @p failure NULL for a
     *  success.  A listener with ack = done acknowledges the message in the same write.
     *  @errors BAD_VALUE, TOO_BIG: it cannot be encoded, nothing was sent, another answer may be tried;
     *          CLOSED, LOST: it cannot be sent any more */
    fj_code (*reply)(fj_incoming *in, const json_t *result, const fj_error *failure, fj_error **err);
    /** Processed without an answer being due (a cast): with ack = done this acknowledges. */
    void (*done)(fj_incoming *in);
    /** Give it back to the broker, unprocessed.  Only before ack, or with ack = done. */
    void (*requeue)(fj_incoming *in);
    /** Free it, before its listener is freed.  One that was neither acked nor requeued is requeued. */
    void (*free)(fj_incoming *in);
} fj_incoming_ops;

struct fj_incoming {
    const fj_incoming_ops *ops;
    fj_listener *listener;
    /* Both are owned.  Whoever processes them may take them out, leaving NULL, and does not change them. */
    json_t *message;  /**< object: the message as sent, without transport fields and context */
    json_t *context;  /**< object: the caller's context plus client_timeout (wire.md section 6) */
    bool wants_reply; /**< a call: somebody waits for ops->reply */
    bool redelivered; /**< the broker has delivered it before */
    const char *id;   /**< its name in logs, lends until it is freed; NULL: it has none */
    /** when it came to this process, as fj_now() tells it; 0: when the dispatcher got it */
    fj_deadline arrived;
};

/* ---- listener ---------------------------------------------------------------------------------- */

typedef struct {
    uint32_t abi;
    /** Up to @p max messages (gives each), in order.  Waits until one is there, @p by, interrupt or close; never with a
     *  deadline that has passed.  One caller at a time.
     *  @return OK with *ret_n >= 1; TIMEOUT; AGAIN when interrupted; CLOSED; with `parks` CANCELLED, too */
    fj_code (*poll)(fj_listener *l, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                    fj_error **err);
    /** For loops: the descriptors, interests and next deadline of whatever feeds this listener; fd() may be among them,
     *  beside FJ_WATCH_MAX - 1 others.  @p ret comes with n = 0 and by = never.  Asked before each sleep of the loop: quick,
     *  never blocks.  Whatever happens that poll() has news of makes one of them ready. */
    void (*watch)(fj_listener *l, fj_watch *ret);
    /** For loops: a descriptor is ready or the deadline has come: read, write, decode.  Never blocks.
     *  Afterwards poll() with a passed deadline gives what arrived.  It is told the time and nothing else, and so tries
     *  each descriptor; while all slots are taken pump() is called and poll() is not.  No descriptor but fd() may then
     *  stay ready, nor a deadline stay passed, or the loop spins: an eventfd that wakes is read here, and a socket is no
     *  longer asked for reading when enough is decoded. */
    void (*pump)(fj_listener *l, fj_deadline now);
    /** An eventfd, readable exactly while decoded messages wait for poll(): the loop looks at it only when a slot is free.
     *  Lends, the same one for the listener's life. */
    int (*fd)(fj_listener *l);
    /** Take @p n messages out of the broker's hands before they run (ack = admit): one multiple ack where
     *  possible, handed to the kernel when this returns.  Messages whose ack is stale (the connection they
     *  came over is gone) are set to NULL in @p in and freed: they must not run, the broker will deliver
     *  them again.  May wait for the socket until @p by; on TIMEOUT none may run.  Without `parks` that wait blocks a
     *  server's loop. */
    fj_code (*ack)(fj_listener *l, fj_incoming **in, size_t n, fj_deadline by, fj_error **err);
    /** Let a poll() in progress, or else the next one, return AGAIN.  Any thread, async-signal-safe. */
    void (*interrupt)(fj_listener *l);
    /** Take no new messages; what was not yet given to poll() goes back to the broker.  With `keep_fetched` poll() gives it
     *  first, and answers CLOSED after that (a driver may give it back all the same). */
    void (*close)(fj_listener *l);
    /** Wait until nothing of it is left at the broker: replies flushed, its own queues deleted.  Any thread; nobody pumps
     *  for it any more, but a loop may be in its last watch() or pump() on another. */
    fj_code (*stop)(fj_listener *l, fj_deadline by, fj_error **err);
    void (*free)(fj_listener *l);
} fj_listener_ops;

struct fj_listener {
    const fj_listener_ops *ops;
    /** Called in a task of `loop` poll() and ack() suspend it where they would block a thread, and are woken without
     *  watch() and pump(): what feeds it is attached to the loop (fj_loop_attach()), or another thread's. */
    bool parks;
};

typedef struct {
    size_t size;
    unsigned slots; /**< how many messages will run at once: sizes the default prefetch */
    bool ack_done;  /**< acknowledge when processed (at-least-once) instead of when admitted */
    fj_loop *loop;  /**< tasks of this loop will poll it: lends for the listener's life; NULL: threads will */
    bool keep_fetched; /**< what the broker has handed out when it is closed is still for poll() */
    /** 32 hexadecimal digits, lent for the call: what the listener alone has at the broker is named by them, so that who
     *  listens after it takes that over if it died.  NULL: random ones */
    const char *instance;
} fj_listen_opts;
#define FJ_LISTEN_OPTS_INIT                                 \
    {                                                       \
        sizeof(fj_listen_opts), 1, false, NULL, false, NULL \
    }

/* ---- driver ------------------------------------------------------------------------------------ */

/** Flags of fj_send. */
enum {
    FJ_SEND_CALL = 1 << 0,      /**< wait for a reply: the future resolves to the method's result */
    FJ_SEND_MANDATORY = 1 << 1, /**< UNDELIVERABLE when no queue takes it (oslo's at_least_once) */
    FJ_SEND_RESEND = 1 << 2,    /**< after a lost connection send again what may have been sent */
    FJ_SEND_WAITED = 1 << 3,    /**< the caller, no task, waits next: a hint that spares waking a helper */
    FJ_SEND_PATIENT = 1 << 4    /**< the caller waits next, and may as well wait for room first */
};

typedef struct {
    size_t size;
    const fj_target *target; /**< lends; exchange, topic, server, fanout, ns, version */
    const char *method;      /**< lends */
    json_t *args;            /**< takes; an object; NULL for {} */
    const json_t *context;   /**< lends; an object; NULL for {} */
    unsigned flags;
    double monitor; /**< call_monitor_timeout in seconds; 0: none */
    int retry;      /**< connection attempts, as oslo: -1 for ever (until by), 0 none, N */
    fj_deadline by; /**< the operation ends by then */
    /* What is only for inspect(), and not there in older ones: see size. */
    fj_deadline began;        /**< when the caller began; 0: not known */
    const char *shown_method; /**< lends until the driver is freed, as the next; NULL: not known */
    const char *shown_topic;
} fj_send;

/** Capabilities. */
enum { FJ_DRIVER_RPC = 1 << 0, FJ_DRIVER_NOTIFICATIONS = 1 << 1 };

typedef struct {
    uint32_t abi; /**< FJ_DRIVER_ABI */
    size_t size;
    const char *name;
    const char *const *aliases; /**< other names, ended by NULL; may be NULL */
    uint32_t caps;
    /** Make a driver for @p url.  Never connects, never blocks.  Copies what it needs of @p conf and @p url.
     *  The query of a URL is the driver's to check, by fj_url_query(): only that of rabbit:// is set in @p conf by the caller.
     *  @param ret gives */
    fj_code (*open)(const fj_conf *conf, const fj_url *url, fj_driver **ret, fj_error **err);
    /** Begin a call or a cast.  Never blocks, but with FJ_SEND_PATIENT it may wait until send->by for room when too much is on
     *  its way, as flush() waits; without it answers BUSY then.  Any thread, task, or call-back of a loop (fj_loop_running() says which
     *  loop).  @param ret gives a future: for a call the reply, for a cast the broker's confirmation.  Always completes by
     *  send->by, also when nobody waits for it.
     *  @errors those known at once (BAD_TARGET, BAD_VALUE, TOO_BIG, CLOSED, NOMEM, BUSY), and of the wait for room: then no future.  fj_send_check()
     *  finds the first two */
    fj_code (*send)(fj_driver *d, const fj_send *send, fj_future **ret, fj_error **err);
    /** Wait until everything sent so far from this thread's domain is confirmed or has failed.  May block; in a task it
     *  should suspend (fj_future_wait() does). */
    fj_code (*flush)(fj_driver *d, fj_deadline by, fj_error **err);
    /** Listen for RPC on topic, topic.server and the fanout of @p target (topic and server needed).  Returns
     *  when messages will come; may block, as flush().  @param ret gives
     *  @errors TIMEOUT when @p by has passed, BAD_TARGET, CLOSED, SYSTEM, NOMEM: then no listener */
    fj_code (*listen)(fj_driver *d, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                      fj_listener **ret, fj_error **err);
    void (*close)(fj_driver *d);
    fj_code (*stop)(fj_driver *d, fj_deadline by, fj_error **err);
    void (*free)(fj_driver *d);
    /** Whether the broker has every listener now, as far as this side knows.  May be NULL, and is not there in tables whose
     *  size ends before it.  Any thread, never blocks. */
    bool (*listens)(fj_driver *d);
    /** The configuration may have changed, and files that it names: take what can be taken in use, such as certificates, for
     *  what is made from now on.  May be NULL, or not there, as listens().  Any thread; may read files, and else does not
     *  block.  @errors as open(): everything is as it was then */
    fj_code (*reload)(fj_driver *d, const fj_conf *conf, fj_error **err);
    /** What it is doing, for whoever looks into the process: its "connection"s, "queue"s, or "call"s in flight, as
     *  docs/inspect.md names their members (the URL is put in by who asks).  Gives an object or an array of them; NULL: nothing.
     *  May be NULL, and is not there in tables whose size ends before it.  Any thread but a loop's, several at once; waits for no
     *  network, and no longer than @p by for a lock. */
    json_t *(*inspect)(fj_driver *d, const char *kind, fj_deadline by);
    /* The two of FJ_DRIVER_NOTIFICATIONS; NULL, or not there, without. */
    /** Begin to send a notification to the queue "<topic>.<priority>", which is made and bound if it is not there: what is sent before
     *  anybody listens waits.  A lost connection sends it again, so that it may come twice.  Never blocks.  Any thread, as send().
     *  @param ret gives a future of the broker's confirmation   @errors those known at once, as send(): then no future */
    fj_code (*notify)(fj_driver *d, const fj_notification *n, fj_future **ret, fj_error **err);
    /** Listen for notifications.  Returns when messages will come; may block, as flush().  Its messages have the members
     *  message_id, publisher_id, event_type, priority, payload and timestamp; none wants a reply.
     *  @param sources  n of them, lend   @param opts  with ack_done   @param ret gives   @errors as listen() */
    fj_code (*listen_notifications)(fj_driver *d, const fj_notify_source *sources, size_t n,
                                    const fj_listen_opts *opts, fj_deadline by, fj_listener **ret,
                                    fj_error **err);
} fj_driver_ops;

struct fj_driver {
    const fj_driver_ops *ops;
};

/** Find a driver by the name in a URL: a built-in one, else the file that [fjord] transport_plugins of @p conf has for
 *  it, else `<name>.so` in the plug-in folder ([fjord] plugin_dir); or by the absolute path of its file, as an executor.
 *  A plug-in's table must have that name, or an alias.  One is refused, in words that name the file and say why, when it is not to be
 *  had, when others may change it, when it was made for another ABI, or its table is not whole.
 *  @param conf lends; NULL: no plug-ins but by path   @param ret lends, for ever   @errors NO_DRIVER, NOMEM   @thread any */
FJ_API FJ_MUST_USE fj_code fj_driver_find(const fj_conf *conf, const char *name, const fj_driver_ops **ret,
                                          fj_error **err);

FJ_END_DECLS
#endif
