/* SPDX-License-Identifier: Apache-2.0 */
#include "ids.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>

static void ask_kernel(void *out, size_t n)
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

/*
 * Some bytes of getrandom(2) in stock, for a system call costs more than an id.  They are in a page that the kernel clears in a forked
 * child (MADV_WIPEONFORK, madvise(2)), however it was forked: there it is an empty stock that nobody has, and no id comes twice.
 */
typedef struct {
    atomic_uint taken; /* somebody is at it; others ask the kernel */
    unsigned left;     /* so many at the end have not been used */
    uint8_t bytes[1024];
} stock;

static stock none; /* where there is no such page */
static _Atomic(stock *) in_stock;

static stock *make_stock(void)
{
    stock *made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
          *other = NULL;

    if (made == MAP_FAILED)
        return &none;
    if (madvise(made, sizeof *made, MADV_WIPEONFORK) == 0) {
        if (atomic_compare_exchange_strong(&in_stock, &other, made))
            return made;
    } else {
        other = &none;
        atomic_store(&in_stock, other);
    }
    (void)munmap(made, sizeof *made);
    return other;
}

static bool take_from(stock *s, void *out, size_t n)
{
    if (s == &none || atomic_exchange_explicit(&s->taken, 1, memory_order_acquire) != 0)
        return false;
    if (s->left < n) {
        ask_kernel(s->bytes, sizeof s->bytes);
        s->left = sizeof s->bytes;
    }
    s->left -= (unsigned)n;
    memcpy(out, s->bytes + sizeof s->bytes - s->left - n, n);
    return atomic_exchange_explicit(&s->taken, 0, memory_order_release) ==
           1; /* 0: a signal's handler has forked meanwhile */
}

/* @param n  a few */
static void random_bytes(void *out, size_t n)
{
    stock *s = atomic_load_explicit(&in_stock, memory_order_acquire);

    if (s == NULL)
        s = make_stock();
    if (!take_from(s, out, n))
        ask_kernel(out, n);
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
