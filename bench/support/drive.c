/* SPDX-License-Identifier: Apache-2.0 */
#include "drive.h"

#include <stdlib.h>

static double due(const drive *d, long i, double start)
{
    return start + (double)i / d->plan->rate;
}

static void send_one(drive *d, double when)
{
    d->began[d->sent % d->began_n] = when;
    d->send(d, d->sent++);
}

void drive_done(drive *d, long number)
{
    double t = plan_now();

    plan_check(number >= d->first && number < d->sent, "getting an answer that was asked for");
    tally_add(&d->tally, t - d->began[number % d->began_n]);
    d->done++;
    if (d->plan->rate == 0 && d->sent < d->end)
        send_one(d, t);
}

static void closed_loop(drive *d)
{
    while (d->sent < d->end && d->sent - d->first < d->plan->at_once)
        send_one(d, plan_now());
    while (d->done < d->end)
        d->take(d, DRIVE_NEVER);
}

/* A late one counts from when it was due: waiting for its turn is a part of what a caller waits. */
static void open_loop(drive *d)
{
    double start = plan_now();

    while (d->done < d->end) {
        while (d->sent < d->end && due(d, d->sent - d->first, start) <= plan_now())
            send_one(d, due(d, d->sent - d->first, start));
        d->take(d, d->sent < d->end ? due(d, d->sent - d->first, start) : DRIVE_NEVER);
    }
}

double drive_run(drive *d, const plan *p, long n)
{
    double start = plan_now();

    d->plan = p;
    d->first = d->sent;
    d->end = d->sent + n;
    d->began_n = p->rate > 0 ? n : PLAN_AT_ONCE_MAX;
    d->began = calloc((size_t)d->began_n, sizeof(double));
    plan_check(d->began != NULL, "allocating the times of calls");
    if (p->rate > 0)
        open_loop(d);
    else
        closed_loop(d);
    free(d->began);
    d->began = NULL;
    return plan_now() - start;
}

void drive_all(drive *d, const plan *p, void (*last)(drive *d))
{
    if (p->warm_up > 0)
        (void)drive_run(d, p, p->warm_up);
    plan_say(p, "begin");
    d->tally = tally_new(p->calls);
    double start = plan_now();
    (void)drive_run(d, p, p->calls);
    if (last != NULL)
        last(d);
    tally_report(&d->tally, p, plan_now() - start);
    tally_free(&d->tally);
}
