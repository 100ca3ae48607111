/* SPDX-License-Identifier: Apache-2.0 */
/* Why a connection is refused, in words that say what to do. */
#include "transports/amqp/tls_impl.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

enum { NAMES_SIZE = 160 };

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

void fj__tls_say_unverified(char *ret, size_t size, X509_STORE_CTX *store, const char *host)
{
    int verdict = X509_STORE_CTX_get_error(store);
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    const char *whose = X509_STORE_CTX_get_error_depth(store) == 0 ? "the broker's certificate"
                                                                   : "an authority of the broker's certificate";
    char text[NAMES_SIZE] = "";

    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        if (cert != NULL)
            names_of(cert, text, sizeof text);
        (void)snprintf(ret, size, "the broker's certificate is not for %s, but for %s", host, text);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        if (cert != NULL)
            date_of(X509_get0_notAfter(cert), text, sizeof text);
        (void)snprintf(ret, size, "%s has expired: it was valid until %s", whose, text);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        if (cert != NULL)
            date_of(X509_get0_notBefore(cert), text, sizeof text);
        (void)snprintf(ret, size, "%s is not yet valid: it will be from %s on", whose, text);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        (void)snprintf(ret, size,
                       "the broker's certificate is self-signed, and not among those of ssl_ca_file");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        (void)snprintf(ret, size,
                       "the broker's certificate is of an authority that is not trusted (ssl_ca_file): %s",
                       X509_verify_cert_error_string(verdict));
        break;
    default:
        (void)snprintf(ret, size, "the broker's certificate: %s", X509_verify_cert_error_string(verdict));
        break;
    }
}

void fj__tls_say_refused(char *ret, size_t size, unsigned long error)
{
    const char *reason = ERR_reason_error_string(error);

    switch (ERR_GET_REASON(error)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        (void)snprintf(ret, size, "this is not TLS: does this port of the broker speak plain AMQP?");
        break;
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        (void)snprintf(ret, size, "the broker wants a certificate of this client: set ssl_cert_file");
        break;
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        (void)snprintf(ret, size,
                       "the broker refused: %s (it may want a certificate of this client, ssl_cert_file, or "
                       "other ciphers)",
                       reason);
        break;
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        (void)snprintf(ret, size,
                       "the broker does not know the authority of this client's certificate, ssl_cert_file");
        break;
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        (void)snprintf(ret, size, "the broker says that this client's certificate, ssl_cert_file, has expired");
        break;
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
        (void)snprintf(ret, size, "no version of TLS is spoken by both: %s", reason);
        break;
    default:
        (void)snprintf(ret, size, "%s%s",
                       ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET ? "the broker refused: " : "TLS: ",
                       reason != NULL ? reason : "TLS failed");
        break;
    }
}
