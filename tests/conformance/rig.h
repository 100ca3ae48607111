/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_CONFORMANCE_RIG_H
#define FJORD_TESTS_CONFORMANCE_RIG_H
/*
 * One cell of the conformance table set up: a server under one executor, its methods of one flavour, on one transport; it
 * runs on a thread of its own, and the test is its client, with a transport of its own.
 */
#include "tests/support/proxy.h"

#include <fjord/fjord.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct {
    const char *executor;
    fj_flavour flavour;
    const char *url;
} cell;

enum { RIG_NOTES = 64 };

typedef struct rig {
    cell cell;
    unsigned slots;
    fj_conf *conf, *client_conf;
    fj_transport *transport, *client_transport;
    proxy *between, *client_between; /* of a rig whose connections can be lost, over a real broker */
    fj_server *server;
    fj_client *client;
    char topic[64], name[16];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool serving, over; /* under the lock */
    fj_code start_code, run_code;
    char *start_error, *run_error;
    fj_event *gate;               /* methods that hold wait for it */
    fj_semaphore *permits;        /* and those that go one by one for this */
    int ends[2];                  /* a pipe: methods that want bytes read them there */
    unsigned expected;            /* how many are to hold at once; the test's */
    atomic_uint holding, highest; /* how many wait, and did at most */
    atomic_uint finished;         /* methods that were let go */
    atomic_int seen;              /* what a method found out */
    long long notes[RIG_NOTES];   /* what methods noted, in the order in which they came; under the lock */
    unsigned noted;               /* under the lock */
    fj_request *kept[RIG_NOTES];  /* deferred; under the lock */
    unsigned n_kept;              /* under the lock */
    fj_client *inner;             /* what methods call by */
} rig;

typedef struct {
    unsigned slots;    /* [fjord] executor_pool_size, where the executor has so many */
    const char *conf;  /* more of the [fjord] section, and whatever sections follow; NULL: nothing */
    const char *topic; /* NULL: a new one */
    const char *name;  /* the server's; NULL: "s" */
    bool breakable;    /* for rig_cut() */
} rig_opts;

/** Set up.  Fails the test when it cannot. */
rig *rig_up_with(const cell *c, const rig_opts *opts);
/** The same with slots and more configuration only. */
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
/** The future's outcome is OK, or the test fails.  Takes the future.  @return gives the result */
json_t *rig_result(fj_future *future);
/** The next good call works. */
void rig_still_good(rig *r);

/** Lose the connections of the server's side, in some way. */
void rig_cut(rig *r);
/** Lose them, and let the server have no new ones until rig_mend().  Over fake:// they are there again at once. */
void rig_cut_down(rig *r);
void rig_mend(rig *r);
/** Lose the connections of the client's side. */
void rig_cut_client(rig *r);

/** Fail the test unless @p code is @p wanted. */
void expect(fj_code code, fj_code wanted, fj_error *err);
bool is_fake(const cell *c);
bool is_rabbit(const cell *c);
/** Whether the log's component is the transport of the cell: a plug-in's has the name of its scheme. */
bool is_from_transport(const cell *c, const char *component);
/** Whether the executor of the cell runs methods on a loop. */
bool is_on_loop(const cell *c);
/** Whether the executor runs methods at the same time at all. */
bool is_parallel(const rig *r);
/** Whether calls of these groups switch in the methods of the cell. */
bool switches(const cell *c, unsigned groups);
/** One method at least waits at the gate. */
bool one_holds(rig *r);
/** As many as there are slots. */
bool all_hold(rig *r);

/** The library's log is not printed unless FJ_LOUD is set. */
void hush(void);

/* ---- the seed's dice: what a cell leaves open is thrown, by the test's thread alone, so that a seed says it again ----- */

void dice_seed(unsigned seed, const char *cell_name);
/** From @p least to @p most, both included. */
unsigned dice(unsigned least, unsigned most);
static inline bool coin(void)
{
    return dice(0, 1) == 1;
}
/** Waste some time, up to 2 ms: others may be faster, or not. */
void dawdle(void);

/* ---- others who call meanwhile ---------------------------------------------------------------------------------------- */

typedef struct {
    fj_future *calls[8];
    unsigned n;
} crowd;
/** Up to eight calls of echo, which nobody waits for yet. */
crowd crowd_in(rig *r);
/** All of them were answered, each with its own. */
void crowd_out(crowd *them);

#endif
