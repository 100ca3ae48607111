/* SPDX-License-Identifier: Apache-2.0 */
/* The backdoor: its file, who is let in, what is said, and what happens to those who misbehave. */
#include "base/alloc.h"
#include "runtime/sanitize.h"
#include "tests/support/leaks.h"

#include <fjord/fjord.h>

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], path[100];

static void set_up(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/fjord-backdoor-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/door", folder);
    leaks_begin();
}

static void tear_down(void)
{
    fj_backdoor_stop();
    leaks_end("the end");
    (void)unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void open_door(void)
{
    fj_error *err = NULL;
    fj_code code = fj_backdoor_start(path, "door", &err);

    ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
}

static int try_connect(const char *to)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", to);
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

static int connect_to(void)
{
    int fd = try_connect(path);

    ck_assert_msg(fd >= 0, "%s", strerror(errno));
    return fd;
}

static void say(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t wrote = send(fd, text, n, MSG_NOSIGNAL);
        if (wrote < 0)
            return; /* it was closed, which is what the test then reads */
        text += wrote;
        n -= (size_t)wrote;
    }
}

/* A line, without its end.  @return gives; NULL at the end */
static char *hear(int fd)
{
    size_t n = 0, room = 65536;
    char *line = malloc(room);

    ck_assert_ptr_nonnull(line);
    while (read(fd, line + n, 1) == 1) {
        if (line[n] == '\n') {
            line[n] = '\0';
            return line;
        }
        if (++n == room) {
            line = realloc(line, room *= 2);
            ck_assert_ptr_nonnull(line);
        }
    }
    free(line);
    return NULL;
}

static json_t *hear_json(int fd)
{
    char *line = hear(fd);
    json_t *ret = line != NULL ? json_loads(line, 0, NULL) : NULL;

    ck_assert_msg(ret != NULL, "%s", line != NULL ? line : "nothing");
    free(line);
    return ret;
}

static json_t *ask(int fd, const char *line)
{
    say(fd, line, strlen(line));
    say(fd, "\n", 1);
    return hear_json(fd);
}

static const char *text_at(const json_t *of, const char *a, const char *b)
{
    const char *text = json_string_value(json_object_get(json_object_get(of, a), b));

    return text != NULL ? text : "";
}

static bool is_ok(const json_t *answer)
{
    return json_is_true(json_object_get(answer, "ok"));
}

static void expect_refusal(int fd, const char *line, const char *code)
{
    json_t *answer = ask(fd, line);

    ck_assert(!is_ok(answer));
    ck_assert_str_eq(text_at(answer, "error", "code"), code);
    ck_assert_str_ne(text_at(answer, "error", "text"), "");
    json_decref(answer);
}

static void expect_version(int fd)
{
    json_t *answer = ask(fd, "version");

    ck_assert(is_ok(answer));
    ck_assert_str_eq(text_at(answer, "answer", "fjord"), fj_version());
    ck_assert_str_eq(text_at(answer, "answer", "name"), "door");
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(answer, "answer"), "pid")), getpid());
    json_decref(answer);
}

static void expect_gone(int fd)
{
    char *line = hear(fd);

    ck_assert_msg(line == NULL, "%s", line);
    (void)close(fd);
}

/* ---- its file ----------------------------------------------------------------------------------- */

START_TEST(it_is_a_socket_of_its_user_alone_whatever_the_umask_and_goes_with_the_end)
{
    static const mode_t masks[] = { 0, 022, 0277, 0777 };

    for (size_t i = 0; i < fj__countof(masks); i++) {
        struct stat st;
        mode_t before = umask(masks[i]);
        open_door();
        (void)umask(before);
        ck_assert_int_eq(lstat(path, &st), 0);
        ck_assert(S_ISSOCK(st.st_mode));
        ck_assert_uint_eq(st.st_mode & 07777, 0600);
        fj_backdoor_stop();
        ck_assert(lstat(path, &st) != 0 && errno == ENOENT);
    }
}
END_TEST

static void leave_stale_socket(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    (void)close(fd);
}

START_TEST(a_socket_that_a_dead_process_left_is_replaced)
{
    leave_stale_socket();
    open_door();
    int fd = connect_to();
    expect_version(fd);
    (void)close(fd);
}
END_TEST

START_TEST(one_that_another_process_answers_on_is_left_alone)
{
    int ready[2], status = 0;
    char byte = 0;

    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        bool good = fj_backdoor_start(path, "door", NULL) == FJ_OK && write(ready[1], "x", 1) == 1;
        (void)pause();
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    fj_error *err = NULL;
    ck_assert(fj_backdoor_start(path, "door", &err) == FJ_BUSY);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), path));
    err = fj_error_free(err);
    fj_backdoor_stop();
    int fd = connect_to(); /* it is still there */
    (void)close(fd);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    open_door(); /* and now it is a dead one's */
    (void)close(ready[0]);
    (void)close(ready[1]);
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_refused_and_left_alone)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct stat st;

    ck_assert_int_eq(write(fd, "precious", 8), 8);
    (void)close(fd);
    ck_assert(fj_backdoor_start(path, NULL, NULL) == FJ_SYSTEM);
    ck_assert(lstat(path, &st) == 0 && st.st_size == 8);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink("/nowhere", path), 0);
    ck_assert(fj_backdoor_start(path, NULL, NULL) == FJ_SYSTEM);
    ck_assert(lstat(path, &st) == 0 && S_ISLNK(st.st_mode));
}
END_TEST

START_TEST(a_file_that_took_its_place_is_not_removed_at_the_end)
{
    struct stat st;

    open_door();
    ck_assert_int_eq(unlink(path), 0);
    leave_stale_socket();
    fj_backdoor_stop();
    ck_assert_int_eq(lstat(path, &st), 0);
}
END_TEST

START_TEST(paths_that_cannot_be_are_refused_in_words)
{
    static const struct {
        const char *pattern;
        fj_code code;
        const char *says;
    } rows[] = {
        { "/tmp/%q", FJ_BAD_VALUE, "%q" },
        { "/tmp/x%", FJ_BAD_VALUE, "%?" },
        { "", FJ_BAD_VALUE, "needs a path" },
        { "/nonexistent/folder/door", FJ_SYSTEM, "No such file" },
        { "/tmp/"
          "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
          "012",
          FJ_BAD_VALUE, "107 bytes" },
    };

    for (size_t i = 0; i < fj__countof(rows); i++) {
        fj_error *err = NULL;
        ck_assert_str_eq(fj_code_name(fj_backdoor_start(rows[i].pattern, "x", &err)),
                         fj_code_name(rows[i].code));
        ck_assert_msg(strstr(fj_error_text(err), rows[i].says) != NULL, "%s", fj_error_text(err));
        fj_error_free(err);
    }
    fj_error *err = NULL;
    ck_assert(fj_backdoor_start("/tmp/%n", "a/b", &err) == FJ_BAD_VALUE);
    fj_error_free(err);
}
END_TEST

START_TEST(the_path_may_name_the_process)
{
    char pattern[100], real[120];
    struct stat st;

    (void)snprintf(pattern, sizeof pattern, "%s/%%n-%%p-%%w-%%%%", folder);
    (void)snprintf(real, sizeof real, "%s/calc-%d-main-%%", folder, (int)getpid());
    ck_assert(fj_backdoor_start(pattern, "calc", NULL) == FJ_OK);
    ck_assert_int_eq(lstat(real, &st), 0);
    fj_error *err = NULL;
    ck_assert(fj_backdoor_start(path, NULL, &err) == FJ_STATE); /* one a process */
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), real));
    fj_error_free(err);
}
END_TEST

enum { RACERS = 8 };

START_TEST(of_several_that_find_a_dead_ones_socket_at_once_one_gets_the_place)
{
    int go[2], done[2];
    pid_t pids[RACERS];
    char byte;
    unsigned won = 0;

    leave_stale_socket();
    ck_assert(pipe(go) == 0 && pipe(done) == 0);
    for (int i = 0; i < RACERS; i++) {
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        (void)close(go[1]);
        ssize_t n = read(go[0], &byte, 1); /* the end: all at once */
        fj_code code = fj_backdoor_start(path, "door", NULL);
        byte = code == FJ_OK ? 'w' : code == FJ_BUSY ? 'l' : '?';
        n += write(done[1], &byte, 1);
        (void)pause();
        _exit((int)n);
    }
    (void)close(go[1]);
    for (int i = 0; i < RACERS; i++) {
        ck_assert_int_eq(read(done[0], &byte, 1), 1);
        ck_assert_msg(byte == 'w' || byte == 'l', "%c", byte);
        won += byte == 'w';
    }
    ck_assert_uint_eq(won, 1);
    int fd = connect_to();
    (void)close(fd);
    for (int i = 0; i < RACERS; i++) {
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
        ck_assert_int_eq(waitpid(pids[i], NULL, 0), pids[i]);
    }
    (void)close(go[0]);
    (void)close(done[0]);
    (void)close(done[1]);
}
END_TEST

/* ---- what is said ------------------------------------------------------------------------------- */

START_TEST(words_and_objects_are_answered_line_by_line)
{
    open_door();
    int fd = connect_to();
    expect_version(fd);
    json_t *answer = ask(fd, "{\"ask\": \"ping\", \"id\": [7]}");
    ck_assert(is_ok(answer));
    ck_assert_int_eq(json_integer_value(json_array_get(json_object_get(answer, "id"), 0)), 7);
    json_decref(answer);
    static const char two[] = "\r\n  \nversion\nhelp\n";
    say(fd, two, sizeof two - 1); /* empty lines are none */
    for (int i = 0; i < 2; i++) {
        answer = hear_json(fd);
        ck_assert(is_ok(answer));
        ck_assert_str_eq(json_string_value(json_object_get(answer, "ask")), i == 0 ? "version" : "help");
        json_decref(answer);
    }
    static const char *const kinds[] = { "tasks",  "timers", "loops",   "connections",
                                         "queues", "calls",  "counters" };
    for (size_t i = 0; i < fj__countof(kinds); i++) {
        answer = ask(fd, kinds[i]);
        ck_assert(is_ok(answer));
        ck_assert(json_is_array(json_object_get(json_object_get(answer, "answer"), kinds[i])));
        json_decref(answer);
    }
    (void)close(fd);
}
END_TEST

START_TEST(the_logs_levels_are_told_and_set)
{
    open_door();
    int fd = connect_to();
    json_t *answer = ask(fd, "log");
    ck_assert_str_eq(text_at(answer, "answer", "level"), "warning");
    json_decref(answer);
    answer = ask(fd, "log error amqp=debug");
    ck_assert_str_eq(text_at(answer, "answer", "level"), "error");
    ck_assert_str_eq(json_string_value(json_object_get(
                         json_object_get(json_object_get(answer, "answer"), "components"), "amqp")),
                     "debug");
    json_decref(answer);
    expect_refusal(fd, "log loud=very", "BAD_VALUE");
    expect_refusal(fd, "log warn", "BAD_VALUE");
    answer = ask(fd, "log all=info");
    json_decref(answer);
    answer = ask(fd, "log error"); /* stands above "all", too */
    ck_assert_str_eq(text_at(answer, "answer", "level"), "error");
    json_decref(answer);
    (void)close(fd);
}
END_TEST

START_TEST(rubbish_is_refused_and_the_next_line_is_answered)
{
    open_door();
    int fd = connect_to();
    expect_refusal(fd, "nonsense", "NOT_FOUND");
    expect_refusal(fd, "{", "BAD_JSON");
    expect_refusal(fd, "{\"ask\": 7}", "BAD_ARGS");
    expect_refusal(fd, "{\"ask\": \"log\", \"args\": \"debug\"}", "BAD_ARGS");
    expect_refusal(fd, "{\"ask\": \"ping\", \"x\": [[[[[[[[[[[[]]]]]]]]]]]]}", "TOO_DEEP");
    expect_refusal(fd, "log \xff\xfe", "BAD_ARGS");
    expect_refusal(fd, "profile sideways", "BAD_VALUE");
    expect_refusal(fd, "profile on 1 100000", "BAD_VALUE");
    static const char zeros[] = "\0\0\0\n";
    say(fd, zeros, sizeof zeros - 1);
    json_t *answer = hear_json(fd);
    ck_assert(!is_ok(answer));
    json_decref(answer);
    expect_version(fd);
    (void)close(fd);
}
END_TEST

START_TEST(half_a_line_waits_for_the_other_half_and_the_last_needs_no_end)
{
    open_door();
    int fd = connect_to(), other = connect_to();
    say(fd, "ver", 3);
    expect_version(other); /* nobody else waits for it */
    say(fd, "sion\n", 5);
    json_t *answer = hear_json(fd);
    ck_assert(is_ok(answer));
    json_decref(answer);
    say(fd, "ping", 4);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    answer = hear_json(fd);
    ck_assert_str_eq(json_string_value(json_object_get(answer, "ask")), "ping");
    json_decref(answer);
    expect_gone(fd);
    (void)close(other);
}
END_TEST

START_TEST(a_line_of_a_megabyte_is_refused_and_that_connection_closed)
{
    size_t n = 1 << 20;
    char *much = malloc(n);

    ck_assert_ptr_nonnull(much);
    memset(much, 'x', n);
    open_door();
    int fd = connect_to(), other = connect_to();
    say(fd, much, n);
    char *line = hear(fd);
    ck_assert(line == NULL ||
              strstr(line, "TOO_BIG") != NULL); /* what it did not read may have cost the words */
    free(line);
    expect_version(other);
    (void)close(fd);
    (void)close(other);
    free(much);
}
END_TEST

/* ---- many, and those that misbehave ------------------------------------------------------------- */

START_TEST(a_client_that_never_reads_keeps_nobody_waiting)
{
    static const char line[] = "help\n";

    open_door();
    int deaf = connect_to();
    ck_assert_int_eq(fcntl(deaf, F_SETFL, O_NONBLOCK), 0);
    while (send(deaf, line, sizeof line - 1, MSG_NOSIGNAL) >
           0) /* until it can write no answer, and so reads no more */
        ;
    int fd = connect_to();
    expect_version(fd);
    (void)close(fd);
    fj_backdoor_stop(); /* nor the end */
    (void)close(deaf);
}
END_TEST

START_TEST(as_many_are_served_at_once_as_may_be_and_the_next_is_told)
{
    int fds[8];

    open_door();
    for (size_t i = 0; i < fj__countof(fds); i++) {
        fds[i] = connect_to();
        expect_version(fds[i]);
    }
    int late = connect_to();
    json_t *answer = hear_json(late);
    ck_assert_str_eq(text_at(answer, "error", "code"), "BUSY");
    json_decref(answer);
    expect_gone(late);
    ck_assert_int_eq(shutdown(fds[3], SHUT_WR), 0);
    expect_gone(fds[3]);
    do { /* its place is free once its thread has ended */
        fds[3] = connect_to();
        answer = ask(fds[3], "ping");
        if (!is_ok(answer))
            (void)close(fds[3]);
    } while (!is_ok(answer) && (json_decref(answer), true));
    json_decref(answer);
    for (size_t i = 0; i < fj__countof(fds); i++) {
        expect_version(fds[i]);
        (void)close(fds[i]);
    }
}
END_TEST

static atomic_bool enough;

static void *pester(void *user)
{
    static const char *const lines[] = { "tasks\n", "loops\n", "version\n", "x\n", "{}\n", "counters" };

    for (size_t i = (size_t)user; !atomic_load(&enough); i++) {
        int fd = try_connect(path);
        if (fd < 0)
            continue;
        say(fd, lines[i % fj__countof(lines)], strlen(lines[i % fj__countof(lines)]));
        if (i % 3 != 0)
            free(hear(fd));
        (void)close(fd);
    }
    return NULL;
}

START_TEST(it_may_be_stopped_and_started_in_the_middle_of_it_all)
{
    pthread_t threads[4];

    atomic_store(&enough, false);
    for (size_t i = 0; i < fj__countof(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, pester, (void *)i), 0);
    for (int i = 0; i < 50; i++) {
        open_door();
        int fd = connect_to();
        fj_backdoor_stop();
        (void)close(fd);
    }
    atomic_store(&enough, true);
    for (size_t i = 0; i < fj__countof(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

/* ---- forks -------------------------------------------------------------------------------------- */

static bool sleeps(const char *tid)
{
    char name[300], text[300] = "";
    const char *state;

    (void)snprintf(name, sizeof name, "/proc/self/task/%s/stat", tid);
    FILE *f = fopen(name, "re");
    if (f != NULL)
        (void)!fgets(text, sizeof text, f);
    if (f != NULL)
        (void)fclose(f);
    state = strrchr(text, ')');
    return state == NULL || state[2] == 'S' || strtol(tid, NULL, 10) == getpid();
}

/* A sanitizer has locks that a fork does not wait for: no other thread may be in the middle of something. */
static void wait_for_rest(void)
{
    for (bool rest = false; !rest; (void)sched_yield()) {
        DIR *all = opendir("/proc/self/task");
        rest = true;
        for (const struct dirent *e = readdir(all); e != NULL; e = readdir(all))
            rest = rest && (e->d_name[0] == '.' || sleeps(e->d_name));
        (void)closedir(all);
    }
}

START_TEST(a_child_of_fork_holds_no_end_of_the_parents_connections)
{
    int status = 0;

    open_door();
    int fd = connect_to();
    expect_version(fd);
    wait_for_rest();
    pid_t pid = fork();
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    expect_version(fd);
    fj_backdoor_stop();
    expect_gone(fd); /* though the child lives */
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}
END_TEST

#ifndef FJ__TSAN
START_TEST(a_childs_own_answers_while_the_parents_does)
{
    char own[120];
    int status = 0;

    open_door();
    (void)snprintf(own, sizeof own, "%s/own", folder);
    wait_for_rest();
    pid_t pid = fork();
    if (pid == 0) {
        bool good = fj_backdoor_start(path, NULL, NULL) == FJ_BUSY; /* the parent's */
        good = good && fj_backdoor_start(own, "own", NULL) == FJ_OK;
        int fd = try_connect(own);
        json_t *answer = fd >= 0 ? ask(fd, "version") : NULL;
        good = good && strcmp(text_at(answer, "answer", "name"), "own") == 0;
        json_decref(answer);
        (void)close(fd);
        fj_backdoor_stop();
        _exit(good && access(own, F_OK) != 0 && access(path, F_OK) == 0 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    int fd = connect_to();
    expect_version(fd);
    (void)close(fd);
}
END_TEST
#endif

/* ---- a loop that is blocked --------------------------------------------------------------------- */

static sem_t blocks;
static atomic_bool release;

static void block(fj_loop *loop, void *user)
{
    (void)user;
    (void)sem_post(&blocks);
    while (!atomic_load(&release))
        (void)poll(NULL, 0, 1);
    fj_loop_stop(loop);
}

static void *run(void *loop)
{
    ck_assert(fj_loop_run_forever(loop, NULL) == FJ_OK);
    return NULL;
}

START_TEST(one_who_waits_for_a_blocked_loop_keeps_nobody_else_waiting)
{
    fj_loop *loop = NULL;
    pthread_t thread;

    (void)sem_init(&blocks, 0, 0);
    atomic_store(&release, false);
    ck_assert(fj_loop_new(&loop, NULL) == FJ_OK);
    ck_assert(fj_loop_call_soon(loop, block, NULL, NULL, NULL) == FJ_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, loop), 0);
    (void)sem_wait(&blocks);
    open_door();
    int waits = connect_to(), fd = connect_to();
    static const char slow[] = "{\"ask\": \"loops\", \"timeout\": 10}\n";
    say(waits, slow, sizeof slow - 1);
    for (int i = 0; i < 20; i++)
        expect_version(fd);
    json_t *answer = ask(fd, "{\"ask\": \"tasks\", \"timeout\": 0.05}");
    const json_t *blocked = json_array_get(json_object_get(json_object_get(answer, "answer"), "blocked"), 0);
    ck_assert(json_is_number(json_object_get(blocked, "blocked")));
    json_decref(answer);
    atomic_store(&release, true);
    answer = hear_json(waits);
    ck_assert(is_ok(answer));
    json_decref(answer);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    (void)fj_loop_free(loop);
    (void)close(waits);
    (void)close(fd);
    (void)sem_destroy(&blocks);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("backdoor");
    TCase *tc = tcase_create("door");
    SRunner *r = srunner_create(s);

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, it_is_a_socket_of_its_user_alone_whatever_the_umask_and_goes_with_the_end);
    tcase_add_test(tc, a_socket_that_a_dead_process_left_is_replaced);
    tcase_add_test(tc, one_that_another_process_answers_on_is_left_alone);
    tcase_add_test(tc, a_file_that_is_no_socket_is_refused_and_left_alone);
    tcase_add_test(tc, a_file_that_took_its_place_is_not_removed_at_the_end);
    tcase_add_test(tc, paths_that_cannot_be_are_refused_in_words);
    tcase_add_test(tc, the_path_may_name_the_process);
    tcase_add_test(tc, of_several_that_find_a_dead_ones_socket_at_once_one_gets_the_place);
    tcase_add_test(tc, words_and_objects_are_answered_line_by_line);
    tcase_add_test(tc, the_logs_levels_are_told_and_set);
    tcase_add_test(tc, rubbish_is_refused_and_the_next_line_is_answered);
    tcase_add_test(tc, half_a_line_waits_for_the_other_half_and_the_last_needs_no_end);
    tcase_add_test(tc, a_line_of_a_megabyte_is_refused_and_that_connection_closed);
    tcase_add_test(tc, a_client_that_never_reads_keeps_nobody_waiting);
    tcase_add_test(tc, as_many_are_served_at_once_as_may_be_and_the_next_is_told);
    tcase_add_test(tc, it_may_be_stopped_and_started_in_the_middle_of_it_all);
    tcase_add_test(tc, a_child_of_fork_holds_no_end_of_the_parents_connections);
#ifdef FJ__TSAN
    printf("skipped: a_childs_own_answers_while_the_parents_does: TSan has no threads in a child of threads\n");
#else
    tcase_add_test(tc, a_childs_own_answers_while_the_parents_does);
#endif
    tcase_add_test(tc, one_who_waits_for_a_blocked_loop_keeps_nobody_else_waiting);
    suite_add_tcase(s, tc);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
