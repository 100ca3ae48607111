/* SPDX-License-Identifier: Apache-2.0 */
/* system, popen and pclose, on a thread of the pool. */
#include "runtime/hooks/hooks.h"

#include <pthread.h>

typedef struct {
    const char *command, *mode;
    FILE *file;
    int answer;
    sigset_t mask; /* the caller's, which is the command's: the pool's threads block all signals */
} job;

static job job_of(const char *command, const char *mode)
{
    job j = { .command = command, .mode = mode };

    (void)pthread_sigmask(SIG_BLOCK, NULL, &j.mask);
    return j;
}

/* Puts on the caller's mask.  The thread's own comes back at the end of the job. */
static void put_on(const job *j, sigset_t *ret_own)
{
    (void)pthread_sigmask(SIG_SETMASK, &j->mask, ret_own);
}

static void put_back(const sigset_t *own)
{
    int error = errno;

    (void)pthread_sigmask(SIG_SETMASK, own, NULL);
    errno = error;
}

static void system_there(void *arg)
{
    job *j = arg;
    sigset_t own;

    put_on(j, &own);
    j->answer = REAL(system)(j->command);
    put_back(&own);
}

static void popen_there(void *arg)
{
    job *j = arg;
    sigset_t own;

    put_on(j, &own);
    j->file = REAL(popen)(j->command, j->mode);
    put_back(&own);
}

static void pclose_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(pclose)(j->file);
}

FJ__HOOK int system(const char *command)
{
    job j;

    if (!fj__green(FJ_PATCH_PROCESS) || command == NULL)
        return REAL(system)(command);
    j = job_of(command, NULL);
    return fj__green_offload_long(system_there, &j) ? j.answer : -1;
}

FJ__HOOK FILE *popen(const char *command, const char *mode)
{
    job j;

    if (!fj__green(FJ_PATCH_PROCESS))
        return REAL(popen)(command, mode);
    j = job_of(command, mode);
    return fj__green_offload_long(popen_there, &j) ? j.file : NULL;
}

FJ__HOOK int pclose(FILE *file)
{
    job j = { .file = file };

    fj__green_closing_stream(file);
    if (!fj__green(FJ_PATCH_PROCESS))
        return REAL(pclose)(file);
    return fj__green_offload_long(pclose_there, &j) ? j.answer : -1;
}
