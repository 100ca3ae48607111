/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/ledger.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LATE_MS = 2000 };

typedef struct {
    unsigned ran, ended;
    fj_code code;
    fj_sent sent;
    bool timed, stored;
    fj_deadline by;
    long late_ms;
} entry;

struct ledger {
    pthread_mutex_t lock;
    pthread_cond_t changed;     /* something ran or ended */
    unsigned begun, n, strange; /* strange: numbers that nobody was given */
    bool watched;               /* the broker: what it had is known */
    entry entries[];
};

ledger *ledger_new(unsigned n)
{
    ledger *l = calloc(1, sizeof *l + n * sizeof l->entries[0]);
    pthread_condattr_t attr;

    if (l == NULL)
        return NULL;
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&l->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    l->n = n;
    return l;
}

void ledger_free(ledger *l)
{
    if (l == NULL)
        return;
    (void)pthread_cond_destroy(&l->changed);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

unsigned ledger_begin(ledger *l)
{
    (void)pthread_mutex_lock(&l->lock);
    unsigned seq = l->begun < l->n ? l->begun++ : l->n;
    (void)pthread_mutex_unlock(&l->lock);
    return seq;
}

void ledger_due(ledger *l, unsigned seq, fj_deadline by)
{
    (void)pthread_mutex_lock(&l->lock);
    if (seq < l->begun) {
        l->entries[seq].by = by;
        l->entries[seq].timed = true;
    } else {
        l->strange++;
    }
    (void)pthread_mutex_unlock(&l->lock);
}

void ledger_ran(ledger *l, unsigned seq)
{
    (void)pthread_mutex_lock(&l->lock);
    if (seq < l->begun)
        l->entries[seq].ran++;
    else
        l->strange++;
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
}

void ledger_stored(ledger *l, unsigned seq)
{
    (void)pthread_mutex_lock(&l->lock);
    l->watched = true;
    if (seq < l->begun)
        l->entries[seq].stored = true;
    else
        l->strange++;
    (void)pthread_mutex_unlock(&l->lock);
}

void ledger_ended(ledger *l, unsigned seq, fj_code code, fj_sent sent)
{
    (void)pthread_mutex_lock(&l->lock);
    if (seq < l->begun) {
        l->entries[seq].ended++;
        l->entries[seq].code = code;
        l->entries[seq].sent = sent;
        l->entries[seq].late_ms = (long)((fj_now().ns - l->entries[seq].by.ns) / 1000000);
    } else {
        l->strange++;
    }
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
}

unsigned ledger_count(ledger *l, fj_code code)
{
    unsigned n = 0;

    (void)pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < l->begun; i++)
        n += l->entries[i].ended != 0 && l->entries[i].code == code;
    (void)pthread_mutex_unlock(&l->lock);
    return n;
}

static const char *wrong_with(const ledger *l, const entry *e)
{
    if (e->ended != 1)
        return "did not end exactly once";
    if (e->timed && e->late_ms > LATE_MS)
        return "ended late";
    if (e->ran > 1)
        return "ran more than once";
    if (e->code == FJ_OK && e->ran == 0)
        return "ended well and never ran";
    if (e->code != FJ_OK && e->sent == FJ_SENT_NO && e->ran != 0)
        return "ran though it ended as never sent";
    if (l->watched && e->sent == FJ_SENT_NO && e->code != FJ_OK && e->stored)
        return "ended as never sent, and the broker had it";
    if (l->watched && (e->sent == FJ_SENT_YES || e->code == FJ_OK) && !e->stored)
        return "ended as sent, and the broker never had it";
    return NULL;
}

/* Under the lock. */
static bool balanced(const ledger *l, char *text, size_t n)
{
    text[0] = '\0';
    if (l->strange != 0)
        (void)snprintf(text, n, "%u times a number that nobody was given", l->strange);
    for (unsigned i = 0; i < l->begun && text[0] == '\0'; i++) {
        const entry *e = &l->entries[i];
        const char *wrong = wrong_with(l, e);
        if (wrong != NULL)
            (void)snprintf(text, n, "operation %u %s (ran %u, ended %u, %s, sent %s, %ld ms late)", i, wrong,
                           e->ran, e->ended, fj_code_name(e->code), fj_sent_name(e->sent),
                           e->timed ? e->late_ms : 0);
    }
    return text[0] == '\0';
}

bool ledger_balanced(ledger *l, char *text, size_t n)
{
    return ledger_settled(l, 0, text, n);
}

bool ledger_settled(ledger *l, int ms, char *text, size_t n)
{
    fj_deadline by = fj_in_ms(ms);
    struct timespec until = { .tv_sec = (time_t)(by.ns / 1000000000), .tv_nsec = (long)(by.ns % 1000000000) };

    (void)pthread_mutex_lock(&l->lock);
    bool yes = balanced(l, text, n);
    while (!yes && !fj_passed(by)) {
        (void)pthread_cond_timedwait(&l->changed, &l->lock, &until);
        yes = balanced(l, text, n);
    }
    (void)pthread_mutex_unlock(&l->lock);
    return yes;
}

long ledger_latest(ledger *l)
{
    long latest = 0;

    (void)pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < l->begun; i++) {
        if (l->entries[i].timed && l->entries[i].ended != 0 && l->entries[i].late_ms > latest)
            latest = l->entries[i].late_ms;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return latest;
}

unsigned ledger_pending(ledger *l)
{
    unsigned n = 0;

    (void)pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < l->begun; i++)
        n += l->entries[i].ended == 0;
    (void)pthread_mutex_unlock(&l->lock);
    return n;
}

bool ledger_outcome(ledger *l, unsigned seq, fj_code *ret_code, fj_sent *ret_sent)
{
    (void)pthread_mutex_lock(&l->lock);
    bool ended = seq < l->begun && l->entries[seq].ended != 0;
    if (ended) {
        *ret_code = l->entries[seq].code;
        *ret_sent = l->entries[seq].sent;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return ended;
}
