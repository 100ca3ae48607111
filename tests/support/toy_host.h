/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_SUPPORT_TOY_HOST_H
#define FJORD_TESTS_SUPPORT_TOY_HOST_H
/* A program's own loop, on poll(2), with Fjord's in it, in either way. */
#include <fjord/fjord.h>

typedef enum {
    TOY_WATCHES, /* it watches Fjord's one descriptor, and its time */
    TOY_DRIVES,  /* it owns every descriptor, and tells Fjord */
} toy_way;

enum { TOY_FDS = 4096 };

typedef struct {
    toy_way way;
    fj_loop *loop;
    bool read[TOY_FDS], write[TOY_FDS];
    fj_deadline at;
    bool refuse;      /* to watch anything more */
    bool cleaned;     /* the loop said that it is gone */
    unsigned turns;   /* how often Fjord was called */
    unsigned watches; /* how many there are */
    unsigned asked;   /* how often it wanted something of the host */
} toy_host;

/** A host with a loop, on this thread.  Fails the test when there is none. */
void toy_up(toy_host *h, toy_way way);
/** Frees the loop, and looks whether the host was told to forget everything. */
void toy_down(toy_host *h);
/** Sleep for @p ms at most (-1: for ever), and do what there is to do.  @return whether Fjord was called */
bool toy_once(toy_host *h, int ms);

#endif
