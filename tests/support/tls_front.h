/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_TLS_FRONT_H
#define TESTS_SUPPORT_TLS_FRONT_H
/*
 * TLS in front of a port of 127.0.0.1 that speaks plain, on threads of the test's process, at a port of the system's choice.
 * All functions fail the test when they cannot do what they are to.
 */
#include <stdbool.h>
#include <stdint.h>

typedef struct tls_front tls_front;

typedef struct {
    const char *folder;    /* of certificates: scripts/certs */
    const char *cert;      /* the name of its own in there */
    const char *clients;   /* the authority of the certificates that clients must have; NULL: they need none */
    int least, most;       /* TLS1_2_VERSION..., 0: as OpenSSL has it */
    const char *ciphers;   /* of TLS 1.2; NULL: OpenSSL's */
    unsigned record;       /* bytes of a record at most; 0: as many as go */
    bool ends_without_bye; /* as who only closes the socket */
} tls_front_opts;

tls_front *tls_front_new(uint16_t onward, const tls_front_opts *opts);
uint16_t tls_front_port(const tls_front *f);
/** From now on with another certificate. */
void tls_front_cert(tls_front *f, const char *cert);
/** The name that the last client asked for (SNI), "" for none. */
void tls_front_asked(tls_front *f, char *ret, unsigned size);
/** How many handshakes came to their good end, on this side. */
unsigned tls_front_shook(tls_front *f);
/** Waits until a client ends its connection: whether the last one did so by close_notify. */
bool tls_front_bye(tls_front *f);
/** Ask the clients for new keys (TLS 1.3), as often as there is data for them. */
void tls_front_rekey(tls_front *f);
/** Hang up on everyone. */
void tls_front_cut(tls_front *f);
tls_front *tls_front_free(tls_front *f);

#endif
