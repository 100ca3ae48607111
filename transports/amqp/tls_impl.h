/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_TLS_IMPL_H
#define FJORD_AMQP_TLS_IMPL_H
/* What the context (tls_context.c) and its streams (tls.c) share. */
#include "runtime/green.h"
#include "transports/amqp/tls.h"

#include <openssl/ssl.h>

/** The BIO that reads and writes a descriptor without blocking and without SIGPIPE.  NULL when memory ran out.  Made once, never
 *  freed. */
BIO_METHOD *fj__tls_bio(void);

/** What connections are made of now: gives a reference.  @param ret_names whether the host's name is verified, too */
SSL_CTX *fj__tls_context(fj__tls *tls, bool *ret_names);

/** What the check of the peer's chain found wrong. */
void fj__tls_say_unverified(char *ret, size_t size, X509_STORE_CTX *store, const char *host);
/** What the protocol stumbled over.  Alerts (RFC 8446 section 6) are the peer's reasons. */
void fj__tls_say_refused(char *ret, size_t size, unsigned long error);

/** OpenSSL has locks of its own.  In a green task with mutexes patched the wait for one would suspend the task, and with it a
 *  lock of ours: until fj__tls_end() they are libc's. */
static inline int fj__tls_begin(void)
{
    int *hooks = fj__green_switch();
    int before = hooks != NULL ? *hooks : 0;

    if (hooks != NULL)
        *hooks = 0;
    return before;
}

static inline void fj__tls_end(int before)
{
    int *hooks = before != 0 ? fj__green_switch() : NULL;

    if (hooks != NULL)
        *hooks = before;
}

#endif
