/* SPDX-License-Identifier: Apache-2.0 */
/* A vector of buffers of which some bytes are done.  It copies nothing: the piece that was begun is gone on with alone. */
#include "runtime/hooks/hooks.h"

fj__span fj__span_of(const struct iovec *iov, size_t count)
{
    fj__span s = { .iov = (struct iovec *)iov, .count = count };

    fj__span_move(&s, 0);
    return s;
}

void fj__span_move(fj__span *s, size_t n)
{
    while (s->count > 0) {
        size_t left = s->iov->iov_len - s->off;

        if (n < left) {
            s->off += n;
            return;
        }
        n -= left;
        s->iov++;
        s->count--;
        s->off = 0;
    }
}

struct iovec *fj__span_next(fj__span *s, size_t *ret_n)
{
    if (s->off == 0) {
        *ret_n = s->count;
        return s->iov;
    }
    s->rest.iov_base = (char *)s->iov->iov_base + s->off;
    s->rest.iov_len = s->iov->iov_len - s->off;
    *ret_n = 1;
    return &s->rest;
}

size_t fj__span_left(const fj__span *s)
{
    size_t left = 0;

    for (size_t i = 0; i < s->count; i++)
        left += s->iov[i].iov_len;
    return left - s->off;
}
