/* SPDX-License-Identifier: Apache-2.0 */
/* One connection's TLS: the handshake, and bytes in and out. */
#include "transports/amqp/tls.h"

#include "base/alloc.h"
#include "transports/amqp/tls_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { WHY_SIZE = 400 };

struct fj__tls_stream {
    SSL *ssl;
    char *host;
    bool numeric;           /* an address: IP SANs count, and there is no SNI */
    bool wants_write;       /* to go on reading, or shaking hands */
    char verdict[WHY_SIZE]; /* on the peer's certificate; empty: no objection */
    char why[WHY_SIZE];
};

/* ---- what the peer must be ------------------------------------------------------------------------ */

static bool is_address(const char *host)
{
    unsigned char room[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, room) == 1 || inet_pton(AF_INET6, host, room) == 1;
}

/* Keeps in words what is wrong with whom; OpenSSL then goes on, and fails. */
static int on_verdict(int good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    fj__tls_stream *s = SSL_get_app_data(ssl);

    if (!good)
        fj__tls_say_unverified(s->verdict, sizeof s->verdict, store, s->host);
    return good;
}

static bool expect(fj__tls_stream *s, bool names)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(s->ssl);

    if (!s->numeric &&
        SSL_set_tlsext_host_name(s->ssl, s->host) != 1) /* SNI is for names: RFC 6066 section 3 */
        return false;
    if (!names)
        return true;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return s->numeric ? X509_VERIFY_PARAM_set1_ip_asc(param, s->host) == 1
                      : X509_VERIFY_PARAM_set1_host(param, s->host, 0) == 1;
}

static bool build(fj__tls_stream *s, fj__tls *tls, int fd)
{
    bool names = true;
    SSL_CTX *context = fj__tls_context(tls, &names);
    BIO_METHOD *method = fj__tls_bio();
    BIO *bio = method != NULL ? BIO_new(method) : NULL;

    s->ssl = SSL_new(context); /* which has its own reference */
    SSL_CTX_free(context);
    if (bio == NULL || s->ssl == NULL) {
        BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(s->ssl, bio, bio);
    SSL_set_connect_state(s->ssl);
    (void)SSL_set_app_data(s->ssl, s);
    SSL_set_verify(s->ssl, SSL_get_verify_mode(s->ssl), on_verdict);
    return expect(s, names);
}

fj__tls_stream *fj__tls_open(fj__tls *tls, int fd, const char *host)
{
    fj__tls_stream *s = fj__zalloc(sizeof *s);

    if (s == NULL)
        return NULL;
    int hooks = fj__tls_begin();
    s->host = fj__strdup(host);
    s->numeric = is_address(host);
    bool built = s->host != NULL && build(s, tls, fd);
    ERR_clear_error();
    fj__tls_end(hooks);
    return built ? s : fj__tls_close(s);
}

fj__tls_stream *fj__tls_close(fj__tls_stream *s)
{
    if (s == NULL)
        return NULL;
    int hooks = fj__tls_begin();
    SSL_free(s->ssl);
    fj__tls_end(hooks);
    fj__free(s->host);
    fj__free(s);
    return NULL;
}

/* ---- steps ---------------------------------------------------------------------------------------- */

typedef enum { DONE, AGAIN, ENDED, BROKEN } outcome;

/* @param rc  what OpenSSL answered;  errno is the socket's where the answer is BROKEN without an error of OpenSSL's */
static outcome judge(fj__tls_stream *s, int rc)
{
    int saved = errno;
    outcome is = BROKEN;

    s->wants_write = false;
    s->why[0] = '\0';
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_NONE:
        is = DONE;
        break;
    case SSL_ERROR_WANT_READ:
        is = AGAIN;
        break;
    case SSL_ERROR_WANT_WRITE:
        s->wants_write = true;
        is = AGAIN;
        break;
    case SSL_ERROR_ZERO_RETURN:
        is = ENDED;
        break;
    case SSL_ERROR_SYSCALL:
        is = saved == 0 ? ENDED : BROKEN;
        break;
    default: {
        unsigned long error = ERR_peek_error();
        if (ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            is = ENDED;
        else if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED && s->verdict[0] != '\0')
            (void)snprintf(s->why, sizeof s->why, "%s", s->verdict);
        else
            fj__tls_say_refused(s->why, sizeof s->why, error);
        break;
    }
    }
    ERR_clear_error();
    errno = saved;
    return is;
}

/* Before each call of OpenSSL: what is left of others' errors, its own or the system's, would be taken for this one's. */
static int begin(void)
{
    int hooks = fj__tls_begin();

    ERR_clear_error();
    errno = 0;
    return hooks;
}

fj_code fj__tls_shake(fj__tls_stream *s, fj_error **err)
{
    int hooks = begin();
    outcome is = judge(s, SSL_do_handshake(s->ssl));
    int why = errno;

    fj__tls_end(hooks);
    if (is == DONE)
        return FJ_OK;
    if (is == AGAIN)
        return FJ_AGAIN;
    if (s->why[0] != '\0')
        return fj_fail(err, FJ_TLS, "%s", s->why);
    char text[128];
    return fj_fail(err, FJ_LOST, "the broker closed the socket in the TLS handshake%s%s",
                   is == ENDED ? "" : ": ", is == ENDED ? "" : strerror_r(why, text, sizeof text));
}

static ssize_t answer(outcome is, const fj__tls_stream *s, size_t n)
{
    switch (is) {
    case DONE:
        return (ssize_t)n;
    case AGAIN:
        errno = EAGAIN;
        return -1;
    case ENDED:
        return 0;
    default:
        if (s->why[0] != '\0' || errno == 0)
            errno = EPROTO;
        return -1;
    }
}

ssize_t fj__tls_recv(fj__tls_stream *s, void *room, size_t n)
{
    size_t did = 0;
    int hooks = begin();
    outcome is = judge(s, SSL_read_ex(s->ssl, room, n, &did));

    fj__tls_end(hooks);
    return answer(is, s, did);
}

ssize_t fj__tls_send(fj__tls_stream *s, const void *data, size_t n)
{
    size_t did = 0;
    bool reading_waits = s->wants_write;
    int hooks = begin();
    outcome is = judge(s, SSL_write_ex(s->ssl, data, n, &did));

    fj__tls_end(hooks);
    s->wants_write = reading_waits; /* unsent bytes are the link's to know of */
    if (is == ENDED) {              /* to write to: EPIPE */
        errno = EPIPE;
        return -1;
    }
    return answer(is, s, did);
}

bool fj__tls_wants_write(const fj__tls_stream *s)
{
    return s->wants_write;
}

const char *fj__tls_why(const fj__tls_stream *s)
{
    return s->why[0] != '\0' ? s->why : "TLS failed";
}

const char *fj__tls_version(const fj__tls_stream *s)
{
    return SSL_get_version(s->ssl);
}

const char *fj__tls_cipher(const fj__tls_stream *s)
{
    return SSL_get_cipher_name(s->ssl);
}

void fj__tls_bye(fj__tls_stream *s)
{
    int hooks = begin();

    if (SSL_is_init_finished(s->ssl))
        (void)SSL_shutdown(s->ssl);
    ERR_clear_error();
    fj__tls_end(hooks);
}
