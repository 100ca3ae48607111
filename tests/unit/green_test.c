/* SPDX-License-Identifier: Apache-2.0 */
/* The library's half of green, with a table of hooks that hooks nothing: what the hooks would ask for is asked for here. */
#include "runtime/green.h"
#include "runtime/hooks/table.h"
#include "runtime/owners.h"
#include "tests/support/in_task.h"
#include "tests/support/leaks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the toy -------------------------------------------------------------------------------------- */

static const fj__green_runtime *rt;
static unsigned groups, connects;
static const char *not_hooked = "";
static _Thread_local int on;

static void toy_connect(const fj__green_runtime *runtime)
{
    rt = runtime;
    connects++;
}

static int *toy_on(void)
{
    return &on;
}

static void toy_patch(unsigned what)
{
    groups = what;
}

static unsigned toy_patched(void)
{
    return groups;
}

static bool toy_is_hooked(const char *name)
{
    return strcmp(name, not_hooked) != 0;
}

static atomic_int counted_closes;
static int counted_close(int fd)
{
    atomic_fetch_add(&counted_closes, 1);
    return close(fd);
}

const fj__green_hooks_table *fj__green_hooks(void);
const fj__green_hooks_table *fj__green_hooks(void)
{
    static fj__green_hooks_table table;

    table = (fj__green_hooks_table){ .abi = FJ__GREEN_ABI,
                                     .size = sizeof table,
                                     .version = FJ_VERSION,
                                     .native = fj__native,
                                     .connect = toy_connect,
                                     .on = toy_on,
                                     .patch = toy_patch,
                                     .patched = toy_patched,
                                     .is_hooked = toy_is_hooked };
    table.native.close = counted_close;
    return &table;
}

static int ends[2]; /* of a pipe: read, write */

static void set_up(void)
{
    leaks_begin();
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    rt_begin();
}

static void tear_down(void)
{
    rt_end();
    (void)close(ends[0]);
    (void)close(ends[1]);
    leaks_end("green tasks");
}

static fj_task *green(fj_task_fn fn, void *user)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.loop = rt_loop;
    opts.green = true;
    rt_code(fj_task_spawn(fn, user, &opts, &task, NULL), OK);
    return task;
}

static void put(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

static int64_t soon(void)
{
    return fj_in_ms(10).ns;
}

/* What a wait came to, as one number: what is ready, or minus errno. */
static int came_to(int rc)
{
    return rc >= 0 ? rc : -errno;
}

/* ---- the exchange and the switch ------------------------------------------------------------------- */

START_TEST(the_halves_are_exchanged_once_before_main)
{
    ck_assert_uint_eq(connects, 1);
    ck_assert_ptr_nonnull(rt);
    ck_assert_uint_eq(rt->abi, FJ__GREEN_ABI);
    ck_assert_ptr_eq(fj__native.close, counted_close);
}
END_TEST

START_TEST(patching_adds_groups)
{
    ck_assert(!fj_is_patched(FJ_PATCH_TIME));
    rt_code(fj_green_patch(FJ_PATCH_TIME, NULL), OK);
    rt_code(fj_green_patch(FJ_PATCH_SELECT, NULL), OK);
    ck_assert(fj_is_patched(FJ_PATCH_TIME | FJ_PATCH_SELECT));
    ck_assert(!fj_is_patched(FJ_PATCH_TIME | FJ_PATCH_DNS));
    rt_code(fj_green_patch(1u << 20, NULL), BAD_VALUE);
}
END_TEST

START_TEST(a_group_whose_hook_does_not_come_first_is_refused_with_advice)
{
    fj_error *err = NULL;

    not_hooked = "poll";
    rt_code(fj_green_patch(FJ_PATCH_TIME, NULL), OK);
    rt_code(fj_green_patch(FJ_PATCH_SELECT | FJ_PATCH_SOCKET, &err), UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "poll() of the group \"select\""));
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "LD_PRELOAD"));
    fj_error_free(err);
    ck_assert_uint_eq(groups, FJ_PATCH_TIME);
}
END_TEST

START_TEST(groups_have_names)
{
    char *names = fj__green_group_names(FJ_PATCH_SOCKET | FJ_PATCH_MUTEX);

    ck_assert_str_eq(names, "socket, mutex");
    free(names);
    ck_assert_uint_eq(fj__green_group("dns"), FJ_PATCH_DNS);
    ck_assert_uint_eq(fj__green_group("smoke"), 0);
}
END_TEST

RT_TASK(looks)
{
    const bool *is_green = user;

    ck_assert_int_eq(on, *is_green);
    ck_assert_int_eq(fj_green_here(), *is_green);
    rt_code(fj_yield(), OK);
    ck_assert_int_eq(on, *is_green);
    return FJ_OK;
}

START_TEST(the_switch_is_on_in_green_tasks_alone)
{
    bool yes = true, no = false;

    rt_code(fj_green_patch(FJ_PATCH_TIME, NULL), OK);
    fj_task *one = green(looks, &yes), *two = rt_spawn(looks, &no, "plain"), *three = green(looks, &yes);
    ck_assert_int_eq(on, 0);
    rt_code(rt_join(one), OK);
    ck_assert_int_eq(on, 0);
    rt_code(rt_join(two), OK);
    rt_code(rt_join(three), OK);
    ck_assert_int_eq(on, 0);
    ck_assert(!fj_green_here());
}
END_TEST

/* ---- one descriptor -------------------------------------------------------------------------------- */

struct want {
    int fd;
    short events;
    int64_t by;
    int got;
};

RT_TASK(waits)
{
    struct want *w = user;

    w->got = came_to(rt->wait_fd(w->fd, w->events, w->by));
    return FJ_OK;
}

START_TEST(any_number_of_tasks_wait_for_one_descriptor)
{
    struct want a = { ends[0], POLLIN, INT64_MAX, 0 }, b = a, c = { ends[1], POLLOUT, INT64_MAX, 0 };
    fj_task *one = green(waits, &a), *two = green(waits, &b), *three = green(waits, &c);

    rt_code(rt_join(three), OK);
    ck_assert_int_eq(c.got, POLLOUT);
    rt_settle();
    ck_assert(!fj_future_done(fj_task_future(one)));
    put(ends[1]);
    rt_code(rt_join(one), OK);
    rt_code(rt_join(two), OK);
    ck_assert_int_eq(a.got, POLLIN);
    ck_assert_int_eq(b.got, POLLIN);
}
END_TEST

static void on_read(fj_loop *loop, int fd, void *user)
{
    (void)loop, (void)fd;
    ++*(int *)user;
}

START_TEST(a_reader_of_the_same_descriptor_is_called_as_before)
{
    int reads = 0;
    struct want w = { ends[0], POLLIN, INT64_MAX, 0 };

    rt_code(fj_loop_add_reader(rt_loop, ends[0], on_read, &reads, NULL), OK);
    fj_task *task = green(waits, &w);
    rt_settle();
    put(ends[1]);
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(w.got, POLLIN);
    int before = reads;
    rt_code(fj_loop_turn(rt_loop, fj_in_ms(0), NULL), OK);
    ck_assert_int_gt(reads, before);
    ck_assert(fj_loop_remove_reader(rt_loop, ends[0]));
}
END_TEST

START_TEST(a_wait_for_a_descriptor_ends_at_its_deadline)
{
    struct want w = { ends[0], POLLIN, soon(), -1 };

    rt_code(rt_join(green(waits, &w)), OK);
    ck_assert_int_eq(w.got, 0);
    ck_assert_int_eq(rt_ms(), 10);
}
END_TEST

RT_TASK(waits_in_a_timeout)
{
    fj_timeout t;

    fj_timeout_begin(&t, fj_in_ms(5));
    ck_assert_int_eq(came_to(rt->wait_fd(ends[0], POLLIN, INT64_MAX)), -ETIMEDOUT);
    ck_assert(fj_timeout_end(&t));
    return FJ_OK;
}

START_TEST(a_wait_cut_short_answers_what_no_library_retries)
{
    struct want w = { ends[0], POLLIN, INT64_MAX, 0 };
    fj_task *task = green(waits, &w);

    rt_settle();
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(w.got, -ECANCELED);
    rt_code(rt_join(green(waits_in_a_timeout, NULL)), OK);
}
END_TEST

START_TEST(what_cannot_be_watched_is_told_at_once)
{
    struct want file = { open("/etc/hostname", O_RDONLY | O_CLOEXEC), POLLIN, INT64_MAX, 0 };
    struct want none = { 9999, POLLIN, INT64_MAX, 0 };

    ck_assert_int_ge(file.fd, 0);
    rt_code(rt_join(green(waits, &file)), OK);
    ck_assert_int_eq(file.got, -EPERM);
    rt_code(rt_join(green(waits, &none)), OK);
    ck_assert_int_eq(none.got, -EBADF);
    (void)close(file.fd);
}
END_TEST

START_TEST(closing_wakes_all_who_wait_and_the_number_may_be_anothers)
{
    struct want a = { ends[0], POLLIN, INT64_MAX, 0 }, b = a, other = { ends[1], POLLIN, soon(), -1 };
    fj_task *one = green(waits, &a), *two = green(waits, &b), *three = green(waits, &other);

    rt_settle();
    int kept = dup(ends[0]); /* the pipe lives on, and epoll with it */
    rt->closing((unsigned)ends[0], (unsigned)ends[0]);
    int fresh = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_eq(dup2(fresh, ends[0]), ends[0]);
    struct want c = a;
    fj_task *four = green(waits, &c);
    rt_code(rt_join(one), OK);
    rt_code(rt_join(two), OK);
    rt_code(rt_join(three), OK);
    ck_assert_int_eq(a.got, -EBADF);
    ck_assert_int_eq(b.got, -EBADF);
    ck_assert_int_eq(other.got, 0);
    put(ends[1]);
    rt_settle();
    ck_assert(!fj_future_done(fj_task_future(four)));
    ck_assert_int_eq(eventfd_write(fresh, 1), 0);
    rt_code(rt_join(four), OK);
    ck_assert_int_eq(c.got, POLLIN);
    (void)close(kept);
    (void)close(fresh);
}
END_TEST

static void *closes(void *user)
{
    rt->closing(*(unsigned *)user, *(unsigned *)user);
    return NULL;
}

RT_TASK(has_it_closed)
{
    pthread_t thread;

    rt_code(fj_yield(), OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, closes, &ends[0]), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    return FJ_OK;
}

START_TEST(closing_on_another_thread_wakes_them_too)
{
    struct want w = { ends[0], POLLIN, INT64_MAX, 0 };
    fj_task *task = green(waits, &w), *closer = rt_spawn(has_it_closed, NULL, "closer");

    rt_code(rt_join(task), OK);
    rt_code(rt_join(closer), OK);
    ck_assert_int_eq(w.got, -EBADF);
}
END_TEST

START_TEST(tasks_that_still_wait_end_with_their_loop)
{
    struct want w = { ends[0], POLLIN, INT64_MAX, 0 };
    fj_task *task = green(waits, &w);

    rt_settle();
    rt_loop = fj_loop_free(rt_loop);
    ck_assert_int_eq(w.got, -ECANCELED);
    (void)fj_task_unref(task);
}
END_TEST

/* ---- poll ------------------------------------------------------------------------------------------ */

struct polls {
    struct pollfd fds[40];
    nfds_t n;
    int64_t by;
    int got;
};

RT_TASK(polls)
{
    struct polls *p = user;

    p->got = came_to(rt->wait_fds(p->fds, p->n, p->by));
    return FJ_OK;
}

START_TEST(poll_waits_for_the_first_of_several)
{
    struct polls p = {
        { { -1, POLLIN, 7 }, { ends[0], POLLIN, 0 }, { ends[0], POLLIN | POLLOUT, 0 } }, 3, INT64_MAX, 0
    };
    fj_task *task = green(polls, &p);

    rt_settle();
    ck_assert(!fj_future_done(fj_task_future(task)));
    put(ends[1]);
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(p.got, 2); /* the same descriptor twice */
    ck_assert_int_eq(p.fds[0].revents, 0);
    ck_assert_int_eq(p.fds[1].revents, POLLIN);
    ck_assert_int_eq(p.fds[2].revents, POLLIN);
}
END_TEST

START_TEST(poll_tells_of_bad_descriptors_and_files_at_once)
{
    int file = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
    struct polls p = { { { 9999, POLLIN, 0 }, { file, POLLIN, 0 }, { ends[0], POLLIN, 0 } }, 3, INT64_MAX, 0 };

    rt_code(rt_join(green(polls, &p)), OK);
    ck_assert_int_eq(p.got, 2);
    ck_assert_int_eq(p.fds[0].revents, POLLNVAL);
    ck_assert_int_eq(p.fds[1].revents, POLLIN);
    ck_assert_int_eq(p.fds[2].revents, 0);
    (void)close(file);
}
END_TEST

START_TEST(poll_of_nothing_is_a_sleep)
{
    struct polls p = { .n = 0, .by = soon(), .got = -1 };

    rt_code(rt_join(green(polls, &p)), OK);
    ck_assert_int_eq(p.got, 0);
    ck_assert_int_eq(rt_ms(), 10);
}
END_TEST

START_TEST(poll_hears_of_a_hang_up_that_is_all_it_asked_for)
{
    struct polls p = { { { ends[0], 0, 0 } }, 1, INT64_MAX, 0 };
    fj_task *task = green(polls, &p);
    int closed = atomic_load(&counted_closes);

    put(ends[1]); /* does not concern it */
    rt_settle();
    ck_assert(!fj_future_done(fj_task_future(task)));
    (void)close(ends[1]);
    rt_code(rt_join(task), OK);
    ends[1] = -1;
    ck_assert_int_eq(p.got, 1);
    ck_assert_int_eq(p.fds[0].revents, POLLHUP);
    ck_assert_int_eq(atomic_load(&counted_closes), closed + 1); /* the descriptor in between */
}
END_TEST

START_TEST(poll_of_many_answers_for_the_one_that_is_ready)
{
    struct polls p = { .n = 40, .by = INT64_MAX };
    int pipes[40][2];

    for (int i = 0; i < 40; i++) {
        ck_assert_int_eq(pipe2(pipes[i], O_CLOEXEC), 0);
        p.fds[i] = (struct pollfd){ pipes[i][0], POLLIN, 0 };
    }
    fj_task *task = green(polls, &p);
    rt_settle();
    put(pipes[33][1]);
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(p.got, 1);
    ck_assert_int_eq(p.fds[33].revents, POLLIN);
    for (int i = 0; i < 40; i++) {
        (void)close(pipes[i][0]);
        (void)close(pipes[i][1]);
    }
}
END_TEST

START_TEST(poll_calls_a_descriptor_that_is_being_closed_invalid)
{
    struct polls p = { { { ends[0], POLLIN, 0 }, { ends[1], POLLIN, 0 } }, 2, INT64_MAX, 0 };
    fj_task *task = green(polls, &p);

    rt_settle();
    rt->closing((unsigned)ends[1], (unsigned)ends[1]);
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(p.got, 1);
    ck_assert_int_eq(p.fds[0].revents, 0);
    ck_assert_int_eq(p.fds[1].revents, POLLNVAL);
}
END_TEST

RT_TASK(takes_it)
{
    char c;

    (void)rt->wait_fd(ends[0], POLLIN, INT64_MAX);
    ck_assert_int_eq(read(ends[0], &c, 1), 1);
    return FJ_OK;
}

START_TEST(poll_goes_on_waiting_when_another_was_faster)
{
    struct polls p = { { { ends[0], POLLIN, 0 } }, 1, INT64_MAX, 0 };
    fj_task *faster = green(takes_it, NULL), *task = green(polls, &p);

    rt_settle();
    put(ends[1]);
    rt_code(rt_join(faster), OK);
    rt_settle();
    ck_assert(!fj_future_done(fj_task_future(task)));
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(p.got, -ECANCELED);
}
END_TEST

/* ---- sleeping, threads, breath ---------------------------------------------------------------------- */

RT_TASK(sleeps_green)
{
    *(int *)user = came_to(rt->sleep_until(fj_in_ms(20).ns));
    return FJ_OK;
}

START_TEST(a_sleep_ends_at_its_time_or_by_cancellation)
{
    int got = -1;

    rt_code(rt_join(green(sleeps_green, &got)), OK);
    ck_assert_int_eq(got, 0);
    ck_assert_int_eq(rt_ms(), 20);
    fj_task *task = green(sleeps_green, &got);
    rt_code(fj_loop_turn(rt_loop, fj_in_ms(0), NULL), OK);
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(got, -ECANCELED);
}
END_TEST

struct job {
    pthread_t on;
    int gate; /* a descriptor to wait for */
    bool done;
};

static void blocks(void *arg)
{
    struct job *job = arg;
    char c;

    job->on = pthread_self();
    if (job->gate >= 0)
        ck_assert_int_eq(read(job->gate, &c, 1), 1);
    job->done = true;
    errno = ENOLINK;
}

RT_TASK(offloads)
{
    struct job *job = user;

    errno = 0;
    ck_assert_int_eq(rt->offload(blocks, job, false), 0);
    ck_assert_int_eq(errno, ENOLINK);
    ck_assert(job->done);
    return FJ_OK;
}

START_TEST(what_blocks_runs_on_a_thread_and_brings_its_errno)
{
    struct job job = { .gate = -1 };

    rt_code(rt_join(green(offloads, &job)), OK);
    ck_assert(!pthread_equal(job.on, pthread_self()));
}
END_TEST

START_TEST(a_cancelled_task_waits_for_what_runs_on_the_thread)
{
    struct job job = { .gate = ends[0] };
    fj_task *task = green(offloads, &job);

    rt_settle();
    ck_assert(fj_task_kill(task));
    rt_settle();
    ck_assert(!fj_future_done(fj_task_future(task)));
    put(ends[1]);
    rt_code(rt_join(task), OK);
}
END_TEST

RT_TASK(waits_on_a_thread)
{
    ck_assert_int_eq(rt->offload(blocks, user, true), 0);
    return FJ_OK;
}

static void puts_there(void *arg)
{
    put(*(int *)arg);
}

RT_TASK(puts_on_a_thread)
{
    ck_assert_int_eq(rt->offload(puts_there, user, false), 0);
    return FJ_OK;
}

START_TEST(who_waits_on_a_thread_takes_none_from_whom_he_waits_for)
{
    struct job job = { .gate = ends[0] };

    fj_thread_pool_size(1);
    fj_task *one = green(waits_on_a_thread, &job), *two = green(puts_on_a_thread, &ends[1]);
    rt_code(rt_join(two), OK);
    rt_code(rt_join(one), OK);
    ck_assert(job.done);
    fj_thread_pool_size(0);
}
END_TEST

RT_TASK(offloads_in_an_atomic_section)
{
    struct job *job = user;

    fj_atomic_begin();
    ck_assert_int_eq(rt->offload(blocks, job, false), 0);
    ck_assert_int_eq(came_to(rt->wait_fd(ends[0], POLLIN, INT64_MAX)), -EDEADLK);
    fj_atomic_end();
    return FJ_OK;
}

START_TEST(in_an_atomic_section_nothing_suspends)
{
    struct job job = { .gate = -1 };

    rt_code(rt_join(green(offloads_in_an_atomic_section, &job)), OK);
    ck_assert(pthread_equal(job.on, pthread_self()));
    ck_assert_uint_eq(rt_troubles, 1);
}
END_TEST

RT_TASK(notes_it)
{
    note(user);
    return FJ_OK;
}

RT_TASK(breathes)
{
    note("a");
    errno = ENOTTY;
    ck_assert_int_eq(rt->breathe(), 0);
    ck_assert_int_eq(errno, ENOTTY);
    note("c");
    ck_assert(fj_task_cancel(fj_task_current()));
    ck_assert_int_eq(came_to(rt->breathe()), -ECANCELED);
    ck_assert_int_eq(came_to(rt->breathe()), 0); /* told once */
    return FJ_OK;
}

START_TEST(breath_lets_others_run_and_tells_of_a_cancellation)
{
    fj_task *one = green(breathes, NULL), *two = rt_spawn(notes_it, "b", "other");

    rt_code(rt_join(one), OK);
    rt_code(rt_join(two), OK);
    ck_assert_str_eq(notes(), "abc");
}
END_TEST

/* ---- addresses ------------------------------------------------------------------------------------- */

static int object, another;

static bool no(void *arg)
{
    ++*(int *)arg;
    return false;
}

struct parks {
    const char *name;
    int64_t by;
    int got;
};

RT_TASK(parks)
{
    struct parks *p = user;

    p->got = rt->park(&(fj__parking){ .address = &object, .by = { p->by }, .what = "object" });
    note(p->name);
    return FJ_OK;
}

START_TEST(those_parked_on_an_address_are_woken_in_order)
{
    struct parks a = { "a", INT64_MAX, -1 }, b = { "b", INT64_MAX, -1 }, c = { "c", INT64_MAX, -1 };
    fj_task *one = green(parks, &a), *two = green(parks, &b), *three = green(parks, &c);

    ck_assert(!fj__parking_any(&object));
    rt_settle();
    ck_assert(fj__parking_any(&object));
    ck_assert(!fj__parking_any(&another));
    ck_assert_uint_eq(rt->unpark(&another, 1), 0);
    ck_assert_uint_eq(rt->unpark(&object, 2), 2);
    rt_settle();
    ck_assert_str_eq(notes(), "ab");
    ck_assert_uint_eq(rt->unpark(&object, 2), 1);
    rt_code(rt_join(one), OK);
    rt_code(rt_join(two), OK);
    rt_code(rt_join(three), OK);
    ck_assert_str_eq(notes(), "abc");
    ck_assert(!fj__parking_any(&object));
    ck_assert_int_eq(a.got | b.got | c.got, 0);
}
END_TEST

RT_TASK(asks_first)
{
    int asked = 0;

    ck_assert_int_eq(
        rt->park(&(fj__parking){ .address = &object, .still = no, .arg = &asked, .by = { INT64_MAX } }), 0);
    ck_assert_int_eq(asked, 1);
    ck_assert(!fj__parking_any(&object));
    return FJ_OK;
}

START_TEST(who_need_not_park_does_not)
{
    rt_code(rt_join(green(asks_first, NULL)), OK);
}
END_TEST

START_TEST(parking_ends_at_its_deadline_or_by_cancellation)
{
    struct parks a = { "a", soon(), -1 }, b = { "b", INT64_MAX, -1 };

    rt_code(rt_join(green(parks, &a)), OK);
    ck_assert_int_eq(a.got, ETIMEDOUT);
    fj_task *task = green(parks, &b);
    rt_settle();
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(b.got, ECANCELED);
    ck_assert(!fj__parking_any(&object));
}
END_TEST

static void *unparks(void *user)
{
    (void)user;
    while (rt->unpark(&object, 1) == 0)
        (void)sched_yield();
    return NULL;
}

START_TEST(another_thread_wakes_who_is_parked)
{
    struct parks a = { "a", INT64_MAX, -1 };
    fj_task *task = green(parks, &a);
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, unparks, NULL), 0);
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(a.got, 0);
}
END_TEST

/* A lock made of an address, as the hooks make theirs. */
static struct {
    atomic_int taken;
    unsigned counter; /* under it */
} toy_lock;

static bool is_taken(void *arg)
{
    int expected = 0;

    (void)arg;
    return !atomic_compare_exchange_strong(&toy_lock.taken, &expected, 1);
}

RT_TASK(counts)
{
    enum { TIMES = 300 };
    fj__parking p = { .address = &toy_lock, .still = is_taken, .by = { INT64_MAX }, .what = "toy lock" };

    for (int i = 0; i < TIMES; i++) {
        ck_assert_int_eq(rt->park(&p), 0);
        toy_lock.counter++;
        if (i % 3 == 0)
            (void)rt->breathe(); /* with the lock held: the others of this loop park */
        atomic_store(&toy_lock.taken, 0);
        (void)rt->unpark(&toy_lock, 1);
    }
    return FJ_OK;
}

static void *count_on_a_loop(void *user)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *tasks[4];

    (void)user;
    opts.green = true;
    ck_assert_int_eq(fj_loop_new(&opts.loop, NULL), FJ_OK);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(fj_task_spawn(counts, NULL, &opts, &tasks[i], NULL), FJ_OK);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(fj_loop_run_until_complete(opts.loop, fj_task_future(tasks[i]), NULL, NULL), FJ_OK);
        (void)fj_task_unref(tasks[i]);
    }
    fj_loop_free(opts.loop);
    return NULL;
}

START_TEST(no_wake_up_is_lost_between_loops)
{
    enum { LOOPS = 3 };
    pthread_t threads[LOOPS];

    for (int i = 0; i < LOOPS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_on_a_loop, NULL), 0);
    for (int i = 0; i < LOOPS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(toy_lock.counter, LOOPS * 4 * 300);
    ck_assert(!fj__parking_any(&toy_lock));
}
END_TEST

/* Takes it again at once each time, and holds it while others could run. */
RT_TASK(hogs)
{
    atomic_int *end = user;
    fj__parking p = { .address = &toy_lock, .still = is_taken, .by = { INT64_MAX }, .what = "toy lock" };

    while (atomic_load(end) == 0) {
        if (rt->starved(&toy_lock) || is_taken(NULL))
            ck_assert_int_eq(rt->park(&p), 0);
        rt_code(pause_ms(1), OK);
        atomic_store(&toy_lock.taken, 0);
        (void)rt->unpark(&toy_lock, 1);
    }
    return FJ_OK;
}

RT_TASK(ends_it)
{
    fj__parking p = { .address = &toy_lock, .still = is_taken, .by = { INT64_MAX }, .what = "toy lock" };

    ck_assert_int_eq(rt->park(&p), 0);
    atomic_store((atomic_int *)user, 1);
    atomic_store(&toy_lock.taken, 0);
    (void)rt->unpark(&toy_lock, 1);
    return FJ_OK;
}

START_TEST(who_is_starved_comes_before_who_comes_again)
{
    atomic_int end = 0;
    fj_task *one = green(hogs, &end), *two = green(ends_it, &end);

    rt_code(rt_join(one), OK);
    rt_code(rt_join(two), OK);
    ck_assert(!rt->starved(&toy_lock));
}
END_TEST

struct meets {
    unsigned n;
    int got;
};

RT_TASK(meets)
{
    struct meets *m = user;

    m->got = rt->meet(&object, m->n, 0, "meeting");
    return FJ_OK;
}

START_TEST(those_who_meet_wait_for_the_last_of_them)
{
    struct meets m[3] = { { 3, 9 }, { 3, 9 }, { 3, 9 } };
    fj_task *tasks[2] = { green(meets, &m[0]), green(meets, &m[1]) };

    rt_settle();
    ck_assert_int_eq(m[0].got, 9);
    rt_code(rt_join(green(meets, &m[2])), OK);
    ck_assert_int_eq(m[2].got, PTHREAD_BARRIER_SERIAL_THREAD);
    for (int i = 0; i < 2; i++) {
        rt_code(rt_join(tasks[i]), OK);
        ck_assert_int_eq(m[i].got, 0);
    }
}
END_TEST

/* ---- who holds what --------------------------------------------------------------------------------- */

RT_TASK(owns_something)
{
    fj_task *owner = NULL;

    ck_assert(rt->own(&object));
    ck_assert(rt->owns(&object));
    owner = fj__owner_of(&object);
    ck_assert_ptr_eq(owner, fj_task_current());
    (void)fj_task_unref(owner);
    rt->disown(&object);
    ck_assert(!rt->owns(&object));
    ck_assert_ptr_null(fj__owner_of(&object));
    ck_assert(rt->own(&another));
    return FJ_OK;
}

START_TEST(a_task_that_ends_and_holds_something_is_reported)
{
    rt_code(rt_join(green(owns_something, NULL)), OK);
    ck_assert_uint_eq(rt_troubles, 1);
    ck_assert_ptr_null(fj__owner_of(&another));
}
END_TEST

RT_TASK(owns_many)
{
    enum { MANY = 20000 };
    static char many[MANY];
    int kept = 0;

    for (int i = 0; i < MANY; i++)
        kept += rt->own(&many[i]);
    ck_assert_int_gt(kept, 10000);
    ck_assert_int_lt(kept, MANY);
    for (int i = 0; i < MANY; i++)
        rt->disown(&many[i]);
    return FJ_OK;
}

START_TEST(there_is_room_for_thousands_and_an_end_to_it)
{
    rt_code(rt_join(green(owns_many, NULL)), OK);
    ck_assert_uint_eq(rt_troubles, 0);
}
END_TEST

/* ---- forks ----------------------------------------------------------------------------------------- */

START_TEST(a_forked_child_knows_nothing_of_who_waits_in_the_parent)
{
    struct want w = { ends[0], POLLIN, INT64_MAX, 0 };
    struct parks a = { "a", INT64_MAX, -1 };
    fj_task *one = green(waits, &w), *two = green(parks, &a);
    int status = -1;

    rt_settle();
    pid_t pid = fork();
    if (pid == 0) {
        rt->closing((unsigned)ends[0], (unsigned)ends[0]);
        _exit(fj__parking_any(&object) || rt->unpark(&object, 1) != 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(rt->unpark(&object, 1), 1);
    put(ends[1]);
    rt_code(rt_join(one), OK);
    rt_code(rt_join(two), OK);
    ck_assert_int_eq(w.got, POLLIN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("green");
    TCase *c = tcase_create("green");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, the_halves_are_exchanged_once_before_main);
    tcase_add_test(c, patching_adds_groups);
    tcase_add_test(c, a_group_whose_hook_does_not_come_first_is_refused_with_advice);
    tcase_add_test(c, groups_have_names);
    tcase_add_test(c, the_switch_is_on_in_green_tasks_alone);
    tcase_add_test(c, any_number_of_tasks_wait_for_one_descriptor);
    tcase_add_test(c, a_reader_of_the_same_descriptor_is_called_as_before);
    tcase_add_test(c, a_wait_for_a_descriptor_ends_at_its_deadline);
    tcase_add_test(c, a_wait_cut_short_answers_what_no_library_retries);
    tcase_add_test(c, what_cannot_be_watched_is_told_at_once);
    tcase_add_test(c, closing_wakes_all_who_wait_and_the_number_may_be_anothers);
    tcase_add_test(c, closing_on_another_thread_wakes_them_too);
    tcase_add_test(c, tasks_that_still_wait_end_with_their_loop);
    tcase_add_test(c, poll_waits_for_the_first_of_several);
    tcase_add_test(c, poll_tells_of_bad_descriptors_and_files_at_once);
    tcase_add_test(c, poll_of_nothing_is_a_sleep);
    tcase_add_test(c, poll_hears_of_a_hang_up_that_is_all_it_asked_for);
    tcase_add_test(c, poll_of_many_answers_for_the_one_that_is_ready);
    tcase_add_test(c, poll_calls_a_descriptor_that_is_being_closed_invalid);
    tcase_add_test(c, poll_goes_on_waiting_when_another_was_faster);
    tcase_add_test(c, a_sleep_ends_at_its_time_or_by_cancellation);
    tcase_add_test(c, what_blocks_runs_on_a_thread_and_brings_its_errno);
    tcase_add_test(c, a_cancelled_task_waits_for_what_runs_on_the_thread);
    tcase_add_test(c, who_waits_on_a_thread_takes_none_from_whom_he_waits_for);
    tcase_add_test(c, in_an_atomic_section_nothing_suspends);
    tcase_add_test(c, breath_lets_others_run_and_tells_of_a_cancellation);
    tcase_add_test(c, those_parked_on_an_address_are_woken_in_order);
    tcase_add_test(c, who_need_not_park_does_not);
    tcase_add_test(c, parking_ends_at_its_deadline_or_by_cancellation);
    tcase_add_test(c, another_thread_wakes_who_is_parked);
    tcase_add_test(c, who_is_starved_comes_before_who_comes_again);
    tcase_add_test(c, those_who_meet_wait_for_the_last_of_them);
    tcase_add_test(c, a_task_that_ends_and_holds_something_is_reported);
    tcase_add_test(c, there_is_room_for_thousands_and_an_end_to_it);
    tcase_add_test(c, a_forked_child_knows_nothing_of_who_waits_in_the_parent);
    suite_add_tcase(suite, c);
    TCase *plain = tcase_create("by the real clock");
    tcase_add_test(plain, no_wake_up_is_lost_between_loops);
    suite_add_tcase(suite, plain);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
