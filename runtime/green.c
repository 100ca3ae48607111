/* SPDX-License-Identifier: Apache-2.0 */
/* Finds libfjord-green, and the two exchange their halves; docs/internals/green.md has the whole. */
#include "runtime/green.h"

#include "base/alloc.h"
#include "base/log.h"
#include "runtime/hooks/table.h"
#include "runtime/loop_wait.h"
#include "runtime/owners.h"
#include "runtime/parking.h"
#include "runtime/pool.h"
#include "runtime/report.h"
#include "runtime/task_impl.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Each with a function whose hook stands for all of its group. */
static const struct {
    unsigned group;
    const char *name, *function;
} groups[] = {
    { FJ_PATCH_SOCKET, "socket", "recv" },  { FJ_PATCH_TIME, "time", "nanosleep" },
    { FJ_PATCH_DNS, "dns", "getaddrinfo" }, { FJ_PATCH_PROCESS, "process", "waitpid" },
    { FJ_PATCH_SELECT, "select", "poll" },  { FJ_PATCH_MUTEX, "mutex", "pthread_mutex_lock" },
};

/* ---- what the hooks ask for ---------------------------------------------------------------------- */

static fj_deadline at(int64_t ns)
{
    return (fj_deadline){ .ns = ns };
}

static pid_t process; /* whose tasks there are */

static void in_child(void)
{
    process = getpid();
}

/* Between vfork and exec a child runs on its parent's task, in its parent's memory: here nothing may switch, and calls
 * block as ever. */
static bool in_vforked_child(void)
{
    return getpid() != process;
}

static int poll_until(struct pollfd *fds, nfds_t n, int64_t by)
{
    int ready = 0;

    do {
        ready = fj__native.poll(fds, n, by == INT64_MAX ? -1 : fj_left_ms(at(by)));
    } while (ready == 0 && !fj_passed(at(by)));
    return ready;
}

static int wait_fd(int fd, short events, int64_t by)
{
    if (in_vforked_child()) {
        struct pollfd p = { .fd = fd, .events = events };
        return poll_until(&p, 1, by);
    }
    return fj__wait_fd(fd, events, at(by));
}

static int wait_fds(struct pollfd *fds, nfds_t n, int64_t by)
{
    return in_vforked_child() ? poll_until(fds, n, by) : fj__wait_fds(fds, n, at(by));
}

static int sleep_until(int64_t by)
{
    if (in_vforked_child())
        return poll_until(NULL, 0, by);
    int error = fj__wait_errno(fj_sleep(at(by)));

    if (error == 0)
        return 0;
    errno = error;
    return -1;
}

struct job {
    void (*fn)(void *arg);
    void *arg;
    int error;
    bool ran;
};

static fj_code run_job(void *user, json_t **ret, fj_error **err)
{
    struct job *job = user;

    (void)ret, (void)err;
    job->fn(job->arg);
    job->error = errno;
    job->ran = true;
    return FJ_OK;
}

static int offload(void (*fn)(void *arg), void *arg, bool long_wait)
{
    struct job job = { .fn = fn, .arg = arg };
    fj_future *future = NULL;

    if (in_vforked_child() ||
        fj__task_atomic(fj_task_current())) { /* here nothing may suspend: then it blocks */
        fn(arg);
        return 0;
    }
    if (long_wait)
        fj__pool_lend(1);
    if (fj_run_in_executor(run_job, &job, NULL, &future, NULL) == FJ_OK) {
        fj_shield_begin(); /* the job is on this stack: nothing ends the wait but its end */
        while (!fj_future_done(future))
            (void)fj__future_until(future, fj_never(), "thread");
        fj_shield_end();
        fj_future_unref(future);
    }
    if (long_wait)
        fj__pool_lend(-1);
    errno = job.ran ? job.error : EAGAIN;
    return job.ran ? 0 : -1;
}

static void closing(unsigned first, unsigned last)
{
    int saved = errno;

    fj__wait_closing(first, last);
    errno = saved;
}

/* A wait like any other for who asks the task to end, or has set it a time: it may make no other. */
static int breathe(void)
{
    int saved = errno;

    if (in_vforked_child() || fj__task_atomic(fj_task_current()))
        return 0;
    fj_code code = fj__task_yield();
    errno = code == FJ_OK ? saved : fj__wait_errno(code);
    return code == FJ_OK ? 0 : -1;
}

static bool own(const volatile void *address)
{
    return fj__own(fj_task_current(), address);
}

static bool owns(const volatile void *address)
{
    return fj__owns(fj_task_current(), address);
}

/* Of the hooks for locks none changes errno. */
static int park(const fj__parking *p)
{
    int saved = errno, error = fj__wait_errno(fj__parking_wait(p));

    errno = saved;
    return error;
}

static int meet(const volatile void *address, unsigned n, unsigned how, const char *what)
{
    int saved = errno;
    fj_code code = fj__parking_meet(address, n, how, what);

    errno = saved;
    if (code == FJ_NOT_FOUND)
        return 0;
    return code == FJ_OK ? PTHREAD_BARRIER_SERIAL_THREAD : fj__wait_errno(code);
}

static void blocks(const char *what)
{
    static const char *told[8];
    static atomic_uint n;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    bool news = true;
    int saved = errno;

    (void)fj__native.pthread_mutex_lock(&lock);
    unsigned i = 0;
    for (; i < n && news; i++)
        news = told[i] != what;
    if (news && i < fj__countof(told))
        told[n++] = what;
    (void)fj__native.pthread_mutex_unlock(&lock);
    if (news)
        fj__log(FJ_LOG_WARNING, "runtime",
                "green task \"%s\" uses a %s: that blocks its thread, whatever is patched",
                fj_task_name(fj_task_current()), what);
    errno = saved;
}

static const fj__green_runtime runtime_half = {
    .abi = FJ__GREEN_ABI,
    .size = sizeof(fj__green_runtime),
    .wait_fd = wait_fd,
    .wait_fds = wait_fds,
    .sleep_until = sleep_until,
    .offload = offload,
    .closing = closing,
    .watched = fj__wait_watched,
    .breathe = breathe,
    .own = own,
    .owns = owns,
    .disown = fj__disown,
    .park = park,
    .unpark = fj__parking_wake,
    .starved = fj__parking_starved,
    .meet = meet,
    .blocks = blocks,
    .stuck = fj__report_stuck_lock,
};

/* ---- finding them -------------------------------------------------------------------------------- */

typedef const fj__green_hooks_table *(*find_fn)(void);

/* Set by whoever links libfjord-green.a into a program that exports nothing. */
extern __attribute__((weak)) const fj__green_hooks_table *fj__green_hooks(void);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const fj__green_hooks_table *table; /* NULL: not there, or of no use */
static bool of_another_version;
static pthread_mutex_t patching = PTHREAD_MUTEX_INITIALIZER;

static void connect_once(void)
{
    find_fn find = fj__green_hooks;

    if (find == NULL) {
        void *symbol = dlsym(RTLD_DEFAULT, FJ__GREEN_SYMBOL);
        memcpy(&find, &symbol, sizeof find); /* C has no cast from a data pointer to a function */
    }
    const fj__green_hooks_table *found = find != NULL ? find() : NULL;
    if (found == NULL)
        return;
    of_another_version = found->abi != FJ__GREEN_ABI || found->size < sizeof *found;
    if (of_another_version)
        return;
    process = getpid();
    (void)pthread_atfork(NULL, NULL, in_child);
    fj__native = found->native;
    found->connect(&runtime_half);
    table = found;
}

static const fj__green_hooks_table *hooks(void)
{
    (void)pthread_once(&once, connect_once);
    return table;
}

/* Before there are other threads: what fj__native holds changes now or never. */
static __attribute__((constructor)) void at_start(void)
{
    (void)hooks();
}

int *fj__green_switch(void)
{
    const fj__green_hooks_table *t = hooks();

    return t != NULL ? t->on() : NULL;
}

void *(*fj__green_original(void))(const char *name)
{
    const fj__green_hooks_table *t = hooks();

    return t != NULL ? t->original : NULL;
}

/* ---- what users call ------------------------------------------------------------------------------ */

unsigned fj__green_group(const char *name)
{
    for (size_t i = 0; i < fj__countof(groups); i++) {
        if (strcmp(groups[i].name, name) == 0)
            return groups[i].group;
    }
    return 0;
}

char *fj__green_group_names(unsigned what)
{
    char *text = fj__strdup("");

    for (size_t i = 0; text != NULL && i < fj__countof(groups); i++) {
        if ((what & groups[i].group) == 0)
            continue;
        char *more = fj__format("%s%s%s", text, text[0] != '\0' ? ", " : "", groups[i].name);
        fj__free(text);
        text = more;
    }
    return text;
}

fj_code fj__green_check(unsigned what, fj_error **err)
{
    const fj__green_hooks_table *t = hooks();

    if (of_another_version)
        return fj_fail(err, FJ_UNSUPPORTED,
                       "the libfjord-green of this process was made for another version of libfjord");
    if (t == NULL)
        return fj_fail(
            err, FJ_UNSUPPORTED,
            "libfjord-green is not in this process: link the program with -lfjord-green, before other "
            "libraries, or start it with LD_PRELOAD=libfjord-green.so (dlopen comes too late)");
    for (size_t i = 0; i < fj__countof(groups); i++) {
        if ((what & groups[i].group) != 0 && !t->is_hooked(groups[i].function))
            return fj_fail(
                err, FJ_UNSUPPORTED,
                "%s() of the group \"%s\" is not libfjord-green's: another library comes before it, or it has "
                "no such hook; link -lfjord-green before other libraries, or start the program with "
                "LD_PRELOAD=libfjord-green.so",
                groups[i].function, groups[i].name);
    }
    return FJ_OK;
}

fj_code fj_green_patch(unsigned what, fj_error **err)
{
    if ((what & ~(unsigned)FJ_PATCH_ALL) != 0)
        return fj_fail(err, FJ_BAD_VALUE, "groups of hooks: %#x is not of FJ_PATCH_ALL", what);
    fj_code code = fj__green_check(what, err);
    if (code != FJ_OK)
        return code;
    (void)fj__native.pthread_mutex_lock(&patching);
    table->patch(table->patched() | what);
    (void)fj__native.pthread_mutex_unlock(&patching);
    return FJ_OK;
}

void fj__green_watch(void)
{
    if (fj__green_check(FJ_PATCH_MUTEX, NULL) != FJ_OK)
        return;
    (void)fj__native.pthread_mutex_lock(&patching);
    table->patch(table->patched() | FJ__PATCH_WATCH);
    (void)fj__native.pthread_mutex_unlock(&patching);
}

bool fj__green_watched(void)
{
    return table != NULL && (table->patched() & (FJ__PATCH_WATCH | FJ_PATCH_MUTEX)) == FJ__PATCH_WATCH;
}

bool fj_is_patched(unsigned what)
{
    const fj__green_hooks_table *t = hooks();

    return t != NULL && (t->patched() & what) == what && fj__green_check(what, NULL) == FJ_OK;
}

bool fj_green_here(void)
{
    const fj_task *task = fj_task_current();
    const int *on = task != NULL && task->green ? fj__green_switch() : NULL;

    return on != NULL && *on != 0 && (table->patched() & FJ_PATCH_ALL) != 0;
}
