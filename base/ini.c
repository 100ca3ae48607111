/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ini.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/pytext.h"

#include <string.h>

typedef struct {
    const fj__ini_ops *ops;
    void *self;
    unsigned line, begun; /* begun: where the present option began */
    char *group, *key;    /* NULL: none yet */
    fj__buf value;
    bool lost; /* options before any heading were told of */
} reader;

static bool wrong(reader *r, const char *key, const char *text)
{
    return r->ops->error(r->self, r->line, r->group != NULL ? r->group : "", key, text);
}

/* The option that was being read is whole. */
static bool finish(reader *r)
{
    bool ok = true;

    if (r->key == NULL)
        return true;
    if (r->group == NULL && !r->lost) {
        r->lost = true;
        ok = r->ops->error(r->self, r->begun, "", r->key, "it stands before any [group]");
    }
    ok = ok && fj__buf_append(&r->value, "", 1) &&
         r->ops->option(r->self, r->group != NULL ? r->group : "DEFAULT", r->key,
                        (const char *)fj__buf_data(&r->value), r->begun);
    fj__free(r->key);
    r->key = NULL;
    if (fj__buf_len(&r->value) != 0) /* it may be a password */
        explicit_bzero(r->value.bytes + r->value.begin, fj__buf_len(&r->value));
    fj__buf_clear(&r->value);
    return ok;
}

static bool keep(char **into, const char *text, size_t n)
{
    fj__free(*into);
    *into = fj__strndup(text, n);
    return *into != NULL;
}

/* A heading.  One that is broken is told of, and taken for what it seems to mean: what follows is its group's. */
static bool heading(reader *r, const char *line, size_t n)
{
    bool closed = line[n - 1] == ']';
    size_t name = closed ? n - 2 : n - 1;

    if (closed && name == 0)
        return wrong(r, "", "a heading without a name");
    if (!closed) {
        const char *end = memchr(line, ']', n);
        name = end != NULL ? (size_t)(end - line) - 1 : name;
        fj__py_rstrip(line + 1, &name);
    }
    if (!keep(&r->group, line + 1, name))
        return false;
    if (!closed)
        return wrong(r, "", "a heading ends with ']', with nothing behind it");
    return r->ops->group == NULL || r->ops->group(r->self, r->group, r->line);
}

static bool option(reader *r, const char *line, size_t n)
{
    const char *value = line, *key = line;
    size_t at = 0, key_n;

    while (at < n && line[at] != '=' && line[at] != ':')
        at++;
    key_n = at;
    fj__py_strip(&key, &key_n);
    if (at == n) {
        char *word = fj__strndup(key, key_n < 80 ? key_n : 80);
        bool ok = word != NULL && wrong(r, word, "there is no '=' or ':' behind the key");
        fj__free(word);
        return ok;
    }
    if (key_n == 0)
        return wrong(r, "", "there is no key before the '=' or ':'");
    value = line + at + 1;
    n -= at + 1;
    fj__py_strip(&value, &n);
    if (n != 0 && (*value == '"' || *value == '\'') && value[n - 1] == *value) {
        value++; /* a single quote is both ends of nothing */
        n -= n > 1 ? 2 : 1;
    }
    r->begun = r->line;
    return keep(&r->key, key, key_n) && fj__buf_append(&r->value, value, n);
}

static bool continuation(reader *r, const char *line, size_t n)
{
    fj__py_lstrip(&line, &n);
    if (r->key == NULL)
        return wrong(r, "", "it begins with a blank, but there is no value that it could continue");
    return fj__buf_append(&r->value, "\n", 1) && fj__buf_append(&r->value, line, n);
}

/* Bytes that are not UTF-8, in a comment or in the option that is on this line. */
static bool not_text(reader *r, const char *line, size_t n)
{
    static const char why[] = "a byte that is not UTF-8";
    size_t at = 0;

    if (*line == ' ' || *line == '\t')
        return wrong(r, r->key != NULL ? r->key : "", why);
    if (*line != '#' && *line != ';' && *line != '[')
        while (at < n && line[at] != '=' && line[at] != ':')
            at++;
    at = fj__py_utf8(line, at);
    fj__py_rstrip(line, &at);
    char *key = fj__strndup(line, at);
    bool ok = key != NULL && wrong(r, key, why);
    fj__free(key);
    return ok;
}

static bool one_line(reader *r, const char *line, size_t n)
{
    r->line++;
    if (r->line == 1 && n >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
        if (!wrong(r, "", "the file begins with a byte order mark, which oslo.config does not read"))
            return false;
        line += 3;
        n -= 3;
    }
    if (fj__py_utf8(line, n) != n && !not_text(r, line, n))
        return false;
    fj__py_rstrip(line, &n);
    if (n != 0 && (*line == ' ' || *line == '\t'))
        return continuation(r, line, n);
    if (!finish(r))
        return false;
    if (n == 0 || *line == '#' || *line == ';')
        return true;
    return *line == '[' ? heading(r, line, n) : option(r, line, n);
}

/* A file with zero bytes is no text at all: one error for all of it. */
static bool is_binary(reader *r, const char *text, size_t n)
{
    const char *zero = n != 0 ? memchr(text, '\0', n) : NULL;

    if (zero == NULL)
        return false;
    r->line = 1;
    for (; text < zero; text++)
        r->line += *text == '\n' || (*text == '\r' && text[1] != '\n');
    return true;
}

bool fj__ini_read(const char *text, size_t n, const fj__ini_ops *ops, void *self)
{
    reader r = { .ops = ops, .self = self };
    const char *end = text + n;
    bool ok = true;

    if (is_binary(&r, text, n))
        return wrong(&r, "", "a zero byte: this is no configuration file");
    while (ok && text < end) {
        const char *stop = text;
        while (stop < end && *stop != '\n' && *stop != '\r')
            stop++;
        ok = one_line(&r, text, (size_t)(stop - text));
        text = stop + (stop + 1 < end && stop[0] == '\r' && stop[1] == '\n' ? 2 : 1);
    }
    ok = ok && finish(&r);
    if (r.value.bytes != NULL)
        explicit_bzero(r.value.bytes, r.value.capacity);
    fj__buf_fini(&r.value);
    fj__free(r.group);
    fj__free(r.key);
    return ok;
}
