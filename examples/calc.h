/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CALC_H
#define CALC_H
/* The calculator that the examples serve and call. */
#include <fjord/fjord.h>

/** Methods add(a, b), sub(a, b), div(a, b), slow(ms), which blocks, and nap(ms), which awaits; in the namespace "calc",
 *  version 1.1. */
extern const fj_endpoint calc_endpoint;

/** Print what went wrong, free it, and answer an exit code for main(). */
int calc_failed(const char *what, fj_error *err);

#endif
