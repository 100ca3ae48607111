/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_H
#define FJORD_BASE_H
/*
 * The words every other public header is written in.
 *
 * Ownership is said in four words, in the comment of each parameter:
 *   gives        the callee hands it over; the caller frees it
 *   lends        valid until the time the comment names; never freed by the receiver
 *   takes        the callee owns it from the call on, on failure too
 *   takes-on-ok  the callee owns it only if the call answered FJ_OK
 *
 * Public structs begin with `size_t size`, filled by their macro (FJ_TARGET, FJ_..._INIT), and are
 * copied by whoever takes them, so that they can grow without breaking the ABI.  All else is opaque.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FJ_VERSION_MAJOR 0
#define FJ_VERSION_MINOR 1
#define FJ_VERSION_PATCH 0
#define FJ_VERSION "0.1.0"

#if defined(__GNUC__)
#define FJ_MUST_USE __attribute__((warn_unused_result))
#define FJ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define FJ_API __attribute__((visibility("default")))
#else
#define FJ_MUST_USE
#define FJ_PRINTF(fmt, args)
#define FJ_API
#endif

/* Functions that may suspend the task they run in: <fjord/await.h>, <fjord/green.h>.  Compilers ignore these; `scripts/awaits` does not. */
#if defined(__clang__)
#define FJ_AWAITS __attribute__((annotate("fj_awaits")))
#define FJ_MAY_AWAIT __attribute__((annotate("fj_may_await")))
#define FJ_AWAITS_GREEN __attribute__((annotate("fj_awaits_green")))
#else
#define FJ_AWAITS
#define FJ_MAY_AWAIT
#define FJ_AWAITS_GREEN
#endif

#ifdef __cplusplus
#define FJ_BEGIN_DECLS extern "C" {
#define FJ_END_DECLS }
#else
#define FJ_BEGIN_DECLS
#define FJ_END_DECLS
#endif

FJ_BEGIN_DECLS

/** A point of the monotonic clock.  <fjord/clock.h> makes and compares them. */
typedef struct {
    int64_t ns; /**< CLOCK_MONOTONIC, nanoseconds */
} fj_deadline;

/** The version of the library in use, such as "0.1.0".  @thread any */
FJ_API const char *fj_version(void);

FJ_END_DECLS
#endif
