/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/leaks.h"

#include "runtime/pool.h"

#include <check.h>
#include <dirent.h>
#include <fjord/clock.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_MS = 10000 };

static unsigned fds, threads;

/* How many entries there are, and what they are called, one a line. */
static unsigned list(const char *folder, const char *of, char *text, size_t size)
{
    DIR *dir = opendir(folder);
    unsigned n = 0;
    size_t at = 0;

    text[0] = '\0';
    if (dir == NULL && access("/proc/self", F_OK) != 0)
        return 0; /* where it is not mounted, nobody can tell */
    ck_assert_ptr_nonnull(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[300], what[200] = "";
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s%s", folder, e->d_name, of);
        FILE *file = of[0] != '\0' ? fopen(path, "re") : NULL;
        if (file != NULL && fgets(what, sizeof what, file) == NULL)
            what[0] = '\0';
        if (file != NULL)
            (void)fclose(file);
        else if (readlink(path, what, sizeof what - 1) < 0)
            continue; /* it has gone meanwhile */
        n++;
        int put = snprintf(text + at, size - at, "\n%s %s", e->d_name, what);
        at = put > 0 && (size_t)put < size - at ? at + (size_t)put : at;
    }
    (void)closedir(dir);
    return n;
}

static unsigned list_fds(char *text, size_t size)
{
    return list("/proc/self/fd", "", text, size);
}

static unsigned list_threads(char *text, size_t size)
{
    return list("/proc/self/task", "/comm", text, size);
}

static void *nothing(void *user)
{
    return user;
}

void leaks_begin(void)
{
    char text[4096];
    pthread_t first;

    /* With the first thread comes a sanitizer's own. */
    ck_assert_int_eq(pthread_create(&first, NULL, nothing, NULL), 0);
    ck_assert_int_eq(pthread_join(first, NULL), 0);
    fds = list_fds(text, sizeof text);
    threads = list_threads(text, sizeof text);
}

void leaks_end(const char *where)
{
    char fds_text[4096], threads_text[4096];
    fj_deadline by = fj_in_ms(LIMIT_MS);
    unsigned fds_now, threads_now;

    fj__pool_stop(); /* its threads wait for the next job for a while */
    for (;;) {
        threads_now = list_threads(threads_text, sizeof threads_text);
        fds_now = list_fds(fds_text, sizeof fds_text);
        if ((threads_now <= threads && fds_now <= fds) || fj_passed(by))
            break;
        (void)sched_yield(); /* what ends may still be at it */
    }
    ck_assert_msg(threads_now <= threads, "%s: %u threads more than before: %s", where, threads_now - threads,
                  threads_text);
    ck_assert_msg(fds_now <= fds, "%s: %u descriptors more than before: %s", where, fds_now - fds, fds_text);
}
