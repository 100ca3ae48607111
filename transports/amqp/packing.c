/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/packing.h"

#include "base/alloc.h"

#include <bzlib.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>

enum {
    CHUNK = 64 * 1024,
    BZIP2_BLOCK =
        100 *
        1000, /* bytes a block of level 1: more memory than the body fills is of no use, for either side */
    BZIP2_LEVELS = 9,
    XZ_PRESET = 1 /* 10 MiB to compress and 2 to decompress; Python's own preset takes 94 and 9 */
};

/* For windows of up to 64 MiB, those of xz -9: a message may ask for 4 GiB. */
static const uint64_t xz_memory = (uint64_t)80 << 20;

/* ---- names ---- */

static const struct {
    fj__body_form form;
    const char *type, *names; /* as kombu registers them */
} kinds[] = { { FJ__BODY_ZLIB, "application/x-gzip", " gzip zlib " },
              { FJ__BODY_BZIP2, "application/x-bz2",
                " bzip2 bzip bz2 " }, /* bz2: only oslo.messaging's help has that */
              { FJ__BODY_XZ, "application/x-lzma", " xz lzma " } };

fj__body_form fj__packing_typed(const char *type, size_t n)
{
    for (size_t i = 0; i < fj__countof(kinds); i++) {
        if (n == strlen(kinds[i].type) && memcmp(type, kinds[i].type, n) == 0)
            return kinds[i].form;
    }
    return FJ__BODY_UNKNOWN;
}

const char *fj__packing_type(fj__body_form form)
{
    for (size_t i = 0; i < fj__countof(kinds); i++) {
        if (kinds[i].form == form)
            return kinds[i].type;
    }
    return NULL;
}

fj__body_form fj__packing_named(const char *name)
{
    size_t n = name != NULL ? strlen(name) : 0;

    if (n == 0)
        return FJ__BODY_PLAIN;
    for (size_t i = 0; i < fj__countof(kinds); i++) {
        for (const char *at = kinds[i].names; strchr(name, ' ') == NULL && (at = strstr(at, name)) != NULL;
             at++) {
            if (at[-1] == ' ' && at[n] == ' ')
                return kinds[i].form;
        }
    }
    return fj__packing_typed(name, n);
}

/* ---- packing ---- */

typedef enum { PACKED, NOT_SMALLER, NO_MEMORY } outcome;

static outcome pack_zlib(const char *body, size_t n, char *to, size_t *ret)
{
    uLongf made = *ret;
    int rc = compress((Bytef *)to, &made, (const Bytef *)body, (uLong)n);

    *ret = made;
    return rc == Z_OK ? PACKED : rc == Z_BUF_ERROR ? NOT_SMALLER : NO_MEMORY;
}

static outcome pack_bzip2(const char *body, size_t n, char *to, size_t *ret)
{
    size_t blocks = n / BZIP2_BLOCK + 1;
    unsigned made = (unsigned)*ret;
    int rc = BZ2_bzBuffToBuffCompress(to, &made, (char *)(uintptr_t)body, (unsigned)n,
                                      blocks < BZIP2_LEVELS ? (int)blocks : BZIP2_LEVELS, 0, 0);

    *ret = made;
    return rc == BZ_OK ? PACKED : rc == BZ_OUTBUFF_FULL ? NOT_SMALLER : NO_MEMORY;
}

static outcome pack_xz(const char *body, size_t n, char *to, size_t *ret)
{
    size_t made = 0;
    lzma_ret rc = lzma_easy_buffer_encode(XZ_PRESET, LZMA_CHECK_CRC64, NULL, (const uint8_t *)body, n,
                                          (uint8_t *)to, &made, *ret);

    *ret = made;
    return rc == LZMA_OK ? PACKED : rc == LZMA_BUF_ERROR ? NOT_SMALLER : NO_MEMORY;
}

static outcome pack(fj__body_form form, const char *body, size_t n, char *to, size_t *ret)
{
    return form == FJ__BODY_ZLIB    ? pack_zlib(body, n, to, ret)
           : form == FJ__BODY_BZIP2 ? pack_bzip2(body, n, to, ret)
                                    : pack_xz(body, n, to, ret);
}

fj_code fj__pack(fj__body_form form, char **body, size_t *n, fj__body_form *ret, fj_error **err)
{
    *ret = FJ__BODY_PLAIN;
    if (fj__packing_type(form) == NULL || *n < 2 || *n > UINT32_MAX)
        return FJ_OK;
    size_t made = *n - 1; /* all the room it may take */
    char *to = fj__alloc(made);
    outcome what = to != NULL ? pack(form, *body, *n, to, &made) : NO_MEMORY;
    if (what == NOT_SMALLER) {
        fj__free(to);
        return FJ_OK;
    }
    fj__free(*body);
    if (what == NO_MEMORY) {
        *body = NULL;
        fj__free(to);
        return fj_fail(err, FJ_NOMEM, "out of memory");
    }
    char *fitting = fj__realloc(to, made); /* it waits for its confirm */
    *body = fitting != NULL ? fitting : to;
    *n = made;
    *ret = form;
    return FJ_OK;
}

/* ---- unpacking: step by step into room that is given ---- */

typedef struct {
    fj__body_form form;
    union {
        z_stream z;
        bz_stream b;
        lzma_stream x;
    };
} unpacker;

typedef enum { MORE, WHOLE, BROKEN, WITHOUT_MEMORY, BEYOND_MEMORY } progress;

static bool begin(unpacker *u, fj__body_form form, const void *body, size_t n)
{
    *u = (unpacker){ .form = form };
    switch (form) {
    case FJ__BODY_ZLIB: /* kombu's gzip is a zlib stream; a real gzip header is taken too: 32 + 15 tells them apart, zlib.h */
        u->z.next_in = (Bytef *)(uintptr_t)body;
        u->z.avail_in = (uInt)n;
        return inflateInit2(&u->z, 32 + 15) == Z_OK;
    case FJ__BODY_BZIP2:
        u->b.next_in = (char *)(uintptr_t)body;
        u->b.avail_in = (unsigned)n;
        return BZ2_bzDecompressInit(&u->b, 0, 0) == BZ_OK;
    default: /* lzma or xz, as Python's lzma reads both */
        u->x = (lzma_stream)LZMA_STREAM_INIT;
        u->x.next_in = body;
        u->x.avail_in = n;
        return lzma_auto_decoder(&u->x, xz_memory, 0) == LZMA_OK;
    }
}

static progress step_zlib(unpacker *u, uint8_t *room, size_t *n)
{
    u->z.next_out = room;
    u->z.avail_out = (uInt)*n;
    int rc = inflate(&u->z, Z_NO_FLUSH);
    *n -= u->z.avail_out;
    return rc == Z_OK ? MORE : rc == Z_STREAM_END ? WHOLE : rc == Z_MEM_ERROR ? WITHOUT_MEMORY : BROKEN;
}

static progress step_bzip2(unpacker *u, uint8_t *room, size_t *n)
{
    u->b.next_out = (char *)room;
    u->b.avail_out = (unsigned)*n;
    int rc = BZ2_bzDecompress(&u->b);
    *n -= u->b.avail_out;
    if (rc == BZ_OK) /* it does not tell when it starves */
        return u->b.avail_in == 0 && u->b.avail_out != 0 ? BROKEN : MORE;
    return rc == BZ_STREAM_END ? WHOLE : rc == BZ_MEM_ERROR ? WITHOUT_MEMORY : BROKEN;
}

static progress step_xz(unpacker *u, uint8_t *room, size_t *n)
{
    u->x.next_out = room;
    u->x.avail_out = *n;
    lzma_ret rc = lzma_code(&u->x, LZMA_FINISH);
    *n -= u->x.avail_out;
    return rc == LZMA_OK               ? MORE
           : rc == LZMA_STREAM_END     ? WHOLE
           : rc == LZMA_MEM_ERROR      ? WITHOUT_MEMORY
           : rc == LZMA_MEMLIMIT_ERROR ? BEYOND_MEMORY
                                       : BROKEN;
}

static progress step(unpacker *u, uint8_t *room, size_t *n)
{
    return u->form == FJ__BODY_ZLIB    ? step_zlib(u, room, n)
           : u->form == FJ__BODY_BZIP2 ? step_bzip2(u, room, n)
                                       : step_xz(u, room, n);
}

static void end(unpacker *u)
{
    if (u->form == FJ__BODY_ZLIB)
        (void)inflateEnd(&u->z);
    else if (u->form == FJ__BODY_BZIP2)
        (void)BZ2_bzDecompressEnd(&u->b);
    else
        lzma_end(&u->x);
}

static fj_code unpack_all(unpacker *u, size_t max, fj__buf *out, fj_error **err)
{
    for (;;) {
        size_t left =
            max != 0 ? max - fj__buf_len(out) : CHUNK; /* and one more, which tells that it is too much */
        size_t n = left < CHUNK ? left + 1 : CHUNK;
        uint8_t *room = fj__buf_reserve(out, n);
        progress p = room != NULL ? step(u, room, &n) : WITHOUT_MEMORY;
        if (p == WITHOUT_MEMORY)
            return fj_fail(err, FJ_NOMEM, "out of memory");
        if (p == BEYOND_MEMORY)
            return fj_fail(err, FJ_TOO_BIG, "the body needs more than %u MiB to unpack",
                           (unsigned)(xz_memory >> 20));
        if (p == BROKEN)
            return fj_fail(err, FJ_BAD_MESSAGE, "the compressed body is broken or cut short");
        fj__buf_commit(out, n);
        if (max != 0 && fj__buf_len(out) > max)
            return fj_fail(err, FJ_TOO_BIG, "the body unpacks to more than %zu bytes", max);
        if (p == WHOLE)
            return FJ_OK;
    }
}

fj_code fj__unpack(fj__body_form form, const void *body, size_t n, size_t max, fj__buf *out, fj_error **err)
{
    unpacker u;

    if (fj__packing_type(form) == NULL || n > UINT32_MAX)
        return fj_fail(err, FJ_BAD_MESSAGE, "the body is compressed in a way that is not known");
    if (!begin(&u, form, body, n))
        return fj_fail(err, FJ_NOMEM, "out of memory");
    fj_code rc = unpack_all(&u, max, out, err);
    end(&u);
    return rc;
}
