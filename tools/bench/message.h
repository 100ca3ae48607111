/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_BENCH_MESSAGE_H
#define FJORD_TOOLS_BENCH_MESSAGE_H
/* The message of oslo.messaging's simulator: the array [seq, cargo, client_ts, server_ts, return_ts], times in seconds since 1970. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/** What is looked at in one. */
typedef struct {
    json_int_t seq;
    uint64_t size; /* characters of its cargo */
    double client_ts;
} bench_message;

/** Gives; NULL: no memory */
json_t *bench_message_new(json_int_t seq, const char *cargo, size_t length, double client_ts);
/** @return false: it is none */
bool bench_message_read(const json_t *message, bench_message *ret);
/** A copy with the server's time.  Gives; NULL: no memory */
json_t *bench_message_answer(json_t *message, double server_ts);

#endif
