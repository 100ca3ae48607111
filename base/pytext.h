/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_PYTEXT_H
#define FJORD_BASE_PYTEXT_H
/* Text as Python reads and writes it: its white space, its numbers.  oslo.config's dialect is made of these. */
#include <fjord/base.h>

typedef enum {
    FJ__PY_OK,
    FJ__PY_EMPTY,  /* nothing but white space */
    FJ__PY_BAD,    /* not a number */
    FJ__PY_TOO_BIG /* a number beyond 64 bits */
} fj__py_number;

/** The bytes of the character of white space at the front of @p at, as str.isspace() sees it; 0: there is none. */
size_t fj__py_space(const char *at, size_t n);
/** As str.rstrip(), str.lstrip() and str.strip(), on a piece of text that stays where it is. */
void fj__py_rstrip(const char *at, size_t *n);
void fj__py_lstrip(const char **at, size_t *n);
void fj__py_strip(const char **at, size_t *n);

/** As int(): white space around, a sign, digits with single underscores between them.  Of the digits of Unicode
 *  only ASCII's are known. */
fj__py_number fj__py_int(const char *text, int64_t *ret);
/** As float(), but finite: NaN and the infinities are BAD. */
fj__py_number fj__py_float(const char *text, double *ret);

/** The shortest decimal that reads back to @p value, without a needless ".0".  @return gives; NULL: no memory */
char *fj__py_shortest(double value);
/** As repr() of a str: in quotes.  @return gives; NULL: no memory */
char *fj__py_repr(const char *text);

/** How many bytes at the front of @p at are UTF-8, whole characters only. */
size_t fj__py_utf8(const char *at, size_t n);

#endif
