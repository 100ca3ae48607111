/* SPDX-License-Identifier: Apache-2.0 */
/* Every hook in every case that applies to it (matrix_rows.c, matrix_files.c). */
#include "tests/hooks/matrix.h"

#include "runtime/hooks/real.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

int matrix_ms = -1;

static bool is_there(const matrix_row *row)
{
    return (row->cases & MATRIX_TERMINAL) == 0 || rig_has_terminals();
}

static bool applies(const matrix_row *row, unsigned cases)
{
    return (row->cases & cases) != 0 && is_there(row);
}

static unsigned suspensions(void)
{
    toy_counts c = toy_asked();

    return c.waits + c.poll_waits + c.sleeps + c.offloads;
}

static size_t count(void)
{
    return matrix_data_count + matrix_files_count;
}

static const matrix_row *row_at(size_t i)
{
    return i < matrix_data_count ? &matrix_data[i] : &matrix_files[i - matrix_data_count];
}

static const matrix_row *begin(int i)
{
    const matrix_row *row = row_at((size_t)i);

    if (row->set_up != NULL && is_there(row)) {
        toy_green(false);
        row->set_up();
        toy_green(true);
    }
    return row;
}

static long succeeds(const matrix_row *row)
{
    long r = row->call();

    ck_assert_msg(r >= 0, "%s of %s: %s", row->name, row->of, strerror(errno));
    return r;
}

static void fails(const matrix_row *row, int error)
{
    long r = row->call();

    ck_assert_msg(r == -1 && errno == error, "%s of %s: %ld, %s, not %s", row->name, row->of, r,
                  strerror(errno), strerror(error));
}

static bool has_row(const char *name)
{
    for (size_t i = 0; i < count(); i++)
        if (strcmp(row_at(i)->name, name) == 0)
            return true;
    return false;
}

START_TEST(each_hook_has_its_row_and_each_row_a_hook)
{
    /* Those of locks have suites of their own. */
#define X(type, name, ...) ck_assert_msg(has_row(#name), "no row for %s", #name);
    FJ__REAL_DATA(X)
    FJ__REAL_WAITS(X)
    FJ__REAL_NAMES(X)
    FJ__REAL_PROCESS(X)
    FJ__REAL_FORTIFIED(X)
    FJ__REAL_VARIADIC(X)
#undef X
    for (size_t i = 0; i < count(); i++)
        ck_assert_msg(fj__green_hooks()->is_hooked(row_at(i)->name), "%s", row_at(i)->name);
}
END_TEST

START_TEST(it_suspends_until_it_is_fed_and_leaves_flags_and_errno_alone)
{
    const matrix_row *row = begin(_i);
    int flags = rig_ends[0] >= 0 ? fcntl(rig_ends[0], F_GETFL) : 0;

    if (!applies(row, MATRIX_WAITS | MATRIX_THREAD))
        return;
    if (row->feed != NULL)
        toy_when_suspended(1, row->feed, NULL);
    else if (applies(row, MATRIX_TIMES))
        matrix_ms = 3;
    errno = EXDEV;
    succeeds(row);
    if (applies(row, MATRIX_WAITS))
        ck_assert_int_eq(errno, EXDEV);
    ck_assert_msg(suspensions() > 0, "%s of %s did not suspend", row->name, row->of);
    ck_assert_msg(applies(row, MATRIX_THREAD) == (toy_asked().offloads > 0), "%s of %s", row->name, row->of);
    if (rig_ends[0] >= 0)
        ck_assert_int_eq(fcntl(rig_ends[0], F_GETFL), flags);
}
END_TEST

static void set_timeouts(void)
{
    struct timeval t = { .tv_usec = 5000 };

    matrix_ms = 5;
    (void)setsockopt(rig_ends[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    (void)setsockopt(rig_ends[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

START_TEST(it_ends_at_its_time)
{
    const matrix_row *row = begin(_i);

    if (!applies(row, MATRIX_TIMES))
        return;
    set_timeouts();
    if (row->in_time != 0)
        fails(row, row->in_time);
    else
        ck_assert_int_eq(succeeds(row), 0);
    ck_assert_uint_eq(suspensions(), 1);
    ck_assert_int_ne(toy_asked().by, INT64_MAX);
}
END_TEST

START_TEST(it_is_cut_short_by_a_cancellation)
{
    const matrix_row *row = begin(_i);

    if (!applies(row, MATRIX_CANCELS))
        return;
    matrix_ms = applies(row, MATRIX_TIMES) ? 60000 : -1;
    toy_when_suspended(1, toy_cancel, NULL);
    fails(row, ECANCELED);
}
END_TEST

/* ---- what ends a descriptor ---- */

static int stranger[2]; /* a pipe with a byte in it */

static void by_close(void)
{
    ck_assert_int_eq(close(rig_ends[0]), 0);
    rig_ends[0] = -1;
}

static void by_dup2(void)
{
    ck_assert_int_eq(dup2(stranger[0], rig_ends[0]), rig_ends[0]);
}

static void by_dup3(void)
{
    ck_assert_int_eq(dup3(stranger[0], rig_ends[0], O_CLOEXEC), rig_ends[0]);
}

static void by_close_range(void)
{
    ck_assert_int_eq(close_range((unsigned)rig_ends[0], (unsigned)rig_ends[0], 0), 0);
    rig_ends[0] = -1;
}

static void by_fclose(void)
{
    FILE *f = fdopen(rig_ends[0], "r");

    if (f == NULL) { /* of what can only be written */
        by_close();
        return;
    }
    ck_assert_int_eq(fclose(f), 0);
    rig_ends[0] = -1;
}

static void (*const enders[])(void) = { by_close, by_dup2, by_dup3, by_close_range, by_fclose };
#define ENDERS (sizeof enders / sizeof *enders)

static void end_it(void *how)
{
    (*(void (*const *)(void))how)();
}

static void is_told_of(const matrix_row *row, void (*const *how)(void))
{
    char c = 0;
    int kept = dup(rig_ends[0]); /* the description lives on */

    ck_assert_int_eq(pipe(stranger), 0);
    ck_assert_int_eq(write(stranger[1], "s", 1), 1);
    toy_when_suspended(1, end_it, (void *)how);
    if (strstr(row->name, "poll") != NULL && strncmp(row->name, "epoll", 5) != 0)
        ck_assert_int_eq(succeeds(row), 1); /* POLLNVAL: the call looks at that */
    else
        fails(row, EBADF);
    toy_join();
    /* What has the number now, was left alone. */
    ck_assert_int_eq(fcntl(stranger[0], F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(read(stranger[0], &c, 1), 1);
    close(kept);
}

START_TEST(it_hears_when_its_descriptor_ends)
{
    const matrix_row *row = begin(_i / (int)ENDERS);

    if (applies(row, MATRIX_CLOSED))
        is_told_of(row, &enders[_i % (int)ENDERS]);
}
END_TEST

static const matrix_row *closer;

static void call_closer(void *unused)
{
    (void)unused;
    (void)closer->call();
}

START_TEST(who_waits_for_what_it_closes_is_told)
{
    char c = 0;

    closer = begin(_i);
    if (!applies(closer, MATRIX_CLOSES))
        return;
    if (rig_ends[0] < 0)
        rig_pair(SOCK_STREAM);
    toy_when_suspended(1, call_closer, NULL);
    rig_fails(recv(rig_ends[0], &c, 1, 0), EBADF);
    ck_assert_uint_eq(toy_asked().waits, 1);
}
END_TEST

/* ---- where nothing is to suspend ---- */

START_TEST(what_its_user_made_non_blocking_is_left_alone)
{
    const matrix_row *row = begin(_i);

    if (!applies(row, MATRIX_FLAG))
        return;
    ck_assert_int_eq(fcntl(rig_ends[0], F_SETFL, fcntl(rig_ends[0], F_GETFL) | O_NONBLOCK), 0);
    fails(row, EAGAIN);
    ck_assert_uint_eq(suspensions(), 0);
    ck_assert_int_ne(fcntl(rig_ends[0], F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

static void prepare_for_libc(const matrix_row *row)
{
    if (row->feed == NULL)
        matrix_ms = 1;
}

static void *elsewhere(void *arg)
{
    (void)succeeds(arg);
    return NULL;
}

START_TEST(another_thread_has_libcs)
{
    const matrix_row *row = begin(_i);
    pthread_t thread;

    if (!is_there(row) || (applies(row, MATRIX_CLOSES) && rig_ends[0] < 0))
        return; /* the latter closes all, this process's too */
    prepare_for_libc(row);
    ck_assert_int_eq(pthread_create(&thread, NULL, elsewhere, (void *)row), 0);
    if (row->feed != NULL) {
        toy_green(false);
        row->feed(NULL);
        toy_green(true);
    }
    ck_assert_int_eq(fj__green_hooks()->native.pthread_join(thread, NULL), 0);
    ck_assert_msg(suspensions() == 0, "%s of %s suspended", row->name, row->of);
}
END_TEST

static void *feed_elsewhere(void *arg)
{
    const matrix_row *row = arg;

    row->feed(NULL);
    return NULL;
}

START_TEST(with_its_group_off_it_is_libcs)
{
    const matrix_row *row = begin(_i);
    pthread_t thread;

    if (!is_there(row))
        return;
    fj__green_hooks()->patch(0);
    prepare_for_libc(row);
    if (row->feed != NULL)
        ck_assert_int_eq(pthread_create(&thread, NULL, feed_elsewhere, (void *)row), 0);
    if (!(applies(row, MATRIX_CLOSES) && rig_ends[0] < 0))
        succeeds(row);
    if (row->feed != NULL)
        ck_assert_int_eq(fj__green_hooks()->native.pthread_join(thread, NULL), 0);
    ck_assert_msg(suspensions() == 0, "%s of %s suspended", row->name, row->of);
}
END_TEST

START_TEST(a_forked_child_has_libcs)
{
    const matrix_row *row = begin(_i);
    int status = 0;
    pid_t pid = 0;

    if (!is_there(row) || strstr(row->of, "child") != NULL || strstr(row->of, "signal") != NULL ||
        (applies(row, MATRIX_CLOSES) && rig_ends[0] < 0))
        return; /* those are the parent's */
    prepare_for_libc(row);
    pid = fork();
    if (pid == 0) {
        if (row->feed != NULL && fork() == 0) {
            row->feed(NULL);
            rig_leave(0);
        }
        rig_leave(row->call() >= 0 && suspensions() == 0 ? 0 : 1);
    }
    toy_green(false);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    toy_green(true);
    ck_assert_msg(status == 0, "%s of %s in a child: %#x", row->name, row->of, (unsigned)status);
}
END_TEST

/* What a row sets up stays to the end of the process: the other suites count descriptors. */
static void matrix_begin(void)
{
    toy_begin(FJ_PATCH_DEFAULT);
}

static void matrix_end(void)
{
    toy_end();
}

Suite *matrix_suite(void)
{
    Suite *s = suite_create("hooks: the matrix");
    TCase *c = tcase_create("matrix");
    int n = (int)count();

    tcase_add_checked_fixture(c, matrix_begin, matrix_end);
    tcase_add_test(c, each_hook_has_its_row_and_each_row_a_hook);
    tcase_add_loop_test(c, it_suspends_until_it_is_fed_and_leaves_flags_and_errno_alone, 0, n);
    tcase_add_loop_test(c, it_ends_at_its_time, 0, n);
    tcase_add_loop_test(c, it_is_cut_short_by_a_cancellation, 0, n);
    tcase_add_loop_test(c, it_hears_when_its_descriptor_ends, 0, n * (int)ENDERS);
    tcase_add_loop_test(c, who_waits_for_what_it_closes_is_told, 0, n);
    tcase_add_loop_test(c, what_its_user_made_non_blocking_is_left_alone, 0, n);
    tcase_add_loop_test(c, another_thread_has_libcs, 0, n);
    tcase_add_loop_test(c, with_its_group_off_it_is_libcs, 0, n);
    tcase_add_loop_test(c, a_forked_child_has_libcs, 0, n);
    suite_add_tcase(s, c);
    return s;
}
