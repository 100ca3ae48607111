/* SPDX-License-Identifier: Apache-2.0 */
#include "ids.h"

#include <string.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>

/* getrandom(2) is asked each time: no state, so nothing a forked child could repeat. */
static void random_bytes(void *out, size_t n)
{
    uint8_t *at = out;

    while (n != 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        }
    }
}

static void uuid4(uint8_t b[16])
{
    random_bytes(b, 16);
    b[6] = (uint8_t)((b[6] & 0x0fu) | 0x40u); /* version 4 */
    b[8] = (uint8_t)((b[8] & 0x3fu) | 0x80u); /* variant of RFC 4122 */
}

static const char digits[] = "0123456789abcdef";

void fj__id_hex(char out[33])
{
    uint8_t b[16];

    uuid4(b);
    for (size_t i = 0; i < 16; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15u];
    }
    out[32] = '\0';
}

void fj__id_uuid(char out[37])
{
    char hex[33];
    const char *from = hex;
    char *to = out;

    fj__id_hex(hex);
    for (size_t i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *to++ = '-';
        *to++ = *from++;
    }
    *to = '\0';
}

double fj__random_unit(void)
{
    uint64_t r;

    random_bytes(&r, sizeof r);
    return (double)(r >> 11) * (1.0 / 9007199254740992.0); /* 53 bits: 2^-53 */
}
