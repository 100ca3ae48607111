/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every executor × every flavour × every scenario × every transport: what a service may rely on whatever its configuration
 * says.  An executor joins by its name: the built-in ones, and plug-ins.
 *
 * A cell leaves no descriptor and no thread behind; what it leaves at the broker tests/interop/conformance.py looks at.
 *
 *   FJ_TEST_EXECUTORS  names of plug-ins that join (OS_FJORD__PLUGIN_DIR says where they are)
 *   FJ_TEST_URL   a broker; without it fake:// alone is tested
 *   FJ_TEST_TRANSPORTS  more URLs, with a space between: of transports that join, which may be plug-ins.  Where one names a port,
 *                 or a path and no host, a proxy stands before it in the scenarios in which connections are lost
 *   FJ_CELLS      runs those cells alone whose name, "SCENARIO, EXECUTOR, FLAVOUR, TRANSPORT", contains it
 *   FJ_SEED       what a cell leaves open is thrown by dice: their first seed (1)
 *   FJ_SEEDS      and how many seeds (2; 1 where FJ_SEED is given); a failure names its own
 *   FJ_JOBS       how many cells at once (6); with 1 the only process is this one, and with CK_FORK=no in it, for gdb
 *   FJ_LOUD       print the library's log, too
 *   FJ_RESULTS    a file to which each cell's outcome is appended, for scripts/conformance-page
 */
#include "tests/conformance/table.h"
#include "tests/support/leaks.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MOST = 64, MESSAGE = 600 };

/* One run of one cell. */
typedef struct {
    unsigned row, column, seed;
} run;

#ifdef UNHOOKED
static const fj_code wanted = FJ_UNSUPPORTED;
#else
static const fj_code wanted = FJ_OK;
#endif
static const char *url = "fake://";
static run *runs; /* that are to be done */
static run *mine; /* of this process */
static int n_runs, n_mine;
static outcome *cells;

static void name_of(const run *r, char *name, size_t size)
{
    cell c = table_cell(r->column, url);

    (void)snprintf(name, size, "%s, %s, %s, %.*s", table_row(r->row)->name, c.executor,
                   table_flavour(r->column), (int)strcspn(url, ":"), url);
}

START_TEST(a_cell_holds)
{
    const run *r = &mine[_i];
    cell c = table_cell(r->column, url);
    char name[160];

    name_of(r, name, sizeof name);
    dice_seed(r->seed, name);
    hush();
    leaks_begin();
    table_row(r->row)->run(&c);
    leaks_end(name);
}
END_TEST

/* ---- many cells at once --------------------------------------------------------------------------- */

/* How a run came out, from the process that had it to the one that tells: one write, which a pipe keeps whole. */
typedef struct {
    run of;
    bool good;
    char text[MESSAGE];
} report;

static void report_all(SRunner *runner, int to)
{
    TestResult **results = srunner_results(runner);
    int n = srunner_ntests_run(runner);

    for (int i = 0; i < n_mine; i++) {
        report one = { .of = mine[i] };
        TestResult *t = i < n ? results[i] : NULL;
        one.good = t != NULL && tr_rtype(t) == CK_PASS;
        if (!one.good && t != NULL)
            (void)snprintf(one.text, sizeof one.text, "%s:%d: %s", tr_lfile(t) != NULL ? tr_lfile(t) : "?",
                           tr_lno(t), tr_msg(t) != NULL ? tr_msg(t) : "no word");
        if (write(to, &one, sizeof one) != (ssize_t)sizeof one)
            break;
    }
    free((void *)results);
}

static void do_mine(int to)
{
    Suite *suite = suite_create("conformance");
    TCase *some = tcase_create("cells");

    tcase_set_timeout(some, 30);
    tcase_add_loop_test(some, a_cell_holds, 0, n_mine);
    suite_add_tcase(suite, some);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_SILENT);
    report_all(runner, to);
    srunner_free(runner);
}

/* @p job of @p jobs: its share of the runs, in a process of its own. */
static pid_t begin_job(int job, int jobs, int to)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    mine = calloc((size_t)n_runs + 1, sizeof *mine);
    for (int i = job; mine != NULL && i < n_runs; i += jobs)
        mine[n_mine++] = runs[i];
    do_mine(to);
    free(mine);
    free(runs);
    exit(mine != NULL ? 0 : 1);
}

/* ---- the table ------------------------------------------------------------------------------------ */

static unsigned setting(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text != NULL && *text != '\0' ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static bool is_wanted(const run *r)
{
    const char *only = getenv("FJ_CELLS");
    char name[160];

    name_of(r, name, sizeof name);
    return (only == NULL || strstr(name, only) != NULL) &&
           (r->seed == setting("FJ_SEED", 1) || !table_row(r->row)->once);
}

static void list_runs(void)
{
    unsigned first = setting("FJ_SEED", 1), seeds = setting("FJ_SEEDS", getenv("FJ_SEED") != NULL ? 1 : 2);

    n_runs = 0;
    runs = calloc((size_t)seeds * table_rows() * table_columns() + 1, sizeof *runs);
    for (unsigned seed = first; runs != NULL && seed < first + seeds; seed++)
        for (unsigned row = 0; row < table_rows(); row++)
            for (unsigned column = 0; column < table_columns(); column++) {
                run r = { row, column, seed };
                if (is_wanted(&r))
                    runs[n_runs++] = r;
            }
}

static void tell(const report *one)
{
    char name[160];

    name_of(&one->of, name, sizeof name);
    (void)printf("FAILED %s (FJ_SEED=%u FJ_CELLS='%s')\n       %s\n", name, one->of.seed, name, one->text);
}

/* @return how many runs were not good */
static int run_table(const char *on, int *ret_run)
{
    unsigned jobs = setting("FJ_JOBS", 6);
    int ends[2], good = 0;
    report one;

    url = on;
    cells = calloc((size_t)table_rows() * table_columns(), sizeof *cells);
    list_runs();
    if (cells == NULL || runs == NULL || pipe(ends) != 0)
        return 1;
    (void)fflush(stdout);
    for (unsigned i = 0; i < jobs && i < JOBS_MOST; i++)
        if (begin_job((int)i, (int)jobs, ends[1]) < 0)
            perror("fork");
    (void)close(ends[1]);
    while (read(ends[0], &one, sizeof one) == (ssize_t)sizeof one) {
        outcome *came = &cells[one.of.row * table_columns() + one.of.column];
        *came = one.good && *came != CELL_BAD ? CELL_GOOD : CELL_BAD;
        good += one.good ? 1 : 0;
        if (!one.good)
            tell(&one);
    }
    (void)close(ends[0]);
    while (wait(NULL) > 0)
        ;
    if (n_runs > 0) {
        char transport[32];
        (void)snprintf(transport, sizeof transport, "%.*s", (int)strcspn(url, ":"), url);
        table_print(transport, cells);
        if (!table_save(transport, cells))
            perror("FJ_RESULTS");
    }
    *ret_run += n_runs;
    free(cells);
    free(runs);
    return n_runs - good;
}

/* Those of FJ_TEST_TRANSPORTS. */
static int run_more(int *ret_run)
{
    static char more[1024];
    const char *named = getenv("FJ_TEST_TRANSPORTS");
    char *rest = NULL;
    int failed = 0;

    (void)snprintf(more, sizeof more, "%s", named != NULL ? named : "");
    for (char *one = strtok_r(more, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest))
        failed += run_table(one, ret_run);
    return failed;
}

int main(void)
{
    const char *broker = getenv("FJ_TEST_URL");
    fj_error *err = NULL;
    int n = 0, failed = 0;

    /* Else what green promises would not be tested. */
    if (fj_green_patch(FJ_PATCH_DEFAULT, &err) != wanted ||
        fj_is_patched(FJ_PATCH_DEFAULT) != (wanted == FJ_OK)) {
        (void)printf("FAILED the hooks are not as they should be: %s\n", fj_error_text(err));
        failed = ++n;
    }
    fj_error_free(err);
    if (!page_is_right("docs/conformance.md"))
        failed = ++n;
    failed += run_table("fake://", &n);
    if (broker != NULL && *broker != '\0')
        failed += run_table(broker, &n);
    failed += run_more(&n);
    (void)printf("%d passed, %d failed\n", n - failed, failed);
    return failed == 0 && n > 0 ? 0 : 1;
}
