/* SPDX-License-Identifier: Apache-2.0 */
/* Where lines go, and that none of those places holds up who logs. */
#include "base/alloc.h"
#include "base/log.h"
#include <check.h>
#include <fjord/log.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 10000, PATIENCE = 20000 };

static char folder[64], path[96], other[112];

/* Threads of a child are what is tested here. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/fj-log-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/log", folder);
    (void)snprintf(other, sizeof other, "%s.1", path);
}

static void open_log(const fj_log_opts *opts)
{
    ck_assert_int_eq(fj_log_open(opts, NULL), FJ_OK);
}

static void teardown(void)
{
    open_log(NULL);
    (void)unlink(path);
    (void)unlink(other);
    (void)rmdir(folder);
}

static void open_file(void)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = path);

    open_log(&o);
}

static void log_many(int n)
{
    for (int i = 0; i < n; i++)
        fj_log(FJ_LOG_ERROR, "a", "line %d", i);
}

/* All of a file, with a NUL; to be freed. */
static char *content(const char *name)
{
    struct stat is;
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
    ck_assert_int_eq(fstat(fd, &is), 0);
    char *text = calloc(1, (size_t)is.st_size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq((int)read(fd, text, (size_t)is.st_size), (int)is.st_size);
    (void)close(fd);
    return text;
}

static int count(const char *text, const char *what)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

static void check_file(const char *name, const char *what, int times)
{
    char *text = content(name);

    ck_assert_msg(count(text, what) == times, "%s is %d times in %.2000s", what, count(text, what), text);
    free(text);
}

/* How many lines of log_many(), and how many that were dropped, the text tells of. */
static int heard_or_dropped(const char *text)
{
    int n = 0, dropped;

    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        const char *end = strchrnul(at, '\n');
        const char *line = memmem(at, (size_t)(end - at), "a: line ", 8);
        const char *lost = memmem(at, (size_t)(end - at), "log: ", 5);
        n += line != NULL;
        if (lost != NULL && sscanf(lost, "log: %d line", &dropped) == 1)
            n += dropped;
        if (*end == '\0')
            break;
    }
    return n;
}

/* ---- files ------------------------------------------------------------------------------------- */

START_TEST(a_file_gets_each_line_with_time_level_component_and_text_for_owner_and_group_alone)
{
    struct stat is;

    (void)umask(0);
    open_file();
    fj_log(FJ_LOG_WARNING, "amqp", "hello %d", 7);
    ck_assert(fj_log_flush(PATIENCE));
    char *text = content(path);
    ck_assert_str_eq(text + 24, " warning amqp: hello 7\n");
    free(text);
    ck_assert_int_eq(stat(path, &is), 0);
    ck_assert_int_eq(is.st_mode & 0777, 0640);
}
END_TEST

START_TEST(what_was_in_the_file_stays)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    (void)fputs("before\n", f);
    (void)fclose(f);
    open_file();
    fj_log(FJ_LOG_ERROR, "a", "after");
    ck_assert(fj_log_flush(PATIENCE));
    check_file(path, "before\n", 1);
    check_file(path, "a: after\n", 1);
}
END_TEST

START_TEST(a_file_that_was_renamed_is_left_at_the_next_line)
{
    open_file();
    fj_log(FJ_LOG_ERROR, "a", "one");
    ck_assert(fj_log_flush(PATIENCE));
    ck_assert_int_eq(rename(path, other), 0);
    fj_log(FJ_LOG_ERROR, "a", "two");
    ck_assert(fj_log_flush(PATIENCE));
    check_file(other, "a: one\n", 1);
    check_file(other, "a: two\n", 0);
    check_file(path, "a: two\n", 1);
}
END_TEST

START_TEST(a_file_that_was_removed_is_made_again)
{
    open_file();
    fj_log(FJ_LOG_ERROR, "a", "one");
    ck_assert(fj_log_flush(PATIENCE));
    ck_assert_int_eq(unlink(path), 0);
    fj_log(FJ_LOG_ERROR, "a", "two");
    ck_assert(fj_log_flush(PATIENCE));
    check_file(path, "a: two\n", 1);
}
END_TEST

START_TEST(a_file_that_was_truncated_has_no_hole)
{
    open_file();
    log_many(100);
    ck_assert(fj_log_flush(PATIENCE));
    ck_assert_int_eq(truncate(path, 0), 0);
    fj_log(FJ_LOG_ERROR, "a", "two");
    ck_assert(fj_log_flush(PATIENCE));
    char *text = content(path);
    ck_assert_str_eq(text + 24, " error   a: two\n");
    free(text);
}
END_TEST

/* By name, for a sanitizer takes looking at a descriptor for a race with whoever opens it. */
static bool is_open(const char *name)
{
    char link[64], to[256];

    for (int fd = 0; fd < 256; fd++) {
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, to, sizeof to - 1);
        if (n <= 0)
            continue;
        to[n] = '\0';
        if (strcmp(to, name) == 0)
            return true;
    }
    return false;
}

static void on_hup(int number)
{
    (void)number;
    fj_log_reopen();
}

START_TEST(reopening_in_a_signals_handler_lets_go_of_the_old_file_without_another_line)
{
    struct sigaction mine = { .sa_handler = on_hup };

    open_file();
    fj_log(FJ_LOG_ERROR, "a", "one");
    ck_assert(fj_log_flush(PATIENCE));
    ck_assert_int_eq(rename(path, other), 0);
    ck_assert_int_eq(sigaction(SIGHUP, &mine, NULL), 0);
    ck_assert(is_open(other));
    ck_assert_int_eq(raise(SIGHUP), 0);
    while (access(path, F_OK) != 0 || is_open(other)) /* Check ends a test that takes too long */
        (void)sched_yield();
    fj_log(FJ_LOG_ERROR, "a", "two");
    ck_assert(fj_log_flush(PATIENCE));
    check_file(path, "a: two\n", 1);
}
END_TEST

START_TEST(a_folder_that_appears_later_gets_the_lines_from_before)
{
    char later[128];
    fj_log_opts o = FJ_LOG_OPTS(.file = later);

    (void)snprintf(later, sizeof later, "%s/later/log", folder);
    open_log(&o);
    log_many(10);
    ck_assert(!fj_log_flush(1));
    *strrchr(later, '/') = '\0';
    ck_assert_int_eq(mkdir(later, 0700), 0);
    ck_assert(fj_log_flush(PATIENCE));
    later[strlen(later)] = '/';
    check_file(later, "a: line ", 10);
    (void)unlink(later);
    *strrchr(later, '/') = '\0';
    (void)rmdir(later);
}
END_TEST

/* ---- what is stuck or full --------------------------------------------------------------------- */

START_TEST(a_pipe_that_nobody_reads_holds_nobody_up_and_what_is_lost_is_counted)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = path, .ring = 64 * 1024);
    static char text[4 << 20];
    size_t n = 0;

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fcntl(reader, F_SETPIPE_SZ, 4096), 0);
    open_log(&o);
    log_many(MANY);
    ck_assert(!fj_log_flush(1));
    fj_log(FJ_LOG_ERROR, "a", "line the last"); /* lost or not: it is counted */
    while (heard_or_dropped(text) < MANY + 1) {
        ssize_t some = read(reader, text + n, sizeof text - n - 1);
        ck_assert_int_gt((int)some, 0);
        n += (size_t)some;
        text[n] = '\0';
    }
    ck_assert_int_eq(heard_or_dropped(text), MANY + 1);
    ck_assert_int_ge(count(text, "dropped here"), 1);
    ck_assert(fj_log_flush(PATIENCE));
    (void)close(reader);
}
END_TEST

START_TEST(a_pipe_without_a_reader_waits_for_one)
{
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    open_file();
    log_many(100);
    ck_assert(!fj_log_flush(1));
    int reader = open(path, O_RDONLY | O_CLOEXEC); /* which waits for the writer */
    ck_assert_int_ge(reader, 0);
    ck_assert(fj_log_flush(PATIENCE));
    static char text[64 * 1024];
    ck_assert_int_gt((int)read(reader, text, sizeof text - 1), 0);
    ck_assert_int_eq(count(text, "a: line "), 100);
    (void)close(reader);
    log_many(100); /* nobody reads: neither SIGPIPE nor an end */
    ck_assert(!fj_log_flush(1));
}
END_TEST

START_TEST(a_full_disk_holds_nobody_up)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = "/dev/full");

    open_log(&o);
    log_many(MANY);
    ck_assert(!fj_log_flush(1));
}
END_TEST

START_TEST(when_there_is_room_again_no_line_is_torn_or_lost)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 1000; /* in the middle of a line */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    open_file();
    log_many(1000);
    ck_assert(!fj_log_flush(1));
    limit.rlim_cur = before;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert(fj_log_flush(PATIENCE));
    char *text = content(path), *at = text;
    for (int i = 0; i < 1000; i++) {
        char wanted[32];
        int n = snprintf(wanted, sizeof wanted, " error   a: line %d\n", i);
        ck_assert_msg(strlen(at) > 24 && strncmp(at + 24, wanted, (size_t)n) == 0, "%.80s", at);
        at += 24 + n;
    }
    ck_assert_str_eq(at, "");
    free(text);
}
END_TEST

START_TEST(a_place_that_is_stuck_does_not_hold_up_another)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = "/dev/full", .facility = "user", .syslog_socket = path);
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    char line[256] = "";

    memcpy(name.sun_path, path, strlen(path));
    int server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server, (struct sockaddr *)&name, sizeof name), 0);
    open_log(&o);
    fj_log(FJ_LOG_ERROR, "a", "there");
    ck_assert_int_gt((int)recv(server, line, sizeof line - 1, 0), 0);
    ck_assert_ptr_nonnull(strstr(line, "there"));
    (void)close(server);
}
END_TEST

START_TEST(a_log_that_is_stuck_does_not_keep_a_process_from_its_end)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = "/dev/full");
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (fj_log_open(&o, NULL) == FJ_OK)
            log_many(10);
        exit(7);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}
END_TEST

START_TEST(lines_that_wait_are_written_before_a_process_ends)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        fj_log_opts o = FJ_LOG_OPTS(.file = path);
        if (fj_log_open(&o, NULL) == FJ_OK)
            log_many(1000);
        exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    check_file(path, "a: line ", 1000);
}
END_TEST

START_TEST(opening_another_log_writes_what_waited_for_the_one_before)
{
    fj_log_opts second = FJ_LOG_OPTS(.file = other);

    open_file();
    log_many(1000);
    open_log(&second);
    log_many(10);
    ck_assert(fj_log_flush(PATIENCE));
    check_file(path, "a: line ", 1000);
    check_file(other, "a: line ", 10);
}
END_TEST

/* ---- standard error ---------------------------------------------------------------------------- */

START_TEST(standard_error_that_is_stuck_holds_nobody_up)
{
    int ends[2], saved = dup(STDERR_FILENO);
    static char text[1 << 20];
    size_t n = 0;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    log_many(5000);
    while (count(text, "a: line ") < 5000) { /* there is room for all of them in the ring */
        ssize_t some = read(ends[0], text + n, sizeof text - n - 1);
        ck_assert_int_gt((int)some, 0);
        n += (size_t)some;
    }
    ck_assert(fj_log_flush(PATIENCE));
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    for (int i = 0; i < 5000; i++) {
        char wanted[32];
        (void)snprintf(wanted, sizeof wanted, "a: line %d\n", i);
        ck_assert_ptr_nonnull(strstr(text, wanted));
    }
}
END_TEST

START_TEST(standard_error_that_nobody_reads_any_more_raises_no_signal)
{
    int ends[2], saved = dup(STDERR_FILENO);
    sigset_t pending;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    (void)close(ends[0]);
    log_many(10);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    ck_assert_int_eq(sigpending(&pending), 0);
    ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
}
END_TEST

/* ---- syslog and journald ----------------------------------------------------------------------- */

static int listen_at(const char *name)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(to.sun_path, name, strlen(name) + 1);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static char *next_datagram(int fd)
{
    static char text[256 * 1024];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);

    ck_assert_int_gt((int)n, 0);
    text[n] = '\0';
    return text;
}

static void open_syslog(void)
{
    fj_log_opts o =
        FJ_LOG_OPTS(.facility = "LOG_LOCAL3", .syslog_socket = path, .ident = "me", .ring = 64 * 1024);

    open_log(&o);
}

START_TEST(syslog_gets_priority_time_name_and_process)
{
    int server = listen_at(path);
    char wanted[64], *at;

    open_syslog();
    fj_log(FJ_LOG_WARNING, "amqp", "two\nlines");
    at = next_datagram(server);
    ck_assert_int_eq(strncmp(at, "<156>", 5), 0); /* local3, warning */
    (void)snprintf(wanted, sizeof wanted, " me[%d]: warning amqp: two\\nlines", (int)getpid());
    ck_assert_str_eq(at + 5 + 15, wanted);
    (void)close(server);
}
END_TEST

START_TEST(lines_wait_for_a_syslog_that_is_not_there_yet_or_comes_back)
{
    open_syslog();
    fj_log(FJ_LOG_ERROR, "a", "early");
    ck_assert(!fj_log_flush(1));
    int server = listen_at(path);
    ck_assert_ptr_nonnull(strstr(next_datagram(server), "early"));
    (void)close(server);
    fj_log(FJ_LOG_ERROR, "a", "between");
    ck_assert(!fj_log_flush(1));
    ck_assert_int_eq(unlink(path), 0);
    server = listen_at(path);
    ck_assert_ptr_nonnull(strstr(next_datagram(server), "between"));
    (void)close(server);
}
END_TEST

START_TEST(a_syslog_that_does_not_read_holds_nobody_up_and_what_is_lost_is_counted)
{
    int server = listen_at(path), heard = 0, dropped, notices = 0;

    open_syslog();
    log_many(MANY);
    while (heard < MANY) {
        const char *text = next_datagram(server), *lost = strstr(text, "log: ");
        if (strstr(text, "a: line ") != NULL)
            heard++;
        else if (lost != NULL && sscanf(lost, "log: %d line", &dropped) == 1) {
            heard += dropped;
            notices++;
        }
    }
    ck_assert_int_eq(heard, MANY);
    ck_assert_int_ge(notices, 1);
    (void)close(server);
}
END_TEST

static int listen_as_stream(const char *name)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(to.sun_path, name, strlen(name) + 1);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    return fd;
}

/* Read until @p wanted lines of log_many() were written or counted as lost; each ends in a NUL. */
static void read_stream(int fd, int wanted)
{
    static char text[4 << 20];
    size_t n = 0;
    int heard = 0;

    for (size_t at = 0; heard < wanted;) {
        ssize_t some = read(fd, text + n, sizeof text - n);
        ck_assert_int_gt((int)some, 0);
        n += (size_t)some;
        for (char *end; (end = memchr(text + at, '\0', n - at)) != NULL; at = (size_t)(end - text) + 1) {
            ck_assert_msg(text[at] == '<' && strchr(text + at, '\n') == NULL, "%s", text + at);
            heard += heard_or_dropped(text + at);
        }
    }
    ck_assert_int_eq(heard, wanted);
}

START_TEST(a_syslog_that_listens_for_a_stream_gets_each_line_with_a_nul)
{
    int server = listen_as_stream(path);

    open_syslog();
    log_many(100);
    int peer = accept(server, NULL, NULL);
    read_stream(peer, 100);
    (void)close(peer); /* it starts again, and lines go on in another connection */
    fj_log(FJ_LOG_ERROR, "a", "line again");
    peer = accept(server, NULL, NULL);
    read_stream(peer, 1);
    (void)close(peer);
    (void)close(server);
}
END_TEST

START_TEST(a_stream_that_is_not_read_holds_nobody_up_and_what_is_lost_is_counted)
{
    int server = listen_as_stream(path);

    open_syslog();
    log_many(MANY);
    int peer = accept(server, NULL, NULL);
    fj_log(FJ_LOG_ERROR, "a", "line the last");
    read_stream(peer, MANY + 1);
    (void)close(peer);
    (void)close(server);
}
END_TEST

START_TEST(a_facility_that_is_none_is_refused)
{
    fj_log_opts o = FJ_LOG_OPTS(.facility = "local8");
    fj_error *err = NULL;

    ck_assert_int_eq(fj_log_open(&o, &err), FJ_BAD_VALUE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "local8"));
    fj_error_free(err);
}
END_TEST

static void tell_context(fj__log_context *ret)
{
    *ret = (fj__log_context){ .request = "req-1\n", .message = "m2", .method = "reboot" };
}

START_TEST(journald_gets_fields)
{
    fj_log_opts o = FJ_LOG_OPTS(.journal = true, .journal_socket = path, .ident = "me");
    int server = listen_at(path);
    static const char *const fields[] = {
        "PRIORITY=3\n",          "SYSLOG_IDENTIFIER=me\n",           "FJORD_COMPONENT=amqp\n",
        "FJORD_LEVEL=error\n",   "FJORD_REQUEST_ID=req-1\\n\n",      "FJORD_MESSAGE_ID=m2\n",
        "FJORD_METHOD=reboot\n", "\nCODE_FUNC=journald_gets_fields", "\nCODE_LINE="
    };

    open_log(&o);
    fj__log_context_set(tell_context);
    fj__log(FJ_LOG_ERROR, "amqp", "%s", "PRIORITY=0\nMESSAGE=forged");
    const char *text = next_datagram(server);
    for (size_t i = 0; i < fj__countof(fields); i++)
        ck_assert_msg(strstr(text, fields[i]) != NULL, "%s is not in %s", fields[i], text);
    ck_assert_ptr_nonnull(strstr(text, "\nMESSAGE=PRIORITY=0\\nMESSAGE=forged\n"));
    ck_assert_ptr_null(strstr(text, "\nPRIORITY=0"));
    fj__log_context_set(NULL);
    (void)close(server);
}
END_TEST

START_TEST(a_line_of_any_length_reaches_a_socket)
{
    fj_log_opts o = FJ_LOG_OPTS(.journal = true, .journal_socket = path);
    int server = listen_at(path), small = 4608;
    char *longer = malloc(1 << 20);

    ck_assert_ptr_nonnull(longer);
    memset(longer, 1, (1 << 20) - 1); /* each byte escapes */
    longer[(1 << 20) - 1] = '\0';
    (void)setsockopt(server, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    open_log(&o);
    fj_log(FJ_LOG_ERROR, "a", "%s", longer);
    fj_log(FJ_LOG_ERROR, "a", "next");
    const char *text = next_datagram(server);
    ck_assert_ptr_nonnull(strstr(text, "MESSAGE=\\x01"));
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
    ck_assert_ptr_nonnull(strstr(next_datagram(server), "MESSAGE=next\n"));
    free(longer);
    (void)close(server);
}
END_TEST

/* ---- lines ------------------------------------------------------------------------------------- */

START_TEST(request_message_and_method_are_in_each_line)
{
    open_file();
    fj__log_context_set(tell_context);
    fj_log(FJ_LOG_ERROR, "a", "with");
    fj__log_context_set(NULL);
    fj_log(FJ_LOG_ERROR, "a", "without");
    ck_assert(fj_log_flush(PATIENCE));
    check_file(path, " error   a: [req-1\\n m2 reboot] with\n", 1);
    check_file(path, " error   a: without\n", 1);
}
END_TEST

START_TEST(json_lines_are_objects)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = path, .json = true);

    open_log(&o);
    fj__log_context_set(tell_context);
    fj__log(FJ_LOG_ERROR, "a", "\"%s\"\xff", "back\\slash\n");
    fj__log_context_set(NULL);
    ck_assert(fj_log_flush(PATIENCE));
    char *text = content(path);
    json_t *line = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    ck_assert_ptr_nonnull(line);
    ck_assert_str_eq(json_string_value(json_object_get(line, "text")), "\"back\\slash\n\"\\xff");
    ck_assert_str_eq(json_string_value(json_object_get(line, "request_id")), "req-1\n");
    ck_assert_str_eq(json_string_value(json_object_get(line, "method")), "reboot");
    ck_assert_str_eq(json_string_value(json_object_get(line, "level")), "error");
    ck_assert_int_eq((int)json_integer_value(json_object_get(line, "pid")), (int)getpid());
    json_decref(line);
    free(text);
}
END_TEST

enum { THREADS = 64, EACH = 200 };

static void *log_each(void *user)
{
    for (int i = 0; i < EACH; i++)
        fj_log(FJ_LOG_ERROR, "a", "thread %d line %d end", (int)(intptr_t)user, i);
    return NULL;
}

START_TEST(lines_of_many_threads_are_whole_and_in_the_order_of_each)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = path, .ring = 8 << 20);
    pthread_t threads[THREADS];
    int next[THREADS] = { 0 }, thread, line;

    open_log(&o);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_each, (void *)(intptr_t)i), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert(fj_log_flush(PATIENCE));
    char *text = content(path), *rest = text, *at;
    while ((at = strsep(&rest, "\n")) != NULL && *at != '\0') {
        int end = 0;
        ck_assert_msg(strlen(at) > 24, "%s", at);
        ck_assert_int_eq(sscanf(at + 24, " error   a: thread %d line %d end%n", &thread, &line, &end), 2);
        ck_assert_msg(end != 0 && at[24 + end] == '\0', "%s", at);
        ck_assert_int_eq(line, next[thread]++);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(next[i], EACH);
    free(text);
}
END_TEST

/* ---- forks ------------------------------------------------------------------------------------- */

START_TEST(after_a_fork_each_process_writes_its_own_lines_and_none_twice)
{
    int status;

    open_file();
    for (int i = 0; i < 20; i++) {
        fj_log(FJ_LOG_ERROR, "a", "before %d.", i);
        pid_t child = fork();
        if (child == 0) {
            fj_log(FJ_LOG_ERROR, "a", "child %d.", i);
            _exit(fj_log_flush(PATIENCE) ? 0 : 1);
        }
        fj_log(FJ_LOG_ERROR, "a", "after %d.", i);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
    }
    ck_assert(fj_log_flush(PATIENCE));
    for (int i = 0; i < 20; i++) {
        static const char *const names[] = { "before", "child", "after" };
        for (size_t k = 0; k < fj__countof(names); k++) {
            char wanted[32];
            (void)snprintf(wanted, sizeof wanted, "a: %s %d.\n", names[k], i);
            check_file(path, wanted, 1);
        }
    }
}
END_TEST

START_TEST(a_child_of_a_process_whose_log_is_stuck_logs)
{
    fj_log_opts stuck = FJ_LOG_OPTS(.file = "/dev/full"), mine = FJ_LOG_OPTS(.file = path);
    int status;

    open_log(&stuck);
    log_many(MANY);
    pid_t child = fork();
    if (child == 0) {
        if (fj_log_open(&mine, NULL) == FJ_OK)
            fj_log(FJ_LOG_ERROR, "a", "free");
        _exit(fj_log_flush(PATIENCE) ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    check_file(path, "a: free\n", 1);
}
END_TEST

START_TEST(without_memory_a_log_is_refused_and_the_one_before_stays)
{
    fj_log_opts second = FJ_LOG_OPTS(.file = other, .facility = "user", .journal = true);
    fj_code code = FJ_NOMEM;

    open_file();
    for (unsigned long nth = 1; code == FJ_NOMEM; nth++) {
        fj_error *err = NULL;
        (void)fj__alloc_fail(nth, false);
        code = fj_log_open(&second, &err);
        (void)fj__alloc_fail(0, false);
        fj_error_free(err);
        if (code == FJ_NOMEM)
            fj_log(FJ_LOG_ERROR, "a", "still %lu.", nth);
    }
    ck_assert_int_eq(code, FJ_OK);
    ck_assert_int_eq(fj_log_open(NULL, NULL), FJ_OK);
    (void)fj_log_flush(PATIENCE);
    check_file(path, "a: still 1.\n", 1);
    ck_assert_int_ne(access(other, F_OK), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log places");
    TCase *tests = tcase_create("places"), *forks = tcase_create("forks");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_file_gets_each_line_with_time_level_component_and_text_for_owner_and_group_alone);
    tcase_add_test(tests, what_was_in_the_file_stays);
    tcase_add_test(tests, a_file_that_was_renamed_is_left_at_the_next_line);
    tcase_add_test(tests, a_file_that_was_removed_is_made_again);
    tcase_add_test(tests, a_file_that_was_truncated_has_no_hole);
    tcase_add_test(tests, reopening_in_a_signals_handler_lets_go_of_the_old_file_without_another_line);
    tcase_add_test(tests, a_folder_that_appears_later_gets_the_lines_from_before);
    tcase_add_test(tests, a_pipe_that_nobody_reads_holds_nobody_up_and_what_is_lost_is_counted);
    tcase_add_test(tests, a_pipe_without_a_reader_waits_for_one);
    tcase_add_test(tests, a_full_disk_holds_nobody_up);
    tcase_add_test(tests, when_there_is_room_again_no_line_is_torn_or_lost);
    tcase_add_test(tests, a_place_that_is_stuck_does_not_hold_up_another);
    tcase_add_test(tests, a_log_that_is_stuck_does_not_keep_a_process_from_its_end);
    tcase_add_test(tests, lines_that_wait_are_written_before_a_process_ends);
    tcase_add_test(tests, opening_another_log_writes_what_waited_for_the_one_before);
    tcase_add_test(tests, standard_error_that_is_stuck_holds_nobody_up);
    tcase_add_test(tests, standard_error_that_nobody_reads_any_more_raises_no_signal);
    tcase_add_test(tests, syslog_gets_priority_time_name_and_process);
    tcase_add_test(tests, lines_wait_for_a_syslog_that_is_not_there_yet_or_comes_back);
    tcase_add_test(tests, a_syslog_that_does_not_read_holds_nobody_up_and_what_is_lost_is_counted);
    tcase_add_test(tests, a_syslog_that_listens_for_a_stream_gets_each_line_with_a_nul);
    tcase_add_test(tests, a_stream_that_is_not_read_holds_nobody_up_and_what_is_lost_is_counted);
    tcase_add_test(tests, a_facility_that_is_none_is_refused);
    tcase_add_test(tests, journald_gets_fields);
    tcase_add_test(tests, a_line_of_any_length_reaches_a_socket);
    tcase_add_test(tests, request_message_and_method_are_in_each_line);
    tcase_add_test(tests, json_lines_are_objects);
    tcase_add_test(tests, lines_of_many_threads_are_whole_and_in_the_order_of_each);
    tcase_add_test(forks, after_a_fork_each_process_writes_its_own_lines_and_none_twice);
    tcase_add_test(forks, a_child_of_a_process_whose_log_is_stuck_logs);
    tcase_add_test(tests, without_memory_a_log_is_refused_and_the_one_before_stays);
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(forks, setup, teardown);
    tcase_set_timeout(forks, 60);
    suite_add_tcase(suite, forks);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
