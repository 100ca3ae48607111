/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_SYMBOLS_H
#define FJORD_RUNTIME_SYMBOLS_H
/*
 * Names of functions: the dynamic linker's, and those that only the symbol table of the file has, such as static ones.  It reads
 * files: not on a loop's thread.
 */
#include <fjord/base.h>

typedef struct fj__symbols fj__symbols;

/** Gives; NULL when memory ran out, which is as good as one that knows nothing. */
fj__symbols *fj__symbols_new(void);
void fj__symbols_free(fj__symbols *s);
/** The function's name, "server+0x4f3a" for one that nobody knows, or the address.
 *  @param s may be NULL   @param returns  it is where a call goes on, and not where a thread was interrupted
 *  @param where whether to add " +0x1c [server+0x4f3a]", as `addr2line -fe MODULE OFFSET` wants it */
void fj__symbols_text(fj__symbols *s, void *address, bool returns, bool where, char *text, size_t size);

#endif
