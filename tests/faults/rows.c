/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/rows.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_S = 60, GROUPS = 3 };

static Suite *groups[GROUPS];
static unsigned rows;

const char *const rows_executors[5] = { "blocking", "threading", "green", "coroutine", "bridged" };

Suite *rows_suite(const char *name)
{
    for (int i = 0; i < GROUPS; i++)
        groups[i] = suite_create(name);
    return groups[0];
}

static void add(Suite *s, const char *title, const TTest *test, int first, int after)
{
    TCase *c = tcase_create(title);

    tcase_set_timeout(c, LIMIT_S);
    (void)s;
    tcase_add_loop_test(c, test, first, after);
    suite_add_tcase(groups[rows++ % GROUPS], c);
}

void rows_add(Suite *s, const char *title, const TTest *test)
{
    add(s, title, test, 0, 1);
}

void rows_add_loop(Suite *s, const char *title, const TTest *test, int n)
{
    add(s, title, test, 0, n);
}

void rows_add_each(Suite *s, const char *title, const TTest *test)
{
    static char titles[64][160]; /* Check keeps the pointer */
    static unsigned n;

    for (int i = 0; i < 5; i++, n++) {
        (void)snprintf(titles[n], sizeof titles[n], "%s, under %s", title, rows_executors[i]);
        add(s, titles[n], test, i, i + 1);
    }
}

void rows_skip(const char *title, const char *why)
{
    printf("skipped: %s (%s)\n", title, why);
}

/* All runs of one row.  @return how many */
static int print_row(TestResult **results, int n)
{
    const char *title = tr_tcname(results[0]);
    bool good = true;
    int i = 0;

    for (; i < n && strcmp(tr_tcname(results[i]), title) == 0; i++) {
        TestResult *r = results[i];
        if (tr_rtype(r) == CK_PASS)
            continue;
        printf("not ok: %s: %s:%d: %s\n", title, tr_lfile(r), tr_lno(r), tr_msg(r));
        good = false;
    }
    if (good)
        printf("ok: %s\n", title);
    return i;
}

static int run_group(Suite *s)
{
    SRunner *runner = srunner_create(s);

    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner), n = srunner_ntests_run(runner);
    TestResult **results = srunner_results(runner);
    for (int i = 0; i < n;)
        i += print_row(results + i, n - i);
    free(results);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What a group has printed. */
static void print_all(FILE *from)
{
    char text[4096];
    size_t n;

    rewind(from);
    while ((n = fread(text, 1, sizeof text, from)) != 0)
        (void)fwrite(text, 1, n, stdout);
    (void)fclose(from);
}

int rows_run(Suite *s)
{
    FILE *said[GROUPS];
    pid_t pids[GROUPS];
    int worst = EXIT_SUCCESS;

    (void)s;
    if (getenv("CK_FORK") != NULL) { /* CK_FORK=no: for a debugger */
        for (int i = 0; i < GROUPS; i++)
            worst |= run_group(groups[i]);
        return worst;
    }
    for (int i = 0; i < GROUPS; i++) {
        said[i] = tmpfile();
        (void)fflush(stdout);
        pids[i] = said[i] != NULL ? fork() : -1;
        if (pids[i] == 0) {
            (void)dup2(fileno(said[i]), STDOUT_FILENO);
            (void)dup2(fileno(said[i]), STDERR_FILENO);
            exit(run_group(groups[i]));
        }
    }
    for (int i = 0; i < GROUPS; i++) {
        int status = -1;
        while (pids[i] > 0 && waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
            ;
        worst |= WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
        if (said[i] != NULL)
            print_all(said[i]);
    }
    return worst;
}
