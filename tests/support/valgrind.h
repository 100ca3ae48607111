/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_VALGRIND_H
#define TESTS_SUPPORT_VALGRIND_H
/* Whether valgrind runs the test.  It looks through all stacks at each switch: a test of thousands has fewer there. */
#include "runtime/sanitize.h"

#ifdef FJ__VALGRIND
#define ON_VALGRIND RUNNING_ON_VALGRIND
#else
#define ON_VALGRIND 0
#endif

#endif
