/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_SANITIZE_H
#define FJORD_RUNTIME_SANITIZE_H
/* What the memory checkers must be told of stacks; each is nothing in a build without it. */

#if defined(__SANITIZE_ADDRESS__)
#define FJ__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FJ__ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FJ__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FJ__TSAN 1
#endif
#endif

#ifdef FJ__ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FJ__TSAN
#include <sanitizer/tsan_interface.h>
#define FJ__NO_TSAN __attribute__((no_sanitize("thread")))
#else
#define FJ__NO_TSAN
#endif

/* The header makes instructions that do nothing outside of valgrind. */
#if defined(__has_include) && !defined(FJ__ASAN) && !defined(FJ__TSAN)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define FJ__VALGRIND 1
#endif
#endif

#endif
