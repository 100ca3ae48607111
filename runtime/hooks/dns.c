/* SPDX-License-Identifier: Apache-2.0 */
/* getaddrinfo and getnameinfo, on a thread of the pool; what needs no server is answered at once. */
#include "runtime/hooks/hooks.h"

#include <ctype.h>

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

/* An address in numbers, which libraries hand over as any name, is read where it is: no thread, and nothing to wait for.
 * A service's name is looked up wherever the system says, and may take a while. */
static bool read_numbers(forward *j)
{
    /* What libc takes when there are no hints. */
    struct addrinfo hints = { .ai_flags = AI_V4MAPPED | AI_ADDRCONFIG };

    if (j->service != NULL && !isdigit((unsigned char)j->service[0]))
        return false;
    if (j->hints != NULL)
        hints = *j->hints;
    hints.ai_flags |= AI_NUMERICHOST;
    j->answer = REAL(getaddrinfo)(j->node, j->service, &hints, j->ret);
    return j->answer == 0;
}

FJ__HOOK int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                         struct addrinfo **ret)
{
    forward j = { .node = node, .service = service, .hints = hints, .ret = ret };

    if (!fj__green(FJ_PATCH_DNS) || node == NULL || (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0))
        return REAL(getaddrinfo)(node, service, hints, ret);
    return read_numbers(&j) || fj__green_offload(look_up, &j) ? j.answer : EAI_SYSTEM;
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
