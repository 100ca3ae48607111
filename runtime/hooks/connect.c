/* SPDX-License-Identifier: Apache-2.0 */
/* connect: begun without waiting, and waited for like anything else. */
#include "runtime/hooks/hooks.h"

/* Begin it with O_NONBLOCK on the description, which is as it was before anybody else runs here.
 * @return as connect(2); *ret_own: it was the user who made it non-blocking, so this is the answer */
static int begin(int fd, const struct sockaddr *to, socklen_t n, bool *ret_own)
{
    int flags = fj__green_unblock(fd);
    int r = REAL(connect)(fd, to, n);

    *ret_own = flags < 0;
    fj__green_block(fd, flags);
    return r;
}

typedef struct {
    int fd;
    const struct sockaddr *to;
    socklen_t n;
    int answer;
} job;

static void connect_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(connect)(j->fd, j->to, j->n);
}

/* Wait until it is decided.  What connect(2) says when SO_SNDTIMEO passes is EINPROGRESS. */
static int finish(int fd, const struct sockaddr *to, socklen_t n)
{
    fj__waiting w = FJ__WAITING(fd, POLLOUT);
    int error = 0;
    socklen_t size = sizeof error;
    bool own = false;

    do {
        errno = EAGAIN;
        if (!fj__green_again(&w)) {
            if (errno == EAGAIN)
                errno = EINPROGRESS;
            return -1;
        }
    } while (!fj__green_ready(fd, POLLOUT));
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -1;
    errno = error;
    if (error != 0)
        return -1;
    /* The socket learns of it by being asked again; else that would be the answer to the user's next connect. */
    return begin(fd, to, n, &own) == 0 || errno == EISCONN ? 0 : -1;
}

FJ__HOOK int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t n)
{
    bool own = false;
    int r = 0, saved = errno;

    if (!fj__green(FJ_PATCH_SOCKET))
        return REAL(connect)(fd, to.__sockaddr__, n);
    if (!fj__green_breath())
        return -1;
    r = begin(fd, to.__sockaddr__, n, &own);
    if (r != 0 && !own && (errno == EINPROGRESS || errno == EALREADY))
        r = finish(fd, to.__sockaddr__, n);
    /* A local socket whose listener's queue is full: nothing tells when there is room. */
    else if (r != 0 && !own && errno == EAGAIN) {
        job j = { .fd = fd, .to = to.__sockaddr__, .n = n };

        r = fj__green_offload_long(connect_there, &j) ? j.answer : -1;
    }
    return (int)fj__green_done(r, saved);
}
