/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gethostbyname and its kin, on a thread of the pool.  Those that answer in memory of libc's own would share it between
 * threads of the pool; here each calling thread has its own, good until the next such call on it.
 */
#include "runtime/hooks/hooks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const void *what; /* the name, or the address */
    socklen_t n;      /* of the address; 0: it is a name */
    int af;           /* AF_UNSPEC: as gethostbyname has it */
    struct hostent *host;
    char *buf;
    size_t room;
    struct hostent **ret;
    int *ret_error;
    int answer;
} query;

static void ask(void *arg)
{
    query *q = arg;

    if (q->n > 0)
        q->answer = REAL(gethostbyaddr_r)(q->what, q->n, q->af, q->host, q->buf, q->room, q->ret, q->ret_error);
    else if (q->af != AF_UNSPEC)
        q->answer = REAL(gethostbyname2_r)(q->what, q->af, q->host, q->buf, q->room, q->ret, q->ret_error);
    else
        q->answer = REAL(gethostbyname_r)(q->what, q->host, q->buf, q->room, q->ret, q->ret_error);
}

/* Answers an error number, as the _r do. */
static int ask_there(query *q)
{
    int saved = errno;

    if (!fj__green_offload(ask, q)) {
        q->answer = errno;
        *q->ret = NULL;
        *q->ret_error = q->answer == ECANCELED ? NETDB_INTERNAL : TRY_AGAIN;
    }
    errno = q->answer != 0 ? q->answer : saved;
    return q->answer;
}

/* ---- with the caller's memory ---- */

FJ__HOOK int gethostbyname_r(const char *name, struct hostent *h, char *buf, size_t n, struct hostent **ret,
                             int *error)
{
    query q = { .what = name, .host = h, .buf = buf, .room = n, .ret = ret, .ret_error = error };

    if (!fj__green(FJ_PATCH_DNS))
        return REAL(gethostbyname_r)(name, h, buf, n, ret, error);
    return ask_there(&q);
}

FJ__HOOK int gethostbyname2_r(const char *name, int af, struct hostent *h, char *buf, size_t n,
                              struct hostent **ret, int *error)
{
    query q = { .what = name, .af = af, .host = h, .buf = buf, .room = n, .ret = ret, .ret_error = error };

    if (!fj__green(FJ_PATCH_DNS) || af == AF_UNSPEC)
        return REAL(gethostbyname2_r)(name, af, h, buf, n, ret, error);
    return ask_there(&q);
}

FJ__HOOK int gethostbyaddr_r(const void *address, socklen_t len, int af, struct hostent *h, char *buf, size_t n,
                             struct hostent **ret, int *error)
{
    query q = {
        .what = address, .n = len, .af = af, .host = h, .buf = buf, .room = n, .ret = ret, .ret_error = error
    };

    if (!fj__green(FJ_PATCH_DNS) || len == 0)
        return REAL(gethostbyaddr_r)(address, len, af, h, buf, n, ret, error);
    return ask_there(&q);
}

/* ---- with the thread's memory ---- */

typedef struct {
    struct hostent host;
    char bytes[];
} own_answer;

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static bool have_key;

static void make_key(void)
{
    have_key = pthread_key_create(&key, free) == 0;
}

static struct hostent *ask_alone(query q)
{
    own_answer *mine = NULL;
    struct hostent *found = NULL;
    int error = NETDB_INTERNAL;
    size_t room = 1024;

    pthread_once(&key_once, make_key);
    do {
        free(mine);
        mine = malloc(sizeof *mine + room);
        if (mine == NULL || !have_key)
            goto out;
        q.host = &mine->host;
        q.buf = mine->bytes;
        q.room = room;
        q.ret = &found;
        q.ret_error = &error;
        room *= 2;
    } while (ask_there(&q) == ERANGE);
    if (found == NULL)
        goto out;
    free(pthread_getspecific(key));
    if (pthread_setspecific(key, mine) == 0)
        mine = NULL;
    else
        found = NULL;
out:
    free(mine);
    if (found == NULL)
        h_errno = error;
    return found;
}

FJ__HOOK struct hostent *gethostbyname(const char *name)
{
    query q = { .what = name };

    return fj__green(FJ_PATCH_DNS) ? ask_alone(q) : REAL(gethostbyname)(name);
}

FJ__HOOK struct hostent *gethostbyname2(const char *name, int af)
{
    query q = { .what = name, .af = af };

    return fj__green(FJ_PATCH_DNS) && af != AF_UNSPEC ? ask_alone(q) : REAL(gethostbyname2)(name, af);
}

FJ__HOOK struct hostent *gethostbyaddr(const void *address, socklen_t n, int af)
{
    query q = { .what = address, .n = n, .af = af };

    return fj__green(FJ_PATCH_DNS) && n > 0 ? ask_alone(q) : REAL(gethostbyaddr)(address, n, af);
}
