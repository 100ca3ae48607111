/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_SERVER_IMPL_H
#define FJORD_MESSAGING_SERVER_IMPL_H
/* The server inside, of RPC or of notifications: server.c is its life, server_gate.c stands before its listener, server_run.c is what fj_run() and services ask. */
#include <fjord/server.h>

#include "executors/lifecycle.h"
#include "internal.h"
#include "notes.h"
#include "rpc.h"

#include <pthread.h>
#include <stdatomic.h>

struct fj_server {
    fj_transport *transport;
    fj_target target;
    fj__notes *notes;    /* of notifications: what it listens to; NULL: it is one of RPC */
    fj_server_opts opts; /* without `executor`, which is resolved */
    const fj_executor_ops *kind;
    fj_dispatcher *dispatcher;
    fj__around around; /* its interceptors */
    fj__life life;
    char *name;         /* "server TOPIC.SERVER" */
    const char *called; /* the same without its first word */
    char instance[33];  /* "": random each time */
    unsigned slots;
    bool ack_done;
    fj_executor *executor; /* while started, until drained */
    fj_loop *loop;         /* once started, under an executor on a loop: its memory is held; NULL: none */
    fj_listener gate;
    fj_listener *listener;
    atomic_bool stopping;
    bool keep_fetched;        /* stopped, it runs what it has fetched before its poll() answers CLOSED */
    bool left;                /* it is over: nobody may step; under `stepping` */
    pthread_mutex_t ending;   /* held while the executor goes, or is told to give up */
    pthread_mutex_t stepping; /* held by the thread that polls and runs methods */
    fj__running running;
    fj__inspected calls, counters;
};

/** As fj_server_new(), or with @p notes (takes, also when it fails) a listener of notifications. */
fj_code fj__server_make(fj_transport *transport, const fj_target *target, const fj_server_opts *opts,
                        fj__notes *notes, fj_server **ret, fj_error **err);

/** Of the server's `gate`, which its executor sees in the place of the listener: poll() answers CLOSED once the server is stopped,
 *  and interrupt() wakes fj_run(), too. */
extern const fj_listener_ops fj__gate_ops;

#endif
