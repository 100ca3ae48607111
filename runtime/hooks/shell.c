/* SPDX-License-Identifier: Apache-2.0 */
/* system, popen and pclose, on a thread of the pool. */
#include "runtime/hooks/hooks.h"

typedef struct {
    const char *command, *mode;
    FILE *file;
    int answer;
} job;

static void system_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(system)(j->command);
}

static void popen_there(void *arg)
{
    job *j = arg;

    j->file = REAL(popen)(j->command, j->mode);
}

static void pclose_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(pclose)(j->file);
}

FJ__HOOK int system(const char *command)
{
    job j = { .command = command };

    if (!fj__green(FJ_PATCH_PROCESS) || command == NULL)
        return REAL(system)(command);
    return fj__green_offload(system_there, &j) ? j.answer : -1;
}

FJ__HOOK FILE *popen(const char *command, const char *mode)
{
    job j = { .command = command, .mode = mode };

    if (!fj__green(FJ_PATCH_PROCESS))
        return REAL(popen)(command, mode);
    return fj__green_offload(popen_there, &j) ? j.file : NULL;
}

FJ__HOOK int pclose(FILE *file)
{
    job j = { .file = file };

    if (!fj__green(FJ_PATCH_PROCESS))
        return REAL(pclose)(file);
    return fj__green_offload(pclose_there, &j) ? j.answer : -1;
}
