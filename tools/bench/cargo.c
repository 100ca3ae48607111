/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/cargo.h"
#include "base/alloc.h"
#include <math.h>
#include <string.h>

enum { LETTERS = 4 * BENCH_CARGO_MOST };

#define SPREAD 0.6 /* of the logarithms of the lengths, which are spread normally */

/* xorshift64*: what a run sends can be sent again. */
static uint64_t next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* Above 0, and 1 at most. */
static double unit(uint64_t *state)
{
    return (double)((next(state) >> 11) + 1) / 9007199254740992.0;
}

static uint32_t some_length(uint64_t *state)
{
    double normal = sqrt(-2 * log(unit(state))) * cos(2 * M_PI * unit(state));
    double length = BENCH_CARGO_MIDDLE * exp(SPREAD * normal);

    if (length < BENCH_CARGO_LEAST)
        return BENCH_CARGO_LEAST;
    return length > BENCH_CARGO_MOST ? BENCH_CARGO_MOST : (uint32_t)length;
}

bool bench_cargo_init(bench_cargo *c, size_t count, uint64_t seed)
{
    uint64_t state = seed != 0 ? seed : 1;

    memset(c, 0, sizeof *c);
    c->letters = fj__zalloc(LETTERS + 1);
    if (c->letters == NULL)
        return false;
    for (size_t i = 0; i < LETTERS; i++)
        c->letters[i] = (char)('a' + (next(&state) >> 32) % 26);
    c->count = count < 1 ? 1 : count > BENCH_CARGO_TEXTS ? BENCH_CARGO_TEXTS : count;
    for (size_t i = 0; i < c->count; i++) {
        c->texts[i].length = some_length(&state);
        c->texts[i].at = (uint32_t)((next(&state) >> 32) % (LETTERS - c->texts[i].length));
    }
    return true;
}

void bench_cargo_fini(bench_cargo *c)
{
    fj__free(c->letters);
    c->letters = NULL;
}

const char *bench_cargo_text(const bench_cargo *c, size_t i, size_t *ret_length)
{
    *ret_length = c->texts[i % c->count].length;
    return c->letters + c->texts[i % c->count].at;
}
