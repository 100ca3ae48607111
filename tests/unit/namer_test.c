/* SPDX-License-Identifier: Apache-2.0 */
/* Names that a service has again after a restart: the counter of a process group. */
#include "base/alloc.h"
#include "transports/amqp/namer.h"

#include <check.h>
#include <fcntl.h>
#include <fjord/log.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, EACH = 25 };

static char process[64], counter[160], lock_file[160];
static fj__namer *namer;

static void set_up(void)
{
    (void)snprintf(process, sizeof process, "fjtest-%d", (int)getpid());
    (void)snprintf(counter, sizeof counter, "/dev/shm/h1_%s_qmanager", process);
    (void)snprintf(lock_file, sizeof lock_file, "/dev/shm/oslo_read_shm_h1_%s", process);
    ck_assert_int_eq(fj__namer_new("h1", process, NULL, &namer, NULL), FJ_OK);
}

static void tear_down(void)
{
    namer = fj__namer_free(namer);
    (void)unlink(counter);
    (void)unlink(lock_file);
}

/* @return the number of the next name */
static unsigned long next(void)
{
    char *name = NULL, form[128];
    fj_error *err = NULL;
    unsigned long n = 0;
    fj_code rc = fj__namer_next(namer, &name, &err);

    ck_assert_msg(rc == FJ_OK, "%s", fj_error_text(err));
    (void)snprintf(form, sizeof form, "h1:%s:%%lu", process);
    ck_assert_msg(sscanf(name, form, &n) == 1, "%s", name);
    fj__free(name);
    return n;
}

static void file_is(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void file_is(const char *format, ...)
{
    va_list args;
    FILE *f = fopen(counter, "w");

    ck_assert_ptr_nonnull(f);
    va_start(args, format);
    ck_assert_int_ge(vfprintf(f, format, args), 0);
    va_end(args);
    ck_assert_int_eq(fclose(f), 0);
}

static void read_file(char text[128])
{
    FILE *f = fopen(counter, "r");

    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, 127, f)] = '\0';
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(names_count_from_one_and_the_file_is_as_oslo_messaging_writes_it)
{
    char text[128];
    long group = 0;
    unsigned long n = 0;
    unsigned long long started = 0;

    for (unsigned long i = 1; i <= 3; i++)
        ck_assert_uint_eq(next(), i);
    read_file(text);
    ck_assert_int_eq(sscanf(text, "%ld:%lu:%llu", &group, &n, &started), 3);
    ck_assert_int_eq(group, getpgrp());
    ck_assert_uint_eq(n, 3);
}
END_TEST

START_TEST(a_new_process_group_begins_at_one_again)
{
    ck_assert_uint_eq(next(), 1);
    ck_assert_uint_eq(next(), 2);
    pid_t child = fork();
    if (child == 0) {
        bool good = setpgid(0, 0) == 0;
        good = good && next() == 1 && next() == 2;
        _exit(good ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(processes_of_one_group_share_the_counter)
{
    ck_assert_uint_eq(next(), 1);
    pid_t child = fork();
    if (child == 0)
        _exit(next() == 2 ? 0 : 1);
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(next(), 3);
}
END_TEST

START_TEST(a_group_whose_number_was_another_s_before_begins_at_one)
{
    char text[128];
    unsigned long long started = 0;

    ck_assert_uint_eq(next(), 1);
    read_file(text);
    ck_assert_int_eq(sscanf(text, "%*d:%*u:%llu", &started), 1);
    if (started == 0)
        return; /* the leader of this group is gone: then nobody else can get its number */
    file_is("%ld:41:%llu", (long)getpgrp(), started);
    ck_assert_uint_eq(next(), 42);
    file_is("%ld:41:%llu", (long)getpgrp(), started + 1);
    ck_assert_uint_eq(next(), 1);
}
END_TEST

START_TEST(rubbish_in_the_file_counts_as_none)
{
    static const char *const rubbish[] = { "", "x", "1", "1:", ":::", "\xff\xfe", "99999999999999999999:1:1" };

    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        file_is("%s", rubbish[i]);
        ck_assert_uint_eq(next(), 1);
    }
}
END_TEST

static void *draw(void *user)
{
    unsigned long *ret = user;

    for (int i = 0; i < EACH; i++)
        ret[i] = next();
    return NULL;
}

START_TEST(threads_and_processes_never_get_the_same_name)
{
    pthread_t threads[THREADS];
    unsigned long all[THREADS][EACH];
    bool seen[2 * THREADS * EACH + 1] = { false };
    pid_t child = fork();

    if (child == 0) {
        for (int i = 0; i < THREADS * EACH; i++)
            (void)next();
        _exit(0);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, draw, all[i]), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    for (int i = 0; i < THREADS * EACH; i++) {
        unsigned long n = all[i / EACH][i % EACH];
        ck_assert_uint_le(n, 2 * THREADS * EACH);
        ck_assert_msg(!seen[n], "%lu came twice", n);
        seen[n] = true;
    }
    ck_assert_uint_eq(next(), 2 * THREADS * EACH + 1);
}
END_TEST

static char heard[1024];

static void hear(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level, (void)component;
    (void)snprintf(heard, sizeof heard, "%s", text);
}

START_TEST(another_group_that_runs_under_the_same_name_is_told_of)
{
    int ready[2], go_on[2];
    char byte = 0;

    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(go_on), 0);
    pid_t child = fork();
    if (child == 0) {
        bool good = setpgid(0, 0) == 0 && next() == 1 && write(ready[1], "x", 1) == 1;
        (void)close(go_on[1]);
        _exit(good && read(go_on[0], &byte, 1) == 0 ? 0 : 1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    fj_log_set(hear, NULL);
    ck_assert_uint_eq(next(), 1);
    fj_log_set(NULL, NULL);
    ck_assert_msg(strstr(heard, "the same [oslo_messaging_rabbit] hostname and processname") != NULL, "%s",
                  heard);
    ck_assert_int_eq(close(go_on[1]), 0);
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_link_in_the_shared_folder_is_not_followed)
{
    char victim[64] = "/tmp/fjtest-namer-XXXXXX", *name = NULL;
    fj_error *err = NULL;
    int fd = mkstemp(victim);
    struct stat st;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(symlink(victim, counter), 0);
    ck_assert_int_eq(fj__namer_next(namer, &name, &err), FJ_SYSTEM);
    ck_assert_msg(strstr(fj_error_text(err), counter) != NULL, "%s", fj_error_text(err));
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    fj_error_free(err);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(unlink(victim), 0);
}
END_TEST

START_TEST(names_that_are_none_of_a_file_are_refused)
{
    static const char *const bad[] = { "a/b", "../x",
                                       "01234567890123456789012345678901234567890123456789012345678901234" };
    fj__namer *n = NULL;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(fj__namer_new("h", bad[i], NULL, &n, NULL), FJ_BAD_CONFIG);
        ck_assert_int_eq(fj__namer_new(bad[i], "p", NULL, &n, NULL), FJ_BAD_CONFIG);
    }
}
END_TEST

START_TEST(the_lock_is_in_oslo_concurrency_s_folder_when_that_is_known)
{
    char folder[] = "/tmp/fjtest-locks-XXXXXX", path[160], *name = NULL;
    fj__namer *n = NULL;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(fj__namer_new("h1", process, folder, &n, NULL), FJ_OK);
    ck_assert_int_eq(fj__namer_next(n, &name, NULL), FJ_OK);
    fj__free(name);
    (void)fj__namer_free(n);
    (void)snprintf(path, sizeof path, "%s/oslo_read_shm_h1_%s", folder, process);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("namer");
    TCase *c = tcase_create("namer");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 30);
    tcase_add_test(c, names_count_from_one_and_the_file_is_as_oslo_messaging_writes_it);
    tcase_add_test(c, a_new_process_group_begins_at_one_again);
    tcase_add_test(c, processes_of_one_group_share_the_counter);
    tcase_add_test(c, a_group_whose_number_was_another_s_before_begins_at_one);
    tcase_add_test(c, rubbish_in_the_file_counts_as_none);
    tcase_add_test(c, threads_and_processes_never_get_the_same_name);
    tcase_add_test(c, another_group_that_runs_under_the_same_name_is_told_of);
    tcase_add_test(c, a_link_in_the_shared_folder_is_not_followed);
    tcase_add_test(c, names_that_are_none_of_a_file_are_refused);
    tcase_add_test(c, the_lock_is_in_oslo_concurrency_s_folder_when_that_is_known);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
