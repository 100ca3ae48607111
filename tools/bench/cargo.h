/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_BENCH_CARGO_H
#define FJORD_TOOLS_BENCH_CARGO_H
/* What messages carry: texts of lower-case letters, made before anything is measured and used in turn. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Their lengths: half are shorter than 2,600 characters, nine of ten between 970 and 7,000, none below 200 or above 16,000.  That is
 * about what requests of OpenStack's services are long: a kilobyte of context and arguments, or some more where an object goes with them.
 */
enum {
    BENCH_CARGO_LEAST = 200,
    BENCH_CARGO_FEW = 970,
    BENCH_CARGO_MIDDLE = 2600,
    BENCH_CARGO_MANY = 7000,
    BENCH_CARGO_MOST = 16000,
    BENCH_CARGO_TEXTS = 1000
};

typedef struct {
    char *letters; /* BENCH_CARGO_MOST of them and more, and a NUL: each text is a part of it */
    size_t count;
    struct {
        uint32_t at, length;
    } texts[BENCH_CARGO_TEXTS];
} bench_cargo;

/** @p count texts, BENCH_CARGO_TEXTS at most, 1 at least; the same of the same @p seed.
 *  @return false: no memory; bench_cargo_fini() is right then, too */
bool bench_cargo_init(bench_cargo *c, size_t count, uint64_t seed);
void bench_cargo_fini(bench_cargo *c);
/** Text number @p i, from the beginning again after the last.  Lends.  @thread any */
const char *bench_cargo_text(const bench_cargo *c, size_t i, size_t *ret_length);

#endif
