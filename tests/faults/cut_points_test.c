/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every point at which one call can be cut: behind each frame and in the middle of each, on each of the connections of the
 * client and of the server, in both directions; each by an end of the stream, a reset, a stall and garbage.  The connections
 * may be made anew, and a ledger judges: the call ends once, by its deadline, true about whether it was sent, run once at
 * most; the next ones are answered; nothing leaks.
 *
 *   FJ_CUT_EXECUTORS="blocking coroutine"   which executors
 *   FJ_CUT_ALL=1      also the frames of the server's start, before the call
 *   FJ_CUT_EVERY=N    each Nth run only, from the FJ_SEEDth on; 1, and 3 under a sanitizer, which makes each slow
 *   FJ_CUT_JOBS=N     so many at a time
 *   FJ_CUT=blocking/client:0:out:5:mid:rst   this one alone, in this process
 */
#include "tests/faults/cut.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS = 24, LIMIT_S = 60, TEXT = 8192, CUTS = 4096, ENDS = 16 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { EVERY = 3 };
#else
enum { EVERY = 1 };
#endif

typedef struct {
    pid_t pid; /* 0: free */
    int fd;
    size_t n;
    time_t until;
    cut is;
    char text[TEXT];
} job;

static const char *program;
static cut todo;
static const char *recorded; /* the executor to record; NULL: run todo */
static FILE *to;
static job jobs[64];
static unsigned passed, failed;
static long lates[CUTS];
static struct {
    char text[40];
    unsigned n;
} outcomes[ENDS]; /* how the first calls ended */

/* ---- in the child ------------------------------------------------------------------------------------ */

START_TEST(one)
{
    if (recorded != NULL)
        cut_record(recorded, to);
    else
        cut_run(&todo, to);
}
END_TEST

/* Check's assertions need its runner. */
static int run_one(FILE *out)
{
    Suite *s = suite_create("cut");
    TCase *c = tcase_create("cut");

    to = out;
    tcase_add_test(c, one);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_SILENT);
    TestResult **results = srunner_failures(runner);
    int bad = srunner_ntests_failed(runner);
    if (bad != 0)
        fprintf(out, "%s:%d: %s\n", tr_lfile(results[0]), tr_lno(results[0]), tr_msg(results[0]));
    free(results);
    srunner_free(runner);
    (void)fflush(out);
    return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void start(job *j, const cut *c, const char *executor)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        abort();
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(ends[1], STDERR_FILENO);
        recorded = executor;
        if (c != NULL)
            todo = *c;
        exit(run_one(stdout)); /* by exit(), so that leaks are looked for */
    }
    (void)close(ends[1]);
    *j = (job){ .pid = pid, .fd = ends[0], .until = time(NULL) + LIMIT_S };
    if (c != NULL)
        j->is = *c;
}

/* ---- in the parent ----------------------------------------------------------------------------------- */

/* @return the status of the child, once it has ended; -1 while it runs */
static int look(job *j)
{
    ssize_t n = read(j->fd, j->text + j->n, TEXT - 1 - j->n);
    int status;

    if (n > 0) {
        j->n += (size_t)n;
        j->n -= j->n == TEXT - 1; /* the last byte is written over and over */
    }
    if (n > 0 || (n < 0 && errno == EINTR))
        return -1;
    (void)close(j->fd);
    while (waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
        ;
    j->pid = 0;
    j->text[j->n] = '\0';
    return status;
}

static void count_end(const char *text)
{
    size_t len = strcspn(text, "\n"), i = 0;

    while (i < ENDS - 1 && outcomes[i].n != 0 &&
           (strlen(outcomes[i].text) != len || strncmp(outcomes[i].text, text, len) != 0))
        i++;
    (void)snprintf(outcomes[i].text, sizeof outcomes[i].text, "%.*s", (int)len, text);
    outcomes[i].n++;
}

static void report(const job *j, int status)
{
    char name[80];
    const char *late = strstr(j->text, "late ");

    cut_name(&j->is, name, sizeof name);
    if (late != NULL && passed + failed < CUTS) {
        char *end = NULL;
        lates[passed + failed] = strtol(late + 5, &end, 10);
        count_end(end + strspn(end, ", "));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        passed++;
        return;
    }
    failed++;
    printf("not ok: cut at %s under %s (status %d)\n%s\n    again: FJ_CUT=%s/%s %s\n", name, j->is.executor,
           status, j->text, j->is.executor, name, program);
    (void)fflush(stdout);
}

/* Wait until a child has ended; those that take too long are ended. */
static void reap(unsigned n)
{
    struct pollfd fds[64];
    bool ended = false;

    while (!ended) {
        for (unsigned i = 0; i < n; i++)
            fds[i] = (struct pollfd){ .fd = jobs[i].pid != 0 ? jobs[i].fd : -1, .events = POLLIN };
        (void)poll(fds, n, 1000);
        for (unsigned i = 0; i < n; i++) {
            if (jobs[i].pid != 0 && time(NULL) > jobs[i].until)
                (void)kill(jobs[i].pid, SIGKILL);
            int status = fds[i].fd >= 0 && fds[i].revents != 0 ? look(&jobs[i]) : -1;
            if (status < 0)
                continue;
            report(&jobs[i], status);
            ended = true;
        }
    }
}

static unsigned busy(unsigned n)
{
    unsigned k = 0;

    for (unsigned i = 0; i < n; i++)
        k += jobs[i].pid != 0;
    return k;
}

static void submit(const cut *c, unsigned n)
{
    unsigned i = 0;

    while (busy(n) == n)
        reap(n);
    while (jobs[i].pid != 0)
        i++;
    start(&jobs[i], c, NULL);
}

static unsigned number(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text != NULL && text[0] != '\0' ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

/* What the recorder printed: one line a frame.  Adds the cuts of each.  @return how many there are now */
static unsigned cuts_of(const char *executor, const char *text, cut *cuts, unsigned n)
{
    bool all = number("FJ_CUT_ALL", 0) != 0;

    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
        size_t len = strcspn(line, "\n");
        char frame[64];
        bool of_call = len > 2 && line[len - 1] == '*';
        if ((!of_call && !all) || len == 0 || strncmp(line, "late", 4) == 0)
            continue;
        for (int i = 0; i < 8 && n < CUTS; i++) {
            static const char *const kinds[] = { "fin", "rst", "stall", "garbage" };
            (void)snprintf(frame, sizeof frame, "%.*s:%s:%s", (int)strcspn(line, " "), line,
                           i % 2 ? "mid" : "end", kinds[i / 2]);
            cuts[n].executor = executor;
            if (cut_read(frame, &cuts[n]))
                n++;
        }
    }
    return n;
}

/* Some calls before any cut tell which frames there are.  @return how many cuts there are now */
static unsigned enumerate(const char *executor, cut *cuts, unsigned n)
{
    static job j;
    int status;

    start(&j, NULL, executor);
    while ((status = look(&j)) < 0)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        failed++;
        printf("not ok: a call without a cut under %s (status %d)\n%s\n", executor, status, j.text);
        return n;
    }
    unsigned now = cuts_of(executor, j.text, cuts, n);
    printf("under %s: %u cuts\n", executor, now - n);
    if (getenv("FJ_LOUD") != NULL)
        printf("%s", j.text);
    return now;
}

static int by_size(const void *a, const void *b)
{
    const long *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int run_all(void)
{
    static cut cuts[CUTS];
    const char *named = getenv("FJ_CUT_EXECUTORS");
    char *list = strdup(named != NULL && named[0] != '\0' ? named : "blocking coroutine"), *rest = NULL;
    unsigned n = 0, at_once = number("FJ_CUT_JOBS", JOBS), every = number("FJ_CUT_EVERY", EVERY);

    at_once = at_once < 1 ? 1 : at_once > 64 ? 64 : at_once;
    every = every < 1 ? 1 : every;
    for (char *name = strtok_r(list, " ,", &rest); name != NULL; name = strtok_r(NULL, " ,", &rest))
        n = enumerate(name, cuts, n);
    for (unsigned i = number("FJ_SEED", 0) % every; i < n; i += every)
        submit(&cuts[i], at_once);
    while (busy(at_once) != 0)
        reap(at_once);
    unsigned runs = passed + failed < CUTS ? passed + failed : CUTS;
    qsort(lates, runs, sizeof lates[0], by_size);
    if (runs != 0)
        printf("past their deadlines: 99.9 %% by %ld ms at most, all by %ld ms\n",
               lates[(runs * 999 - 1) / 1000], lates[runs - 1]);
    for (size_t i = 0; i < ENDS && outcomes[i].n != 0; i++)
        printf("%s%s %u", i == 0 ? "the calls ended: " : ", ", outcomes[i].text, outcomes[i].n);
    printf("\n%u passed, %u failed\n", passed, failed);
    free(list);
    return failed == 0 && passed != 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const char *one_cut = getenv("FJ_CUT");
    char executor[32];

    (void)argc;
    program = argv[0];
    if (one_cut == NULL || one_cut[0] == '\0')
        return run_all();
    size_t n = strcspn(one_cut, "/");
    (void)snprintf(executor, sizeof executor, "%.*s", (int)n, one_cut);
    todo.executor = executor;
    if (one_cut[n] != '/' || !cut_read(one_cut + n + 1, &todo)) {
        fprintf(stderr, "FJ_CUT is EXECUTOR/SIDE:CONNECTION:WAY:FRAME:WHERE:HOW, not \"%s\"\n", one_cut);
        return EXIT_FAILURE;
    }
    return run_one(stdout);
}
