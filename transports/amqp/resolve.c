/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/resolve.h"

#include "base/alloc.h"
#include "base/native.h"
#include "runtime/thread.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

struct fj__resolve {
    atomic_uint refs; /* the asker's and the thread's */
    atomic_bool done;
    char *host, *port;
    int wake_fd;
    int gai_error;
    struct addrinfo *list;
};

/* A resolver may hang for as long as it likes, and be asked again meanwhile: so many threads hang with it at most. */
enum { HANGING_MAX = 32 };
static atomic_uint hanging;

static void drop(fj__resolve *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    if (r->list != NULL)
        freeaddrinfo(r->list);
    if (r->wake_fd >= 0)
        (void)fj__native.close(r->wake_fd);
    fj__free(r->host);
    fj__free(r->port);
    fj__free(r);
}

static void look_up(fj__resolve *r, int flags)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags };

    r->gai_error = getaddrinfo(r->host, r->port, &hints, &r->list);
    if (r->gai_error != 0)
        r->list = NULL;
}

static void *thread(void *arg)
{
    fj__resolve *r = arg;

    look_up(r, AI_ADDRCONFIG);
    atomic_store(&r->done, true);
    (void)atomic_fetch_sub(&hanging, 1);
    ssize_t ignored =
        fj__native.write(r->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t)); /* full means it is awake already */
    (void)ignored;
    drop(r);
    return NULL;
}

static bool start_thread(fj__resolve *r)
{
    pthread_t id;

    if (atomic_fetch_add(&hanging, 1) < HANGING_MAX && fj__thread_new(&id, "fj-resolve", thread, r) == 0)
        return pthread_detach(id) == 0;
    (void)atomic_fetch_sub(&hanging, 1);
    return false;
}

/* Without a thread. */
static fj__resolve *answered(fj__resolve *r)
{
    atomic_store(&r->done, true);
    atomic_store(&r->refs, 1);
    return r;
}

fj__resolve *fj__resolve_start(const char *host, const char *port, int wake_fd)
{
    fj__resolve *r = fj__zalloc(sizeof *r);

    if (r == NULL)
        return NULL;
    atomic_init(&r->refs, 2);
    r->host = fj__strdup(host);
    r->port = fj__strdup(port);
    r->wake_fd = -1;
    if (r->host != NULL && r->port != NULL) {
        look_up(r, AI_NUMERICHOST);
        if (r->gai_error != EAI_NONAME)
            return answered(r);
        r->wake_fd = fcntl(wake_fd, F_DUPFD_CLOEXEC, 0);
        if (r->wake_fd >= 0 && start_thread(r))
            return r;
        if (atomic_load(&hanging) >= HANGING_MAX) {
            r->gai_error = EAI_AGAIN;
            return answered(r);
        }
    }
    atomic_store(&r->refs, 1);
    drop(r);
    return NULL;
}

bool fj__resolve_done(fj__resolve *r, struct addrinfo **ret, int *gai_error)
{
    if (!atomic_load(&r->done))
        return false;
    *ret = r->list;
    *gai_error = r->gai_error;
    r->list = NULL;
    return true;
}

void fj__resolve_free(fj__resolve *r)
{
    if (r != NULL)
        drop(r);
}
