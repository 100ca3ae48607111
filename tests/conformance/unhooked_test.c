/* SPDX-License-Identifier: Apache-2.0 */
/* The same table in a program without libfjord-green: green methods run all the same, emulated, and the log says so. */
#define UNHOOKED
#include "tests/conformance/conformance_test.c" /* NOLINT(bugprone-suspicious-include) */
