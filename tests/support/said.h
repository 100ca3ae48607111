/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_SAID_H
#define TESTS_SUPPORT_SAID_H
/* What the library has logged, errors and warnings, as "error loop: text\n"...  Any thread may ask. */
#include <stdbool.h>

/** From now on, and nothing yet. */
void said_begin(void);
/** How many lines hold both @p a and @p b (which may be NULL). */
unsigned said(const char *a, const char *b);
/** How many lines at all. */
unsigned said_lines(void);
/** When a line with @p text comes, @p then is called, which must do little (as in a signal handler). */
void said_then(const char *text, void (*then)(void));
/** All of it, for messages. */
const char *said_text(void);

#endif
