/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop that nothing can wake: nothing is ready, no timer is set, no descriptor, child or signal is watched, and no job of the pool is
 * under way.  Then only another thread could, and where there is none it waits for ever; so threads are counted, but for
 * those of the library that wake nobody.  What other threads are going to do, nobody can know: of them it is said in debug
 * mode only, and once.
 */
#include "base/native.h"
#include "runtime/loop_impl.h"
#include "runtime/pool.h"
#include "runtime/report.h"
#include "runtime/sanitize.h"
#include "runtime/task_impl.h"
#include "runtime/thread.h"

#include "base/alloc.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINES = 20, /* so many tasks are told one by one */
    MANY = 1000,
};

/* ---- the other threads -------------------------------------------------------------------------- */

/* @return how many threads there are; MANY when nobody tells */
static unsigned count_threads(void)
{
    static const char head[] = "\nThreads:\t";
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? fj__native.read(fd, text, sizeof text - 1) : -1;

    if (fd >= 0)
        (void)fj__native.close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, head);
    return at != NULL ? (unsigned)strtoul(at + sizeof head - 1, NULL, 10) : MANY;
}

/* Those that could wake somebody. */
static unsigned count_others(void)
{
    unsigned all = count_threads();
    unsigned ours = 1 + fj__pool_threads(NULL) + fj__watchdog_count() + fj__thread_count_quiet();

#ifdef FJ__TSAN
    ours++; /* its own */
#endif
    return all > ours ? all - ours : 0;
}

/* ---- looking ------------------------------------------------------------------------------------ */

struct found {
    unsigned parked; /* that wait */
    bool outside;    /* one of them for what comes from outside, such as a message */
};

static void look_at(fj_task *task, void *user)
{
    struct found *f = user;

    f->parked += task->state == FJ__TASK_PARKED;
    /* Who parks without a waiter is woken by name, by a broker or a listener. */
    f->outside |= task->state == FJ__TASK_PARKED && task->waiter == NULL;
}

struct telling {
    fj_log_level level;
    unsigned left, more;
};

static void tell_one(fj_task *task, void *user)
{
    struct telling *t = user;
    char *text = NULL;

    if (task->state != FJ__TASK_PARKED)
        return;
    if (t->left == 0) {
        t->more++;
        return;
    }
    t->left--;
    text = fj__report_task(task);
    if (text != NULL)
        fj__report_sight(t->level, task, text);
    fj__free(text);
}

static void tell(fj_loop *loop, fj_log_level level, const struct found *f, const char *why)
{
    struct telling t = { .level = level, .left = LINES };

    if (f->parked != 0)
        fj__log(level, "loop", "%u task%s: %s", f->parked, f->parked == 1 ? " waits" : "s wait", why);
    else
        fj__log(level, "loop", "a loop runs until a future is complete: %s", why);
    fj_loop_tasks(loop, tell_one, &t);
    if (t.more != 0)
        fj__log(level, "loop", "and %u more", t.more);
}

static bool has_letters(const fj_loop *loop)
{
    return atomic_load(&loop->inbox.head) != NULL || fj__inbox_woken(&loop->inbox);
}

bool fj__stuck_look(fj_loop *loop)
{
    struct found f = { 0, false };

    fj_loop_tasks(loop, look_at, &f);
    if ((f.parked == 0 && !loop->until) || f.outside || fj__loop_watches(loop) || fj__signals_any(loop))
        return false;
    loop->lull_ns = loop->lull_ns < INT64_MAX / 4 ? loop->lull_ns * 2 : loop->lull_ns;
    if (fj__pool_jobs() != 0)
        return true;
    unsigned others = count_others();
    if (has_letters(loop)) /* of one that has ended since; asked last */
        return true;
    if (others == 0) {
        loop->lull_ns = FJ__LOOP_LULL_NS;
        tell(loop, FJ_LOG_ERROR, &f,
             "nothing can wake the loop: nothing is ready, no timer is set, no descriptor or child is watched, "
             "and there is "
             "no other thread");
    } else if (fj_loop_debug(loop) && !loop->stuck_told) {
        loop->stuck_told = true;
        tell(loop, FJ_LOG_WARNING, &f, "nothing on this loop can wake it, only another thread could");
    }
    return false;
}
