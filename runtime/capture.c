/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/capture.h"

#include "base/native.h"
#include "runtime/clock.h"
#include "runtime/sync.h"

#include <fjord/task.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIGNAL = SIGURG, HANDLER = 1 /* the innermost frame is its own */ };

/* One at a time, of the whole process. */
static pthread_mutex_t capturing = PTHREAD_MUTEX_INITIALIZER;
static fj__capture captured;
static atomic_uint done;
static atomic_int wanted; /* the thread that is asked; 0: none */
static atomic_uint handling;

static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
static unsigned installed;
static struct sigaction before;

static _Thread_local const char *doing;

/* Loops ask at each of their beginnings. */
pid_t fj__thread_id(void)
{
    static _Thread_local struct {
        unsigned forks;
        pid_t id;
    } here;
    unsigned forks = fj__fork_generation();

    if (here.id == 0 || here.forks != forks) {
        here.id = (pid_t)syscall(SYS_gettid);
        here.forks = forks;
    }
    return here.id;
}

void fj__capture_name(const char *name)
{
    doing = name;
}

/* ---- on the thread that is asked, in its signal handler ---- */

static void capture(void)
{
    const fj_task *task = doing == NULL ? fj_task_current() : NULL;
    const char *name = task != NULL ? fj_task_name(task) : doing;
    size_t i = 0;

    for (; name != NULL && name[i] != 0 && i + 1 < FJ__CAPTURE_NAME; i++)
        captured.name[i] = name[i];
    captured.name[i] = 0;
    captured.n = fj__trace_take(captured.frames, FJ__TRACE_FRAMES);
    atomic_store(&done, 1);
    fj__futex_wake(&done, 1);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)atomic_fetch_add(&handling, 1);
    pid_t who = atomic_load(&wanted);
    bool ours = who != 0 && who == (pid_t)syscall(SYS_gettid) && atomic_load(&done) == 0;
    if (ours)
        capture();
    (void)atomic_fetch_sub(&handling, 1);
    if (!ours && (before.sa_flags & SA_SIGINFO) != 0)
        before.sa_sigaction(number, info, context);
    else if (!ours && before.sa_handler != SIG_DFL &&
             before.sa_handler != SIG_IGN) /* SIGURG does nothing itself */
        before.sa_handler(number);
    errno = saved;
}

/* Who had the locks, or was asked, does not exist here.  The handler is inherited. */
static void in_child(void)
{
    (void)pthread_mutex_init(&capturing, NULL);
    (void)pthread_mutex_init(&installing, NULL);
    atomic_store(&wanted, 0);
    atomic_store(&handling, 0);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

void fj__capture_install(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };

    (void)pthread_once(&once, watch_forks);
    fj__trace_prepare();
    (void)sigemptyset(&action.sa_mask);
    (void)fj__native.pthread_mutex_lock(&installing);
    if (installed++ == 0)
        (void)sigaction(SIGNAL, &action, &before);
    (void)fj__native.pthread_mutex_unlock(&installing);
}

void fj__capture_uninstall(void)
{
    struct sigaction now;

    (void)fj__native.pthread_mutex_lock(&installing);
    /* Somebody who has put a handler over ours may go on to it: then it stays. */
    if (--installed == 0 && sigaction(SIGNAL, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
        now.sa_sigaction == on_signal)
        (void)sigaction(SIGNAL, &before, NULL);
    (void)fj__native.pthread_mutex_unlock(&installing);
}

/* ---- on the thread that asks ---- */

static bool is_wanted(bool (*still)(void *user), void *user)
{
    return still == NULL || still(user);
}

static bool ask(pid_t tid, bool (*still)(void *user), void *user, fj_deadline by)
{
    atomic_store(&done, 0);
    captured.n = 0;
    atomic_store(&wanted, tid);
    /* A number that has become another thread's since does no harm: that one is asked. */
    bool sent = is_wanted(still, user) && syscall(SYS_tgkill, getpid(), tid, SIGNAL) == 0;
    while (sent && atomic_load(&done) == 0 && is_wanted(still, user) && fj__clock_real_ns() < by.ns)
        (void)fj__futex_wait(&done, 0, by);
    atomic_store(&wanted, 0);
    while (atomic_load(&handling) != 0)
        (void)sched_yield();
    return atomic_load(&done) != 0 && is_wanted(still, user);
}

bool fj__capture_take(pid_t tid, fj__capture *ret, bool (*still)(void *user), void *user, fj_deadline by)
{
    (void)fj__native.pthread_mutex_lock(&capturing);
    bool answered = ask(tid, still, user, by);
    if (answered) {
        *ret = captured;
        ret->n -= ret->n > HANDLER ? HANDLER : ret->n;
        memmove(ret->frames, captured.frames + HANDLER, (size_t)ret->n * sizeof ret->frames[0]);
    }
    (void)fj__native.pthread_mutex_unlock(&capturing);
    return answered;
}
