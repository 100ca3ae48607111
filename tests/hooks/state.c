/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"

#include <errno.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if !defined(SANITIZED) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* Before any constructor has run: a sanitizer's would not have either. */
static struct {
    ssize_t wrote, got;
    int closed, ready, made;
} early;

static void call_early(void)
{
    struct pollfd p = { .events = POLLIN };
    int ends[2];
    char c = 0;

    early.made = pipe(ends) == 0;
    p.fd = ends[0];
    early.wrote = write(ends[1], "e", 1);
    early.ready = poll(&p, 1, -1);
    early.got = read(ends[0], &c, 1);
    early.closed = close(ends[0]) | close(ends[1]);
}

__attribute__((section(".preinit_array"), used)) static void (*const first_of_all)(void) = call_early;

START_TEST(hooks_work_before_constructors_have_run)
{
    ck_assert(early.made);
    ck_assert_int_eq(early.wrote, 1);
    ck_assert_int_eq(early.ready, 1);
    ck_assert_int_eq(early.got, 1);
    ck_assert_int_eq(early.closed, 0);
}
END_TEST
#define HAVE_EARLY
#endif

static void *blocks(void *arg)
{
    char c = 0;

    (void)arg;
    ck_assert_int_eq(*fj__green_hooks()->on(), 0);
    ck_assert_int_eq(read(rig_ends[0], &c, 1), 1);
    return NULL;
}

START_TEST(another_thread_is_not_green)
{
    pthread_t thread;

    rig_pair(SOCK_STREAM);
    ck_assert_int_eq(pthread_create(&thread, NULL, blocks, NULL), 0);
    rig_write_a(&rig_ends[1]);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

START_TEST(a_group_that_is_off_passes_through)
{
    char c = 0;

    rig_pair(SOCK_STREAM);
    fj__green_hooks()->patch(FJ_PATCH_TIME);
    ck_assert_uint_eq(fj__green_hooks()->patched(), FJ_PATCH_TIME);
    for (int i = 0; i < 64; i++) {
        rig_write_a(&rig_ends[1]);
        ck_assert_int_eq(recv(rig_ends[0], &c, 1, 0), 1);
    }
    ck_assert_uint_eq(toy_asked().breaths, 0);
    ck_assert_int_eq(usleep(1), 0);
    ck_assert_uint_eq(toy_asked().sleeps, 1);
    fj__green_hooks()->patch(FJ_PATCH_SOCKET);
    ck_assert_int_eq(usleep(1), 0);
    ck_assert_uint_eq(toy_asked().sleeps, 1);
}
END_TEST

START_TEST(all_names_are_hooked_and_no_others)
{
    static const char *const names[] = { "read",
                                         "recv",
                                         "sendmmsg",
                                         "connect",
                                         "accept4",
                                         "close",
                                         "select",
                                         "sleep",
                                         "getaddrinfo",
                                         "gethostbyname",
                                         "waitpid",
                                         "system",
                                         "fcntl",
                                         "open",
                                         "__read_chk",
                                         "__poll_chk",
                                         "epoll_wait",
                                         "pthread_mutex_lock",
                                         "pthread_cond_wait",
                                         "sem_post",
                                         "mtx_lock" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(fj__green_hooks()->is_hooked(names[i]), "%s", names[i]);
    ck_assert(!fj__green_hooks()->is_hooked("getpid"));
    ck_assert(!fj__green_hooks()->is_hooked("no_such_function"));
    ck_assert(!fj__green_hooks()->is_hooked("pthread_create"));
}
END_TEST

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool done;

static void *tell(void *arg)
{
    const fj__native_calls *n = arg;

    n->pthread_mutex_lock(&lock);
    done = true;
    n->pthread_cond_signal(&changed);
    n->pthread_mutex_unlock(&lock);
    return NULL;
}

START_TEST(the_originals_are_complete_and_conditions_are_of_the_new_kind)
{
    const fj__native_calls *n = &fj__green_hooks()->native;
    pthread_t thread;
    struct timespec t;

#define X(type, name, args) ck_assert_msg(n->name != NULL, #name);
    FJ__NATIVE_CALLS(X)
#undef X
    ck_assert_uint_eq(fj__green_hooks()->abi, FJ__GREEN_ABI);
    ck_assert_str_eq(fj__green_hooks()->version, FJ_VERSION);
    ck_assert_int_eq(pthread_create(&thread, NULL, tell, (void *)n), 0);
    n->pthread_mutex_lock(&lock);
    while (!done)
        ck_assert_int_eq(n->pthread_cond_wait(&changed, &lock), 0);
    clock_gettime(CLOCK_REALTIME, &t);
    ck_assert_int_eq(n->pthread_cond_timedwait(&changed, &lock, &t), ETIMEDOUT);
    n->pthread_mutex_unlock(&lock);
    ck_assert_int_eq(n->pthread_join(thread, NULL), 0);
    ck_assert_int_eq(n->pthread_cond_broadcast(&changed), 0);
    ck_assert_ptr_ne((void *)n->pthread_cond_wait, (void *)pthread_cond_wait);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

Suite *state_suite(void)
{
    Suite *s = suite_create("hooks: the switch and the tables");
    TCase *c = tcase_create("state");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
#ifdef HAVE_EARLY
    tcase_add_test(c, hooks_work_before_constructors_have_run);
#endif
    tcase_add_test(c, another_thread_is_not_green);
    tcase_add_test(c, a_group_that_is_off_passes_through);
    tcase_add_test(c, all_names_are_hooked_and_no_others);
    tcase_add_test(c, the_originals_are_complete_and_conditions_are_of_the_new_kind);
    suite_add_tcase(s, c);
    return s;
}
