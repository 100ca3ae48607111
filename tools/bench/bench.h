/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_BENCH_H
#define FJORD_TOOLS_BENCH_H
/*
 * `fjord bench`: servers and clients that measure, in the place of oslo.messaging's simulator and able to talk to it.
 *
 *   command    which of the five it is                  options   what they take
 *   run        the clock of a run, its end, results     draw      how they look
 *   server     rpc-server                               listener  notify-server, batch-notify-server
 *   client     threads that send, for                   rpc       rpc-client
 *                                                       notes     notify-client
 *   stats, message, cargo, targets                      know nothing of the rest
 */
#include "tools/bench/cargo.h"
#include "tools/bench/message.h"
#include "tools/bench/stats.h"
#include "tools/bench/targets.h"
#include "tools/common.h"
#include <stdatomic.h>

/* ---- what is wanted ------------------------------------------------------------------------------ */

/** In which of the five an option has a meaning. */
typedef enum {
    BENCH_RPC_SERVER = 1 << 0,
    BENCH_RPC_CLIENT = 1 << 1,
    BENCH_NOTIFY_SERVER = 1 << 2,
    BENCH_BATCH_SERVER = 1 << 3,
    BENCH_NOTIFY_CLIENT = 1 << 4
} bench_mode;

typedef enum { BENCH_SYNC_NO, BENCH_SYNC_CALL, BENCH_SYNC_FANOUT } bench_sync;

enum { BENCH_TARGETS = 64, BENCH_THREADS = 4096 };

typedef struct {
    bench_mode mode;
    const char *mode_name;
    const char *topic, *server, *executor, *file;
    bench_target targets[BENCH_TARGETS];
    size_t target_count;
    unsigned threads;
    unsigned long messages;                    /* of each thread */
    double duration, wait, timeout, exit_wait; /* seconds; 0: none */
    bench_sync sync;
    bool is_cast, is_fanout, requeue;
} bench_plan;

/** The command line.  @param o, ret  both are filled; tool_opts_fini() in any case   @return -1 to go on; else the exit code */
int bench_options(int argc, char **argv, tool_opts *o, bench_plan *ret);

/* ---- a run -------------------------------------------------------------------------------------- */

enum { BENCH_GROUPS = 3 };

/** Its clock is a thread, which ends each second, says how it goes, and ends the run at its time or when it is told to. */
typedef struct bench_run {
    tool_opts *o;
    const bench_plan *plan;
    bench_group groups[BENCH_GROUPS];
    size_t group_count;
    const bench_group *shown; /* that the line of progress and the histogram are of */
    bool on_terminal;
    double began;
    bool (*is_done)(void *user); /* asked each second; may be NULL */
    void (*end)(void);           /* called once when it is over; may be NULL */
    void *user;
    FILE *file; /* of -j */
    int wake;   /* -1: the clock never ran */
    pthread_t clock;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool over, closing;
} bench_run;

/** @return false after it has said why; bench_run_fini() is right then, too */
bool bench_run_init(bench_run *r, tool_opts *o, const bench_plan *plan);
/** One of the groups more.  @param label lends   @errors NOMEM */
fj_code bench_run_group(bench_run *r, const char *label, size_t count, fj_error **err);
/** Let its clock begin.  @param signals  SIGINT and SIGTERM end the run, too; a second one the process */
fj_code bench_run_start(bench_run *r, bool signals, fj_error **err);
/** No more is counted, and no more said of how it goes.  More than once is fine. */
void bench_run_stop(bench_run *r);
/** What came out: on standard output, and in the file of -j.  @return the exit code */
int bench_run_results(bench_run *r);
void bench_run_fini(bench_run *r);

bool bench_is_over(const bench_run *r);
/** Wait for @p seconds, or less when the run is over meanwhile.  @thread plain ones; blocks */
void bench_pause(bench_run *r, double seconds);
/** Wait for @p seconds, or less when a signal comes: after bench_run_stop().  @thread plain ones; blocks */
void bench_wait_signal(bench_run *r, double seconds);

/* ---- how it looks (draw.c) ------------------------------------------------------------------------ */

/** "853 us": three digits and a unit. */
const char *bench_time_text(double ns, char text[24]);
/** A second of a run, without the newline. */
void bench_draw_second(FILE *out, const char *label, double since, const bench_point *p);
/** The line of the results. */
void bench_draw_summary(FILE *out, bench_group *g);
/** How many took how long, a line each. */
void bench_draw_histogram(FILE *out, const fj__histogram *h);

/* ---- the five ----------------------------------------------------------------------------------- */

/** @return the exit code */
int bench_rpc_server(bench_run *r);
int bench_notify_server(bench_run *r);
int bench_client(bench_run *r);

/* ---- what servers share (server.c) ----------------------------------------------------------------- */

/** Count one that came.  @param ret_message may be NULL
 *  @return false: it is no message of ours, which was said once */
bool bench_came(bench_run *r, const json_t *message, double now, bench_message *ret_message);
/** Say that it is ready, and run until its end. */
fj_code bench_serve(bench_run *r, const char *executor, fj_error **err);

/* ---- how clients send ----------------------------------------------------------------------------- */

/** A kind of clients: one of each client thread. */
typedef struct {
    /** Made before any of them sends.  @param ret gives */
    fj_code (*open)(bench_run *r, fj_transport *transport, unsigned number, void **ret, fj_error **err);
    /** Before each message; may be NULL. */
    void (*before)(void *state);
    /** @param message takes   @param ret gives the reply, if the kind has any */
    fj_code (*send)(void *state, json_t *message, json_t **ret, fj_error **err);
    /** After the last; may be NULL. */
    void (*after)(void *state);
    void (*close)(void *state); /* accepts NULL */
} bench_kind;

extern const bench_kind bench_rpc, bench_notes;

#endif
