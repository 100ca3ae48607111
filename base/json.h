/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_JSON_H
#define FJORD_BASE_JSON_H
/* JSON from inside the library: a writer for text that is put together piece by piece. */
#include <fjord/json.h>

/** The options of a caller, with every default filled in; @p opts may be NULL or of an older, shorter kind. */
fj_json_opts fj__json_opts(const fj_json_opts *opts);

/** A text being written.  Errors stick: after the first one nothing more is written, and
 *  fj__json_out_finish() answers it. */
typedef struct {
    char *text;
    size_t n, capacity;
    size_t max_bytes;          /* SIZE_MAX: no cap */
    unsigned depth, max_depth; /* depth: arrays and objects open around the next value */
    bool lenient;              /* bytes that are not UTF-8 become U+FFFD instead of an error */
    fj_code code;
} fj__json_out;

fj__json_out fj__json_out_new(const fj_json_opts *opts);
/** Text that is JSON already. */
void fj__json_out_raw(fj__json_out *o, const char *text, size_t n);
#define fj__json_out_lit(o, literal) fj__json_out_raw(o, literal, sizeof(literal) - 1)
/** A string in quotes. */
void fj__json_out_string(fj__json_out *o, const char *text, size_t n);
/** A string in quotes, or null for NULL. */
void fj__json_out_text(fj__json_out *o, const char *text);
/** The inside of a string, without its quotes. */
void fj__json_out_escaped(fj__json_out *o, const char *text, size_t n);
void fj__json_out_real(fj__json_out *o, double value);
/** Any value; null for NULL. */
void fj__json_out_value(fj__json_out *o, const json_t *value);
/** @param ret gives; NUL-terminated, free()   @param ret_n may be NULL   The writer is spent afterwards.
 *  @errors TOO_DEEP, TOO_BIG, BAD_VALUE, NOMEM */
fj_code fj__json_out_finish(fj__json_out *o, char **ret, size_t *ret_n, fj_error **err);
/** Free a writer that will not be finished. */
void fj__json_out_drop(fj__json_out *o);

/** Whether @p value is the wrapped form of a big integer: then its digits.  Lends, else NULL. */
const char *fj__json_big_int(const json_t *value);

#endif
