/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_CUTTER_H
#define TESTS_SUPPORT_CUTTER_H
/*
 * A proxy on a thread of the test's process that knows AMQP's frames, and breaks one connection once, at the byte: when a
 * certain frame has gone through, or half of it.  Everything before that byte arrives, nothing behind it does.
 *
 * Heartbeats go through and are not counted, for they come when they like.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    CUT_FIN,    /* both sides see the end of the stream */
    CUT_RST,    /* both sides see a reset */
    CUT_STALL,  /* neither side sees anything any more, not even an end */
    CUT_GARBAGE /* bytes that are no AMQP, and then the rest of what came */
} cut_kind;

typedef struct {
    unsigned connection; /* in the order in which they were made, from 0 on */
    bool to_broker;
    unsigned frame; /* from 0 on: to the broker, the protocol header is the first */
    bool middle;    /* in the middle of it; else behind it */
    cut_kind kind;
} cut_point;

enum { CUTTER_CONNECTIONS = 4, CUTTER_FRAMES = 64 };

typedef struct cutter cutter;

/** @param port  of 127.0.0.1: where connections go on   @param cut  NULL: none */
cutter *cutter_new(uint16_t port, const cut_point *cut);
uint16_t cutter_port(const cutter *c);
/** Whether it has cut. */
bool cutter_struck(cutter *c);
/** How many frames went through so far, at most CUTTER_FRAMES. */
unsigned cutter_frames(cutter *c, unsigned connection, bool to_broker);
/** What the frame was: "basic.publish", "header", "body"...  Lends. */
const char *cutter_name(cutter *c, unsigned connection, bool to_broker, unsigned frame);
/** NULL is fine.  @return NULL */
cutter *cutter_free(cutter *c);

#endif
