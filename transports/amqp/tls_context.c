/* SPDX-License-Identifier: Apache-2.0 */
/* What the connections of a transport share: the rules, the authorities that are trusted, and our own certificate. */
#include "transports/amqp/tls_impl.h"

#include "base/alloc.h"
#include "base/native.h"

#include <openssl/err.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <string.h>

#define RABBIT "oslo_messaging_rabbit"

struct fj__tls {
    pthread_mutex_t lock; /* for the next two */
    SSL_CTX *context;
    bool names;
    OSSL_LIB_CTX *fips; /* NULL: OpenSSL's own */
};

/* What OpenSSL said, and nothing of it is left for others: the system's word if there is one, else its last. */
static const char *said(char *room, size_t n)
{
    const char *reason = NULL;
    unsigned long error = 0;
    bool of_system = false;

    while ((error = ERR_get_error()) != 0) {
        if (of_system)
            continue;
        of_system = ERR_SYSTEM_ERROR(error);
        reason = of_system ? strerror_r(ERR_GET_REASON(error), room, n) : ERR_reason_error_string(error);
    }
    return reason != NULL ? reason : "OpenSSL does not say why";
}

static const char *file_of(const fj_conf *conf, const char *key)
{
    const char *path = fj_conf_str(conf, RABBIT, key);

    return path != NULL && *path != '\0' ? path : NULL;
}

static fj_code bad_file(const char *key, const char *path, const char *why, fj_error **err)
{
    return fj_fail(err, FJ_BAD_CONFIG, "[" RABBIT "] %s: %s: %s", key, path, why);
}

/* ssl_version as oslo.messaging knows it (wire.md section 1), and what came after. */
static fj_code set_versions(SSL_CTX *c, const char *name, fj_error **err)
{
    static const struct {
        const char *name;
        int least, most; /* 0: the newest there is */
    } known[] = { { "", TLS1_2_VERSION, 0 },
                  { "SSLv23", TLS1_2_VERSION, 0 },
                  { "TLSv1_2", TLS1_2_VERSION, TLS1_2_VERSION },
                  { "TLSv1_3", TLS1_3_VERSION, TLS1_3_VERSION } };
    static const char *const old[] = { "SSLv2", "SSLv3", "TLSv1", "TLSv1_1" };

    for (size_t i = 0; i < fj__countof(known); i++) {
        if (strcmp(name, known[i].name) == 0)
            return SSL_CTX_set_min_proto_version(c, known[i].least) == 1 &&
                           SSL_CTX_set_max_proto_version(c, known[i].most) == 1
                       ? FJ_OK
                       : fj_fail(err, FJ_BAD_CONFIG, "[" RABBIT "] ssl_version: OpenSSL here has no %s", name);
    }
    for (size_t i = 0; i < fj__countof(old); i++) {
        if (strcmp(name, old[i]) == 0)
            return fj_fail(err, FJ_BAD_CONFIG,
                           "[" RABBIT "] ssl_version: %s is broken, and older than TLS 1.2 is not spoken",
                           name);
    }
    return fj_fail(err, FJ_BAD_CONFIG, "[" RABBIT "] ssl_version: no version is called '%s'", name);
}

static fj_code set_authorities(SSL_CTX *c, const fj_conf *conf, fj_error **err)
{
    const char *path = file_of(conf, "ssl_ca_file");
    char room[128];

    if (path == NULL) {
        if (SSL_CTX_set_default_verify_paths(c) != 1)
            return fj_fail(err, FJ_BAD_CONFIG, "the system's certificate authorities: %s",
                           said(room, sizeof room));
        return FJ_OK;
    }
    if (SSL_CTX_load_verify_file(c, path) != 1)
        return bad_file("ssl_ca_file", path, said(room, sizeof room), err);
    return FJ_OK;
}

/* oslo.messaging takes a certificate alone: the key is in the same file then. */
static fj_code set_own(SSL_CTX *c, const fj_conf *conf, fj_error **err)
{
    const char *cert = file_of(conf, "ssl_cert_file"), *key = file_of(conf, "ssl_key_file");
    char room[128];

    if (cert == NULL && key != NULL)
        return bad_file("ssl_key_file", key, "a key needs its certificate, ssl_cert_file", err);
    if (cert == NULL)
        return FJ_OK;
    if (SSL_CTX_use_certificate_chain_file(c, cert) != 1)
        return bad_file("ssl_cert_file", cert, said(room, sizeof room), err);
    if (SSL_CTX_use_PrivateKey_file(c, key != NULL ? key : cert, SSL_FILETYPE_PEM) != 1)
        return bad_file(key != NULL ? "ssl_key_file" : "ssl_cert_file", key != NULL ? key : cert,
                        said(room, sizeof room), err);
    if (SSL_CTX_check_private_key(c) != 1)
        return bad_file("ssl_key_file", key != NULL ? key : cert, "it is not the key of ssl_cert_file", err);
    return FJ_OK;
}

/* A key that needs a pass phrase would be asked for on the terminal, and nobody is there. */
static int no_passphrase(char *room, int n, int writes, void *user)
{
    (void)room, (void)n, (void)writes, (void)user;
    return -1;
}

static fj_code fill(SSL_CTX *c, const fj_conf *conf, fj_error **err)
{
    const char *version = fj_conf_str(conf, RABBIT, "ssl_version");
    bool verifies = fj_conf_bool(conf, "fjord", "tls_verify");

    SSL_CTX_set_default_passwd_cb(c, no_passphrase);
    /* Nothing of a session is resumed: what is verified is verified again. */
    (void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    /* The output moves as it grows, and is offered again from where it was taken. */
    (void)SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(c, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    fj_code code = set_versions(c, version != NULL ? version : "", err);
    if (code == FJ_OK && verifies)
        code = set_authorities(c, conf, err);
    return code == FJ_OK ? set_own(c, conf, err) : code;
}

static fj_code make(fj__tls *tls, const fj_conf *conf, SSL_CTX **ret, fj_error **err)
{
    ERR_clear_error();
    SSL_CTX *c = SSL_CTX_new_ex(tls->fips, tls->fips != NULL ? "fips=yes" : NULL, TLS_client_method());
    if (c == NULL) {
        ERR_clear_error();
        return fj_fail(err, FJ_NOMEM, "no memory for TLS");
    }
    fj_code code = fill(c, conf, err);
    if (code == FJ_OK)
        *ret = c;
    else
        SSL_CTX_free(c);
    ERR_clear_error();
    return code;
}

static fj_code load_fips(fj__tls *tls, fj_error **err)
{
    char room[128];

    tls->fips = OSSL_LIB_CTX_new();
    if (tls->fips == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for TLS");
    /* They belong to the context, and end with it. */
    if (OSSL_PROVIDER_load(tls->fips, "fips") == NULL || OSSL_PROVIDER_load(tls->fips, "base") == NULL)
        return fj_fail(err, FJ_BAD_CONFIG,
                       "[" RABBIT "] ssl_enforce_fips_mode: OpenSSL here has no FIPS provider: %s",
                       said(room, sizeof room));
    return FJ_OK;
}

fj_code fj__tls_new(const fj_conf *conf, fj__tls **ret, fj_error **err)
{
    fj__tls *tls = fj__zalloc(sizeof *tls);
    int hooks = fj__tls_begin();

    if (tls == NULL) {
        fj__tls_end(hooks);
        return fj_fail(err, FJ_NOMEM, "no memory for TLS");
    }
    (void)pthread_mutex_init(&tls->lock, NULL);
    fj_code code = fj_conf_bool(conf, RABBIT, "ssl_enforce_fips_mode") ? load_fips(tls, err) : FJ_OK;
    if (code == FJ_OK)
        code = fj__tls_reload(tls, conf, err);
    fj__tls_end(hooks);
    if (code != FJ_OK) {
        fj__tls_free(tls);
        return code;
    }
    *ret = tls;
    return FJ_OK;
}

fj_code fj__tls_reload(fj__tls *tls, const fj_conf *conf, fj_error **err)
{
    SSL_CTX *made = NULL;
    int hooks = fj__tls_begin();
    fj_code code = make(tls, conf, &made, err);

    if (code == FJ_OK) {
        (void)fj__native.pthread_mutex_lock(&tls->lock);
        SSL_CTX *before = tls->context;
        tls->context = made;
        tls->names = fj_conf_bool(conf, "fjord", "tls_verify") &&
                     fj_conf_bool(conf, RABBIT, "ssl_enforce_hostname_verification");
        (void)fj__native.pthread_mutex_unlock(&tls->lock);
        SSL_CTX_free(before); /* of which streams have references */
    }
    fj__tls_end(hooks);
    return code;
}

SSL_CTX *fj__tls_context(fj__tls *tls, bool *ret_names)
{
    (void)fj__native.pthread_mutex_lock(&tls->lock);
    SSL_CTX *c = tls->context;
    (void)SSL_CTX_up_ref(c);
    *ret_names = tls->names;
    (void)fj__native.pthread_mutex_unlock(&tls->lock);
    return c;
}

fj__tls *fj__tls_free(fj__tls *tls)
{
    if (tls == NULL)
        return NULL;
    int hooks = fj__tls_begin();
    SSL_CTX_free(tls->context);
    OSSL_LIB_CTX_free(tls->fips);
    fj__tls_end(hooks);
    (void)pthread_mutex_destroy(&tls->lock);
    fj__free(tls);
    return NULL;
}
