/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hook costs where it only passes through: calls that come to nothing, through the hook and by libc's own address,
 * in turns.  Of getaddrinfo without a name the work is a comparison, so that the hook shows; a read of no descriptor is a
 * system call, as most are.  The median of each is told.
 */
#include "runtime/hooks/table.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 201
#define CALLS 20000

typedef int resolve_fn(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **ret);
typedef ssize_t read_fn(int fd, void *buf, size_t n);

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double resolve_many(resolve_fn *fn)
{
    struct addrinfo *list = NULL;
    double begun = now();

    for (int i = 0; i < CALLS; i++)
        if (fn(NULL, NULL, NULL, &list) != EAI_NONAME)
            exit(EXIT_FAILURE);
    return (now() - begun) / CALLS;
}

static double read_many(read_fn *fn)
{
    char c = 0;
    double begun = now();

    for (int i = 0; i < CALLS; i++)
        if (fn(-1, &c, 1) != -1)
            exit(EXIT_FAILURE);
    return (now() - begun) / CALLS;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *times)
{
    qsort(times, ROUNDS, sizeof *times, compare);
    return times[ROUNDS / 2];
}

static void tell(const char *what, double *hooked, double *bare)
{
    double h = median(hooked), b = median(bare);

    printf("%-22s %6.1f ns through the hook, %6.1f ns without: %.1f ns more\n", what, h, b, h - b);
}

int main(void)
{
    static double hooked[ROUNDS], bare[ROUNDS];
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    resolve_fn *resolve = NULL;
    read_fn *reads = NULL;
    const fj__green_hooks_table *(*table)(void) = NULL;
    void *found = dlsym(RTLD_DEFAULT, FJ__GREEN_SYMBOL);

    memcpy(&table, &found, sizeof table);
    if (libc == NULL || table == NULL || !table()->is_hooked("read"))
        return EXIT_FAILURE;
    found = dlsym(libc, "getaddrinfo");
    memcpy(&resolve, &found, sizeof resolve);
    found = dlsym(libc, "read");
    memcpy(&reads, &found, sizeof reads);
    for (int i = 0; i < ROUNDS; i++) {
        hooked[i] = resolve_many(getaddrinfo);
        bare[i] = resolve_many(resolve);
    }
    tell("getaddrinfo of nothing", hooked, bare);
    for (int i = 0; i < ROUNDS; i++) {
        hooked[i] = read_many(read);
        bare[i] = read_many(reads);
    }
    tell("read of nothing", hooked, bare);
    dlclose(libc);
    return EXIT_SUCCESS;
}
