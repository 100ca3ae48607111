/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_IDS_H
#define FJORD_BASE_IDS_H
/* Random ids (RFC 4122, version 4), as Python's uuid.uuid4() gives them.  Different in a forked child. */
#include <fjord/base.h>

/** 32 lower-case hex digits and NUL: uuid4().hex.  @thread any */
void fj__id_hex(char out[33]);
/** With dashes: str(uuid4()).  @thread any */
void fj__id_uuid(char out[37]);
/** A random number in [0, 1), for back-off jitter.  @thread any */
double fj__random_unit(void);

#endif
