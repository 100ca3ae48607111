/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's own socket BIO would call read(2) and write(2), which raise SIGPIPE and may be hooked. */
#include "transports/amqp/tls_impl.h"

#include "base/native.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>

static int fd_of(BIO *b)
{
    return (int)(intptr_t)BIO_get_data(b);
}

static bool may_come(ssize_t n)
{
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

static int put(BIO *b, const char *data, size_t n, size_t *ret_put)
{
    ssize_t did = fj__native.send(fd_of(b), data, n, MSG_NOSIGNAL | MSG_DONTWAIT);

    BIO_clear_retry_flags(b);
    if (may_come(did))
        BIO_set_retry_write(b);
    *ret_put = did > 0 ? (size_t)did : 0;
    return did > 0;
}

static int get(BIO *b, char *room, size_t n, size_t *ret_got)
{
    ssize_t did = fj__native.recv(fd_of(b), room, n, MSG_DONTWAIT);

    BIO_clear_retry_flags(b);
    if (may_come(did))
        BIO_set_retry_read(b);
    if (did == 0)
        BIO_set_flags(b, BIO_FLAGS_IN_EOF);
    *ret_got = did > 0 ? (size_t)did : 0;
    return did > 0;
}

static long control(BIO *b, int what, long n, void *p)
{
    (void)n, (void)p;
    switch (what) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

static BIO_METHOD *method;

static void make(void)
{
    int type = BIO_get_new_index();

    method = type != -1 ? BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "socket without signals") : NULL;
    if (method != NULL && (BIO_meth_set_write_ex(method, put) != 1 || BIO_meth_set_read_ex(method, get) != 1 ||
                           BIO_meth_set_ctrl(method, control) != 1)) {
        BIO_meth_free(method);
        method = NULL;
    }
}

BIO_METHOD *fj__tls_bio(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, make);
    return method;
}
