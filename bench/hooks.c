/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hook costs where it only passes through: calls that come to nothing, through the hook and by libc's own address,
 * in turns.  Of getaddrinfo without a name the work is a comparison, so that the hook shows; a read of no descriptor is a
 * system call, as most are.  Locks are taken and let go, and conditions signalled that nobody waits for: with their group off,
 * then on, when every thread looks for tasks to wake; then in a green task.  The median of each is told.
 */
#include "runtime/hooks/table.h"

#include <dlfcn.h>
#include <fjord/loop.h>
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

typedef int mutex_fn(pthread_mutex_t *m);
typedef int cond_fn(pthread_cond_t *c);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static double lock_many(mutex_fn *lock, mutex_fn *unlock)
{
    double begun = now();

    for (int i = 0; i < CALLS; i++) {
        if (lock(&mutex) != 0 || unlock(&mutex) != 0)
            exit(EXIT_FAILURE);
    }
    return (now() - begun) / CALLS;
}

static double signal_many(cond_fn *fn)
{
    double begun = now();

    for (int i = 0; i < CALLS; i++)
        if (fn(&condition) != 0)
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

static void *libc;
static double hooked[ROUNDS], bare[ROUNDS];

static void *in_libc(const char *name)
{
    void *found = dlsym(libc, name);

    if (found == NULL)
        exit(EXIT_FAILURE);
    return found;
}

static void measure_locks(const char *locks, const char *signals)
{
    void *found[3] = { in_libc("pthread_mutex_lock"), in_libc("pthread_mutex_unlock"),
                       in_libc("pthread_cond_signal") };
    mutex_fn *lock = NULL, *unlock = NULL;
    cond_fn *wake = NULL;

    memcpy(&lock, &found[0], sizeof lock);
    memcpy(&unlock, &found[1], sizeof unlock);
    memcpy(&wake, &found[2], sizeof wake);
    for (int i = 0; i < ROUNDS; i++) {
        hooked[i] = lock_many(pthread_mutex_lock, pthread_mutex_unlock);
        bare[i] = lock_many(lock, unlock);
    }
    tell(locks, hooked, bare);
    for (int i = 0; i < ROUNDS; i++) {
        hooked[i] = signal_many(pthread_cond_signal);
        bare[i] = signal_many(wake);
    }
    tell(signals, hooked, bare);
}

static fj_code measure_in_task(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    measure_locks("the same, green", "the same, green");
    return FJ_OK;
}

static void *idle(void *unused)
{
    (void)unused;
    return pause() == 0 ? &mutex : NULL;
}

/* libc is faster as long as there is one thread: that is not what is measured. */
static void measure_all_locks(void)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;
    pthread_t thread;

    opts.green = true;
    if (pthread_create(&thread, NULL, idle, NULL) != 0)
        exit(EXIT_FAILURE);
    measure_locks("lock and unlock", "signal to nobody");
    if (fj_green_patch(FJ_PATCH_ALL, NULL) != FJ_OK)
        exit(EXIT_FAILURE);
    measure_locks("the same, group on", "the same, group on");
    if (fj_loop_new(&opts.loop, NULL) != FJ_OK ||
        fj_task_spawn(measure_in_task, NULL, &opts, &task, NULL) != FJ_OK ||
        fj_loop_run_until_complete(opts.loop, fj_task_future(task), NULL, NULL) != FJ_OK)
        exit(EXIT_FAILURE);
    (void)fj_task_unref(task);
    fj_loop_free(opts.loop);
}

int main(void)
{
    resolve_fn *resolve = NULL;
    read_fn *reads = NULL;
    const fj__green_hooks_table *(*table)(void) = NULL;
    void *found = dlsym(RTLD_DEFAULT, FJ__GREEN_SYMBOL);

    memcpy(&table, &found, sizeof table);
    libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
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
    measure_all_locks();
    dlclose(libc);
    return EXIT_SUCCESS;
}
