/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_JSON_H
#define FJORD_JSON_H
/*
 * JSON text to jansson's json_t and back, as Python's json module writes and reads it.
 *
 * A peer's message must never be lost for a value that C cannot hold, so the reader is tolerant where
 * Python's writer is (wire.md section 22, 10), by a mapping the options choose:
 *   NaN, Infinity, -Infinity   FJ_JSON_WRAP: {"__fjord__": "NaN"} and so on; FJ_JSON_NULL: null;
 *                              FJ_JSON_REFUSE: BAD_JSON
 *   integers beyond 64 bits    WRAP: {"__fjord__": "int", "digits": "9223372036854775808"}; NULL: the nearest
 *                              real; REFUSE: BAD_JSON
 *   \u0000 in strings          kept (json_string_length); in keys, which jansson cannot hold: the key ends up
 *                              with U+FFFD in its place
 *   lone surrogates            U+FFFD
 * The writer turns the wrapped forms back into the tokens they came from.  Everything else is strict:
 * UTF-8, one value, nothing behind it but white space; of duplicate keys the last wins, as in Python.
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

typedef enum { FJ_JSON_WRAP = 0, FJ_JSON_NULL, FJ_JSON_REFUSE } fj_json_odd;

typedef struct {
    size_t size;
    size_t max_bytes;   /**< 0: no cap (the caller has capped the message) */
    unsigned max_depth; /**< arrays and objects within one another; 0: 64 */
    fj_json_odd odd;    /**< the mapping of what C cannot hold */
} fj_json_opts;
#define FJ_JSON_OPTS_INIT                        \
    {                                            \
        sizeof(fj_json_opts), 0, 0, FJ_JSON_WRAP \
    }

/** Read one JSON value.  @param opts lends; NULL for FJ_JSON_OPTS_INIT.  @param ret gives.
 *  @errors BAD_JSON (the text has the byte offset), TOO_BIG, TOO_DEEP, NOMEM   @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_json_read(const char *text, size_t n, const fj_json_opts *opts, json_t **ret,
                                        fj_error **err);

/** Write a value compactly as ASCII (non-ASCII escaped as \uXXXX, with ", " and ": " as Python does).
 *  Objects keep the order of insertion.
 *  @param ret gives; NUL-terminated, free()   @param ret_n its length; may be NULL
 *  @errors TOO_DEEP, TOO_BIG, BAD_VALUE, NOMEM   @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_json_write(const json_t *value, const fj_json_opts *opts, char **ret,
                                         size_t *ret_n, fj_error **err);

FJ_END_DECLS
#endif
