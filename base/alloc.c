/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_ulong counted;
static atomic_ulong fail_at; /* 0: off */
static atomic_bool fail_ever_after;

unsigned long fj__alloc_fail(unsigned long nth, bool ever_after)
{
    unsigned long before = atomic_exchange(&counted, 0);

    atomic_store(&fail_ever_after, ever_after);
    atomic_store(&fail_at, nth);
    return before;
}

static bool must_fail(void)
{
    unsigned long at = atomic_load_explicit(&fail_at, memory_order_relaxed);

    if (at == 0)
        return false;
    unsigned long n = atomic_fetch_add(&counted, 1) + 1;
    return n == at || (n > at && atomic_load(&fail_ever_after));
}

void *fj__alloc(size_t n)
{
    return must_fail() ? NULL : malloc(n != 0 ? n : 1);
}

void *fj__zalloc(size_t n)
{
    enum { LARGE = 4096 };

    if (n >= LARGE) /* it may have pages that are zero already */
        return must_fail() ? NULL : calloc(1, n);
    /* calloc() of glibc before 2.41 passes by what malloc() keeps for each thread. */
    void *p = fj__alloc(n);
    return p != NULL ? memset(p, 0, n) : NULL;
}

void *fj__realloc(void *p, size_t n)
{
    return must_fail() ? NULL : realloc(p, n != 0 ? n : 1);
}

void fj__free(void *p)
{
    free(p);
}

void *fj__memdup(const void *bytes, size_t n)
{
    void *copy = fj__alloc(n);

    if (copy != NULL && n != 0)
        memcpy(copy, bytes, n);
    return copy;
}

char *fj__strndup(const char *text, size_t n)
{
    char *copy = fj__alloc(n + 1);

    if (copy == NULL)
        return NULL;
    if (n != 0) /* the bytes of an empty buffer are nowhere */
        memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

char *fj__strdup(const char *text)
{
    return text == NULL ? NULL : fj__strndup(text, strlen(text));
}

char *fj__vformat(const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *text = n < 0 ? NULL : fj__alloc((size_t)n + 1);

    if (text != NULL)
        (void)vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

char *fj__format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = fj__vformat(format, args);
    va_end(args);
    return text;
}

void *fj__grow(void *array, size_t *capacity, size_t need, size_t item)
{
    if (need <= *capacity && array != NULL)
        return array;
    size_t room = *capacity != 0 ? *capacity : 8;
    while (room < need) {
        if (room > SIZE_MAX / 2 / item)
            return NULL;
        room *= 2;
    }
    void *moved = fj__realloc(array, room * item);
    if (moved != NULL)
        *capacity = room;
    return moved;
}
