/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's yardstick: calls through another broker, NATS, by its own C library.  `nats server|client URL ...` as support/plan.h
 * says, but only calls that follow one another: NATS confirms no message, and libnats waits in whole milliseconds.  Both sides send as
 * soon as they can; by default libnats gathers for a millisecond. */
#include "bench/support/drive.h"

#include <nats/nats.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SUBJECT "bench_nats"
#define WAIT_MS 60000 /* longer than any answer takes */

typedef struct {
    natsConnection *c;
    natsSubscription *answers;
    natsInbox *inbox;
    char *body;
} caller;

static void check(natsStatus status, const char *what)
{
    plan_check(status == NATS_OK, what);
}

static natsConnection *connect_to(const char *url)
{
    natsOptions *opts = NULL;
    natsConnection *c = NULL;

    check(natsOptions_Create(&opts), "making options");
    check(natsOptions_SetURL(opts, url), "reading the URL");
    check(natsOptions_SetSendAsap(opts, true), "setting an option");
    check(natsConnection_Connect(&c, opts), "connecting");
    natsOptions_Destroy(opts);
    return c;
}

/* On libnats's thread. */
static void echo(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *user)
{
    (void)sub, (void)user;
    check(natsConnection_Publish(c, natsMsg_GetReply(msg), natsMsg_GetData(msg), natsMsg_GetDataLength(msg)),
          "answering");
    natsMsg_Destroy(msg);
}

static void serve(natsConnection *c)
{
    natsSubscription *sub = NULL;

    check(natsConnection_Subscribe(&sub, c, SUBJECT, echo, NULL), "subscribing");
    check(natsConnection_Flush(c), "subscribing");
    puts("ready");
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}

static void send_one(drive *d, long number)
{
    caller *me = d->side;

    plan_number(me->body, number);
    check(natsConnection_PublishRequest(me->c, SUBJECT, me->inbox, me->body, (int)d->plan->bytes), "asking");
}

static void take(drive *d, double by)
{
    caller *me = d->side;
    natsMsg *msg = NULL;
    natsStatus s = natsSubscription_NextMsg(&msg, me->answers, WAIT_MS);

    (void)by;
    check(s, "waiting for an answer");
    plan_check(natsMsg_GetDataLength(msg) == (int)d->plan->bytes, "getting the same back");
    long number = plan_number_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    natsMsg_Destroy(msg);
    drive_done(d, number);
}

static void ask(natsConnection *c, const plan *p)
{
    caller me = { .c = c, .body = plan_body(p) };
    drive d = { .send = send_one, .take = take, .side = &me };

    plan_check(p->kind == PLAN_CALL && p->rate == 0, "doing anything but calls one after the other");
    check(natsInbox_Create(&me.inbox), "making an inbox");
    check(natsConnection_SubscribeSync(&me.answers, c, me.inbox), "subscribing");
    drive_all(&d, p, NULL);
    natsSubscription_Destroy(me.answers);
    natsInbox_Destroy(me.inbox);
}

int main(int argc, char **argv)
{
    plan p = plan_read("nats", argc, argv);
    natsConnection *c = connect_to(p.where);

    if (strcmp(p.role, "server") == 0)
        serve(c);
    else
        ask(c, &p);
    natsConnection_Destroy(c);
    nats_Close();
    return 0;
}
