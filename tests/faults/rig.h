/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_FAULTS_RIG_H
#define FJORD_TESTS_FAULTS_RIG_H
/*
 * A server on a thread of its own, under some executor, and a client on the test's; each with a transport of its own to the
 * broker of tests; and a ledger that judges what is called through rig_call() and rig_cast().
 *
 * Methods: echo (gives x back), hold (waits at the gate), fail, spin (args ms: holds its thread so long without a pause).
 */
#include "tests/support/broker.h"
#include "tests/support/cutter.h"
#include "tests/support/ledger.h"

#include <check.h>
#include <fjord/fjord.h>
#include <stdatomic.h>

enum { LONG_MS = 10000, SHORT_MS = 400, RIG_OPERATIONS = 20000 };

typedef struct rig {
    broker *b;
    fj_transport *here, *there; /* the server's, the client's */
    fj_server *server;
    fj_client *client;
    ledger *book;
    cutter *server_cutter, *client_cutter; /* with opts.cutters only */
    fj_event *gate;
    atomic_uint ran, holding;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool serving, over; /* under the lock */
    fj_code start_code, run_code;
    fj_error *start_error;
    bool lies; /* the broker does: acks may be of what it never handed out */
} rig;

typedef struct {
    const char *executor; /* NULL: threading */
    unsigned slots;       /* 0: 4 */
    const char *conf;     /* more of both configurations, with sections */
    unsigned heartbeat;   /* seconds, of both sides; 0: none */
    bool cutters;         /* both go through a cutter each */
    const cut_point *server_cut, *client_cut;
    uint16_t channel_max; /* 0: 2047 */
    uint32_t frame_max;   /* 0: 131072 */
    bool alone;           /* no server */
    bool may_fail;        /* the start of the server: start_code and start_error tell */
} rig_opts;

/** Fails the test when it cannot.  @param opts  NULL for the defaults */
rig *rig_up(const rig_opts *opts);
/** The end.  Everything must come to it within ten seconds; the ledger must balance, and the broker have nobody and nothing
 *  unacked, nor ever have had an ack that was wrong. */
void rig_down(rig *r);
/** The server of a rig that was set up alone. */
void rig_server_up(rig *r, const rig_opts *opts);
/** The server alone. */
void rig_server_down(rig *r);
/** Open one more transport as the rig's are.  @param through  NULL: straight to the broker   @return gives */
fj_transport *rig_transport(const rig *r, const rig_opts *opts, cutter *through);

/** By the ledger: call @p method with x = 7 and see that it comes back.  @param err  may be NULL */
fj_code rig_call(rig *r, const char *method, int ms, fj_error **err);
/** The same without waiting: what became of it is in the ledger. */
void rig_call_async(rig *r, const char *method, int ms);
fj_code rig_cast(rig *r, const char *method, bool mandatory, int ms, fj_error **err);
/** Fail the test unless it ends so.  Takes the error. */
void rig_expect(fj_code code, fj_error *err, fj_code wanted, fj_sent sent);
/** The next call is answered. */
void rig_works(rig *r);
/** Wait until *count is @p n at least: ten seconds at most, else the test fails. */
void rig_await(atomic_uint *count, unsigned n, const char *what);
/** Wait until it is so. */
void rig_until(bool (*is_so)(void *user), void *user, const char *what);

/** A request as oslo.messaging sends it, to the topic t.  @param id 32 hex digits, of both ids   @param reply_q NULL: a cast
 *  @return gives (free()) */
char *rig_request(const char *method, const char *args, const char *id, const char *reply_q);
/** Publish it as JSON.  @return how many queues took it */
unsigned rig_publish(rig *r, const char *exchange, const char *key, const char *body);
/** The message of an envelope.  @param body  takes; may be NULL   @return gives; NULL when it is none */
json_t *rig_open(char *body);

#endif
