/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_LINK_H
#define FJORD_AMQP_LINK_H
/*
 * A link is one connection to the broker, kept alive: it resolves, connects, shakes hands, and after a loss waits and
 * begins again with the next host.  It is passive: its domain calls it with readiness and the time, under the domain's
 * lock; it calls back its owner, under the same lock.  Nothing here blocks.
 */
#include "transports/amqp/engine.h"
#include "transports/amqp/hosts.h"
#include "transports/amqp/resolve.h"
#include "transports/amqp/settings.h"
#include "transports/amqp/tls.h"

#include <sys/socket.h>

/** What is asked for, as oslo.messaging answers tune: wire.md section 2. */
#define FJ__LINK_CHANNEL_MAX 2047

typedef struct fj__link fj__link;

typedef enum {
    FJ__LINK_IDLE, /* nobody wants it yet */
    FJ__LINK_RESOLVING,
    FJ__LINK_CONNECTING,
    FJ__LINK_SECURING, /* TLS shakes hands */
    FJ__LINK_HANDSHAKE,
    FJ__LINK_OPEN,
    FJ__LINK_BACKOFF, /* waiting to try again */
    FJ__LINK_CLOSED   /* for good */
} fj__link_state;

typedef struct {
    void (*up)(fj__link *link, fj_deadline now);
    /** An event of the engine other than OPEN, CLOSED and FAILED. */
    void (*event)(fj__link *link, const fj__event *event, fj_deadline now);
    /** An open link was lost.  @p error lends */
    void (*down)(fj__link *link, const fj_error *error, fj_deadline now);
    /** An attempt failed; link->attempts counts full rounds over all hosts since it was last open. */
    void (*failed)(fj__link *link, const fj_error *error, fj_deadline now);
    /** One line for the log, to be written when the lock is free.  @p text takes */
    void (*note)(fj__link *link, fj_log_level level, char *text);
} fj__link_ops;

struct fj__link {
    const fj__amqp_settings *settings;
    const fj__link_ops *ops;
    void *user;
    const char *purpose; /* "consuming", "publishing": for the log */
    int wake_fd;         /* of the domain: lent */

    fj__link_state state;
    fj__engine *engine; /* from CONNECTING on; NULL otherwise */
    int fd;
    fj__tls_stream *tls; /* over fd; NULL: plain */
    unsigned opened;     /* how many descriptors it had: two may have the same number */
    unsigned epoch;      /* + 1 each time it opens: stale tags are known by it */
    fj_deadline since;   /* when it opened, was lost, or began to connect: the last of them */
    unsigned attempts;   /* full rounds without success */
    bool hung_up;        /* the peer has ended the stream, with or without a word before */
    bool fatal; /* the last round ended in an error that trying again will not cure (login, virtual host) */
    fj_error *error; /* of the last attempt, or why it was lost */

    fj__hosts hosts;
    fj__resolve *resolve;
    struct addrinfo *addresses, *address;
    fj_deadline connect_by, retry_at;
    fj_deadline address_by;       /* of this address: another is tried after it */
    struct sockaddr_storage good; /* the address that worked last: the first to be tried of its host */
    socklen_t good_len;           /* 0: none */
    bool wants_write;
    bool blocked;       /* the broker takes no messages over it now, and reads nothing */
    bool closing;       /* our connection.close is out: whatever ends the link now ends it for good */
    const char *broken; /* why it must be given up at the next pump; NULL: it need not */
    uint64_t lost_sent; /* of the connection lost last: how many bytes of its output reached the kernel */
};

/** @return false when memory ran out */
bool fj__link_init(fj__link *l, const fj__amqp_settings *settings, const fj__link_ops *ops, void *user,
                   const char *purpose, int wake_fd);
void fj__link_fini(fj__link *l);
/** Somebody needs it: leave IDLE. */
void fj__link_want(fj__link *l, fj_deadline now);
/** What it failed for may be mended: do not wait for the next attempt. */
void fj__link_hurry(fj__link *l, fj_deadline now);
/** Say goodbye to the broker (what is queued goes first); CLOSED at the broker's answer, at a loss, or by _drop. */
void fj__link_close(fj__link *l, fj_deadline now);
/** It cannot be gone on with, though the socket is sound: it is lost at the next pump, and made again.  What could not be
 *  written for want of memory is not left out in silence so.  @param why  a literal */
void fj__link_break(fj__link *l, const char *why);
/** CLOSED now. */
void fj__link_drop(fj__link *l);
/** After close or drop: as new. */
void fj__link_reopen(fj__link *l);
/** The descriptor to watch, or -1. */
int fj__link_fd(const fj__link *l, bool *ret_read, bool *ret_write);
fj_deadline fj__link_due(const fj__link *l);
/** Readiness, or just the time: goes as far as it can without blocking. */
void fj__link_pump(fj__link *l, bool readable, bool writable, fj_deadline now);
/** Write a heartbeat if one is due, and what is queued; read nothing, judge nobody. */
void fj__link_beat(fj__link *l, fj_deadline now);
fj_deadline fj__link_beat_due(const fj__link *l);
/** Try to write what is queued now. */
void fj__link_flush(fj__link *l, fj_deadline now);
/** "host:port vhost V" of the host in use. */
void fj__link_where(const fj__link *l, char *text, size_t n);

#endif
