/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a log costs the callers when the place that it goes to does not work: `log URL [ROUNDS [CALLS]]`.  Each round has a process for
 * each kind of place, which serves and calls itself with all levels on, so that whatever else the machine does hits all of them
 * alike; the figures are medians over the rounds of the median call and of the 99th in a hundred.
 */
#include <fjord/fjord.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 300, ROUNDS_MAX = 64, CALLS_MAX = 100000, LINES = 4 };

static char folder[64], path[96];

/* ---- places -------------------------------------------------------------------------------------- */

/* Each opens the log.  @return whether it can be had here */
static bool no_log(void)
{
    fj_log_set_level(FJ_LOG_ERROR);
    return true;
}

static bool open_log(const fj_log_opts *o)
{
    fj_log_set_level(FJ_LOG_TRACE);
    return fj_log_open(o, NULL) == FJ_OK;
}

static bool healthy_file(void)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = path);

    return open_log(&o);
}

static bool stuck_pipe(void)
{
    return mkfifo(path, 0600) == 0 && open(path, O_RDWR | O_CLOEXEC) >= 0 && healthy_file();
}

static bool dev_full(void)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = "/dev/full");

    return open_log(&o);
}

/* A file system that has room for few lines; who started the process unmounts it. */
static bool full_disk(void)
{
    return mount("fjord-bench", folder, "tmpfs", 0, "size=16k") == 0 && healthy_file();
}

static bool dead_syslog(void)
{
    fj_log_opts o = FJ_LOG_OPTS(.facility = "user", .syslog_socket = path);

    return open_log(&o);
}

static bool bind_socket(int type)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    memcpy(to.sun_path, path, strlen(path) + 1);
    return fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
           (type == SOCK_DGRAM || listen(fd, 1) == 0);
}

static bool stuck_syslog(void)
{
    return bind_socket(SOCK_DGRAM) && dead_syslog();
}

static bool stuck_stream(void)
{
    return bind_socket(SOCK_STREAM) && dead_syslog();
}

static bool stuck_journal(void)
{
    fj_log_opts o = FJ_LOG_OPTS(.journal = true, .journal_socket = path);

    return bind_socket(SOCK_DGRAM) && open_log(&o);
}

/* As of a program that was started in a terminal or under a supervisor which does not read. */
static bool stuck_stderr(void)
{
    int ends[2];

    return pipe2(ends, O_CLOEXEC) == 0 && dup2(ends[1], STDERR_FILENO) >= 0 && open_log(NULL);
}

static const struct place {
    const char *name;
    bool (*open)(void);
} places[] = {
    { "no log", no_log },
    { "a file", healthy_file },
    { "a pipe that is stuck", stuck_pipe },
    { "a disk that is full", full_disk },
    { "/dev/full", dev_full },
    { "a syslog that is dead", dead_syslog },
    { "a syslog that is stuck", stuck_syslog },
    { "a syslog's stream that is stuck", stuck_stream },
    { "journald that is stuck", stuck_journal },
    { "standard error that is stuck", stuck_stderr },
};
enum { PLACES = sizeof places / sizeof places[0], NO_LOG = 0, HEALTHY = 1 };

/* ---- one process --------------------------------------------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    for (int i = 0; i < LINES; i++)
        fj_log(FJ_LOG_DEBUG, "bench", "line %d of a method, as long as lines are that a service writes", i);
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static double now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

struct figures {
    double p50, p99;
};

static fj_code call_all(fj_client *client, int n, double *us, fj_error **err)
{
    fj_code code = FJ_OK;

    for (int i = 0; i < n && code == FJ_OK; i++) {
        json_t *ret = NULL;
        double start = now_us();

        code = fj_client_call(client, "echo", json_pack("{s:s}", "x", "0123456789"), NULL, &ret, err);
        us[i] = now_us() - start;
        json_decref(ret);
    }
    return code;
}

static fj_code measure(const char *url, int calls, struct figures *ret, fj_error **err)
{
    static double us[CALLS_MAX];
    char topic[64];
    fj_target there = FJ_TARGET(.topic = topic), here = FJ_TARGET(.topic = topic, .server = "bench");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_client *client = NULL;

    (void)snprintf(topic, sizeof topic, "fj-bench-log-%d", (int)getpid());
    opts.executor = "threading";
    fj_code code = fj_transport_open(NULL, url, &transport, err);
    if (code == FJ_OK)
        code = fj_server_new(transport, &here, &opts, &server, err);
    if (code == FJ_OK)
        code = fj_server_add(server, &endpoint, NULL, err);
    if (code == FJ_OK)
        code = fj_server_start(server, err);
    if (code == FJ_OK)
        code = fj_client_new(transport, &there, NULL, &client, err);
    if (code == FJ_OK)
        code = call_all(client, WARM_UP, us, err);
    if (code == FJ_OK)
        code = call_all(client, calls, us, err);
    fj_client_free(client);
    fj_server_free(server);
    fj_transport_free(transport);
    qsort(us, (size_t)calls, sizeof us[0], by_value);
    *ret = (struct figures){ us[calls / 2], us[calls * 99 / 100] };
    return code;
}

/* The child's end: figures, or nothing where the place cannot be had. */
static void run_child(const struct place *place, const char *url, int calls, int to)
{
    int stderr_before = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct figures figures;
    fj_error *err = NULL;

    (void)dup2(nowhere, STDERR_FILENO); /* what the log says of itself */
    if (!place->open())
        _exit(0);
    if (measure(url, calls, &figures, &err) != FJ_OK) {
        (void)dup2(stderr_before, STDERR_FILENO);
        fprintf(stderr, "log: %s: %s\n", place->name, fj_error_text(err));
        _exit(1);
    }
    _exit(write(to, &figures, sizeof figures) == (ssize_t)sizeof figures ? 0 : 1);
}

/* @return -1: it failed; 0: it cannot be had here */
static int run(const struct place *place, const char *url, int calls, struct figures *ret)
{
    int ends[2], status = 1;

    (void)snprintf(folder, sizeof folder, "/tmp/fj-bench-XXXXXX");
    if (mkdtemp(folder) == NULL || pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/log", folder);
    pid_t child = fork();
    if (child == 0)
        run_child(place, url, calls, ends[1]);
    (void)close(ends[1]);
    ssize_t n = child > 0 ? read(ends[0], ret, sizeof *ret) : 0;
    (void)close(ends[0]);
    if (child > 0)
        (void)waitpid(child, &status, 0);
    if (place->open == full_disk)
        (void)umount(folder);
    (void)unlink(path);
    (void)rmdir(folder);
    if (status != 0)
        return -1;
    return n == (ssize_t)sizeof *ret;
}

/* ---- all of them --------------------------------------------------------------------------------- */

static double all[PLACES][2][ROUNDS_MAX];
static bool missing[PLACES];

static double median(const double *sorted, int n)
{
    return sorted[n / 2];
}

/* The middle round beside that of another place and, on a busy machine, the least disturbed of each. */
static void beside(int place, int other, const char *name, int rounds)
{
    printf("; beside %s", name);
    for (int k = 0; k < 2; k++)
        printf(" %s %.2f (best %.2f)", k == 0 ? "p50" : "p99",
               median(all[place][k], rounds) / median(all[other][k], rounds),
               all[place][k][0] / all[other][k][0]);
}

static void report(const char *url, int rounds, int calls)
{
    printf("calls over %.*s with %d lines and the library's own each; %d rounds of %d\n",
           (int)strcspn(url, ":"), url, LINES, rounds, calls);
    for (int i = 0; i < PLACES; i++) {
        if (missing[i]) {
            printf("%-31s skipped: it cannot be had here\n", places[i].name);
            continue;
        }
        for (int k = 0; k < 2; k++)
            qsort(all[i][k], (size_t)rounds, sizeof all[i][k][0], by_value);
        printf("%-31s p50 %.0f us, p99 %.0f us", places[i].name, median(all[i][0], rounds),
               median(all[i][1], rounds));
        if (i > HEALTHY)
            beside(i, HEALTHY, "a file", rounds);
        if (i != NO_LOG)
            beside(i, NO_LOG, "no log", rounds);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 7, calls = argc > 3 ? atoi(argv[3]) : 3000;

    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX || calls < 1 || calls > CALLS_MAX) {
        fprintf(stderr, "usage: log URL [ROUNDS [CALLS]]\n");
        return 2;
    }
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < PLACES; i++) {
            struct figures f = { 0 };
            int rc = run(&places[i], argv[1], calls, &f);
            if (rc < 0)
                return 1;
            missing[i] = missing[i] || rc == 0;
            all[i][0][round] = f.p50;
            all[i][1][round] = f.p99;
        }
    }
    report(argv[1], rounds, calls);
    return 0;
}
