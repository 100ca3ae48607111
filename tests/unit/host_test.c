/* SPDX-License-Identifier: Apache-2.0 */
/* Loops that live in a host's, which is a toy on poll(2).  All but the last group is run in both ways. */
#include "tests/support/toy_host.h"

#include "runtime/clock.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static toy_host host;
static int ends[2];
static unsigned calls, reads, writes;

static void set_up(toy_way way)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    toy_up(&host, way);
}

static void watching(void)
{
    set_up(TOY_WATCHES);
}

static void driving(void)
{
    set_up(TOY_DRIVES);
}

static void down(void)
{
    if (host.loop != NULL)
        toy_down(&host);
    fj__clock_set_auto(false);
    fj__clock_set_fake(-1);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* Until nothing is left to be done: the loop then asks for nothing. */
static void settle(void)
{
    while (toy_once(&host, 0))
        ;
}

static void on_call(fj_loop *loop, void *user)
{
    (void)user;
    ck_assert_ptr_eq(fj_loop_running(), loop);
    calls++;
}

static void on_read(fj_loop *loop, int fd, void *user)
{
    char c;

    (void)loop, (void)user;
    ck_assert_int_eq(read(fd, &c, 1), 1); /* which would block if the word were not true */
    reads++;
}

static void on_write(fj_loop *loop, int fd, void *user)
{
    (void)user;
    writes++;
    ck_assert(fj_loop_remove_writer(loop, fd));
}

static void put(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

/* ---- what a loop does ---- */

START_TEST(what_is_given_from_outside_runs_in_the_next_turn_of_the_host)
{
    settle();
    ck_assert_int_eq(fj_loop_call_soon(host.loop, on_call, NULL, NULL, NULL), FJ_OK);
    ck_assert_uint_eq(calls, 0);
    ck_assert(toy_once(&host, -1));
    ck_assert_uint_eq(calls, 1);
}
END_TEST

START_TEST(a_timer_ends_the_sleep_of_the_host_and_is_armed_again)
{
    fj_handle *late = NULL;

    settle();
    ck_assert_int_eq(fj_loop_call_later(host.loop, 3600, on_call, NULL, NULL, &late), FJ_OK);
    settle();
    ck_assert_uint_eq(calls, 0);
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_int_eq(fj_loop_call_later(host.loop, 0.001, on_call, NULL, NULL, NULL), FJ_OK);
        while (calls < i)
            (void)toy_once(&host, -1); /* for ever, if the host were not told */
    }
    fj_handle_cancel(late);
    fj_handle_unref(late);
    settle();
}
END_TEST

START_TEST(readers_and_writers_are_called_when_it_is_true)
{
    ck_assert_int_eq(fj_loop_add_reader(host.loop, ends[0], on_read, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_add_writer(host.loop, ends[0], on_write, NULL, NULL), FJ_OK);
    while (writes == 0)
        (void)toy_once(&host, -1);
    settle();
    ck_assert_uint_eq(writes, 1);
    ck_assert_uint_eq(reads, 0);
    put(ends[1]);
    put(ends[1]);
    while (reads < 2)
        (void)toy_once(&host, -1);
    settle();
    ck_assert(fj_loop_remove_reader(host.loop, ends[0]));
    put(ends[1]);
    settle();
    ck_assert_uint_eq(reads, 2);
}
END_TEST

START_TEST(an_idle_loop_leaves_the_host_asleep)
{
    ck_assert_int_eq(fj_loop_add_reader(host.loop, ends[0], on_read, NULL, NULL), FJ_OK);
    put(ends[1]);
    while (reads == 0)
        (void)toy_once(&host, -1);
    settle();
    unsigned turns = host.turns, asked = host.asked;
    for (int i = 0; i < 100; i++)
        ck_assert(!toy_once(&host, 0));
    ck_assert_uint_eq(host.turns, turns);
    ck_assert_uint_eq(host.asked, asked);
    if (host.way == TOY_DRIVES)
        ck_assert(fj_is_never(host.at));
    else
        ck_assert(fj_is_never(fj_loop_due(host.loop)));
    ck_assert(fj_loop_remove_reader(host.loop, ends[0]));
}
END_TEST

static void *call_from_there(void *user)
{
    (void)user;
    ck_assert_int_eq(fj_loop_call_soon_threadsafe(host.loop, on_call, NULL, NULL), FJ_OK);
    return NULL;
}

START_TEST(another_thread_wakes_the_host)
{
    pthread_t thread;

    for (unsigned i = 1; i <= 100; i++) {
        if (i % 2 == 0)
            settle();
        ck_assert_int_eq(pthread_create(&thread, NULL, call_from_there, NULL), 0);
        while (calls < i)
            (void)toy_once(&host, -1);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
    settle();
}
END_TEST

static unsigned left_over;

static void again(fj_loop *loop, void *user)
{
    (void)user;
    calls++;
    if (left_over-- > 1)
        ck_assert_int_eq(fj_loop_call_soon(loop, again, NULL, NULL, NULL), FJ_OK);
}

START_TEST(a_turn_ends_though_there_is_more_to_do)
{
    enum { MANY = 1000 };

    settle();
    left_over = MANY;
    ck_assert_int_eq(fj_loop_call_soon(host.loop, again, NULL, NULL, NULL), FJ_OK);
    for (unsigned i = 0; i < MANY; i++) {
        unsigned before = calls;
        ck_assert(toy_once(&host, -1));
        ck_assert_uint_eq(calls - before,
                          1); /* what a job adds is for the next turn: the host's own come between */
    }
    settle();
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(fj_loop_call_soon(host.loop, on_call, NULL, NULL, NULL), FJ_OK);
    unsigned before = calls;
    ck_assert(toy_once(&host, -1));
    ck_assert_uint_lt(calls - before, MANY);
    settle();
    ck_assert_uint_eq(calls - before, MANY);
}
END_TEST

/* Something that expects bytes by a time, as heartbeats are expected. */
struct patient {
    fj_source source; /* first */
    fj_deadline by;
    unsigned pumped, missed;
};

static void watch_patient(fj_source *source, fj_watch *ret)
{
    struct patient *p = (struct patient *)(void *)source;

    ret->fds[0].fd = ends[0];
    ret->fds[0].opened = 0;
    ret->fds[0].read = true;
    ret->fds[0].write = false;
    ret->n = 1;
    ret->by = p->by;
}

static void pump_patient(fj_source *source, const fj_watch *ready, fj_deadline now)
{
    struct patient *p = (struct patient *)(void *)source;

    p->pumped++;
    if (ready->fds[0].read)
        on_read(host.loop, ends[0], NULL);
    else
        p->missed += now.ns >= p->by.ns;
    p->by = fj_never();
}

START_TEST(what_came_before_a_deadline_is_seen_though_the_loop_is_late)
{
    static struct patient p = { .source = { .watch = watch_patient, .pump = pump_patient } };

    fj__clock_set_fake(1000000000);
    p.by = fj_in_ms(10);
    ck_assert_int_eq(fj_loop_attach(host.loop, &p.source, NULL), FJ_OK);
    settle();
    put(ends[1]);
    fj__clock_set_fake(2000000000);
    if (host.way == TOY_DRIVES) { /* the time comes first, and with no word of the descriptor */
        ck_assert(fj_passed(host.at));
        host.at = fj_never();
        fj_loop_timeout(host.loop);
    } else {
        fj_loop_dispatch(host.loop);
    }
    ck_assert_uint_eq(p.pumped, 1);
    ck_assert_uint_eq(p.missed, 0);
    ck_assert_uint_eq(reads, 1);
    fj_loop_detach(host.loop, &p.source);
}
END_TEST

/* ---- where the loop is not to be turned ---- */

static void drive_inside(fj_loop *loop, void *user)
{
    (void)user;
    calls++;
    fj_loop_dispatch(loop);
    fj_loop_timeout(loop);
    fj_loop_readable(loop, ends[0]);
    fj_loop_writable(loop, ends[0]);
    ck_assert(fj_is_never(fj_loop_due(loop)));
    ck_assert_int_eq(fj_loop_turn(loop, fj_never(), NULL), FJ_STATE);
    ck_assert_uint_eq(reads, 0);
}

START_TEST(nested_turns_are_refused_and_nothing_is_lost_by_it)
{
    ck_assert_int_eq(fj_loop_add_reader(host.loop, ends[0], on_read, NULL, NULL), FJ_OK);
    settle();
    put(ends[1]);
    ck_assert_int_eq(fj_loop_call_soon(host.loop, drive_inside, NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(host.loop, 0.001, on_call, NULL, NULL, NULL), FJ_OK);
    while (reads == 0 || calls < 2)
        (void)toy_once(&host, -1);
    ck_assert(fj_loop_remove_reader(host.loop, ends[0]));
}
END_TEST

static unsigned troubles;

static void on_trouble(fj_loop *loop, const char *what, const fj_error *error, void *user)
{
    (void)loop, (void)error, (void)user;
    ck_assert_ptr_nonnull(strstr(what, "runs: nothing is freed"));
    troubles++;
}

static void free_inside(fj_loop *loop, void *user)
{
    (void)user;
    ck_assert_ptr_null(fj_loop_free(loop));
}

START_TEST(a_loop_is_not_freed_in_its_own_call_backs)
{
    fj_loop_set_trouble_handler(host.loop, on_trouble, NULL);
    ck_assert_int_eq(fj_loop_call_soon(host.loop, free_inside, NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(host.loop, 0, on_call, NULL, NULL, NULL), FJ_OK);
    while (calls == 0)
        (void)toy_once(&host, -1);
    ck_assert_uint_eq(troubles, 1);
    toy_down(&host);
}
END_TEST

static fj_code naps(void *user, json_t **ret, fj_error **err)
{
    unsigned *ended = user;

    (void)ret, (void)err;
    fj_code code = fj_sleep(fj_never());
    ++*ended;
    return code;
}

START_TEST(a_free_ends_tasks_that_wait)
{
    unsigned ended = 0;

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(fj_task_spawn(naps, &ended, NULL, NULL, NULL), FJ_OK);
    settle();
    ck_assert_uint_eq(ended, 0);
    toy_down(&host);
    ck_assert_uint_eq(ended, 3);
}
END_TEST

START_TEST(a_host_that_stops_for_a_while_goes_on_where_it_was)
{
    struct timespec t = { .tv_nsec = 2000000 };

    ck_assert_int_eq(fj_loop_add_reader(host.loop, ends[0], on_read, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(host.loop, 0.001, on_call, NULL, NULL, NULL), FJ_OK);
    settle();
    put(ends[1]);
    (void)call_from_there(NULL);
    (void)nanosleep(&t, NULL); /* the host does nothing meanwhile: all of it is late */
    while (calls < 2 || reads < 1)
        ck_assert(toy_once(&host, -1));
    settle();
    /* The loop may be turned by itself, too, and the host takes it up again. */
    ck_assert_int_eq(fj_loop_call_later(host.loop, 0.001, on_call, NULL, NULL, NULL), FJ_OK);
    put(ends[1]);
    while (calls < 3 || reads < 2)
        ck_assert_int_eq(fj_loop_turn(host.loop, fj_never(), NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(host.loop, 0.001, on_call, NULL, NULL, NULL), FJ_OK);
    put(ends[1]);
    while (calls < 4 || reads < 3)
        (void)toy_once(&host, -1);
    settle();
    ck_assert(fj_loop_remove_reader(host.loop, ends[0]));
}
END_TEST

START_TEST(in_a_forked_child_the_hosts_words_do_nothing)
{
    int status;

    ck_assert_int_eq(fj_loop_add_reader(host.loop, ends[0], on_read, NULL, NULL), FJ_OK);
    settle();
    unsigned watches = host.watches, asked = host.asked;
    pid_t pid = fork();
    if (pid == 0) {
        put(ends[1]);
        fj_loop_readable(host.loop, ends[0]);
        fj_loop_timeout(host.loop);
        fj_loop_dispatch(host.loop);
        bool quiet = reads == 0 && fj_is_never(fj_loop_due(host.loop));
        quiet = quiet && fj_loop_add_writer(host.loop, ends[0], on_write, NULL, NULL) == FJ_OK &&
                fj_loop_remove_reader(host.loop, ends[0]);
        fj_loop_free(host.loop); /* the parent's watches are the parent's */
        _exit(quiet && host.watches == watches && host.asked == asked && !host.cleaned ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    while (reads == 0)
        (void)toy_once(&host, -1);
    ck_assert(fj_loop_remove_reader(host.loop, ends[0]));
}
END_TEST

/* ---- servers and clients ---- */

static fj_code add(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_integer(json_integer_value(json_object_get(args, "a")) +
                        json_integer_value(json_object_get(args, "b")));
    return FJ_OK;
}

static fj_code waits(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    return fj_sleep(fj_in_ms(5));
}

/* Waits by libc for a descriptor, which the host then watches, or has a thread wait where calls do not switch. */
static fj_code reads_on(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    int pair[2];
    char c = 0;
    struct timespec t = { .tv_nsec = 1000000 };

    (void)args, (void)ret, (void)req;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return fj_fail(err, FJ_SYSTEM, "no sockets");
    pid_t pid = fork();
    if (pid == 0) {
        (void)fj_original_nanosleep(&t, NULL);
        _exit(fj_original_write(pair[1], "x", 1) == 1 ? 0 : 1);
    }
    ssize_t n = read(pair[0], &c, 1);
    (void)close(pair[0]);
    (void)close(pair[1]);
    (void)waitpid(pid, NULL, 0);
    return n == 1 && c == 'x' ? FJ_OK : fj_fail(err, FJ_SYSTEM, "nothing was read");
}

static const fj_method methods[] = { FJ_METHOD("add", FJ_PLAIN, add), FJ_METHOD("waits", FJ_CORO, waits),
                                     FJ_METHOD("reads_on", FJ_GREEN, reads_on) };
static const fj_endpoint endpoint = FJ_ENDPOINT("host", "1.0", methods);

struct service {
    fj_conf *conf;
    fj_transport *transport;
    fj_server *server;
    fj_client *client;
    unsigned answered;
    fj_code code;
};

static void serve(struct service *s, const char *executor)
{
    char text[256];
    fj_target here = FJ_TARGET(.topic = "hosted", .server = "s");
    fj_target there = FJ_TARGET(.topic = "hosted", .ns = "host", .version = "1.0");

    memset(s, 0, sizeof *s);
    s->conf = fj_conf_new();
    (void)snprintf(text, sizeof text,
                   "[DEFAULT]\ntransport_url = %s\n[fjord]\nexecutor = "
                   "%s\n[oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 2\n",
                   getenv("FJ_TEST_URL") != NULL ? getenv("FJ_TEST_URL") : "fake://", executor);
    ck_assert_int_eq(fj_conf_parse(s->conf, "test", text, strlen(text), NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(s->conf, NULL, &s->transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(s->transport, &here, NULL, &s->server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(s->server, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(s->transport, &there, NULL, &s->client, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(s->server, NULL), FJ_OK);
}

static void end(struct service *s)
{
    fj_server_free(s->server);
    fj_client_free(s->client);
    fj_transport_free(s->transport);
    fj_conf_free(s->conf);
}

static fj_code ask(void *user, json_t **ret, fj_error **err)
{
    struct service *s = user;
    json_t *sum = NULL;

    (void)ret;
    s->code = fj_client_call(s->client, "add", json_pack("{s:i, s:i}", "a", 2, "b", 3), NULL, &sum, err);
    if (s->code == FJ_OK)
        s->code = fj_client_call(s->client, "waits", NULL, NULL, NULL, err);
    if (s->code == FJ_OK)
        s->code = fj_client_call(s->client, "reads_on", NULL, NULL, NULL, err);
    if (s->code == FJ_OK && json_integer_value(sum) == 5)
        s->answered++;
    json_decref(sum);
    return s->code;
}

static void answered(fj_future *future, void *user)
{
    struct service *s = user;

    s->code = fj_future_result(future, NULL, NULL);
    s->answered++;
}

static void ask_async(fj_loop *loop, void *user)
{
    struct service *s = user;
    fj_future *future = NULL;

    (void)loop;
    ck_assert_int_eq(fj_client_call_async(s->client, "waits", NULL, NULL, &future, NULL), FJ_OK);
    ck_assert_int_eq(fj_future_then(future, answered, s), FJ_OK);
    fj_future_unref(future);
}

static pthread_t answered_on;

static void answered_here(fj_future *future, void *user)
{
    answered_on = pthread_self();
    answered(future, user);
}

static const char *const executors[] = { "coroutine", "green", "bridged" };

START_TEST(a_server_and_its_clients_live_in_one_host)
{
    struct service s;

    serve(&s, executors[_i]);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(fj_task_spawn(ask, &s, NULL, NULL, NULL), FJ_OK);
        ck_assert_int_eq(fj_loop_call_soon(host.loop, ask_async, &s, NULL, NULL), FJ_OK);
    }
    while (s.answered < 8 && s.code == FJ_OK)
        (void)toy_once(&host, -1);
    ck_assert_int_eq(s.code, FJ_OK);
    fj_server_stop(s.server);
    ck_assert_int_eq(fj_server_wait(s.server, fj_in_ms(10000), NULL),
                     FJ_OK); /* which turns the loop meanwhile */
    end(&s);
}
END_TEST

START_TEST(an_asynchronous_call_of_the_hosts_own_call_backs_ends_in_a_turn_of_its_loop)
{
    struct service s;
    fj_future *future = NULL;

    serve(&s, executors[_i]);
    for (unsigned i = 1; i <= 2; i++) {
        ck_assert_int_eq(fj_client_call_async(s.client, "waits", NULL, NULL, &future, NULL), FJ_OK);
        ck_assert_int_eq(fj_future_then(future, answered_here, &s), FJ_OK);
        future = fj_future_unref(future);
        while (s.answered < i)
            (void)toy_once(&host, -1);
        ck_assert_int_eq(s.code, FJ_OK);
        ck_assert(pthread_equal(answered_on, pthread_self()));
    }
    end(&s);
}
END_TEST

static void *stop_from_there(void *user)
{
    struct service *s = user;

    fj_server_stop(s->server);
    s->code = fj_server_wait(s->server, fj_in_ms(10000), NULL);
    s->answered = 1;
    ck_assert_int_eq(fj_loop_call_soon_threadsafe(host.loop, on_call, NULL, NULL), FJ_OK);
    return NULL;
}

START_TEST(a_server_is_stopped_and_drained_while_the_host_goes_on)
{
    struct service s;
    pthread_t thread;

    serve(&s, executors[_i]);
    settle();
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_from_there, &s), 0);
    while (calls == 0)
        (void)toy_once(&host, -1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(s.code, FJ_OK);
    end(&s);
}
END_TEST

static atomic_uint lost;
static char first_loss[256];

static void count_losses(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    if (strcmp(component, "amqp") == 0 && level <= FJ_LOG_WARNING && atomic_fetch_add(&lost, 1) == 0)
        (void)snprintf(first_loss, sizeof first_loss, "%s", text);
}

/* Only over a broker: it would end a connection that is silent for two to three intervals of two seconds.  Each end says something four
 * times in that: with intervals of a second a machine that stands still for one and a half would lose a connection by right. */
START_TEST(connections_are_kept_while_host_and_loop_are_idle)
{
    struct service s;

    serve(&s, "coroutine");
    ck_assert_int_eq(fj_task_spawn(ask, &s, NULL, NULL, NULL), FJ_OK);
    while (s.answered < 1 && s.code == FJ_OK)
        (void)toy_once(&host, -1);
    ck_assert_int_eq(s.code, FJ_OK);
    fj_log_set(count_losses, NULL);
    unsigned turns = host.turns;
    ck_assert_int_eq(fj_loop_call_later(host.loop, 6.5, on_call, NULL, NULL, NULL), FJ_OK);
    while (calls == 0)
        (void)toy_once(&host, -1);
    ck_assert_uint_lt(host.turns - turns, 200); /* some for each heartbeat of two connections */
    ck_assert_int_eq(fj_task_spawn(ask, &s, NULL, NULL, NULL), FJ_OK);
    while (s.answered < 2 && s.code == FJ_OK)
        (void)toy_once(&host, -1);
    fj_log_set(NULL, NULL);
    ck_assert_int_eq(s.code, FJ_OK);
    ck_assert_msg(atomic_load(&lost) == 0, "%u were lost: %s", atomic_load(&lost), first_loss);
    end(&s);
}
END_TEST

/* ---- a host that drives ---- */

START_TEST(only_a_whole_table_is_taken)
{
    const fj_host_ops none = { .size = sizeof none };
    fj_loop *loop = NULL;
    fj_error *err = NULL;

    ck_assert_int_eq(fj_loop_new_hosted(&none, NULL, &loop, &err), FJ_BAD_VALUE);
    ck_assert_ptr_null(loop);
    fj_error_free(err);
    ck_assert_int_eq(fj_loop_fd(host.loop), -1);
}
END_TEST

static void on_refused(fj_loop *loop, int fd, void *user)
{
    (void)fd, (void)user;
    reads++;
    ck_assert(fj_loop_remove_reader(loop, ends[0]));
}

START_TEST(what_the_host_cannot_watch_is_called_as_one_that_failed)
{
    settle();
    host.refuse = true;
    ck_assert_int_eq(fj_loop_add_reader(host.loop, ends[0], on_refused, NULL, NULL), FJ_OK);
    while (reads == 0)
        ck_assert(toy_once(&host, -1));
    settle();
    ck_assert_uint_eq(reads, 1);
    host.refuse = false;
    ck_assert_int_eq(fj_loop_add_reader(host.loop, ends[0], on_read, NULL, NULL), FJ_OK);
    put(ends[1]);
    while (reads == 1)
        ck_assert(toy_once(&host, -1));
    ck_assert(fj_loop_remove_reader(host.loop, ends[0]));
}
END_TEST

START_TEST(a_word_that_is_out_of_date_does_no_harm)
{
    ck_assert_int_eq(fj_loop_add_reader(host.loop, ends[0], on_read, NULL, NULL), FJ_OK);
    settle();
    fj_loop_readable(host.loop, ends[0]);
    fj_loop_writable(host.loop, ends[0]);
    fj_loop_readable(host.loop, -1);
    fj_loop_readable(host.loop, 100000);
    ck_assert_uint_eq(reads, 0);
    ck_assert(fj_loop_remove_reader(host.loop, ends[0]));
}
END_TEST

START_TEST(fj_run_leaves_a_hosts_loop_alone)
{
    struct service s;

    serve(&s, "coroutine");
    ck_assert_int_eq(fj_run(NULL), FJ_STATE);
    end(&s);
}
END_TEST

static void both_ways(TCase *t)
{
    tcase_add_test(t, what_is_given_from_outside_runs_in_the_next_turn_of_the_host);
    tcase_add_test(t, a_timer_ends_the_sleep_of_the_host_and_is_armed_again);
    tcase_add_test(t, readers_and_writers_are_called_when_it_is_true);
    tcase_add_test(t, an_idle_loop_leaves_the_host_asleep);
    tcase_add_test(t, another_thread_wakes_the_host);
    tcase_add_test(t, a_turn_ends_though_there_is_more_to_do);
    tcase_add_test(t, what_came_before_a_deadline_is_seen_though_the_loop_is_late);
    tcase_add_test(t, nested_turns_are_refused_and_nothing_is_lost_by_it);
    tcase_add_test(t, a_loop_is_not_freed_in_its_own_call_backs);
    tcase_add_test(t, a_free_ends_tasks_that_wait);
    tcase_add_test(t, a_host_that_stops_for_a_while_goes_on_where_it_was);
    tcase_add_test(t, in_a_forked_child_the_hosts_words_do_nothing);
    tcase_add_loop_test(t, a_server_and_its_clients_live_in_one_host, 0, 3);
    tcase_add_loop_test(t, an_asynchronous_call_of_the_hosts_own_call_backs_ends_in_a_turn_of_its_loop, 0, 3);
    tcase_add_loop_test(t, a_server_is_stopped_and_drained_while_the_host_goes_on, 0, 3);
    if (getenv("FJ_TEST_URL") != NULL)
        tcase_add_test(t, connections_are_kept_while_host_and_loop_are_idle);
}

int main(void)
{
    Suite *s = suite_create("hosts");
    TCase *watched = tcase_create("a host that watches the loop");
    TCase *driven = tcase_create("a host that drives the loop");
    SRunner *r = srunner_create(s);

    tcase_add_checked_fixture(watched, watching, down);
    both_ways(watched);
    suite_add_tcase(s, watched);
    tcase_add_checked_fixture(driven, driving, down);
    both_ways(driven);
    tcase_add_test(driven, only_a_whole_table_is_taken);
    tcase_add_test(driven, what_the_host_cannot_watch_is_called_as_one_that_failed);
    tcase_add_test(driven, a_word_that_is_out_of_date_does_no_harm);
    tcase_add_test(driven, fj_run_leaves_a_hosts_loop_alone);
    suite_add_tcase(s, driven);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
