/* SPDX-License-Identifier: Apache-2.0 */
/* Debug mode: wrong threads, slow call-backs, the watchdog; and what a loop costs that has nothing to do. */
#include "base/alloc.h"
#include "runtime/fibre.h"
#include "runtime/loop.h"

#include <fjord/log.h>

#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static fj_loop *loop;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[8192];
static atomic_int blocked_lines, took_lines;

static void on_log(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    (void)pthread_mutex_lock(&lock);
    if (strcmp(component, "loop") == 0 && level == FJ_LOG_WARNING) {
        size_t n = strlen(lines);
        (void)snprintf(lines + n, sizeof lines - n, "%s\n", text);
    }
    (void)pthread_mutex_unlock(&lock);
    if (strstr(text, "has blocked") != NULL)
        atomic_fetch_add(&blocked_lines, 1);
    if (strstr(text, "took") != NULL)
        atomic_fetch_add(&took_lines, 1);
}

static bool logged(const char *text)
{
    (void)pthread_mutex_lock(&lock);
    bool is = strstr(lines, text) != NULL;
    (void)pthread_mutex_unlock(&lock);
    return is;
}

static void set_up(void)
{
    fj_log_set(on_log, NULL);
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    fj_loop_set_debug(loop, true);
}

static void tear_down(void)
{
    loop = fj_loop_free(loop);
}

static void turn(void)
{
    ck_assert_int_eq(fj_loop_turn(loop, fj_never(), NULL), FJ_OK);
}

/* ---- the watchdog ---- */

/* Blocks its thread until the watchdog has told of it: what it says, it says meanwhile.  Not inlined, and visible: it is in the trace. */
__attribute__((noinline)) FJ_API void blocks_the_loop_until_told(int times);
void blocks_the_loop_until_told(int times)
{
    while (atomic_load(&blocked_lines) < times)
        (void)sched_yield();
}

static void on_block(fj_loop *l, void *user)
{
    (void)l;
    blocks_the_loop_until_told(*(int *)user);
}

START_TEST(the_watchdog_tells_where_a_call_back_blocks_the_loop)
{
    int times = 1;

    fj_loop_set_slow_callback_duration(loop, 0.02);
    ck_assert_int_eq(fj_loop_call_soon(loop, on_block, &times, "a slow one", NULL), FJ_OK);
    turn();
    ck_assert(logged("a slow one has blocked the loop for "));
    ck_assert(logged("blocks_the_loop_until_told+"));
    ck_assert(logged("a slow one took "));
    ck_assert_int_eq(atomic_load(&took_lines), 1);
    times = 2;
    ck_assert_int_eq(fj_loop_call_soon(loop, on_block, &times, NULL, NULL), FJ_OK);
    turn();
    ck_assert(logged("a call-back has blocked"));
    ck_assert_int_eq(atomic_load(&blocked_lines), 2);
}
END_TEST

static void on_timer_block(fj_loop *l, void *user)
{
    on_block(l, user);
}

START_TEST(timers_and_readers_are_watched_too)
{
    int times = 1;

    fj_loop_set_slow_callback_duration(loop, 0.01);
    ck_assert_int_eq(fj_loop_call_later(loop, 0.001, on_timer_block, &times, "a timer", NULL), FJ_OK);
    turn();
    ck_assert(logged("a timer has blocked"));
}
END_TEST

static void in_fibre(void *times)
{
    blocks_the_loop_until_told(*(int *)times);
}

static void on_resume(fj_loop *l, void *fibre)
{
    (void)l;
    ck_assert(!fj__fibre_resume(fibre));
}

START_TEST(a_call_back_on_a_fibre_is_told_of_from_the_signal_stack)
{
    fj__fibre fibre;
    int times = 1;

    memset(&fibre, 0, sizeof fibre);
    ck_assert_int_eq(fj__fibre_init(&fibre, FJ__STACK_MIN, in_fibre, &times, NULL), FJ_OK);
    fj_loop_set_slow_callback_duration(loop, 0.01);
    ck_assert_int_eq(fj_loop_call_soon(loop, on_resume, &fibre, "a fibre", NULL), FJ_OK);
    turn();
    ck_assert(logged("a fibre has blocked"));
    ck_assert(logged("blocks_the_loop_until_told+"));
    fj__fibre_fini(&fibre);
}
END_TEST

static void on_quick(fj_loop *l, void *user)
{
    int *left = user;

    if (--*left == 0)
        fj_loop_stop(l);
    else
        ck_assert_int_eq(fj_loop_call_soon(l, on_quick, left, "quick", NULL), FJ_OK);
}

START_TEST(many_quick_call_backs_are_not_one_slow_one)
{
    int left = 100000;

    fj_loop_set_slow_callback_duration(loop, 60);
    ck_assert_int_eq(fj_loop_call_soon(loop, on_quick, &left, "quick", NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    ck_assert_int_eq(atomic_load(&blocked_lines), 0);
}
END_TEST

static volatile sig_atomic_t urgent;

static void on_urgent(int number)
{
    (void)number;
    urgent++;
}

START_TEST(signals_of_others_go_on_to_who_was_there_and_the_handler_is_restored)
{
    struct sigaction own = { .sa_handler = on_urgent }, now;
    int times = 1;

    fj_loop_set_debug(loop, false);
    ck_assert_int_eq(sigaction(SIGURG, &own, NULL), 0);
    fj_loop_set_debug(loop, true);
    (void)raise(SIGURG);
    ck_assert_int_eq(urgent, 1);
    fj_loop_set_slow_callback_duration(loop, 0.01);
    ck_assert_int_eq(fj_loop_call_soon(loop, on_block, &times, NULL, NULL), FJ_OK);
    turn();
    ck_assert_int_eq(urgent, 1);
    fj_loop_set_debug(loop, false);
    ck_assert_int_eq(sigaction(SIGURG, NULL, &now), 0);
    ck_assert(now.sa_handler == on_urgent);
}
END_TEST

static void on_debug_off(fj_loop *l, void *user)
{
    (void)user;
    fj_loop_set_debug(l, false);
    fj_loop_set_debug(l, true);
    fj_loop_set_debug(l, false);
}

START_TEST(debug_mode_may_change_within_a_call_back)
{
    ck_assert(fj_loop_debug(loop));
    ck_assert_int_eq(fj_loop_call_soon(loop, on_debug_off, NULL, NULL, NULL), FJ_OK);
    turn();
    ck_assert(!fj_loop_debug(loop));
}
END_TEST

static void on_nothing(fj_loop *l, void *user)
{
    (void)l;
    (void)user;
}

static void on_no_memory(fj_loop *l, const char *what, const fj_error *error, void *user)
{
    (void)l;
    (void)what;
    *(fj_code *)user = fj_error_code(error);
}

START_TEST(without_memory_for_a_watchdog_the_rest_of_debug_mode_goes_on)
{
    fj_code code = FJ_OK;

    fj_loop_set_debug(loop, false);
    fj_loop_set_trouble_handler(loop, on_no_memory, &code);
    (void)fj__alloc_fail(1, false);
    fj_loop_set_debug(loop, true);
    (void)fj__alloc_fail(0, false);
    ck_assert_int_eq(code, FJ_NOMEM);
    ck_assert(fj_loop_debug(loop));
    fj_loop_set_slow_callback_duration(loop, 0);
    ck_assert_int_eq(fj_loop_call_soon(loop, on_nothing, NULL, "a quick one", NULL), FJ_OK);
    turn();
    ck_assert(logged("a quick one took "));
    fj_loop_set_trouble_handler(loop, NULL, NULL);
}
END_TEST

START_TEST(the_environment_switches_debug_mode_on)
{
    fj_loop *debugged = NULL;

    ck_assert_int_eq(setenv("FJORD_DEBUG", "1", 1), 0);
    ck_assert_int_eq(fj_loop_new(&debugged, NULL), FJ_OK);
    ck_assert(fj_loop_debug(debugged));
    fj_loop_free(debugged);
    ck_assert_int_eq(setenv("FJORD_DEBUG", "0", 1), 0);
    ck_assert_int_eq(fj_loop_new(&debugged, NULL), FJ_OK);
    ck_assert(!fj_loop_debug(debugged));
    fj_loop_free(debugged);
}
END_TEST

/* ---- wrong threads ---- */

static int told;

static void on_trouble(fj_loop *l, const char *what, const fj_error *error, void *user)
{
    ck_assert_ptr_eq(l, loop);
    ck_assert_str_ne(what, "");
    ck_assert_str_eq(user, "user");
    ck_assert_int_eq(fj_error_code(error), FJ_WRONG_CONTEXT);
    told++;
}

static void on_never(fj_loop *l, void *user)
{
    (void)l;
    (void)user;
    ck_abort();
}

static void *call_wrongly(void *user)
{
    fj_source source = { 0 };

    (void)user;
    ck_assert_int_eq(fj_loop_call_soon(loop, on_never, NULL, NULL, NULL), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_loop_call_later(loop, 0, on_never, NULL, NULL, NULL), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_loop_add_reader(loop, 0, NULL, NULL, NULL), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_loop_add_writer(loop, 0, NULL, NULL, NULL), FJ_WRONG_CONTEXT);
    ck_assert(!fj_loop_remove_reader(loop, 0));
    ck_assert(!fj_loop_remove_writer(loop, 0));
    ck_assert_int_eq(fj_loop_add_signal(loop, SIGUSR1, NULL, NULL, NULL), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_loop_add_child(loop, 1, NULL, NULL, NULL), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_loop_attach(loop, &source, NULL), FJ_WRONG_CONTEXT);
    return NULL;
}

START_TEST(calls_from_a_wrong_thread_are_refused_and_told)
{
    pthread_t thread;

    fj_loop_set_trouble_handler(loop, on_trouble, "user");
    ck_assert_int_eq(pthread_create(&thread, NULL, call_wrongly, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(told, 9);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(0), NULL), FJ_TIMEOUT);
}
END_TEST

static void *run_elsewhere(void *user)
{
    (void)user;
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(0), NULL), FJ_TIMEOUT);
    ck_assert_int_eq(fj_loop_call_soon(loop, on_never, NULL, NULL, NULL), FJ_OK);
    return NULL;
}

START_TEST(a_loop_belongs_to_the_thread_that_ran_it_last)
{
    pthread_t thread;

    ck_assert(fj__loop_here(loop));
    ck_assert_int_eq(pthread_create(&thread, NULL, run_elsewhere, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(!fj__loop_here(loop));
}
END_TEST

/* ---- a loop with nothing to do ---- */

/* The tids of this thread and of the watchdog.  @return false when it has none */
static bool find_threads(int tids[2])
{
    DIR *tasks = opendir("/proc/self/task");
    char path[300], name[32];

    tids[0] = getpid();
    tids[1] = 0;
    for (struct dirent *e = readdir(tasks); e != NULL; e = readdir(tasks)) {
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "re");
        if (f == NULL)
            continue;
        if (fgets(name, sizeof name, f) != NULL && strcmp(name, "fjord-watchdog\n") == 0)
            tids[1] = (int)strtol(e->d_name, NULL, 10);
        (void)fclose(f);
    }
    (void)closedir(tasks);
    return tids[1] != 0;
}

static long sleeps_of(int tid)
{
    char path[64], line[128];
    long n = -1;

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (n < 0 && fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "voluntary_ctxt_switches: %ld", &n);
    (void)fclose(f);
    return n;
}

static void on_tick(fj_loop *l, void *user)
{
    (void)user;
    fj_loop_stop(l);
}

static bool sleep_once(double seconds)
{
    return fj_loop_call_later(loop, seconds, on_tick, NULL, "tick", NULL) == FJ_OK &&
           fj_loop_run_forever(loop, NULL) == FJ_OK;
}

START_TEST(a_loop_with_nothing_to_do_sleeps_and_so_does_its_watchdog)
{
    int tids[2] = { 0 };

    ck_assert(sleep_once(0.3)); /* whatever the first time brings is over, the watchdog deep in its sleep */
    ck_assert(find_threads(tids));
    long watchdog = sleeps_of(tids[1]);
    long own = sleeps_of(tids[0]);
    fj_loop_set_slow_callback_duration(loop, 0.001);
    ck_assert(sleep_once(0.3));
    /* The tick wakes the watchdog once, which sees that it is over, perhaps after its limit. */
    ck_assert_int_le(sleeps_of(tids[1]) - watchdog, 8);
    ck_assert_int_le(sleeps_of(tids[0]) - own, 8);
}
END_TEST

/* Under strace: `watchdog_test idle`.  The marks are names that it asks for. */
static int idle(void)
{
    int tids[2];

    if (fj_loop_new(&loop, NULL) != FJ_OK)
        return 1;
    fj_loop_set_debug(loop, true);
    if (!sleep_once(0.2) || !find_threads(tids))
        return 1;
    (void)printf("%d %d\n", tids[0], tids[1]);
    (void)fflush(stdout);
    (void)access("/mark-begin", F_OK);
    if (!sleep_once(0.5))
        return 1;
    (void)access("/mark-end", F_OK);
    loop = fj_loop_free(loop);
    return 0;
}

/* How many system calls of the threads @p tids stand in the trace between the marks; each counted by its end. */
static int count_calls(FILE *trace, const int tids[2], char *seen, size_t size)
{
    char line[512];
    bool between = false;
    int n = 0;

    seen[0] = 0;
    while (fgets(line, sizeof line, trace) != NULL) {
        long tid = strtol(line, NULL, 10);
        if (strstr(line, "/mark-") != NULL) {
            between = strstr(line, "/mark-begin") != NULL;
            continue;
        }
        if (!between || (tid != tids[0] && tid != tids[1]) || strstr(line, "resumed>") != NULL)
            continue;
        n++;
        size_t at = strlen(seen);
        (void)snprintf(seen + at, size - at, "%s", line);
    }
    return n;
}

START_TEST(nothing_has_a_period)
{
    char command[1024], seen[8192], self[256];
    int tids[2] = { 0 };
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    ck_assert_int_gt(n, 0);
    self[n] = 0;
    (void)snprintf(command, sizeof command,
                   "ASAN_OPTIONS=detect_leaks=0 exec strace -f -o '%s.trace' '%s' idle", self, self);
    FILE *out = popen(command, "re");
    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(fscanf(out, "%d %d", &tids[0], &tids[1]), 2);
    ck_assert_int_eq(pclose(out), 0);
    (void)snprintf(command, sizeof command, "%s.trace", self);
    FILE *trace = fopen(command, "re");
    ck_assert_ptr_nonnull(trace);
    int calls = count_calls(trace, tids, seen, sizeof seen);
    (void)fclose(trace);
    (void)unlink(command);
    /* Half a second: one sleep of the loop, and of the watchdog what the end of its last limit takes and waking it for the tick. */
    ck_assert_msg(calls >= 1 && calls <= 12, "%d system calls:\n%s", calls, seen);
}
END_TEST

/* Whether this place lets a program be traced. */
static bool can_trace(void)
{
    return system("strace -o /dev/null true >/dev/null 2>&1") == 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "idle") == 0)
        return idle();
    Suite *s = suite_create("watchdog");
    TCase *t = tcase_create("watchdog");
    SRunner *r = srunner_create(s);

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, the_watchdog_tells_where_a_call_back_blocks_the_loop);
    tcase_add_test(t, timers_and_readers_are_watched_too);
    tcase_add_test(t, a_call_back_on_a_fibre_is_told_of_from_the_signal_stack);
    tcase_add_test(t, many_quick_call_backs_are_not_one_slow_one);
    tcase_add_test(t, signals_of_others_go_on_to_who_was_there_and_the_handler_is_restored);
    tcase_add_test(t, debug_mode_may_change_within_a_call_back);
    tcase_add_test(t, without_memory_for_a_watchdog_the_rest_of_debug_mode_goes_on);
    tcase_add_test(t, the_environment_switches_debug_mode_on);
    tcase_add_test(t, calls_from_a_wrong_thread_are_refused_and_told);
    tcase_add_test(t, a_loop_belongs_to_the_thread_that_ran_it_last);
    if (access("/proc/self/task", F_OK) == 0) {
        tcase_add_test(t, a_loop_with_nothing_to_do_sleeps_and_so_does_its_watchdog);
        if (can_trace())
            tcase_add_test(t, nothing_has_a_period);
        else
            (void)puts("skipped nothing_has_a_period (strace may not trace here)");
    } else {
        (void)puts("skipped how the watchdog sleeps (/proc is not mounted)");
    }
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
