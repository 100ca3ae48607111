/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_SPY_H
#define TESTS_SUPPORT_SPY_H
/* An interceptor that tells what it hears, and does as it is told; and a server on a thread of its own to be intercepted. */
#include <fjord/fjord.h>

typedef struct spy spy;
struct spy {
    const char *name;
    /* Any may be NULL: nothing. */
    fj_code (*client_begin)(spy *s, fj_rpc *rpc, fj_error **err);
    void (*client_end)(spy *s, fj_rpc *rpc);
    fj_code (*server_begin)(spy *s, fj_rpc *rpc, fj_error **err);
    void (*server_end)(spy *s, fj_rpc *rpc);
    fj_code opens; /* what open answers */
    bool tells;    /* of being opened and closed, too */
};

/** Its `user` is a spy.  It notes "name>c" and "name>s" when it begins on a client or a server, "name<c:CODE" and "name<s:CODE" when
 *  it ends; once it has done what it is told to. */
extern const fj_interceptor spy_interceptor;

/** Forget what was noted. */
void spy_begin(void);
/** Add words to the notes, with a space.  @thread any */
void spy_note(const char *format, ...) FJ_PRINTF(1, 2);
/** Wait until the notes are @p all; fails the test if they grow to be others, by Check's time limit if they never come. */
void spy_expect(const char *all);
/** Wait until @p words are among the notes. */
void spy_await(const char *words);

/* ---- a server ------------------------------------------------------------------------------------ */

typedef struct {
    fj_transport *transport;
    fj_server *server;
    const char *executor;
    const fj_endpoint *endpoint;
    spy *const *spies; /* of the server, ended by NULL; NULL: none */
    fj_invoke_fn wrap;
} served;

/** Start it on topic "t", as server "s", on a thread that drives it. */
void served_start(served *s);
/** Stop it, drain it and free it there. */
void served_end(served *s);

#endif
