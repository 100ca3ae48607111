/* SPDX-License-Identifier: Apache-2.0 */
/* A run's clock, its end, and its results. */
#include "base/alloc.h"
#include "tools/bench/bench.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1e9
#define MS_PER_S 1e3

static atomic_int signal_fd = -1; /* the `wake` of the run that wants signals */
static atomic_bool signalled;

/* ---- waiting, and being woken ------------------------------------------------------------------- */

static void wake(int fd)
{
    const uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);

    (void)n; /* a full counter wakes, too */
}

static void on_signal(int number)
{
    int saved = errno;

    (void)number;
    atomic_store(&signalled, true);
    wake(atomic_load(&signal_fd));
    errno = saved;
}

static void take_signals(bench_run *r)
{
    struct sigaction mine = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART };

    atomic_store(&signal_fd, r->wake);
    (void)sigemptyset(&mine.sa_mask);
    (void)sigaction(SIGINT, &mine, NULL);
    (void)sigaction(SIGTERM, &mine, NULL);
}

bool bench_is_over(const bench_run *r)
{
    return atomic_load(&r->over);
}

void bench_pause(bench_run *r, double seconds)
{
    struct timespec until;
    double ns;
    int rc = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    ns = (double)until.tv_nsec + (seconds - (double)(time_t)seconds) * NS_PER_S;
    until.tv_sec += (time_t)seconds + (ns >= NS_PER_S ? 1 : 0);
    until.tv_nsec = (long)(ns >= NS_PER_S ? ns - NS_PER_S : ns);
    (void)pthread_mutex_lock(&r->lock);
    while (rc == 0 && !bench_is_over(r))
        rc = pthread_cond_timedwait(&r->changed, &r->lock, &until);
    (void)pthread_mutex_unlock(&r->lock);
}

void bench_wait_signal(bench_run *r, double seconds)
{
    struct pollfd p = { .fd = r->wake, .events = POLLIN };
    fj_deadline by = fj_in_seconds(seconds);
    uint64_t count;

    while (!fj_passed(by) && !atomic_load(&signalled))
        if (poll(&p, 1, fj_left_ms(by)) > 0 && read(r->wake, &count, sizeof count) < 0)
            break;
}

/* ---- the clock ---------------------------------------------------------------------------------- */

static void finish(bench_run *r)
{
    if (atomic_load(&r->over))
        return;
    (void)pthread_mutex_lock(&r->lock);
    atomic_store(&r->over, true);
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    if (r->end != NULL)
        r->end();
}

static void say_second(const bench_run *r, const bench_group *g, const bench_point *p)
{
    if (r->o->quiet || (r->on_terminal && g != r->shown) || (!r->on_terminal && p->count == 0))
        return;
    if (r->on_terminal)
        fputs("\r\033[K", stdout);
    bench_draw_second(stdout, g->label, p->at - r->began, p);
    if (!r->on_terminal)
        fputc('\n', stdout);
    (void)fflush(stdout);
}

static void end_second(bench_run *r, double now)
{
    for (size_t i = 0; i < r->group_count; i++) {
        bench_point p = bench_tick(&r->groups[i], now);
        say_second(r, &r->groups[i], &p);
    }
}

static void *keep_time(void *user)
{
    bench_run *r = user;
    fj_deadline end = r->plan->duration > 0 ? fj_in_seconds(r->plan->duration) : fj_never();
    fj_deadline second = fj_in_ms(1000);

    while (!atomic_load(&r->closing)) {
        struct pollfd p = { .fd = r->wake, .events = POLLIN };
        uint64_t count;
        fj_deadline next = bench_is_over(r) ? second : fj_sooner(second, end);
        if (poll(&p, 1, fj_left_ms(next)) > 0 && read(r->wake, &count, sizeof count) < 0)
            continue;
        if (fj_passed(second)) {
            end_second(r, bench_time());
            second.ns += (int64_t)NS_PER_S;
            if (fj_passed(second)) /* the machine slept */
                second = fj_in_ms(1000);
            if (r->is_done != NULL && r->is_done(r->user))
                finish(r);
        }
        if (fj_passed(end) || atomic_load(&signalled))
            finish(r);
    }
    return NULL;
}

/* ---- begin and end ------------------------------------------------------------------------------ */

bool bench_run_init(bench_run *r, tool_opts *o, const bench_plan *plan)
{
    pthread_condattr_t attr;

    *r = (bench_run){ .o = o, .plan = plan, .wake = -1, .on_terminal = isatty(STDOUT_FILENO) == 1 };
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (plan->file != NULL)
        r->file = fopen(plan->file, "we");
    if (plan->file == NULL || r->file != NULL)
        return true;
    (void)tool_misuse(o, "%s: %s", plan->file, strerror(errno));
    return false;
}

fj_code bench_run_group(bench_run *r, const char *label, size_t count, fj_error **err)
{
    bench_group *g = &r->groups[r->group_count++];

    r->shown = g; /* the last */
    if (bench_group_init(g, label, count, r->file != NULL))
        return FJ_OK;
    return fj_fail(err, FJ_NOMEM, "out of memory");
}

fj_code bench_run_start(bench_run *r, bool signals, fj_error **err)
{
    int rc;

    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->wake < 0)
        return fj_fail(err, FJ_SYSTEM, "no descriptor to be woken by: %s", strerror(errno));
    if (signals)
        take_signals(r);
    r->began = bench_time();
    rc = pthread_create(&r->clock, NULL, keep_time, r);
    if (rc == 0)
        return FJ_OK;
    (void)close(r->wake);
    r->wake = -1;
    return fj_fail(err, FJ_SYSTEM, "no thread for the clock: %s", strerror(rc));
}

void bench_run_stop(bench_run *r)
{
    if (r->wake < 0 || atomic_exchange(&r->closing, true))
        return;
    wake(r->wake);
    (void)pthread_join(r->clock, NULL);
    for (size_t i = 0; i < r->group_count; i++)
        (void)bench_tick(&r->groups[i], bench_time());
    if (r->on_terminal && !r->o->quiet)
        fputs("\r\033[K", stdout);
}

void bench_run_fini(bench_run *r)
{
    bench_run_stop(r);
    for (size_t i = 0; i < r->group_count; i++)
        bench_group_fini(&r->groups[i]);
    if (r->file != NULL)
        (void)fclose(r->file);
    atomic_store(&signal_fd, -1);
    if (r->wake >= 0)
        (void)close(r->wake);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
}

/* ---- results ------------------------------------------------------------------------------------ */

/* "round_trip_3"; of the one series of a server "server". */
static bool put_series(json_t *into, bench_group *g)
{
    bool done = true;

    for (size_t i = 0; done && i < g->count; i++) {
        bool alone = strcmp(g->label, "server") == 0;
        char *name = alone ? fj__strdup(g->label) : fj__format("%s_%zu", g->label, i);
        done = name != NULL && json_object_set_new(into, name, bench_series_json(g, i)) == 0;
        fj__free(name);
    }
    return done;
}

/* {"series": {...}, "summary": {"client": {...}...}}; a server's summary is not named. */
static json_t *results(bench_run *r)
{
    json_t *series = json_object(), *summary = json_object();
    bool done = series != NULL && summary != NULL, alone = strcmp(r->groups[0].label, "server") == 0;

    for (size_t i = 0; done && i < r->group_count; i++) {
        json_t *of = bench_summary(&r->groups[i]);
        done =
            of != NULL && put_series(series, &r->groups[i]) &&
            (alone ? json_object_update(summary, of) : json_object_set(summary, r->groups[i].label, of)) == 0;
        json_decref(of);
    }
    json_t *all = done ? json_pack("{s:O, s:O}", "series", series, "summary", summary) : NULL;
    json_decref(series);
    json_decref(summary);
    return all;
}

static int write_file(bench_run *r)
{
    json_t *all = results(r);
    bool done = all != NULL && json_dumpf(all, r->file, JSON_REAL_PRECISION(17)) == 0;

    json_decref(all);
    done = fclose(r->file) == 0 && done;
    r->file = NULL;
    if (done)
        return TOOL_DONE;
    fprintf(stderr, "fjord bench: %s: the results could not be written\n", r->plan->file);
    return TOOL_REMOTE;
}

int bench_run_results(bench_run *r)
{
    int rc = TOOL_DONE;

    bench_run_stop(r);
    for (size_t i = 0; i < r->group_count; i++)
        bench_draw_summary(stdout, &r->groups[i]);
    if (r->on_terminal && r->shown != NULL)
        bench_draw_histogram(stdout, &r->shown->took);
    if (fflush(stdout) != 0)
        rc = TOOL_REMOTE;
    if (r->file != NULL)
        rc = write_file(r) == TOOL_DONE ? rc : TOOL_REMOTE;
    return rc;
}
