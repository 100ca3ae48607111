/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_CHAIN_H
#define FJORD_MESSAGING_CHAIN_H
/*
 * Chains of interceptors that are open.  A transport has one; a client's or server's begins with it.  One that is open is counted,
 * and closed with the last chain it is in.
 */
#include <fjord/interceptor.h>

#include <stdatomic.h>

typedef struct {
    atomic_uint refs;
    const fj_interceptor *ops;
    void *state;
} fj__open_interceptor;

typedef struct {
    fj__open_interceptor **all; /* the outermost first */
    size_t n, room;
} fj__chain;

/** Open one and put it innermost.  @param name  of its section   @errors BAD_ARGS; those of its open, with its name */
fj_code fj__chain_add(fj__chain *chain, const fj_conf *conf, const char *name, const fj_interceptor *ops,
                      void *user, fj_error **err);
/** Those that [fjord] interceptors lists.  @errors BAD_CONFIG, NOMEM, those of their open */
fj_code fj__chain_configure(fj__chain *chain, const fj_conf *conf, fj_error **err);
/** Have @p from's, too; @p into is empty.  @errors NOMEM */
fj_code fj__chain_copy(const fj__chain *from, fj__chain *into);
/** Close those that are in no other, the innermost first.  It is empty then. */
void fj__chain_fini(fj__chain *chain);
/** The name that the section of an interceptor has: @p item, as it is in a list, or the last part of a path without ".so".
 *  @return gives; NULL: no memory */
char *fj__interceptor_name(const char *item);

#endif
