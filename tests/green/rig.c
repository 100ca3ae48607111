/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/green/rig.h"
#include "tests/support/leaks.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

fj_loop *green_loop;

#ifdef __SANITIZE_ADDRESS__
static const size_t stack = (size_t)1 << 20; /* its frames are larger */
#else
static const size_t stack = 0;
#endif

void green_begin_bare(void)
{
    leaks_begin();
    ck_assert_int_eq(fj_loop_new(&green_loop, NULL), FJ_OK);
    fj_loop_set_current(green_loop);
}

void green_begin(void)
{
    fj_error *err = NULL;

    green_begin_bare();
    ck_assert_msg(fj_green_patch(FJ_PATCH_DEFAULT, &err) == FJ_OK, "%s", fj_error_text(err));
}

void green_end(void)
{
    green_loop = fj_loop_free(green_loop);
    leaks_end("green tasks");
}

fj_task *green_spawn(fj_task_fn fn, void *user)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.loop = green_loop;
    opts.green = true;
    opts.stack = stack;
    ck_assert_int_eq(fj_task_spawn(fn, user, &opts, &task, NULL), FJ_OK);
    return task;
}

fj_code green_join(fj_task *task)
{
    fj_code code = fj_task_current() != NULL
                       ? fj_future_wait(fj_task_future(task), fj_never(), NULL, NULL)
                       : fj_loop_run_until_complete(green_loop, fj_task_future(task), NULL, NULL);

    (void)fj_task_unref(task);
    return code;
}

typedef void (*body_fn)(void);

GREEN_TASK(run_body)
{
    (*(body_fn *)user)();
    return FJ_OK;
}

void in_green(void (*body)(void))
{
    ck_assert_int_eq(green_join(green_spawn(run_body, &body)), FJ_OK);
}

void green_many(unsigned n, fj_task_fn fn)
{
    fj_task **tasks = calloc(n, sizeof(fj_task *));

    ck_assert_ptr_nonnull(tasks);
    for (unsigned i = 0; i < n; i++)
        tasks[i] = green_spawn(fn, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(green_join(tasks[i]), FJ_OK);
    free(tasks);
}

void green_one_thread(void)
{
#if !defined __SANITIZE_THREAD__ && !defined __SANITIZE_ADDRESS__
    DIR *threads = opendir("/proc/self/task");
    unsigned n = 0;

    if (threads == NULL) /* a bare chroot has no /proc */
        return;
    for (const struct dirent *e = readdir(threads); e != NULL; e = readdir(threads))
        n += e->d_name[0] != '.';
    (void)closedir(threads);
    ck_assert_uint_eq(n, 1);
#endif
}

static int listen_on_any(int backlog, int *ret_port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, n), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

int green_listen(int *ret_port)
{
    return listen_on_any(512, ret_port);
}

int green_listen_deaf(int *ret_port, int ret_more[2])
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = listen_on_any(0, ret_port);

    at.sin_port = htons((in_port_t)*ret_port);
    for (int i = 0; i < 2; i++) {
        ret_more[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_ge(ret_more[i], 0);
        (void)connect(ret_more[i], (struct sockaddr *)&at, sizeof at);
    }
    return fd;
}

const char *green_env(const char *name)
{
    const char *value = getenv(name);

    ck_assert_msg(value != NULL, "%s is not set: tests/green/run starts the servers and tells where they are",
                  name);
    return value;
}

int green_port(const char *name)
{
    return (int)strtol(green_env(name), NULL, 10);
}

void green_servers(const char *verb, const char *name)
{
    char command[1024];

    (void)snprintf(command, sizeof command, "scripts/servers %s '%s' %s", verb, green_env("FJ_TEST_SERVERS"),
                   name);
    ck_assert_int_eq(system(command), 0);
}

int green_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed = 0;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
