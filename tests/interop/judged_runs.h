/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_INTEROP_JUDGED_RUNS_H
#define TESTS_INTEROP_JUDGED_RUNS_H
/* How often each operation ran, in whichever process: a byte each of a file that all have mapped, which outlives whoever is killed. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    atomic_uchar *count;
    size_t n;
} judged_runs;

/** @return false when the file is not there, or empty */
static inline bool judged_runs_open(judged_runs *r, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *all = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
        all = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    if (all == MAP_FAILED)
        return false;
    *r = (judged_runs){ all, (size_t)st.st_size };
    return true;
}

#endif
