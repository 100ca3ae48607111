/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_PLAN_H
#define FJORD_BENCH_PLAN_H
/*
 * What a side of the benchmark is to do, the same for all of them: `SIDE ROLE WHERE [NAME=VALUE...]`.  bench/oslo_peer.py reads the
 * same names.
 */
#include <stdbool.h>
#include <stddef.h>

typedef enum {
    PLAN_CALL, /* wait for answers */
    PLAN_CAST, /* wait for the broker's confirmations */
    PLAN_IDLE  /* open connections, call once through each, and keep them */
} plan_kind;

typedef struct {
    const char *role;  /* "server", "client", "sink", "source" */
    const char *where; /* a port, or a URL */
    plan_kind kind;
    long calls;
    long warm_up; /* calls before, which are not counted */
    long at_once; /* calls, or unconfirmed casts, under way at a time; or connections */
    size_t bytes; /* of a request's body */
    double rate; /* calls a second, each due at its time whatever the others do; 0: the next when one is over */
    const char *executor; /* of Fjord's and oslo.messaging's servers */
    const char *caller;   /* Fjord's client is "thread", or "tasks" of a loop */
    bool hold;            /* wait for a line before the counted calls and after them, for who reads /proc */
} plan;

#define PLAN_AT_ONCE_MAX 1024
#define PLAN_BYTES_MIN 128

/** @param program for the usage   Ends the process with 2 on what it does not understand. */
plan plan_read(const char *program, int argc, char **argv);
/** Say "begin", or anything that the runner waits for, and wait for its answer if it holds. */
void plan_say(const plan *p, const char *word);
/** A request's body of the size: JSON as oslo.messaging's envelope has it, with room for a number.  The process's, until the next. */
char *plan_body(const plan *p);
void plan_number(char *body, long number);
/** The number in a body that came back.  -1: it is no such body. */
long plan_number_of(const char *body, size_t n);
double plan_now(void);
/** End the process, saying so, unless @p ok. */
void plan_check(bool ok, const char *what);

#endif
