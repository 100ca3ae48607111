/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_MOCK_LISTENER_H
#define FJORD_TESTS_MOCK_LISTENER_H
/*
 * A listener whose messages the test puts in by hand, and which remembers what became of them.  Messages belong to
 * the mock and live until mock_free(), so that a test may look at them after the library has freed them.
 */
#include <fjord/driver.h>
#include <pthread.h>

typedef struct mock_listener mock_listener;

/* A message.  Look at the fields only after mock_wait(), or with no other thread about. */
typedef struct mock_msg {
    fj_incoming in; /* first */
    mock_listener *mock;
    struct mock_msg *next;  /* of all */
    fj_code reply_codes[3]; /* what the first replies answer, so that they can be refused */
    unsigned tries;         /* how often reply was called */
    unsigned answers;       /* how many of those were taken */
    json_t *result;         /* of the last that was taken; owned */
    fj_error *failure;      /* the same; owned */
    bool acked, requeued, done, freed;
} mock_msg;

struct mock_listener {
    fj_listener base; /* first */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    mock_msg *all;
    mock_msg *queue[256];
    size_t first, decoded, last; /* before `decoded` they wait for poll(), behind it for pump() or poll() */
    int wire_fd;                 /* what watch() gives: something came, or somebody interrupts */
    int ready_fd;                /* what fd() gives */
    unsigned pumps;
    bool interrupted, closed;
    unsigned polls, acks; /* calls */
    size_t largest_max;   /* that poll was called with */
    bool polled_for_none; /* poll with max 0: never legal */
    bool stale_acks;      /* ack finds every message stale */
    fj_code ack_code;     /* of the next ack */
    unsigned poll_fails;  /* so many polls fail first with LOST */
};

mock_listener *mock_new(void);
/** Frees the messages too.  @return false when the library leaked one: polled, never freed. */
bool mock_free(mock_listener *mock);
/** Queue a call, or a cast, whose message is @p json. */
mock_msg *mock_call(mock_listener *mock, const char *json);
mock_msg *mock_cast(mock_listener *mock, const char *json);
/** The same without queueing it: for fj_dispatcher_begin().  As if polled. */
mock_msg *mock_message(mock_listener *mock, const char *json, bool wants_reply);
/** Wait until the library has freed @p msg, ten seconds at most. */
bool mock_wait(mock_msg *msg);
/** How many messages wait to be polled. */
size_t mock_queued(mock_listener *mock);

#endif
