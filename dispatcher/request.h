/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DISPATCHER_REQUEST_H
#define FJORD_DISPATCHER_REQUEST_H
/*
 * A request from inside the dispatcher.
 *
 * Its life has two parts, that end in either order and on any threads: it is answered (once: whoever sets `claimed`
 * answers), and its method has returned.  When both are over it is finished: the incoming is freed and the
 * executor told.  The memory goes with the last reference, which may be much later.
 */
#include "base/counters.h"
#include "runtime/local.h"

#include <fjord/dispatcher.h>
#include <stdatomic.h>

/** Whoever follows a request to its answer. */
typedef struct {
    /** It is about to be answered, once; before serializers.  One of the two is NULL, or both, and both may be replaced.
     *  @thread that of the answer, with no lock held */
    void (*answered)(void *user, json_t **result, fj_error **failure);
    void (*freed)(void *user); /**< with the request */
} fj__request_follow;

typedef struct fj__live fj__live;

/** In the ring of what a dispatcher has in hand (live.h). */
typedef struct fj__live_link {
    struct fj__live_link *next, *before;
    fj_request *req; /* NULL: the place of one who looks */
} fj__live_link;

struct fj_request {
    atomic_uint refs;
    atomic_uint parts_left; /* of its two parts */
    atomic_bool claimed;    /* somebody answers it, or has */
    atomic_bool kept;       /* fj_request_ref() was called */
    unsigned generation;    /* of forks: a child must not answer its parent's requests */
    bool held;              /* whoever called the method has claimed it; on that thread */
    bool wants_reply;
    bool batch;        /* notifications: several in one */
    atomic_bool unrun; /* its method was never called, or was given up: it goes back, if it can */
    const fj__request_follow *follow; /* NULL: nobody */
    void *follow_user;
    fj_incoming *in; /* owned; NULL once finished */
    /* What is kept of the message, for it may wait long: owned, as sent; NULL what was missing. */
    json_t *name, *ns, *version;
    json_t *args;    /* owned until the method is called */
    json_t *context; /* owned: as received, from step two on deserialized */
    fj_dispatcher *dispatcher;
    fj_request *outer; /* whose method ran on the thread when this one's was called */
    const fj_endpoint *endpoint;
    _Atomic(const fj_method *) method; /* of notifications the one that runs: others may ask meanwhile */
    void *data;
    fj__heritage *heritage;          /* what those its method makes inherit; NULL until it makes one */
    const fj_serializer *serializer; /* never NULL */
    fj_request_done_fn done;
    void *user;
    fj__live_link live;
    fj__counted *counted;
    int64_t arrived_ns;
    _Atomic int64_t started_ns; /* when its method was called; 0: not yet */
};

/** Answer, unless it was answered: takes both, of which at most one is not NULL.
 *  @errors STATE when it was answered; FORKED in a child of the process that took it; those of reply in driver.h */
fj_code fj__request_answer(fj_request *req, json_t *result, fj_error *failure, fj_error **err);
/** The same for what its method returned, where it was called. */
fj_code fj__request_settle(fj_request *req, json_t *result, fj_error *failure, fj_error **err);
/** Where the method was called, after it: nobody else may answer from here on, and what it returns is the answer; who follows is
 *  not told of it.  @return false when it was answered already, or is a parent's */
bool fj__request_hold(fj_request *req);
/** Before its method is called.  @param follow lends for ever   @param user takes */
void fj__request_set_follow(fj_request *req, const fj__request_follow *follow, void *user);
/** Another context, before its method is called.  @param context takes */
void fj__request_set_context(fj_request *req, json_t *context);
/** Its context through the serializer. */
fj_code fj__request_context_in(fj_request *req, fj_error **err);
/** Its method has returned @p code: answer, unless it will be later.  @param result, failure take */
void fj__request_ended(fj_request *req, fj_code code, json_t *result, fj_error *failure);
/** Whoever runs it gives it up, deferred or not: fj_request_fail(), and what can go back goes back.  @param failure takes */
void fj__request_give_up(fj_request *req, fj_error *failure);
/** The method has returned, or will not run. */
void fj__request_returned(fj_request *req);
/** Make @p req (lends; NULL: none) what fj_request_current() answers in this task, or outside of tasks on this
 *  thread; answers what was. */
fj_request *fj__request_swap(fj_request *req);
/** What is called until it is left, is of @p req, within what was.  One may be entered in itself.  @return what was, to leave with */
fj_request *fj__request_enter(fj_request *req);
void fj__request_leave(fj_request *req, fj_request *before);
/** The requests in hand of @p d (live.h). */
fj__live *fj__dispatcher_live(fj_dispatcher *d);
/** What stands for the endpoint in texts: its namespace. */
const char *fj__endpoint_place(const fj_endpoint *endpoint);

#endif
