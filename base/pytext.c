/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pytext.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The code point at p and its length; 0: it is not UTF-8. */
static size_t code_point(const unsigned char *p, size_t left, unsigned *ret)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t n = *p < 0x80 ? 1 : *p < 0xC0 ? 0 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : *p < 0xF5 ? 4 : 0;
    unsigned c = n == 1 ? *p : n != 0 ? *p & (0x7Fu >> n) : 0;

    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3Fu);
    }
    *ret = c;
    return n == 1 || (c >= least[n] && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF)) ? n : 0;
}

size_t fj__py_utf8(const char *at, size_t n)
{
    size_t good = 0, step;
    unsigned c;

    while (good < n && (step = code_point((const unsigned char *)at + good, n - good, &c)) != 0)
        good += step;
    return good;
}

static bool is_space(unsigned c)
{
    if (c < 0x80)
        return (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= ' ');
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t fj__py_space(const char *at, size_t n)
{
    unsigned c = 0;
    size_t step = n != 0 ? code_point((const unsigned char *)at, n, &c) : 0;

    return step != 0 && is_space(c) ? step : 0;
}

void fj__py_lstrip(const char **at, size_t *n)
{
    size_t step;

    while ((step = fj__py_space(*at, *n)) != 0) {
        *at += step;
        *n -= step;
    }
}

void fj__py_rstrip(const char *at, size_t *n)
{
    while (*n != 0) {
        size_t last = 1; /* bytes of the last character */
        while (last < 3 && last < *n && ((unsigned char)at[*n - last] & 0xC0) == 0x80)
            last++;
        if (fj__py_space(at + *n - last, last) != last)
            break;
        *n -= last;
    }
}

void fj__py_strip(const char **at, size_t *n)
{
    fj__py_rstrip(*at, n);
    fj__py_lstrip(at, n);
}

/* A number without its white space and underscores in @p into.  @return false: too long, or an underscore that does
 * not stand between digits */
static bool plain_number(const char *text, char *into, size_t room)
{
    size_t n = strlen(text), used = 0;

    fj__py_strip(&text, &n);
    for (size_t i = 0; i < n; i++) {
        bool between =
            i > 0 && i + 1 < n && isdigit((unsigned char)text[i - 1]) && isdigit((unsigned char)text[i + 1]);
        if (text[i] == '_' ? !between : used + 1 >= room)
            return false;
        if (text[i] != '_')
            into[used++] = text[i];
    }
    into[used] = '\0';
    return true;
}

fj__py_number fj__py_int(const char *text, int64_t *ret)
{
    char plain[512];
    char *end = NULL;

    if (!plain_number(text, plain, sizeof plain))
        return FJ__PY_BAD;
    if (plain[0] == '\0')
        return FJ__PY_EMPTY;
    const char *digits = plain + (plain[0] == '+' || plain[0] == '-');
    if (!isdigit((unsigned char)*digits))
        return FJ__PY_BAD;
    errno = 0;
    long long value = strtoll(plain, &end, 10);
    if (*end != '\0')
        return FJ__PY_BAD;
    if (errno != 0)
        return FJ__PY_TOO_BIG;
    *ret = value;
    return FJ__PY_OK;
}

fj__py_number fj__py_float(const char *text, double *ret)
{
    char plain[512];
    char *end = NULL;

    if (!plain_number(text, plain, sizeof plain))
        return FJ__PY_BAD;
    if (plain[0] == '\0')
        return FJ__PY_EMPTY;
    if (strspn(plain, "0123456789+-.eE") != strlen(plain)) /* strtod() knows hexadecimals, too */
        return FJ__PY_BAD;
    double value = fj__number_parse(plain, &end);
    if (*end != '\0' || !isfinite(value))
        return FJ__PY_BAD;
    *ret = value;
    return FJ__PY_OK;
}

char *fj__py_shortest(double value)
{
    char text[40];

    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        char *comma = strchr(text, ','); /* of the program's locale */
        if (comma != NULL)
            *comma = '.';
        if (fj__number_parse(text, NULL) == value) /* NOLINT: to the bit */
            break;
    }
    /* %g writes 60 as "6e+01" when one digit is enough */
    if (strchr(text, 'e') != NULL && fabs(value) >= 1e-4 && fabs(value) < 1e16)
        (void)snprintf(text, sizeof text, "%.0f", value);
    return fj__strdup(text);
}

/* What repr() writes for a character, or for as much of it as it takes as it is.  @return how many bytes of @p at that is */
static size_t repr_one(const char *at, char quote, char into[12])
{
    unsigned c = 0;
    size_t n = code_point((const unsigned char *)at, strlen(at), &c);

    if (*at == '\n' || *at == '\r' || *at == '\t')
        (void)snprintf(into, 12, "\\%c", *at == '\n' ? 'n' : *at == '\r' ? 'r' : 't');
    else if (*at == quote || *at == '\\')
        (void)snprintf(into, 12, "\\%c", *at);
    else if (n != 0 && c <= 0xFF && (c < ' ' || (c >= 0x7F && c <= 0xA0) || c == 0xAD))
        (void)snprintf(into, 12, "\\x%02x", c);
    else if (n != 0 && c > 0xFF && is_space(c))
        (void)snprintf(into, 12, "\\u%04x", c);
    else
        (void)snprintf(into, 12, "%.*s", (int)(n != 0 ? n : 1), at);
    return n != 0 ? n : 1;
}

char *fj__py_repr(const char *text)
{
    char quote = strchr(text, '\'') != NULL && strchr(text, '"') == NULL ? '"' : '\'', piece[12];
    fj__buf b = { 0 };
    bool ok = fj__buf_append(&b, &quote, 1);

    while (ok && *text != '\0') {
        text += repr_one(text, quote, piece);
        ok = fj__buf_append(&b, piece, strlen(piece));
    }
    ok = ok && fj__buf_append(&b, &quote, 1);
    char *made = ok ? fj__strndup((const char *)fj__buf_data(&b), fj__buf_len(&b)) : NULL;
    fj__buf_fini(&b);
    return made;
}
