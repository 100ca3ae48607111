/* SPDX-License-Identifier: Apache-2.0 */
/* The ready queue: jobs in the order they were pushed, and how many of them a turn runs. */
#include "runtime/loop_impl.h"

void fj__loop_push(fj_loop *loop, fj__job *job)
{
    if (job->queued || fj__loop_refuses(loop, "fj__loop_push"))
        return;
    job->queued = true;
    job->next = NULL;
    job->prev = loop->last;
    if (loop->last != NULL)
        loop->last->next = job;
    else
        loop->first = job;
    loop->last = job;
    if (loop->host != NULL)
        fj__host_stir(loop);
}

void fj__loop_pull(fj_loop *loop, fj__job *job)
{
    if (!job->queued)
        return;
    if (loop->mark == job)
        loop->mark = job->prev;
    *(job->prev != NULL ? &job->prev->next : &loop->first) = job->next;
    *(job->next != NULL ? &job->next->prev : &loop->last) = job->prev;
    job->next = job->prev = NULL;
    job->queued = false;
}

/* Any, if somebody chooses. */
static fj__job *next_job(fj_loop *loop)
{
    fj__job *job = loop->first;
    unsigned n = 1;

    if (loop->choose == NULL)
        return job;
    for (fj__job *j = job->next; j != NULL; j = j->next)
        n++;
    for (unsigned skip = loop->choose(loop->choose_user, n) % n; skip != 0; skip--)
        job = job->next;
    return job;
}

bool fj__loop_run_ready(fj_loop *loop)
{
    bool did = loop->first != NULL;

    loop->mark = loop->last;
    while (loop->mark != NULL && fj__loop_ours(loop)) {
        fj__job *job = next_job(loop);
        fj__loop_pull(loop, job);
        fj__loop_enter(loop, job->name);
        job->run(job);
        fj__loop_leave(loop);
        loop->jobs++;
        /* The clock costs as much as a small job. */
        bool look = loop->mark != NULL && loop->jobs % FJ__LOOP_CLOCK_JOBS == 0;
        if (loop->choose != NULL || (look && fj__loop_spent(loop)))
            break;
    }
    loop->mark = NULL;
    return did;
}

/* By the clock that tests move: how busy the machine is must not change the order of a test. */
bool fj__loop_spent(fj_loop *loop)
{
    int64_t now = fj_now().ns;

    if (loop->began == 0)
        loop->began = now;
    return loop->jobs >= FJ__LOOP_JOBS || now - loop->began >= FJ__LOOP_JOBS_NS;
}
