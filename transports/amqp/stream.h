/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_STREAM_H
#define FJORD_AMQP_STREAM_H
/*
 * How far a consumer has come in a stream, which keeps its messages whoever reads them: after a lost connection it goes on with the
 * oldest message that it had and had not done with.
 */
#include <fjord/base.h>

typedef struct {
    struct fj__stream_place {
        int64_t offset;
        bool settled;
    } * places; /* of what came, ascending, from the first that is not settled on */
    size_t first, n, room;
    int64_t next; /* behind the last that came */
    bool begun;   /* any came */
} fj__stream;

void fj__stream_fini(fj__stream *s);
/** One came.  @return false when memory ran out */
bool fj__stream_came(fj__stream *s, int64_t offset);
/** It need not come again. */
void fj__stream_settle(fj__stream *s, int64_t offset);
/** Where to go on; -1: nothing is known. */
int64_t fj__stream_from(const fj__stream *s);
/** The connection is gone: what is not settled comes again. */
void fj__stream_lost(fj__stream *s);
/** It may be another stream by now, of the same name. */
void fj__stream_forget(fj__stream *s);

#endif
