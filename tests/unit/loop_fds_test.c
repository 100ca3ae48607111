/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors on a loop: readers and writers, sources, and the loop in a host's loop. */
#include "runtime/clock.h"
#include "runtime/loop.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static fj_loop *loop;
static int ends[2]; /* a pair of sockets */
static int reads, writes;

static void set_up(void)
{
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
}

static void tear_down(void)
{
    loop = fj_loop_free(loop);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void put(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

static bool take(int fd)
{
    char c;

    return read(fd, &c, 1) == 1;
}

static fj_code turn(void)
{
    return fj_loop_turn(loop, fj_in_ms(0), NULL);
}

static void on_read(fj_loop *l, int fd, void *user)
{
    (void)l;
    reads++;
    if (user == NULL)
        ck_assert(take(fd));
}

static void on_write(fj_loop *l, int fd, void *user)
{
    (void)l;
    (void)fd;
    (void)user;
    writes++;
}

/* ---- readers and writers ---- */

START_TEST(a_reader_is_called_while_there_is_something_to_read)
{
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_read, NULL, NULL), FJ_OK);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    put(ends[1]);
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    ck_assert_int_eq(reads, 2);
}
END_TEST

START_TEST(a_reader_and_a_writer_of_one_descriptor_are_apart)
{
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_read, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_add_writer(loop, ends[0], on_write, NULL, NULL), FJ_OK);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(reads, 0);
    ck_assert_int_eq(writes, 1);
    ck_assert(fj_loop_remove_writer(loop, ends[0]));
    ck_assert(!fj_loop_remove_writer(loop, ends[0]));
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(reads, 1);
    ck_assert_int_eq(writes, 1);
    ck_assert(fj_loop_remove_reader(loop, ends[0]));
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    ck_assert(!fj_loop_remove_reader(loop, ends[0]));
    ck_assert(!fj_loop_remove_reader(loop, 100000));
    ck_assert(!fj_loop_remove_reader(loop, -1));
}
END_TEST

START_TEST(a_second_reader_replaces_the_first)
{
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_write, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_read, NULL, NULL), FJ_OK);
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(reads, 1);
    ck_assert_int_eq(writes, 0);
}
END_TEST

static void on_read_remove_both(fj_loop *l, int fd, void *user)
{
    (void)fd;
    (void)user;
    reads++;
    (void)fj_loop_remove_reader(l, ends[0]);
    (void)fj_loop_remove_reader(l, ends[1]);
}

START_TEST(a_reader_may_remove_itself_and_another_that_is_ready)
{
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_read_remove_both, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[1], on_read_remove_both, NULL, NULL), FJ_OK);
    put(ends[0]);
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(reads, 1);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
}
END_TEST

START_TEST(what_cannot_be_watched_is_refused)
{
    int file = memfd_create("a file", MFD_CLOEXEC);

    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(fj_loop_add_reader(loop, file, on_read, NULL, NULL), FJ_SYSTEM);
    (void)close(file);
    ck_assert_int_eq(fj_loop_add_reader(loop, file, on_read, NULL, NULL), FJ_SYSTEM);
    ck_assert_int_eq(fj_loop_add_writer(loop, -1, on_write, NULL, NULL), FJ_SYSTEM);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
}
END_TEST

START_TEST(a_descriptor_of_a_number_used_before_is_watched)
{
    int old = ends[0];

    ck_assert_int_eq(fj_loop_add_reader(loop, old, on_read, NULL, NULL), FJ_OK);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    ck_assert(fj_loop_remove_reader(loop, old));
    (void)close(ends[0]);
    (void)close(ends[1]);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(ends[0], old);
    ck_assert_int_eq(fj_loop_add_reader(loop, old, on_read, NULL, NULL), FJ_OK);
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(reads, 1);
}
END_TEST

/* ---- sources ---- */

/* Static in each test: the loop is freed only after it. */
struct well {
    fj_source source;
    fj_watch want;
    int asked, pumped, again, flushed;
    bool leave;    /* detach in the pump */
    fj_watch seen; /* what the last pump was told */
};

static void well_watch(fj_source *source, fj_watch *ret)
{
    struct well *w = (struct well *)source;

    ck_assert_uint_eq(ret->n, 0);
    ck_assert(fj_is_never(ret->by));
    w->asked++;
    *ret = w->want;
    if (w->again > 0)
        ret->by = fj_now();
}

static void well_pump(fj_source *source, const fj_watch *ready, fj_deadline now)
{
    struct well *w = (struct well *)source;

    ck_assert_int_gt(now.ns, 0);
    w->pumped++;
    w->seen = *ready;
    if (w->again > 0)
        w->again--;
    if (w->want.by.ns <= now.ns)
        w->want.by = fj_never();
    for (unsigned i = 0; i < ready->n; i++) {
        while (ready->fds[i].read && take(ready->fds[i].fd))
            ;
    }
    if (w->leave)
        fj_loop_detach(loop, source);
}

static void well_flush(fj_source *source)
{
    struct well *w = (struct well *)source;

    w->flushed++;
}

static struct well *dig(struct well *w)
{
    *w = (struct well){ .source = { .watch = well_watch, .pump = well_pump, .flush = well_flush },
                        .want = { .by = fj_never() } };
    ck_assert_int_eq(fj_loop_attach(loop, &w->source, NULL), FJ_OK);
    return w;
}

static void want(struct well *w, int fd, unsigned opened, bool rd, bool wr)
{
    w->want.fds[0].fd = fd;
    w->want.fds[0].opened = opened;
    w->want.fds[0].read = rd;
    w->want.fds[0].write = wr;
    w->want.n = 1;
}

START_TEST(a_source_is_pumped_when_what_it_watches_is_ready)
{
    static struct well w;

    want(dig(&w), ends[0], 1, true, false);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(w.pumped, 1);
    ck_assert(w.seen.fds[0].read);
    ck_assert(!w.seen.fds[0].write);
    want(&w, ends[0], 1, true, true);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert(w.seen.fds[0].write);
    ck_assert(!w.seen.fds[0].read);
    w.want.n = 0;
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    ck_assert_int_eq(w.pumped, 2);
}
END_TEST

START_TEST(a_source_is_pumped_at_its_deadline)
{
    static struct well w;

    fj__clock_set_fake(10);
    fj__clock_set_auto(true);
    dig(&w)->want.by = fj_in_ms(500);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(1000), NULL), FJ_OK);
    ck_assert_int_eq(fj_now().ns, 500000010);
    ck_assert_int_eq(w.pumped, 1);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(1000), NULL), FJ_TIMEOUT);
    ck_assert_int_eq(w.pumped, 1);
}
END_TEST

START_TEST(a_source_that_wants_more_gets_it_in_the_same_turn_but_not_for_ever)
{
    static struct well w;

    dig(&w)->again = 5;
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(w.pumped, 5);
    w.again = 1000000;
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_gt(w.again, 0);
}
END_TEST

static void nothing(fj_loop *l, void *user)
{
    (void)l, (void)user;
}

START_TEST(a_source_is_flushed_before_the_loop_looks_and_when_it_is_left)
{
    static struct well w;

    (void)dig(&w);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    ck_assert_int_eq(w.asked, 1);
    ck_assert_int_eq(w.flushed, 2);
    ck_assert_int_eq(fj_loop_call_soon(loop, nothing, NULL, "nothing", NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(10000), NULL), FJ_OK);
    ck_assert_int_eq(w.asked, 1); /* it did something: the next one looks */
    ck_assert_int_eq(w.flushed, 3);
}
END_TEST

START_TEST(a_source_that_opened_the_same_number_anew_is_heard)
{
    static struct well w;
    int old = ends[0];

    want(dig(&w), old, 1, true, false);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    (void)close(ends[0]);
    (void)close(ends[1]);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(ends[0], old);
    want(&w, old, 2, true, false);
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(w.pumped, 1);
    ck_assert(w.seen.fds[0].read);
}
END_TEST

START_TEST(two_sources_share_a_descriptor_with_a_reader)
{
    static struct well a, b;

    want(dig(&a), ends[0], 1, false, true);
    want(dig(&b), ends[0], 1, false, true);
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_read, NULL, NULL), FJ_OK);
    put(ends[1]);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(a.pumped, 1);
    ck_assert_int_eq(b.pumped, 1);
    ck_assert_int_eq(reads, 1);
}
END_TEST

START_TEST(a_source_may_leave_in_its_own_pump_and_come_back)
{
    static struct well a, b;

    want(dig(&a), ends[0], 1, false, true);
    want(dig(&b), ends[1], 1, false, true);
    a.leave = true;
    ck_assert_int_eq(fj_loop_attach(loop, &a.source, NULL), FJ_STATE);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_ptr_null(a.source.attached);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(a.pumped, 1);
    ck_assert_int_eq(b.pumped, 2);
    ck_assert_int_eq(fj_loop_attach(loop, &a.source, NULL), FJ_OK);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(a.pumped, 2);
    fj_loop_detach(loop, &a.source);
    fj_loop_detach(loop, &a.source);
    fj_loop_free(loop);
    ck_assert_ptr_null(b.source.attached);
    loop = NULL;
}
END_TEST

/* ---- in a host's loop ---- */

static int calls;

static void on_call(fj_loop *l, void *user)
{
    (void)user;
    ck_assert_ptr_eq(fj_loop_running(), l);
    calls++;
}

/* As a host does.  @return whether the loop had something to do */
static bool host_once(int ms)
{
    struct pollfd p = { .fd = fj_loop_fd(loop), .events = POLLIN };
    int left = fj_left_ms(fj_loop_due(loop));

    ck_assert_int_ge(p.fd, 0);
    if (left < 0 || left > ms)
        left = ms;
    int n = poll(&p, 1, left);
    if (n == 0 && !fj_passed(fj_loop_due(loop)))
        return false;
    fj_loop_dispatch(loop);
    return true;
}

static void *call_from_there(void *user)
{
    (void)user;
    ck_assert_int_eq(fj_loop_call_soon_threadsafe(loop, on_call, NULL, NULL), FJ_OK);
    return NULL;
}

START_TEST(a_host_drives_the_loop_by_its_descriptor_and_its_deadline)
{
    static struct well w;

    ck_assert(!host_once(0));
    ck_assert_int_eq(fj_loop_call_soon(loop, on_call, NULL, NULL, NULL), FJ_OK);
    ck_assert(fj_passed(fj_loop_due(loop)));
    ck_assert(host_once(0));
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(fj_loop_call_later(loop, 0.002, on_call, NULL, NULL, NULL), FJ_OK);
    while (calls < 2)
        (void)host_once(1000);
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_read, NULL, NULL), FJ_OK);
    ck_assert(!host_once(0));
    put(ends[1]);
    ck_assert(host_once(1000));
    ck_assert_int_eq(reads, 1);
    ck_assert(!host_once(0));
    ck_assert(fj_loop_remove_reader(loop, ends[0]));
    want(dig(&w), ends[0], 1, true, false);
    ck_assert(!host_once(0));
    put(ends[1]);
    ck_assert(host_once(1000));
    ck_assert_int_eq(w.pumped, 1);
    ck_assert(!host_once(0));
    ck_assert(fj_is_never(fj_loop_due(loop)));
}
END_TEST

START_TEST(another_thread_wakes_the_host)
{
    pthread_t thread;

    for (int i = 1; i <= 100; i++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, call_from_there, NULL), 0);
        while (calls < i)
            (void)host_once(10000);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
    while (host_once(0)) /* a wake-up may be on its way */
        ;
}
END_TEST

int main(void)
{
    Suite *s = suite_create("loop's descriptors");
    TCase *t = tcase_create("descriptors");
    SRunner *r = srunner_create(s);

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_reader_is_called_while_there_is_something_to_read);
    tcase_add_test(t, a_reader_and_a_writer_of_one_descriptor_are_apart);
    tcase_add_test(t, a_second_reader_replaces_the_first);
    tcase_add_test(t, a_reader_may_remove_itself_and_another_that_is_ready);
    tcase_add_test(t, what_cannot_be_watched_is_refused);
    tcase_add_test(t, a_descriptor_of_a_number_used_before_is_watched);
    tcase_add_test(t, a_source_is_pumped_when_what_it_watches_is_ready);
    tcase_add_test(t, a_source_is_pumped_at_its_deadline);
    tcase_add_test(t, a_source_that_wants_more_gets_it_in_the_same_turn_but_not_for_ever);
    tcase_add_test(t, a_source_is_flushed_before_the_loop_looks_and_when_it_is_left);
    tcase_add_test(t, a_source_that_opened_the_same_number_anew_is_heard);
    tcase_add_test(t, two_sources_share_a_descriptor_with_a_reader);
    tcase_add_test(t, a_source_may_leave_in_its_own_pump_and_come_back);
    tcase_add_test(t, a_host_drives_the_loop_by_its_descriptor_and_its_deadline);
    tcase_add_test(t, another_thread_wakes_the_host);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
