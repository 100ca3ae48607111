/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_CHAOS_PROXY_H
#define FJORD_TOOLS_CHAOS_PROXY_H
/*
 * The proxy, all on one loop.  What is read becomes units (whole frames, or bytes), rules edit each unit (edit.c), and what
 * comes of it is a queue of operations (pipe.c) done one after the other: so what a rule does stands at its place in the
 * stream, whatever was slow before it.
 */
#include "tools/chaos/rule.h"
#include <fjord/loop.h>
#include <stdio.h>
#include <sys/socket.h>

typedef struct chaos_proxy chaos_proxy;
typedef struct chaos_conn chaos_conn;

/* ---- one direction of a connection ----------------------------------------------------------------------------- */

typedef enum {
    CHAOS_OP_BYTES,   /* n bytes of `out` */
    CHAOS_OP_UNTIL,   /* wait until the time `value` */
    CHAOS_OP_STALL,   /* wait for `value` ns */
    CHAOS_OP_HOLD,    /* both directions, for `value` ns */
    CHAOS_OP_SHAPE,   /* bytes from here on: rate, segment, gap */
    CHAOS_OP_DISCARD, /* what comes from here on */
    CHAOS_OP_SKIP,    /* n bytes of what comes; never in the queue */
    CHAOS_OP_FIN,     /* half-close towards `side` */
    CHAOS_OP_END,     /* the sender has ended */
    CHAOS_OP_CLOSE,   /* half-close towards both, and discard the rest */
    CHAOS_OP_RESET    /* end it, with RST to `side` */
} chaos_op_kind;

typedef struct {
    chaos_op_kind kind;
    int side;
    size_t n;
    int64_t value; /* FJ_NEVER_NS: for ever */
    int64_t rate, segment, gap;
} chaos_op;

typedef struct {
    chaos_conn *conn;
    int direction;                  /* the side that sends; the other one receives */
    fj__buf in, out, ops;           /* unread; to be sent; chaos_op */
    fj__buf pending;                /* frames to inject at the next boundary */
    fj__buf held;                   /* a frame that waits for the next one to overtake it */
    chaos_scan scan;                /* at the end of what has become units */
    chaos_contents *contents;       /* NULL until a rule looks at frames */
    chaos_count *counts;            /* by the rule's slot */
    size_t count_n;                 /* of counts */
    uint64_t received, passed;      /* bytes: read, become units */
    size_t skip;                    /* of the bytes that become units */
    int64_t rate, segment, gap;     /* CHAOS_OP_SHAPE */
    int64_t stalled_until, next_at; /* nothing is done before the one, no byte sent before the other */
    bool eof, broken, finished;     /* the sender has ended; by RST; and the end is queued */
    bool ended;                     /* nothing can be sent any more */
    bool discard, blocked;          /* blocked: the receiver's socket is full */
} chaos_pipe;

/** Read what there is, and pass on at once what nothing needs to look at. */
void chaos_pipe_read(chaos_pipe *p);
/** Do what can be done now.  @return whether anything was */
bool chaos_pipe_pump(chaos_pipe *p);
bool chaos_pipe_wants_read(const chaos_pipe *p);
/** When to pump again if nothing else happens; FJ_NEVER_NS: not. */
int64_t chaos_pipe_due(const chaos_pipe *p);
/** At the end of the queue.  @return false when memory ran out: the connection is over then */
bool chaos_pipe_push(chaos_pipe *p, chaos_op op);
bool chaos_pipe_push_bytes(chaos_pipe *p, const uint8_t *bytes, size_t n, const chaos_op *shape);
/** At once. */
void chaos_pipe_do(chaos_pipe *p, const chaos_op *op);
bool chaos_pipe_room(const chaos_pipe *p);
bool chaos_pipe_idle(const chaos_pipe *p);
void chaos_pipe_fini(chaos_pipe *p);
/** The count of a rule, by its slot; NULL when memory ran out. */
chaos_count *chaos_pipe_count(chaos_pipe *p, size_t slot);

/* ---- units (unit.c) -------------------------------------------------------------------------------------------- */

/** Whether nothing needs to look at what comes now. */
bool chaos_unit_plain(chaos_pipe *p);
/** Make a unit out of what was read and queue what comes of it.  @return whether there was one */
bool chaos_unit_take(chaos_pipe *p);
/** Follow bytes that pass without becoming units. */
void chaos_unit_follow(chaos_pipe *p, const uint8_t *bytes, size_t n);

/* ---- edits (edit.c) -------------------------------------------------------------------------------------------- */

typedef struct {
    size_t at;
    chaos_op op;
    uint8_t *bytes; /* owned; of CHAOS_OP_BYTES */
} chaos_insert;

/** What becomes of one unit. */
typedef struct {
    const uint8_t *bytes;
    uint8_t *own;           /* bytes, when they were changed */
    chaos_content *content; /* lends; that the frame belongs to, or NULL */
    size_t n, keep;
    bool drop, reorder, failed;
    int64_t copies, until;
    chaos_op shape;
    chaos_insert *inserts; /* in the order of their places */
    size_t count, capacity;
} chaos_edit;

/** @param frame  the unit's, or NULL for bytes   @param place  of a byte rule within them */
void chaos_edit_act(chaos_edit *e, chaos_pipe *p, const chaos_rule *rule, chaos_count *c,
                    const chaos_frame *frame, size_t place);
/** Queue it all. */
void chaos_edit_emit(chaos_edit *e, chaos_pipe *p);
/** What a rule of time does, to the whole of a direction. */
void chaos_act_now(chaos_pipe *p, const chaos_rule *rule, chaos_count *c);

/* ---- a connection (conn.c) ------------------------------------------------------------------------------------- */

struct chaos_conn {
    chaos_proxy *proxy;
    chaos_conn *prev, *next;
    uint64_t id;
    int fd[2]; /* of the client, of the server; -1 */
    bool reading[2], writing[2];
    chaos_pipe pipes[2];
    bool connecting, ignored;
    bool over, reset[2]; /* to be freed as soon as nobody works on it */
    const char *why;
    int64_t began, connect_at, held_until;
    size_t target;
    fj_handle *timer;
    int64_t timer_at;
    char peer[64];
};

/** Open a connection for @p fd (takes).  @param delay  ns, before the server is called */
void chaos_conn_open(chaos_proxy *proxy, uint64_t id, int fd, int64_t delay, bool ignored);
/** Do what can be done now, then watch for the rest.  The connection may be gone after it. */
void chaos_conn_pump(chaos_conn *conn);
/** End it.  @param side  who gets RST; -1: nobody */
void chaos_conn_end(chaos_conn *conn, int side, const char *why);
void chaos_conn_free(chaos_conn *conn);
bool chaos_conn_held(const chaos_conn *conn);

/* ---- the proxy ------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *listen; /* "[ADDRESS:]PORT" */
    const char *to;     /* "HOST:PORT" */
    FILE *log;          /* lends; NULL: none */
    bool frames;        /* log every frame */
    uint64_t seed;
    size_t connections; /* at most; 0: 1000 */
} chaos_options;

enum { CHAOS_TARGETS = 8, CHAOS_RULES = 4096, CHAOS_SCRATCH = 256 * 1024 };

typedef struct {
    struct sockaddr_storage address;
    socklen_t n;
} chaos_address;

struct chaos_proxy {
    fj_loop *loop;
    int listener;
    bool accepting, paused, frames;
    fj_handle *again; /* after descriptors ran out */
    chaos_address at, targets[CHAOS_TARGETS];
    size_t target_count;
    chaos_rule **rules; /* some are NULL */
    size_t rule_count, rule_capacity;
    uint64_t next_rule, seed;
    chaos_conn *first;
    size_t conn_count, conn_max;
    uint64_t accepted, refused;
    uint64_t bytes[2], frame_count[2];
    int64_t began;
    FILE *log;
    uint8_t *scratch; /* CHAOS_SCRATCH bytes that everything is read into */
};

/** Resolve, bind, listen.  @param loop  lends   @param ret  gives   @errors BAD_VALUE, SYSTEM, NOMEM */
FJ_MUST_USE fj_code chaos_proxy_new(fj_loop *loop, const chaos_options *options, chaos_proxy **ret,
                                    fj_error **err);
/** Ends all connections.  NULL is fine. */
chaos_proxy *chaos_proxy_free(chaos_proxy *p);
/** The address it listens at, "127.0.0.1:4711". */
void chaos_proxy_address(const chaos_proxy *p, char *ret, size_t size);
/** Listen or, so that the system refuses connections, do not.  @errors SYSTEM */
FJ_MUST_USE fj_code chaos_proxy_listen(chaos_proxy *p, bool on, fj_error **err);
/** @param rule  takes on ok; acts from now on   @errors STATE (its name is there), TOO_BIG, NOMEM */
FJ_MUST_USE fj_code chaos_proxy_add(chaos_proxy *p, chaos_rule *rule, fj_error **err);
/** @return false when there is none of that name */
bool chaos_proxy_remove(chaos_proxy *p, const char *name);
void chaos_proxy_pause(chaos_proxy *p, bool on);
/** @param id  0: all   @return how many */
size_t chaos_proxy_kill(chaos_proxy *p, uint64_t id, bool reset);
/** Give; NULL when memory ran out. */
json_t *chaos_proxy_stats(const chaos_proxy *p);
json_t *chaos_proxy_list(const chaos_proxy *p);
json_t *chaos_proxy_rules(const chaos_proxy *p);
/** A place for a connection is free. */
void chaos_proxy_left(chaos_proxy *p);

/* ---- the log (report.c) ---------------------------------------------------------------------------------------- */

/** Write a line.  @param what  takes; NULL: memory ran out, and the line is missing */
void chaos_report(chaos_proxy *p, json_t *what);
/** What a rule does.  @param frame  lends; NULL: it acts on bytes or by time  @param place  within the unit; -1: none */
void chaos_report_action(chaos_pipe *p, const chaos_rule *rule, const chaos_frame *frame, int64_t place);
void chaos_report_frame(chaos_pipe *p, const chaos_frame *frame, size_t n);
/** Of a connection.  @param why  may be NULL */
void chaos_report_conn(const chaos_conn *conn, const char *event, const char *why);
void chaos_address_text(const struct sockaddr_storage *at, char *ret, size_t size);

#endif
