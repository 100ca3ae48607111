/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/ledger.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    unsigned ran, ended;
    fj_code code;
    fj_sent sent;
} entry;

struct ledger {
    pthread_mutex_t lock;
    unsigned begun, n, strange; /* strange: numbers that nobody was given */
    entry entries[];
};

ledger *ledger_new(unsigned n)
{
    ledger *l = calloc(1, sizeof *l + n * sizeof l->entries[0]);

    if (l == NULL)
        return NULL;
    (void)pthread_mutex_init(&l->lock, NULL);
    l->n = n;
    return l;
}

void ledger_free(ledger *l)
{
    if (l == NULL)
        return;
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

void ledger_ran(ledger *l, unsigned seq)
{
    (void)pthread_mutex_lock(&l->lock);
    if (seq < l->begun)
        l->entries[seq].ran++;
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
    } else {
        l->strange++;
    }
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

static const char *wrong_with(const entry *e)
{
    if (e->ended != 1)
        return "did not end exactly once";
    if (e->ran > 1)
        return "ran more than once";
    if (e->code == FJ_OK && e->ran == 0)
        return "ended well and never ran";
    if (e->code != FJ_OK && e->sent == FJ_SENT_NO && e->ran != 0)
        return "ran though it ended as never sent";
    return NULL;
}

bool ledger_balanced(ledger *l, char *text, size_t n)
{
    const char *wrong = NULL;

    text[0] = '\0';
    (void)pthread_mutex_lock(&l->lock);
    if (l->strange != 0)
        wrong = "a number that nobody was given";
    for (unsigned i = 0; i < l->begun && wrong == NULL; i++) {
        const entry *e = &l->entries[i];
        wrong = wrong_with(e);
        if (wrong != NULL)
            (void)snprintf(text, n, "operation %u %s (ran %u, ended %u, %s, sent %s)", i, wrong, e->ran,
                           e->ended, fj_code_name(e->code), fj_sent_name(e->sent));
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (wrong != NULL && text[0] == '\0')
        (void)snprintf(text, n, "%s", wrong);
    return wrong == NULL;
}
