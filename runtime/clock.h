/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_CLOCK_H
#define FJORD_RUNTIME_CLOCK_H
/* The clock from inside the library and its tests. */
#include <fjord/clock.h>

/** Tests: time stands still at @p ns and moves only by the next call; a negative value gives the real clock
 *  back.  @thread any */
void fj__clock_set_fake(int64_t ns);

#endif
