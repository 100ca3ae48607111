/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_SERVICE_IMPL_H
#define FJORD_MESSAGING_SERVICE_IMPL_H
/*
 * What the files of the service know of one another:
 *
 *   service.c      what is to run
 *   supervisor.c   the parent: signals, what workers say, deaths, time
 *   spawn.c        making and reaping a worker process
 *   worker.c       the worker, from the fork to its end; also a service without processes
 *   control.c      the worker's thread that listens to the parent
 *   throttle.c     how fast the dead are started again
 *   notify.c       what systemd is told
 *
 * Parent and worker talk over a pair of sockets that keep messages apart; the first byte says what a message is.  The
 * worker's end reads as closed once the parent is dead.
 */
#include "notify.h"
#include "throttle.h"

#include <fjord/service.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { FJ__SAY_MAX = 1024 };
#define FJ__WORKERS_MAX 10000u /* of one name: a slip of the keyboard is no service */

/** To a worker. */
enum { FJ__ASK_BEAT = 'b', FJ__ASK_RELOAD = 'r', FJ__ASK_HURRY = 'h' };
/** To the parent; what follows the byte is text. */
enum {
    FJ__SAY_READY = 'R',    /* every server listens */
    FJ__SAY_BEAT = 'B',     /* the main thread turns, and every server has its broker */
    FJ__SAY_DEAF = 'D',     /* the main thread turns, but a server has no broker now */
    FJ__SAY_RELOADED = 'L', /* or not: then with text */
    FJ__SAY_FAILED = 'F',   /* it did not come up: the code, a space, and why */
    FJ__SAY_GIVEN_UP = 'G'  /* what still ran at its end */
};

/* ---- what is to run ----------------------------------------------------------------------------- */

typedef struct {
    char *name;
    fj_worker_fn factory;
    void *user;
    unsigned workers;
    fj__throttle throttle;
} fj__service_kind;

/** A worker of the parent's list. */
typedef struct {
    fj__service_kind *kind;
    unsigned number;
    char instance[33]; /* its own at the broker is named by it, whichever process is in the slot */
    pid_t pid;         /* 0: there is none */
    int fd;
    bool ready, beat, deaf, reloading, killed;
    fj_deadline due; /* without a process: when there will be one */
} fj__slot;

struct fj_service {
    fj_conf *conf;
    unsigned generation;
    void (*at_ready)(void *user);
    void *ready_user;
    fj__service_kind *kinds;
    size_t n_kinds, kinds_capacity;
    bool runs;

    fj__slot *slots; /* while it runs; what follows, too */
    size_t n_slots;
    fj__notify notify;
    sigset_t mask_before;
    int signal_fd;
    unsigned stops; /* SIGTERM: 1 more; SIGINT: 2 more */
    bool stopping, hurried, announced, reloading;
    bool round_told, round_open; /* the watchdog's present round of questions */
    unsigned serving_told;
    fj_deadline kill_at, round_at;
    double drain; /* how long the workers were given */
    fj_code code;
    fj_error *error; /* the first */
};

/* ---- supervisor.c ------------------------------------------------------------------------------- */

/** Run the workers until all have ended after a signal. */
fj_code fj__supervise(fj_service *s, fj_error **err);

/* ---- spawn.c ------------------------------------------------------------------------------------ */

/** Start the worker of @p slot, which has none.  In the child it does not return.  @errors SYSTEM */
fj_code fj__service_spawn(fj_service *s, fj__slot *slot, fj_error **err);
/** @return whether the worker has ended, and is gone; then *how says how ("" : in order) */
bool fj__service_reap(fj__slot *slot, char *how, size_t n);
void fj__service_ask(fj__slot *slot, char what);

/* ---- worker.c ----------------------------------------------------------------------------------- */

struct fj_worker {
    const fj__service_kind *kind; /* whose factory runs */
    unsigned number;
    const char *instance; /* the slot's; NULL in a service without processes */
    fj_conf *conf;
    int control; /* the parent's socket, or, in a service without processes, a signalfd of SIGHUP; -1 once it is closed */
    int quit;                     /* an eventfd that ends the control thread */
    bool inside;                  /* a service without processes */
    void (*at_ready)(void *user); /* of one */
    void *ready_user;
    fj__notify notify; /* of one */
    pthread_t thread;
    bool has_thread;
    atomic_bool runs;   /* out of the start, and so able to end in order */
    atomic_bool drains; /* turns no more */
    /* without processes: what its main thread said in this round, FJ__SAY_BEAT or _DEAF, or 0; and what it said last */
    atomic_char answer;
    bool deaf;

    pthread_mutex_t lock; /* of what reloads: the transports and the hook */
    fj_transport **transports;
    size_t n_transports, transports_capacity;
    fj_worker_hook reload;
    void *reload_user;

    fj_server **servers;
    size_t n_servers, servers_capacity;
    fj_worker_hook stop;
    void *stop_user;
    fj_worker_hook end;
    void *end_user;
};

/** A worker process, from just after the fork to its end.  @return its exit status */
int fj__worker_process(fj_service *s, const fj__slot *slot);
/** The service in this process. */
fj_code fj__worker_inside(fj_service *s, fj_error **err);
/** Tell the parent, or systemd if there is none. */
void fj__worker_say(fj_worker *w, char what, const char *text);

/* ---- control.c ---------------------------------------------------------------------------------- */

fj_code fj__control_start(fj_worker *w, fj_error **err);
/** After it nothing is reloaded any more. */
void fj__control_end(fj_worker *w);

#endif
