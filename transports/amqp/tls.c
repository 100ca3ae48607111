/* SPDX-License-Identifier: Apache-2.0 */
/* One connection's TLS: the handshake, bytes in and out, and the reason of a refusal in words. */
#include "transports/amqp/tls.h"

#include "base/alloc.h"
#include "transports/amqp/tls_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { WHY_SIZE = 400, NAMES_SIZE = 160 };

struct fj__tls_stream {
    SSL *ssl;
    char *host;
    bool numeric;     /* an address: IP SANs count, and there is no SNI */
    bool wants_write; /* to go on reading, or shaking hands */
    char why[WHY_SIZE];
};

/* ---- what the peer must be ------------------------------------------------------------------------ */

static bool is_address(const char *host)
{
    unsigned char room[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, room) == 1 || inet_pton(AF_INET6, host, room) == 1;
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

/* ---- why not -------------------------------------------------------------------------------------- */

/* Whom the certificate is for, for who expected somebody else. */
static void names_of(X509 *cert, char *ret, size_t size)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t at = 0;

    ret[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(all) && at < size; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
        char text[INET6_ADDRSTRLEN] = "";
        const char *comma = at != 0 ? ", " : "";
        int n = 0;
        if (name->type == GEN_DNS) {
            n = snprintf(ret + at, size - at, "%s%.*s", comma, ASN1_STRING_length(name->d.dNSName),
                         (const char *)ASN1_STRING_get0_data(name->d.dNSName));
        } else if (name->type == GEN_IPADD) {
            int length = ASN1_STRING_length(name->d.iPAddress);
            (void)inet_ntop(length == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), text,
                            sizeof text);
            n = length == 4 || length == 16 ? snprintf(ret + at, size - at, "%s%s", comma, text) : 0;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    GENERAL_NAMES_free(all);
    for (char *c = ret; *c != '\0'; c++) { /* the peer chose them */
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = '?';
    }
    if (ret[0] == '\0')
        (void)snprintf(ret, size, "nobody (it has no subject alternative name)");
}

static void date_of(const ASN1_TIME *t, char *ret, size_t size)
{
    struct tm tm;

    ret[0] = '\0';
    if (ASN1_TIME_to_tm(t, &tm) == 1)
        (void)strftime(ret, size, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

/* What the chain's check found wrong, with what the certificate says. */
static void say_unverified(fj__tls_stream *s, long verdict)
{
    X509 *cert = SSL_get0_peer_certificate(s->ssl);
    char text[NAMES_SIZE] = "";

    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        if (cert != NULL)
            names_of(cert, text, sizeof text);
        (void)snprintf(s->why, sizeof s->why, "the broker's certificate is not for %s, but for %s", s->host,
                       text);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        if (cert != NULL)
            date_of(X509_get0_notAfter(cert), text, sizeof text);
        (void)snprintf(s->why, sizeof s->why,
                       "the broker's certificate, or one of its chain, has expired (its own ends %s)", text);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        if (cert != NULL)
            date_of(X509_get0_notBefore(cert), text, sizeof text);
        (void)snprintf(s->why, sizeof s->why,
                       "the broker's certificate, or one of its chain, is not yet valid (its own begins %s)",
                       text);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        (void)snprintf(s->why, sizeof s->why,
                       "the broker's certificate is self-signed, and not among those of ssl_ca_file");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        (void)snprintf(s->why, sizeof s->why,
                       "the broker's certificate is of an authority that ssl_ca_file does not have: %s",
                       X509_verify_cert_error_string(verdict));
        break;
    default:
        (void)snprintf(s->why, sizeof s->why, "the broker's certificate: %s",
                       X509_verify_cert_error_string(verdict));
        break;
    }
}

/* What the protocol stumbled over.  Alerts (RFC 8446 section 6) are the broker's reasons. */
static void say_refused(fj__tls_stream *s, unsigned long error)
{
    const char *reason = ERR_reason_error_string(error);

    switch (ERR_GET_REASON(error)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        (void)snprintf(s->why, sizeof s->why,
                       "this is not TLS: does this port of the broker speak plain AMQP?");
        break;
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        (void)snprintf(s->why, sizeof s->why,
                       "the broker wants a certificate of this client: set ssl_cert_file");
        break;
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        (void)snprintf(s->why, sizeof s->why,
                       "the broker refused: %s (it may want a certificate of this client, ssl_cert_file, or "
                       "other ciphers)",
                       reason);
        break;
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        (void)snprintf(s->why, sizeof s->why,
                       "the broker does not know the authority of this client's certificate, ssl_cert_file");
        break;
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        (void)snprintf(s->why, sizeof s->why,
                       "the broker says that this client's certificate, ssl_cert_file, has expired");
        break;
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
        (void)snprintf(s->why, sizeof s->why, "no version of TLS is spoken by both: %s", reason);
        break;
    default:
        (void)snprintf(s->why, sizeof s->why, "%s%s",
                       ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET ? "the broker refused: " : "",
                       reason != NULL ? reason : "TLS failed");
        break;
    }
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
        long verdict = SSL_get_verify_result(s->ssl);
        if (ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            is = ENDED;
        else if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK)
            say_unverified(s, verdict);
        else
            say_refused(s, error);
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
        return fj_fail(err, FJ_TLS, "TLS: %s", s->why);
    char text[128];
    return fj_fail(err, FJ_LOST, "TLS: the broker closed the socket in the handshake%s%s",
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
