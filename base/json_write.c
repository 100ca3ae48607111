/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON writer: the text that Python's json.dumps() would give, straight into one growing buffer.  Recursion is
 * bounded by the depth cap, which also ends a value that contains itself.
 */
#include "json.h"

#include "alloc.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

fj__json_out fj__json_out_new(const fj_json_opts *opts)
{
    fj_json_opts full = fj__json_opts(opts);

    return (fj__json_out){ .max_bytes = full.max_bytes, .max_depth = full.max_depth };
}

void fj__json_out_drop(fj__json_out *o)
{
    fj__free(o->text);
    o->text = NULL;
    o->n = o->capacity = 0;
}

/* ---- bytes ------------------------------------------------------------------------------------- */

static bool reserve(fj__json_out *o, size_t n)
{
    if (o->code != FJ_OK)
        return false;
    if (n > o->max_bytes - o->n) {
        o->code = FJ_TOO_BIG;
        return false;
    }
    if (o->text != NULL && o->n + n < o->capacity) /* one byte stays for the NUL */
        return true;
    size_t capacity = o->capacity;
    char *moved = o->n + n > SIZE_MAX / 4 ? NULL : fj__grow(o->text, &capacity, o->n + n + 1, 1);
    if (moved == NULL) {
        o->code = FJ_NOMEM;
        return false;
    }
    o->text = moved;
    o->capacity = capacity;
    return true;
}

void fj__json_out_raw(fj__json_out *o, const char *text, size_t n)
{
    if (!reserve(o, n))
        return;
    memcpy(o->text + o->n, text, n);
    o->n += n;
}

/* ---- strings ----------------------------------------------------------------------------------- */

static void escape_unit(fj__json_out *o, unsigned unit)
{
    static const char hex[] = "0123456789abcdef";
    const char text[6] = { '\\',          'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15],
                           hex[unit & 15] };

    fj__json_out_raw(o, text, sizeof text);
}

static void escape_code_point(fj__json_out *o, unsigned c)
{
    if (c >= 0x10000) {
        escape_unit(o, 0xD800 + ((c - 0x10000) >> 10));
        c = 0xDC00 + ((c - 0x10000) & 0x3FF);
    }
    escape_unit(o, c);
}

/* How a byte is written: 0 as it is, 'u' as a code point, others behind a backslash. */
#define CONTROLS                                                                                             \
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b', 't', 'n', 'u', 'f', 'r', 'u', 'u', 'u', 'u', 'u', 'u', 'u', \
        'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u'
static const char escapes[0x80] = { CONTROLS, ['"'] = '"', ['\\'] = '\\', [0x7F] = 'u' };

/* The bytes up to @p end, of which there are CHUNK at most, or up to the first that is a code point.  There is room for all. */
static const unsigned char *escape_chunk(fj__json_out *o, const unsigned char *p, const unsigned char *end)
{
    char *to = o->text + o->n;

    for (; p < end && *p < 0x80 && escapes[*p] != 'u'; p++) {
        if (escapes[*p] != 0)
            *to++ = '\\';
        *to++ = escapes[*p] != 0 ? escapes[*p] : (char)*p;
    }
    o->n = (size_t)(to - o->text);
    return p;
}

/* The code point of the UTF-8 sequence at p, which is not ASCII, and its length; length 1 and U+FFFD for bytes that
 * are no such sequence. */
static unsigned decode(const unsigned char *p, size_t left, size_t *n)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t want = *p >= 0xF0 ? 4 : *p >= 0xE0 ? 3 : *p >= 0xC0 ? 2 : 0;

    *n = 1;
    if (want == 0 || *p > 0xF4 || want > left)
        return 0xFFFD;
    unsigned c = *p & (0x7Fu >> want);
    for (size_t i = 1; i < want; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0xFFFD;
        c = c << 6 | (p[i] & 0x3F);
    }
    if (c < least[want] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0xFFFD;
    *n = want;
    return c;
}

static void escape_utf8(fj__json_out *o, const unsigned char *p, size_t left, size_t *n)
{
    unsigned c = decode(p, left, n);

    if (*n == 1 && !o->lenient && o->code == FJ_OK)
        o->code = FJ_BAD_VALUE;
    escape_code_point(o, c);
}

/* The bytes up to @p end, or some of them, that are no code points. */
static const unsigned char *escape_plain(fj__json_out *o, const unsigned char *p, const unsigned char *end)
{
    enum { CHUNK = 64 };

    end = end - p > CHUNK ? p + CHUNK : end;
    if (o->max_bytes - o->n < 2 * CHUNK) /* near the limit: whether all fit shows one by one */
        end = p + 1;
    size_t n = end > p + 1 ? 2 * (size_t)(end - p) : escapes[*p] != 0 ? 2 : 1;
    return reserve(o, n) ? escape_chunk(o, p, end) : p;
}

void fj__json_out_escaped(fj__json_out *o, const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + n;

    while (p < end && o->code == FJ_OK) {
        if (*p < 0x80 && escapes[*p] != 'u') {
            p = escape_plain(o, p, end);
            continue;
        }
        size_t step = 1;
        if (*p < 0x80)
            escape_unit(o, *p);
        else
            escape_utf8(o, p, (size_t)(end - p), &step);
        p += step;
    }
}

void fj__json_out_string(fj__json_out *o, const char *text, size_t n)
{
    fj__json_out_lit(o, "\"");
    fj__json_out_escaped(o, text, n);
    fj__json_out_lit(o, "\"");
}

void fj__json_out_text(fj__json_out *o, const char *text)
{
    if (text == NULL)
        fj__json_out_lit(o, "null");
    else
        fj__json_out_string(o, text, strlen(text));
}

/* ---- numbers ----------------------------------------------------------------------------------- */

/* The fewest significant digits that read back as value (positive): digits without point, and the power of ten of
 * the first.  Text from printf goes back through strtod of the same locale, and only its digits are kept, so that the
 * locale's decimal point does not matter. */
static size_t shortest_digits(double value, char digits[32], int *power)
{
    /* Up to 15 digits survive in every normal double, so that nothing is won by trying less: zeros are cut off. */
    int precision = value < DBL_MIN ? 0 : 14;
    char text[48];

    do {
        (void)snprintf(text, sizeof text, "%.*e", precision, value);
    } while (precision++ < 16 && strtod(text, NULL) != value);

    size_t n = 0;
    const char *p = text;
    for (; *p != '\0' && *p != 'e'; p++) {
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    }
    *power = *p == 'e' ? (int)strtol(p + 1, NULL, 10) : 0;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

static void put_zeros(fj__json_out *o, int n)
{
    for (; n > 0; n--)
        fj__json_out_lit(o, "0");
}

/* As repr(): 1e+16, 1.5e-05. */
static void put_exponential(fj__json_out *o, const char *digits, size_t n, int power)
{
    char text[16];

    fj__json_out_raw(o, digits, 1);
    if (n > 1) {
        fj__json_out_lit(o, ".");
        fj__json_out_raw(o, digits + 1, n - 1);
    }
    int length = snprintf(text, sizeof text, "e%c%02d", power < 0 ? '-' : '+', power < 0 ? -power : power);
    fj__json_out_raw(o, text, (size_t)length);
}

/* As repr(): 100.0, 1.5, 0.001. */
static void put_positional(fj__json_out *o, const char *digits, size_t n, int power)
{
    if (power < 0) {
        fj__json_out_lit(o, "0.");
        put_zeros(o, -power - 1);
        fj__json_out_raw(o, digits, n);
        return;
    }
    size_t whole = (size_t)power + 1;
    fj__json_out_raw(o, digits, n < whole ? n : whole);
    put_zeros(o, (int)whole - (int)n);
    fj__json_out_lit(o, ".");
    if (n > whole)
        fj__json_out_raw(o, digits + whole, n - whole);
    else
        put_zeros(o, 1);
}

void fj__json_out_real(fj__json_out *o, double value)
{
    char digits[32];
    int power;

    if (isnan(value)) {
        fj__json_out_lit(o, "NaN");
        return;
    }
    if (signbit(value)) {
        fj__json_out_lit(o, "-");
        value = -value;
    }
    if (isinf(value)) {
        fj__json_out_lit(o, "Infinity");
        return;
    }
    if (fpclassify(value) == FP_ZERO) {
        fj__json_out_lit(o, "0.0");
        return;
    }
    size_t n = shortest_digits(value, digits, &power);
    if (power < -4 || power >= 16)
        put_exponential(o, digits, n, power);
    else
        put_positional(o, digits, n, power);
}

static void put_integer(fj__json_out *o, json_int_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, value);

    fj__json_out_raw(o, text, (size_t)n);
}

/* ---- arrays, objects, values ------------------------------------------------------------------- */

/* As Python prints an integer: no leading zero, no -0. */
static bool is_integer_text(const char *text, size_t n)
{
    size_t at = n != 0 && text[0] == '-' ? 1 : 0;

    if (at == n || (text[at] == '0' && n > 1))
        return false;
    while (at < n && text[at] >= '0' && text[at] <= '9')
        at++;
    return at == n;
}

const char *fj__json_big_int(const json_t *value)
{
    const char *kind = json_string_value(json_object_get(value, "__fjord__"));
    const json_t *digits = json_object_get(value, "digits");

    if (kind == NULL || digits == NULL || json_object_size(value) != 2 || strcmp(kind, "int") != 0)
        return NULL;
    if (!json_is_string(digits) || !is_integer_text(json_string_value(digits), json_string_length(digits)))
        return NULL;
    return json_string_value(digits);
}

/* The token that a wrapped form stands for, or NULL for any other object. */
static const char *token_of(const json_t *object)
{
    static const char *const tokens[] = { "NaN", "Infinity", "-Infinity" };

    if (json_object_size(object) == 2)
        return fj__json_big_int(object);
    if (json_object_size(object) != 1)
        return NULL;
    const char *name = json_string_value(json_object_get(object, "__fjord__"));
    for (size_t i = 0; name != NULL && i < fj__countof(tokens); i++) {
        if (strcmp(name, tokens[i]) == 0)
            return tokens[i];
    }
    return NULL;
}

static void put_array(fj__json_out *o, const json_t *array)
{
    fj__json_out_lit(o, "[");
    for (size_t i = 0; i < json_array_size(array) && o->code == FJ_OK; i++) {
        if (i != 0)
            fj__json_out_lit(o, ", ");
        fj__json_out_value(o, json_array_get(array, i));
    }
    fj__json_out_lit(o, "]");
}

static void put_object(fj__json_out *o, const json_t *object)
{
    json_t *shared = (json_t *)object; /* jansson's iterators want it so; nothing is changed */
    bool first = true;

    fj__json_out_lit(o, "{");
    for (void *i = json_object_iter(shared); i != NULL && o->code == FJ_OK;
         i = json_object_iter_next(shared, i)) {
        if (!first)
            fj__json_out_lit(o, ", ");
        first = false;
        fj__json_out_string(o, json_object_iter_key(i), json_object_iter_key_len(i));
        fj__json_out_lit(o, ": ");
        fj__json_out_value(o, json_object_iter_value(i));
    }
    fj__json_out_lit(o, "}");
}

static void put_nested(fj__json_out *o, const json_t *value)
{
    const char *token = json_is_object(value) ? token_of(value) : NULL;

    if (token != NULL) {
        fj__json_out_raw(o, token, strlen(token));
        return;
    }
    if (o->depth >= o->max_depth) {
        if (o->code == FJ_OK)
            o->code = FJ_TOO_DEEP;
        return;
    }
    o->depth++;
    if (json_is_object(value))
        put_object(o, value);
    else
        put_array(o, value);
    o->depth--;
}

void fj__json_out_value(fj__json_out *o, const json_t *value)
{
    if (value == NULL) {
        fj__json_out_lit(o, "null");
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        put_nested(o, value);
        break;
    case JSON_STRING:
        fj__json_out_string(o, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        put_integer(o, json_integer_value(value));
        break;
    case JSON_REAL:
        fj__json_out_real(o, json_real_value(value));
        break;
    case JSON_TRUE:
        fj__json_out_lit(o, "true");
        break;
    case JSON_FALSE:
        fj__json_out_lit(o, "false");
        break;
    case JSON_NULL:
        fj__json_out_lit(o, "null");
        break;
    }
}

/* ---- the end ----------------------------------------------------------------------------------- */

static fj_code explain(const fj__json_out *o, fj_error **err)
{
    switch (o->code) {
    case FJ_TOO_BIG:
        return fj_fail(err, FJ_TOO_BIG, "JSON over the limit of %zu bytes", o->max_bytes);
    case FJ_TOO_DEEP:
        return fj_fail(err, FJ_TOO_DEEP, "JSON nested over %u levels", o->max_depth);
    case FJ_BAD_VALUE:
        return fj_fail(err, FJ_BAD_VALUE, "a string that is not UTF-8, behind byte %zu of the JSON", o->n);
    default:
        return fj_fail(err, o->code, "out of memory writing JSON");
    }
}

fj_code fj__json_out_finish(fj__json_out *o, char **ret, size_t *ret_n, fj_error **err)
{
    if (!reserve(o, 0)) {
        fj_code code = explain(o, err);
        fj__json_out_drop(o);
        return code;
    }
    o->text[o->n] = '\0';
    *ret = o->text;
    if (ret_n != NULL)
        *ret_n = o->n;
    o->text = NULL;
    o->n = o->capacity = 0;
    return FJ_OK;
}

fj_code fj_json_write(const json_t *value, const fj_json_opts *opts, char **ret, size_t *ret_n, fj_error **err)
{
    fj__json_out o = fj__json_out_new(opts);

    fj__json_out_value(&o, value);
    return fj__json_out_finish(&o, ret, ret_n, err);
}
