/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_TLS_H
#define FJORD_AMQP_TLS_H
/*
 * TLS on a link's socket, by OpenSSL, without blocking.  One `fj__tls` holds what all connections of a transport share: rules,
 * authorities, our certificate.  A `fj__tls_stream` is one connection, under its domain's lock as the rest of the link.
 *
 * The chain and the host's name are verified, unless the configuration says otherwise in so many words; nothing below TLS 1.2 is
 * spoken, and plain text never.
 */
#include <fjord/conf.h>
#include <fjord/error.h>

#include <stddef.h>
#include <sys/types.h>

typedef struct fj__tls fj__tls;
typedef struct fj__tls_stream fj__tls_stream;

/** Read the ssl_* options and the files they name.  Reads files.  @param ret gives
 *  @errors BAD_CONFIG names the option and the reason; NOMEM */
fj_code fj__tls_new(const fj_conf *conf, fj__tls **ret, fj_error **err);
/** The same again, for connections that are made from now on.  Reads files.  @thread any
 *  @errors as fj__tls_new(): everything is as it was then */
fj_code fj__tls_reload(fj__tls *tls, const fj_conf *conf, fj_error **err);
/** After its streams.  Accepts NULL, answers NULL. */
fj__tls *fj__tls_free(fj__tls *tls);

/** @param fd lends   @param host the name or address that the peer's certificate must be for
 *  @return NULL when memory ran out */
fj__tls_stream *fj__tls_open(fj__tls *tls, int fd, const char *host);
/** Go on with the handshake.
 *  @errors AGAIN: not yet done; TLS: refused, by us or by the peer, the text says why; LOST: the socket ended */
fj_code fj__tls_shake(fj__tls_stream *s, fj_error **err);
/** As recv(2) and send(2) with MSG_DONTWAIT.  What is wrong with the protocol is EPROTO: fj__tls_why() says more. */
ssize_t fj__tls_recv(fj__tls_stream *s, void *room, size_t n);
ssize_t fj__tls_send(fj__tls_stream *s, const void *data, size_t n);
/** Whether the protocol itself has something to write before it goes on. */
bool fj__tls_wants_write(const fj__tls_stream *s);
/** Why fj__tls_recv() answered EPROTO.  Lends until the next call. */
const char *fj__tls_why(const fj__tls_stream *s);
/** The version and the cipher, for the log.  Lends */
const char *fj__tls_version(const fj__tls_stream *s);
const char *fj__tls_cipher(const fj__tls_stream *s);
/** Say goodbye, as far as the socket takes it now. */
void fj__tls_bye(fj__tls_stream *s);
/** Nothing is sent.  Accepts NULL, answers NULL. */
fj__tls_stream *fj__tls_close(fj__tls_stream *s);

#endif
