/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON reader.  One pass over the bytes; recursion is bounded by the depth cap.  A string without escapes is
 * copied once, from the text into jansson's value; one with escapes is decoded in a scratch area first, which is used as
 * a stack, so that a key outlives the value that is read after it.
 */
#include "json.h"

#include "alloc.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

enum { DEPTH_DEFAULT = 64, DEPTH_LIMIT = 1024 };

struct reader {
    const unsigned char *begin, *at, *end;
    fj_json_opts opts;
    unsigned depth;
    char *scratch;
    size_t used, capacity;
    fj_code code;
    fj_error **err;
};

/* A string in the text, or in the scratch area when `escaped`: by offset, for the area may move. */
struct span {
    const char *text;
    size_t offset, n;
    bool escaped;
};

static json_t *read_value(struct reader *r);

fj_json_opts fj__json_opts(const fj_json_opts *opts)
{
    fj_json_opts full = FJ_JSON_OPTS_INIT;

    if (opts != NULL)
        memcpy(&full, opts, opts->size < sizeof full ? opts->size : sizeof full);
    full.size = sizeof full;
    if (full.max_bytes == 0)
        full.max_bytes = SIZE_MAX;
    if (full.max_depth == 0)
        full.max_depth = DEPTH_DEFAULT;
    if (full.max_depth > DEPTH_LIMIT) /* freeing a value recurses as deep */
        full.max_depth = DEPTH_LIMIT;
    return full;
}

/* ---- errors ------------------------------------------------------------------------------------ */

static void *bad(struct reader *r, const unsigned char *where, const char *what)
{
    r->code = fj_fail(r->err, FJ_BAD_JSON, "not valid JSON: %s at byte %zu", what, (size_t)(where - r->begin));
    return NULL;
}

static void *no_memory(struct reader *r)
{
    r->code = fj_fail(r->err, FJ_NOMEM, "out of memory reading JSON at byte %zu", (size_t)(r->at - r->begin));
    return NULL;
}

static json_t *checked(struct reader *r, json_t *made)
{
    return made != NULL ? made : no_memory(r);
}

/* ---- white space and words --------------------------------------------------------------------- */

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

static bool take_word(struct reader *r, const char *word, size_t n)
{
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

#define TAKE(r, word) take_word(r, word, sizeof(word) - 1)

/* ---- strings ----------------------------------------------------------------------------------- */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The high bit of some byte is set if one of eight bytes is a control, a quote, a backslash or not ASCII. */
static bool any_special(const unsigned char *p)
{
    uint64_t x, quote, slash;

    memcpy(&x, p, sizeof x);
    quote = x ^ EACH('"');
    slash = x ^ EACH('\\');
    return ((x | (x - EACH(0x20)) | (quote - EACH(1)) | (slash - EACH(1))) & EACH(0x80)) != 0;
}

static bool is_tail(const unsigned char *p, const unsigned char *end)
{
    return p < end && (*p & 0xC0) == 0x80;
}

/* The length of the UTF-8 sequence at p (which is not ASCII), 0 if there is none: the shortest form only, no
 * surrogates, nothing above U+10FFFF. */
static size_t utf8_length(const unsigned char *p, const unsigned char *end)
{
    if (*p < 0xC2 || *p > 0xF4 || !is_tail(p + 1, end))
        return 0;
    if (*p < 0xE0)
        return 2;
    if (*p < 0xF0) {
        if ((*p == 0xE0 && p[1] < 0xA0) || (*p == 0xED && p[1] > 0x9F))
            return 0;
        return is_tail(p + 2, end) ? 3 : 0;
    }
    if ((*p == 0xF0 && p[1] < 0x90) || (*p == 0xF4 && p[1] > 0x8F))
        return 0;
    return is_tail(p + 2, end) && is_tail(p + 3, end) ? 4 : 0;
}

/* Move over what stands for itself: up to a quote or backslash. */
static bool skip_plain(struct reader *r)
{
    while (r->at < r->end) {
        if (r->end - r->at >= 8 && !any_special(r->at)) {
            r->at += 8;
            continue;
        }
        if (*r->at == '"' || *r->at == '\\')
            return true;
        if (*r->at < 0x20)
            return bad(r, r->at, "a control character in a string") != NULL;
        size_t n = *r->at < 0x80 ? 1 : utf8_length(r->at, r->end);
        if (n == 0)
            return bad(r, r->at, "bytes that are not UTF-8") != NULL;
        r->at += n;
    }
    return bad(r, r->end, "a string without its end") != NULL;
}

static bool push(struct reader *r, const void *bytes, size_t n)
{
    if (n > r->capacity - r->used || r->scratch == NULL) {
        char *moved = n > SIZE_MAX / 2 - r->used ? NULL : fj__grow(r->scratch, &r->capacity, r->used + n, 1);
        if (moved == NULL)
            return no_memory(r) != NULL;
        r->scratch = moved;
    }
    memcpy(r->scratch + r->used, bytes, n);
    r->used += n;
    return true;
}

static bool push_code_point(struct reader *r, unsigned c)
{
    unsigned char b[4];
    size_t n;

    if (c < 0x80) {
        b[0] = (unsigned char)c;
        n = 1;
    } else if (c < 0x800) {
        b[0] = (unsigned char)(0xC0 | c >> 6);
        n = 2;
    } else if (c < 0x10000) {
        b[0] = (unsigned char)(0xE0 | c >> 12);
        n = 3;
    } else {
        b[0] = (unsigned char)(0xF0 | c >> 18);
        n = 4;
    }
    for (size_t i = 1; i < n; i++)
        b[i] = (unsigned char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3F));
    return push(r, b, n);
}

/* The four hex digits at p, or -1. */
static int hex4(const unsigned char *p, const unsigned char *end)
{
    int value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        unsigned char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* \uXXXX, with at behind the u.  Half a surrogate pair becomes U+FFFD, and so does a NUL in a key. */
static bool read_unicode_escape(struct reader *r, bool key)
{
    int c = hex4(r->at, r->end);

    if (c < 0)
        return bad(r, r->at, "a \\u escape without four hex digits") != NULL;
    r->at += 4;
    if (c >= 0xD800 && c <= 0xDBFF && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
        int low = hex4(r->at + 2, r->end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            r->at += 6;
            return push_code_point(r, 0x10000u + ((unsigned)(c - 0xD800) << 10) + (unsigned)(low - 0xDC00));
        }
    }
    if ((c >= 0xD800 && c <= 0xDFFF) || (c == 0 && key))
        c = 0xFFFD;
    return push_code_point(r, (unsigned)c);
}

static bool read_escape(struct reader *r, bool key)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

    if (r->end - r->at < 2)
        return bad(r, r->end, "a string without its end") != NULL;
    r->at += 2;
    if (r->at[-1] == 'u')
        return read_unicode_escape(r, key);
    const char *found = r->at[-1] != '\0' ? strchr(from, r->at[-1]) : NULL;
    if (found == NULL)
        return bad(r, r->at - 2, "an unknown escape") != NULL;
    return push(r, &to[found - from], 1);
}

/* A string, with at on its opening quote. */
static bool read_span(struct reader *r, bool key, struct span *ret)
{
    const unsigned char *from = ++r->at;

    *ret = (struct span){ .offset = r->used };
    for (;;) {
        if (!skip_plain(r))
            return false;
        if (*r->at == '"' && !ret->escaped)
            break;
        ret->escaped = true;
        if (!push(r, from, (size_t)(r->at - from)))
            return false;
        if (*r->at == '"')
            break;
        if (!read_escape(r, key))
            return false;
        from = r->at;
    }
    ret->text = (const char *)from;
    ret->n = ret->escaped ? r->used - ret->offset : (size_t)(r->at - from);
    r->at++;
    return true;
}

static const char *span_text(const struct reader *r, const struct span *s)
{
    return s->escaped ? r->scratch + s->offset : s->text;
}

static json_t *read_string(struct reader *r)
{
    struct span s;

    if (!read_span(r, false, &s))
        return NULL;
    json_t *made = json_stringn_nocheck(span_text(r, &s), s.n);
    r->used = s.offset;
    return checked(r, made);
}

/* ---- numbers ----------------------------------------------------------------------------------- */

static locale_t c_locale;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* strtod() reads the decimal point of the program's locale; JSON's is always a dot. */
static double real_of(const char *text)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, make_c_locale);
    return c_locale != (locale_t)0 ? strtod_l(text, NULL, c_locale) : strtod(text, NULL);
}

static json_t *wrapped(struct reader *r, const char *name)
{
    return checked(r, json_pack("{s:s}", "__fjord__", name));
}

/* NaN and the infinities, also as the value of a number too large for a double. */
static json_t *odd_real(struct reader *r, const unsigned char *where, const char *name)
{
    if (r->opts.odd == FJ_JSON_REFUSE)
        return bad(r, where, "a number that JSON does not have");
    return r->opts.odd == FJ_JSON_NULL ? json_null() : wrapped(r, name);
}

static json_t *make_real(struct reader *r, const unsigned char *where, const char *text)
{
    double value = real_of(text);

    if (isinf(value))
        return odd_real(r, where, value < 0 ? "-Infinity" : "Infinity");
    return checked(r, json_real(value));
}

static json_t *make_integer(struct reader *r, const unsigned char *where, const char *text, size_t n)
{
    errno = 0;
    long long value = strtoll(text, NULL, 10);

    if (errno == 0)
        return checked(r, json_integer(value));
    if (r->opts.odd == FJ_JSON_REFUSE)
        return bad(r, where, "an integer beyond 64 bits");
    if (r->opts.odd == FJ_JSON_NULL)
        return make_real(r, where, text);
    return checked(r, json_pack("{s:s, s:s%}", "__fjord__", "int", "digits", text, n));
}

static bool skip_digits(struct reader *r)
{
    const unsigned char *from = r->at;

    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at != from;
}

/* Move over a number; *real tells whether it has a fraction or an exponent. */
static bool skip_number(struct reader *r, bool *real)
{
    *real = false;
    if (*r->at == '-')
        r->at++;
    if (r->at < r->end && *r->at == '0')
        r->at++;
    else if (!skip_digits(r))
        return false;
    if (r->at < r->end && *r->at == '.') {
        *real = true;
        r->at++;
        if (!skip_digits(r))
            return false;
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        *real = true;
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
            r->at++;
        return skip_digits(r);
    }
    return true;
}

static json_t *read_number(struct reader *r)
{
    const unsigned char *from = r->at;
    size_t mark = r->used;
    char small[32];
    bool real;

    if (!skip_number(r, &real))
        return bad(r, r->at, "a number without a digit where one is due");
    size_t n = (size_t)(r->at - from);
    const char *text = small;
    if (n < sizeof small) {
        memcpy(small, from, n);
        small[n] = '\0';
    } else {
        if (!push(r, from, n) || !push(r, "", 1))
            return NULL;
        text = r->scratch + mark;
    }
    json_t *made = real ? make_real(r, from, text) : make_integer(r, from, text, n);
    r->used = mark;
    return made;
}

/* ---- arrays, objects, values ------------------------------------------------------------------- */

static bool enter(struct reader *r)
{
    if (r->depth == r->opts.max_depth) {
        r->code = fj_fail(r->err, FJ_TOO_DEEP, "JSON nested over %u levels at byte %zu", r->opts.max_depth,
                          (size_t)(r->at - r->begin));
        return false;
    }
    r->depth++;
    r->at++;
    skip_space(r);
    return true;
}

/* Behind an item: true at the closing bracket (taken), false behind a comma, or on an error. */
static bool at_close(struct reader *r, unsigned char close)
{
    skip_space(r);
    if (r->at < r->end && *r->at == close) {
        r->at++;
        r->depth--;
        return true;
    }
    if (r->at < r->end && *r->at == ',') {
        r->at++;
        skip_space(r);
    } else {
        bad(r, r->at, close == ']' ? "neither ',' nor ']'" : "neither ',' nor '}'");
    }
    return false;
}

/* Right behind the opening bracket: whether it closes again; taken then. */
static bool is_empty(struct reader *r, unsigned char close)
{
    if (r->at == r->end || *r->at != close)
        return false;
    r->at++;
    r->depth--;
    return true;
}

static json_t *read_array(struct reader *r)
{
    if (!enter(r))
        return NULL;
    json_t *array = checked(r, json_array());
    if (array == NULL || is_empty(r, ']'))
        return array;
    do {
        json_t *item = read_value(r);
        if (item == NULL)
            break;
        if (json_array_append_new(array, item) != 0)
            no_memory(r);
    } while (r->code == FJ_OK && !at_close(r, ']') && r->code == FJ_OK);
    if (r->code == FJ_OK)
        return array;
    json_decref(array);
    return NULL;
}

static bool read_member(struct reader *r, json_t *object)
{
    struct span key;

    if (r->at == r->end || *r->at != '"')
        return bad(r, r->at, "no key in quotes") != NULL;
    if (!read_span(r, true, &key))
        return false;
    skip_space(r);
    if (r->at == r->end || *r->at != ':')
        return bad(r, r->at, "no ':' behind a key") != NULL;
    r->at++;
    skip_space(r);
    json_t *value = read_value(r);
    if (value == NULL)
        return false;
    bool kept = json_object_setn_new_nocheck(object, span_text(r, &key), key.n, value) == 0;
    r->used = key.offset;
    return kept || no_memory(r) != NULL;
}

static json_t *read_object(struct reader *r)
{
    if (!enter(r))
        return NULL;
    json_t *object = checked(r, json_object());
    if (object == NULL || is_empty(r, '}'))
        return object;
    while (read_member(r, object) && !at_close(r, '}') && r->code == FJ_OK)
        ;
    if (r->code == FJ_OK)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *read_minus(struct reader *r)
{
    const unsigned char *from = r->at;

    return TAKE(r, "-Infinity") ? odd_real(r, from, "-Infinity") : read_number(r);
}

static json_t *read_word(struct reader *r)
{
    const unsigned char *from = r->at;

    if (TAKE(r, "null"))
        return json_null();
    if (TAKE(r, "true"))
        return json_true();
    if (TAKE(r, "false"))
        return json_false();
    if (TAKE(r, "NaN"))
        return odd_real(r, from, "NaN");
    if (TAKE(r, "Infinity"))
        return odd_real(r, from, "Infinity");
    return bad(r, from, "no value");
}

static json_t *read_value(struct reader *r)
{
    if (r->at == r->end)
        return bad(r, r->at, "the end where a value is due");
    switch (*r->at) {
    case '"':
        return read_string(r);
    case '{':
        return read_object(r);
    case '[':
        return read_array(r);
    case '-':
        return read_minus(r);
    default:
        return *r->at >= '0' && *r->at <= '9' ? read_number(r) : read_word(r);
    }
}

fj_code fj_json_read(const char *text, size_t n, const fj_json_opts *opts, json_t **ret, fj_error **err)
{
    struct reader r = { .opts = fj__json_opts(opts), .err = err };

    if (n > r.opts.max_bytes)
        return fj_fail(err, FJ_TOO_BIG, "JSON of %zu bytes, over the limit of %zu", n, r.opts.max_bytes);
    r.begin = r.at = (const unsigned char *)(n != 0 ? text : "");
    r.end = r.begin + n;
    skip_space(&r);
    json_t *value = read_value(&r);
    if (value != NULL) {
        skip_space(&r);
        if (r.at != r.end)
            bad(&r, r.at, "more behind the value");
    }
    fj__free(r.scratch);
    if (r.code == FJ_OK)
        *ret = value;
    else
        json_decref(value);
    return r.code;
}
