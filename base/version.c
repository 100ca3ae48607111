/* SPDX-License-Identifier: Apache-2.0 */
#include "version.h"

#include <limits.h>
#include <string.h>

/* One part of a version: text[0 .. n). */
struct part {
    const char *text;
    size_t n;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The i-th part, split at dots; false when there are not so many. */
static bool part_of(const char *version, unsigned i, struct part *ret)
{
    for (; i > 0; i--) {
        version = strchr(version, '.');
        if (version == NULL)
            return false;
        version++;
    }
    *ret = (struct part){ version, strcspn(version, ".") };
    return true;
}

/* Python's int(): white space around, a sign, single underscores between digits.  Saturates, for no version in
 * use comes near the end of the type. */
static bool number_of(struct part p, long long *ret)
{
    const char *at = p.text, *end = p.text + p.n;
    while (at < end && is_space(*at))
        at++;
    while (end > at && is_space(end[-1]))
        end--;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end)
        return false;

    long long n = 0;
    for (const char *c = at; c < end; c++) {
        if (*c == '_' && c > at && c + 1 < end && is_digit(c[-1]) && is_digit(c[1]))
            continue;
        if (!is_digit(*c))
            return false;
        n = n > (LLONG_MAX - 9) / 10 ? LLONG_MAX - 9 : n * 10 + (*c - '0');
    }
    *ret = negative ? -n : n;
    return true;
}

/* The i-th number of a version; the third (2) is 0 when it is not there. */
static bool read_part(const char *version, unsigned i, long long *ret, fj_error **err)
{
    struct part p;

    if (!part_of(version, i, &p)) {
        *ret = 0;
        if (i >= 2)
            return true;
        (void)fj_raise(err, "builtins", "IndexError", NULL, "list index out of range");
        return false;
    }
    if (number_of(p, ret))
        return true;
    (void)fj_fail(err, FJ_BAD_VALUE, "invalid literal for int() with base 10: '%.*s'", (int)p.n, p.text);
    return false;
}

bool fj__version_compatible(const char *implemented, const char *requested, fj_error **err)
{
    if (implemented == NULL)
        return true;
    if (requested == NULL)
        return false;

    long long has, wants;
    if (!read_part(requested, 0, &wants, err) || !read_part(implemented, 0, &has, err) || wants != has)
        return false;
    if (!read_part(requested, 1, &wants, err) || !read_part(implemented, 1, &has, err) || wants > has)
        return false;
    if (wants < has)
        return true;
    return read_part(requested, 2, &wants, err) && read_part(implemented, 2, &has, err) && wants <= has;
}
