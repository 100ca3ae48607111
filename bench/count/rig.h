/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_RIG_H
#define FJORD_BENCH_RIG_H
/* A server and a client of one process, each with a transport of its own where the transport has connections, and calls by tasks of this
 * thread's loop.  Every failure ends the process. */
#include <fjord/fjord.h>

typedef struct {
    fj_transport *serving, *calling;
    fj_server *server;
    fj_client *client;
} rig;

/** Started, but that a server under `blocking` is to be driven. */
void rig_open(rig *r, const char *url, const char *executor);
void rig_close(rig *r);
/** Methods are "fresh", which gives a value of its own, and "echo", which gives one that has other holders and so is copied. */
json_t *rig_args(const char *method);
/** The answer of either.  @param ret takes */
void rig_look_at(json_t *ret);
/** @p n calls, @p at_once (at most 64) under way. */
void rig_by_tasks(rig *r, const char *method, long n, long at_once);

#endif
