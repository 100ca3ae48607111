/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CHAOS_RIG_H
#define TESTS_CHAOS_RIG_H
/*
 * A client and a server that are nothing but sockets, and the proxy between them, all in one thread: the test says when the
 * proxy's loop turns, and the time stands still until the test moves it.
 */
#include "tools/chaos/control.h"

#include <check.h>

extern fj_loop *loop;
extern chaos_proxy *proxy;
extern int client, server; /* of the first connection; not blocking */
extern FILE *rig_log;      /* what the proxy logs */

/** @param rules  a JSON array; single quotes stand for double ones */
void rig_begin(const char *rules, uint64_t seed);
void rig_end(void);
void rig_end_of_test(void);
/** Connect; @p ret_server may be NULL: nobody comes through. */
void rig_connect(int *ret_client, int *ret_server);
/** A rule more, as in rig_begin(). */
void rig_add(const char *rule);

/** Let the proxy do all it can do now. */
void rig_turn(void);
void rig_pass(int64_t ms);
void put(int fd, const void *bytes, size_t n);
/** Exactly these bytes arrive now, and no others. */
void expect(int fd, const void *bytes, size_t n);
void expect_nothing(int fd);
void expect_end(int fd);
void expect_reset(int fd);
/** All that arrives now.  @return how many */
size_t take(int fd, uint8_t *to, size_t max);

/** Frames.  They are valid until the sixteenth one after them. */
typedef struct {
    const uint8_t *bytes;
    size_t n;
} wire;
/** @param args  a JSON object with single quotes, or NULL */
wire method(const char *name, unsigned channel, const char *args);
wire header(unsigned channel, uint64_t size, const char *reply_to);
wire body(unsigned channel, const char *text);
wire joined(wire a, wire b);
wire bytes_of(const char *text);
void put_wire(int fd, wire w);
void expect_wire(int fd, wire w);

/** How often the log has @p text. */
size_t logged(const char *text);

#define ADD(tests, test) tcase_add_test(tests, test)
int rig_main(const char *name, void (*add)(TCase *tests));

#endif
