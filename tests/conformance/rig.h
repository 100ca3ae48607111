/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_CONFORMANCE_RIG_H
#define FJORD_TESTS_CONFORMANCE_RIG_H
/*
 * One cell of the conformance table set up: a server under one executor, its methods of one flavour, on one transport; it
 * runs on a thread of its own, and the test is its client.
 */
#include <fjord/fjord.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct {
    const char *executor;
    fj_flavour flavour;
    const char *url;
} cell;

typedef struct rig {
    cell cell;
    unsigned slots;
    fj_conf *conf;
    fj_transport *transport;
    fj_server *server;
    fj_client *client;
    char topic[64];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool serving, over; /* under the lock */
    fj_code start_code, run_code;
    char *start_error;
    fj_event *gate;               /* methods that hold wait for it */
    int ends[2];                  /* a pipe: methods that want bytes read them there */
    unsigned expected;            /* how many are to hold at once; the test's */
    atomic_uint holding, highest; /* how many wait, and did at most */
    atomic_uint finished;         /* methods that were let go */
    atomic_int seen;              /* what a method found out */
    fj_request *kept;             /* deferred */
    fj_client *inner;             /* what methods call by */
} rig;

/** Set up, with @p slots slots where the executor has so many.  Fails the test when it cannot. */
rig *rig_up(const cell *c, unsigned slots, const char *more_config);
/** Stop, wait, free all.  Everything must come to its end within ten seconds. */
void rig_down(rig *r);
/** Wait until @p done(r) says true: ten seconds at most, else the test fails naming @p what. */
void rig_await(rig *r, bool (*done)(rig *r), const char *what);
/** Something of the rig changed. */
void rig_tell(rig *r);
/** Call and wait.  @p ms from now is the deadline. */
fj_code rig_call(rig *r, const char *method, json_t *args, int ms, json_t **ret, fj_error **err);
fj_future *rig_call_async(rig *r, const char *method, json_t *args, int ms);
/** The next good call works. */
void rig_still_good(rig *r);

#endif
