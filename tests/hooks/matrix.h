/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HOOKS_MATRIX_H
#define TESTS_HOOKS_MATRIX_H
/* The table of the hooks: for each a call that has to wait, what ends its wait, and which cases apply to it. */
#include "tests/hooks/rig.h"

enum {
    MATRIX_WAITS = 1,  /* suspends, until it is fed */
    MATRIX_THREAD = 2, /* goes to a thread */
    MATRIX_TIMES =
        4, /* ends at a time of its own, or of its socket: with EAGAIN, or with 0 where it has matrix_ms */
    MATRIX_CLOSED = 8,    /* waits for rig_ends[0], and hears of its closing */
    MATRIX_FLAG = 16,     /* leaves O_NONBLOCK of rig_ends[0] alone: EAGAIN */
    MATRIX_CLOSES = 32,   /* ends rig_ends[0] itself, of which who waits hears */
    MATRIX_PASSES = 64,   /* never waits */
    MATRIX_CANCELS = 128, /* is cut short by a cancellation */
    MATRIX_TERMINAL = 256 /* needs one: see rig_has_terminals() */
};

typedef struct {
    const char *name, *of; /* the hook, and what it is called with */
    unsigned cases;
    void (*set_up)(void);
    long (*call)(void);         /* @return as libc's, but -1 with errno for every failure */
    void (*feed)(void *unused); /* ends the wait; NULL: nothing need be done */
    int in_time;                /* MATRIX_TIMES: 0, or the errno that a time-out has */
} matrix_row;

extern const matrix_row matrix_data[], matrix_files[];
extern const size_t matrix_data_count, matrix_files_count;

/** The time that calls with one have; -1 for ever. */
extern int matrix_ms;

#endif
