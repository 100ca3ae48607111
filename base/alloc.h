/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_ALLOC_H
#define FJORD_BASE_ALLOC_H
/* The one place that allocates, so that tests can make each allocation fail in turn. */
#include <fjord/base.h>
#include <stdarg.h>
#include <stdlib.h>

/** As malloc, calloc and realloc; NULL when memory ran out.  Freed with fj__free() or free(). */
void *fj__alloc(size_t n);
void *fj__zalloc(size_t n);
void *fj__realloc(void *p, size_t n);
void fj__free(void *p);
void *fj__memdup(const void *bytes, size_t n);
char *fj__strdup(const char *text); /**< NULL for NULL */
char *fj__strndup(const char *text, size_t n);
char *fj__format(const char *format, ...) FJ_PRINTF(1, 2);
char *fj__vformat(const char *format, va_list args) FJ_PRINTF(1, 0);

/** Make room for @p need items in an array that holds *capacity of @p item bytes; grows by doubling.
 *  @return the array, possibly moved, or NULL (the old one is untouched) */
void *fj__grow(void *array, size_t *capacity, size_t need, size_t item);

/** Tests: the @p nth allocation from now on fails (1 is the next), and all later ones too if @p ever_after;
 *  0 switches the fault off.  Answers how many were counted since the last call. */
unsigned long fj__alloc_fail(unsigned long nth, bool ever_after);

#define fj__countof(array) (sizeof(array) / sizeof((array)[0]))
/** The object that holds @p member at @p ptr. */
#define fj__container(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
