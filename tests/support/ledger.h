/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_LEDGER_H
#define TESTS_SUPPORT_LEDGER_H
/* What became of each operation of a test: begun, run by a server, ended.  Any thread. */
#include <fjord/clock.h>
#include <fjord/error.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct ledger ledger;

/** Room for @p n operations; NULL when memory ran out. */
ledger *ledger_new(unsigned n);
void ledger_free(ledger *l);
/** Begin one.  @return its number, from 0 on; n when the ledger is full */
unsigned ledger_begin(ledger *l);
/** It must end by @p by, give or take what a busy machine takes (2 s).  Before it starts. */
void ledger_due(ledger *l, unsigned seq, fj_deadline by);
/** A server runs it. */
void ledger_ran(ledger *l, unsigned seq);
/** The broker had it.  From the first of these on, what an end says of sent is held against it, too: yes without the broker
 *  having had it, and no although it had, are wrong. */
void ledger_stored(ledger *l, unsigned seq);
/** It ended, with @p code and what its error says of sent. */
void ledger_ended(ledger *l, unsigned seq, fj_code code, fj_sent sent);
/** How many ended so. */
unsigned ledger_count(ledger *l, fj_code code);
/** Whether each operation ended exactly once, and in time, ran at most once, ran if it ended well, and did not run if it
 *  ended with sent = no.  @param text says what is wrong; "" when nothing is */
bool ledger_balanced(ledger *l, char *text, size_t n);
/** The same, but first wait up to @p ms until it is so: a cast runs after it ended. */
bool ledger_settled(ledger *l, int ms, char *text, size_t n);
/** How many began and have not ended. */
unsigned ledger_pending(ledger *l);
/** How one ended.  @return false when it has not */
bool ledger_outcome(ledger *l, unsigned seq, fj_code *ret_code, fj_sent *ret_sent);
/** By how much the latest one missed its time, in ms; 0 when none did. */
long ledger_latest(ledger *l);

#endif
