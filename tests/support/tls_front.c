/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/tls_front.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 32 };

typedef struct {
    tls_front *front;
    pthread_t thread;
    int fd, onward;
} pair;

struct tls_front {
    tls_front_opts is;
    uint16_t onward, port;
    int listener;
    pthread_t thread;
    pthread_mutex_t lock; /* for what follows */
    SSL_CTX *context;
    pthread_cond_t ended;
    bool leave, rekey, bye;
    unsigned shook, ends;
    char asked[128];
    pair *pairs[ROOM];
    unsigned n;
};

static struct sockaddr_in here(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static int on_name(SSL *ssl, int *alert, void *user)
{
    tls_front *f = user;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    (void)pthread_mutex_lock(&f->lock);
    (void)snprintf(f->asked, sizeof f->asked, "%s", name != NULL ? name : "");
    (void)pthread_mutex_unlock(&f->lock);
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context_of(tls_front *f, const char *cert)
{
    char file[512], key[512], ca[512];
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());

    (void)snprintf(file, sizeof file, "%s/%s.pem", f->is.folder, cert);
    (void)snprintf(key, sizeof key, "%s/%s.key", f->is.folder, cert);
    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(c, file), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM), 1);
    if (f->is.clients != NULL) {
        (void)snprintf(ca, sizeof ca, "%s/%s.pem", f->is.folder, f->is.clients);
        ck_assert_int_eq(SSL_CTX_load_verify_file(c, ca), 1);
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    SSL_CTX_set_security_level(c, 0); /* it may offer what a client must refuse */
    (void)SSL_CTX_set_min_proto_version(c, f->is.least);
    (void)SSL_CTX_set_max_proto_version(c, f->is.most);
    if (f->is.ciphers != NULL)
        ck_assert_int_eq(SSL_CTX_set_cipher_list(c, f->is.ciphers), 1);
    if (f->is.record != 0)
        ck_assert_int_eq((int)SSL_CTX_set_max_send_fragment(c, f->is.record), 1);
    (void)SSL_CTX_set_tlsext_servername_callback(c, on_name);
    (void)SSL_CTX_set_tlsext_servername_arg(c, f);
    return c;
}

static bool put_all(int fd, const char *bytes, int n)
{
    for (int at = 0; at < n;) {
        ssize_t did = send(fd, bytes + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (did <= 0)
            return false;
        at += (int)did;
    }
    return true;
}

static bool rekeys(tls_front *f)
{
    (void)pthread_mutex_lock(&f->lock);
    bool is = f->rekey;
    (void)pthread_mutex_unlock(&f->lock);
    return is;
}

static void note_end(tls_front *f, bool bye)
{
    (void)pthread_mutex_lock(&f->lock);
    f->bye = bye;
    f->ends++;
    (void)pthread_cond_broadcast(&f->ended);
    (void)pthread_mutex_unlock(&f->lock);
}

static bool from_client(pair *p, SSL *ssl)
{
    char bytes[16384];

    do {
        int n = SSL_read(ssl, bytes, sizeof bytes);
        int why = SSL_get_error(ssl, n);
        if (why == SSL_ERROR_WANT_READ) /* a record that was not data */
            return true;
        if (n <= 0) {
            note_end(p->front, why == SSL_ERROR_ZERO_RETURN);
            return false;
        }
        if (!put_all(p->onward, bytes, n))
            return false;
    } while (SSL_pending(ssl) > 0);
    return true;
}

/* The other side has ended: say so, and hear the client out. */
static void end_politely(pair *p, SSL *ssl)
{
    char bytes[16384];
    int n = 0;

    (void)SSL_shutdown(ssl);
    (void)SSL_set_mode(ssl, SSL_MODE_AUTO_RETRY);
    do
        n = SSL_read(ssl, bytes, sizeof bytes);
    while (n > 0);
    note_end(p->front, SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN);
}

static bool from_broker(pair *p, SSL *ssl)
{
    char bytes[16384];
    ssize_t n = read(p->onward, bytes, sizeof bytes);

    if (n <= 0) {
        if (!p->front->is.ends_without_bye)
            end_politely(p, ssl);
        return false;
    }
    if (rekeys(p->front))
        ck_assert_int_eq(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    return SSL_write(ssl, bytes, (int)n) > 0;
}

static void pass_on(pair *p, SSL *ssl)
{
    bool lives = true;

    while (lives) {
        struct pollfd fds[] = { { .fd = p->fd, .events = POLLIN }, { .fd = p->onward, .events = POLLIN } };
        (void)poll(fds, 2, -1);
        if (fds[0].revents != 0)
            lives = from_client(p, ssl);
        if (lives && fds[1].revents != 0)
            lives = from_broker(p, ssl);
    }
}

static void *serve(void *user)
{
    pair *p = user;
    struct sockaddr_in at = here(p->front->onward);

    (void)pthread_mutex_lock(&p->front->lock);
    SSL *ssl = SSL_new(p->front->context);
    (void)pthread_mutex_unlock(&p->front->lock);
    (void)SSL_set_fd(ssl, p->fd);
    (void)SSL_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    if (SSL_accept(ssl) == 1 && connect(p->onward, (struct sockaddr *)&at, sizeof at) == 0) {
        (void)setsockopt(p->onward, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
        (void)pthread_mutex_lock(&p->front->lock);
        p->front->shook++;
        (void)pthread_mutex_unlock(&p->front->lock);
        pass_on(p, ssl);
    }
    ERR_clear_error();
    SSL_free(ssl);
    (void)shutdown(p->fd, SHUT_RDWR);
    (void)shutdown(p->onward, SHUT_RDWR);
    return NULL;
}

static void take(tls_front *f, int fd)
{
    pair *p = calloc(1, sizeof *p);

    ck_assert_ptr_nonnull(p);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    *p = (pair){ .front = f, .fd = fd, .onward = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    ck_assert_int_ge(p->onward, 0);
    (void)pthread_mutex_lock(&f->lock);
    ck_assert_uint_lt(f->n, ROOM);
    f->pairs[f->n++] = p;
    ck_assert_int_eq(pthread_create(&p->thread, NULL, serve, p), 0);
    (void)pthread_mutex_unlock(&f->lock);
}

static void *run(void *user)
{
    tls_front *f = user;
    sigset_t pipes;

    (void)sigemptyset(&pipes);
    (void)sigaddset(&pipes, SIGPIPE); /* OpenSSL's own BIO writes: inherited by the threads of pairs */
    (void)pthread_sigmask(SIG_BLOCK, &pipes, NULL);
    for (;;) {
        int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
        (void)pthread_mutex_lock(&f->lock);
        bool leave = f->leave;
        (void)pthread_mutex_unlock(&f->lock);
        if (leave) {
            if (fd >= 0)
                (void)close(fd);
            return NULL;
        }
        if (fd >= 0)
            take(f, fd);
    }
}

tls_front *tls_front_new(uint16_t onward, const tls_front_opts *opts)
{
    tls_front *f = calloc(1, sizeof *f);
    struct sockaddr_in at = here(0);
    socklen_t n = sizeof at;

    ck_assert_ptr_nonnull(f);
    f->is = *opts;
    f->onward = onward;
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->ended, NULL);
    f->context = context_of(f, opts->cert);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(f->listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(f->listener, 16), 0);
    ck_assert_int_eq(getsockname(f->listener, (struct sockaddr *)&at, &n), 0);
    f->port = ntohs(at.sin_port);
    ck_assert_int_eq(pthread_create(&f->thread, NULL, run, f), 0);
    return f;
}

uint16_t tls_front_port(const tls_front *f)
{
    return f->port;
}

void tls_front_cert(tls_front *f, const char *cert)
{
    SSL_CTX *next = context_of(f, cert);

    (void)pthread_mutex_lock(&f->lock);
    SSL_CTX_free(f->context);
    f->context = next;
    (void)pthread_mutex_unlock(&f->lock);
}

void tls_front_asked(tls_front *f, char *ret, unsigned size)
{
    (void)pthread_mutex_lock(&f->lock);
    (void)snprintf(ret, size, "%s", f->asked);
    (void)pthread_mutex_unlock(&f->lock);
}

unsigned tls_front_shook(tls_front *f)
{
    (void)pthread_mutex_lock(&f->lock);
    unsigned n = f->shook;
    (void)pthread_mutex_unlock(&f->lock);
    return n;
}

bool tls_front_bye(tls_front *f)
{
    (void)pthread_mutex_lock(&f->lock);
    while (f->ends == 0)
        (void)pthread_cond_wait(&f->ended, &f->lock);
    bool is = f->bye;
    (void)pthread_mutex_unlock(&f->lock);
    return is;
}

void tls_front_rekey(tls_front *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->rekey = true;
    (void)pthread_mutex_unlock(&f->lock);
}

void tls_front_cut(tls_front *f)
{
    (void)pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; i < f->n; i++) {
        (void)shutdown(f->pairs[i]->fd, SHUT_RDWR);
        (void)shutdown(f->pairs[i]->onward, SHUT_RDWR);
    }
    (void)pthread_mutex_unlock(&f->lock);
}

tls_front *tls_front_free(tls_front *f)
{
    struct sockaddr_in at = here(f->port);
    int knock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)pthread_mutex_lock(&f->lock);
    f->leave = true;
    (void)pthread_mutex_unlock(&f->lock);
    (void)connect(knock, (struct sockaddr *)&at, sizeof at);
    (void)pthread_join(f->thread, NULL);
    (void)close(knock);
    tls_front_cut(f);
    for (unsigned i = 0; i < f->n; i++) {
        (void)pthread_join(f->pairs[i]->thread, NULL);
        (void)close(f->pairs[i]->fd);
        (void)close(f->pairs[i]->onward);
        free(f->pairs[i]);
    }
    (void)close(f->listener);
    SSL_CTX_free(f->context);
    (void)pthread_cond_destroy(&f->ended);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}
