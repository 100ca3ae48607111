/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_FAULTS_CUT_H
#define FJORD_TESTS_FAULTS_CUT_H
/* One call, cut at one point. */
#include "tests/support/cutter.h"

#include <stdio.h>

typedef struct {
    const char *executor;
    bool of_client; /* else the server's connection is cut */
    cut_point at;
} cut;

/** "client:0:out:5:end:fin": whose connection, which of them, which way, which frame, where, how. */
void cut_name(const cut *c, char *text, size_t n);
/** @return false when it is no such name */
bool cut_read(const char *text, cut *ret);
/** One call without a cut.  Prints one line a frame, "client:0:out:5 basic.publish", and a star where the call had begun. */
void cut_record(const char *executor, FILE *to);
/** One call with it, judged; then calls again until one is answered.  Prints "late MS, how the first ended" last. */
void cut_run(const cut *c, FILE *to);

#endif
