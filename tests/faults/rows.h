/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_FAULTS_ROWS_H
#define FJORD_TESTS_FAULTS_ROWS_H
/*
 * Faults by their names: each test is a sentence that begins with the fault's id, "A6 a confirm that never comes...", and is
 * printed when all have run, as `ok: A6 ...`, or `not ok: A6 ...: why`.  One alone: CK_RUN_CASE='the sentence'.
 */
#include <check.h>

/** The five, for rows that are run under each. */
extern const char *const rows_executors[5];

/** Rows are run three at a time: most of them wait. */
Suite *rows_suite(const char *name);
/** A row.  Its test has 60 seconds. */
void rows_add(Suite *s, const char *title, const TTest *test);
/** A row tried @p n times; _i counts. */
void rows_add_loop(Suite *s, const char *title, const TTest *test, int n);
/** A row under each executor: _i is its number. */
void rows_add_each(Suite *s, const char *title, const TTest *test);
/** A row that cannot run here. */
void rows_skip(const char *title, const char *why);
/** Run all and print.  @return the process's status */
int rows_run(Suite *s);

#endif
