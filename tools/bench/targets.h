/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_BENCH_TARGETS_H
#define FJORD_TOOLS_BENCH_TARGETS_H
/* Where a client of `fjord bench` sends. */
#include <stdbool.h>

typedef struct {
    const char *topic, *server; /* server NULL: any of the topic */
} bench_target;

/** TOPIC or TOPIC.SERVER, split in place at its first dot: names of servers are those of hosts, and have dots.
 *  @param ret lends from @p text   @return false: there is no topic */
bool bench_target_parse(char *text, bench_target *ret);

#endif
