/* SPDX-License-Identifier: Apache-2.0 */
/* getaddrinfo and getnameinfo, on a thread of the pool; what needs no server is answered at once. */
#include "runtime/hooks/hooks.h"

typedef struct {
    const char *node, *service;
    const struct addrinfo *hints;
    struct addrinfo **ret;
    int answer;
} forward;

static void look_up(void *arg)
{
    forward *j = arg;

    j->answer = REAL(getaddrinfo)(j->node, j->service, j->hints, j->ret);
}

FJ__HOOK int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                         struct addrinfo **ret)
{
    forward j = { .node = node, .service = service, .hints = hints, .ret = ret };

    if (!fj__green(FJ_PATCH_DNS) || node == NULL || (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0))
        return REAL(getaddrinfo)(node, service, hints, ret);
    return fj__green_offload(look_up, &j) ? j.answer : EAI_SYSTEM;
}

typedef struct {
    const struct sockaddr *address;
    socklen_t n, host_n, service_n;
    char *host, *service;
    int flags, answer;
} backward;

static void look_back(void *arg)
{
    backward *j = arg;

    j->answer = REAL(getnameinfo)(j->address, j->n, j->host, j->host_n, j->service, j->service_n, j->flags);
}

FJ__HOOK int getnameinfo(const struct sockaddr *address, socklen_t n, char *host, socklen_t host_n,
                         char *service, socklen_t service_n, int flags)
{
    backward j = { .address = address,
                   .n = n,
                   .host_n = host_n,
                   .service_n = service_n,
                   .host = host,
                   .service = service,
                   .flags = flags };

    if (!fj__green(FJ_PATCH_DNS) || (flags & NI_NUMERICHOST) != 0)
        return REAL(getnameinfo)(address, n, host, host_n, service, service_n, flags);
    return fj__green_offload(look_back, &j) ? j.answer : EAI_SYSTEM;
}
