/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_TEXT_H
#define FJORD_BASE_TEXT_H
/* Copies of texts in places of fixed size. */
#include <stddef.h>

/** As much of @p text as fits into the @p n bytes at @p into, never half a character of UTF-8.  NULL is empty. */
void fj__text_cut(char *into, size_t n, const char *text);

#endif
