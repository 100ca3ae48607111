/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loops of the process, seen from another thread: all are asked at once, and what each answers becomes JSON here.  One that
 * does not answer in time is described from outside.
 */
#include "base/alloc.h"
#include "base/inspect.h"
#include "base/native.h"
#include "runtime/capture.h"
#include "runtime/loop_impl.h"
#include "runtime/loop_look.h"
#include "runtime/symbols.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define STILL_NS INT64_C(100000000)   /* how long a loop is waited for that nobody runs: a host may turn it */
#define ENOUGH_NS INT64_C(5000000000) /* and any, when there is no deadline */
#define SIGHT_NS INT64_C(1000000000)  /* how long a blocked thread has to say where it is */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static fj_loop *first;
static fj__inspected source;
static bool added;

static json_t *all_loops(void *user, fj_deadline by);

/* ---- the list ----------------------------------------------------------------------------------- */

static void in_child(void)
{
    (void)pthread_mutex_init(&lock, NULL);
    first = NULL;
    added = false;
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

void fj__loop_list(fj_loop *loop)
{
    static atomic_uint numbers;

    (void)pthread_once(&once, watch_forks);
    loop->number = atomic_fetch_add(&numbers, 1) + 1;
    (void)fj__native.pthread_mutex_lock(&lock);
    if (!added)
        fj__inspect_add(&source, "loop", all_loops, NULL);
    added = true;
    loop->listed_next = first;
    if (first != NULL)
        first->listed_before = loop;
    first = loop;
    (void)fj__native.pthread_mutex_unlock(&lock);
}

void fj__loop_unlist(fj_loop *loop)
{
    if (!fj__loop_ours(loop))
        return;
    (void)fj__native.pthread_mutex_lock(&lock);
    *(loop->listed_before != NULL ? &loop->listed_before->listed_next : &first) = loop->listed_next;
    if (loop->listed_next != NULL)
        loop->listed_next->listed_before = loop->listed_before;
    (void)fj__native.pthread_mutex_unlock(&lock);
}

/* ---- asking ------------------------------------------------------------------------------------- */

struct answer {
    atomic_uint refs; /* of who asks, and of the loop */
    atomic_uint done; /* a futex */
    fj__look *look;   /* NULL: the loop was freed */
    fj_loop *loop;    /* a reference */
    bool asked;
};

static void unref(struct answer *a)
{
    if (atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    fj__look_free(a->look);
    fj__loop_unref(a->loop);
    fj__free(a);
}

static void looked(void *user, fj__look *look)
{
    struct answer *a = user;

    a->look = look;
    atomic_store(&a->done, 1);
    fj__futex_wake(&a->done, 1);
    unref(a);
}

/* Unless it has too many. */
static void put_question(struct answer *a)
{
    (void)atomic_fetch_add(&a->refs, 1);
    a->asked = fj__look_at(a->loop, looked, a);
    if (!a->asked)
        (void)atomic_fetch_sub(&a->refs, 1);
}

/* @return gives; NULL: no memory */
static struct answer *ask(fj_loop *loop)
{
    struct answer *a = fj__zalloc(sizeof *a);

    if (a == NULL)
        return NULL;
    atomic_init(&a->refs, 1);
    a->loop = fj__loop_ref(loop);
    put_question(a);
    return a;
}

/* Those of private loops that nobody runs have nothing to tell. */
static bool is_quiet(const fj_loop *loop)
{
    return atomic_load(&loop->is_private) && atomic_load(&loop->tid) == 0;
}

/* @return how many; gives each */
static size_t ask_all(struct answer ***ret)
{
    size_t n = 0, room = 0;

    (void)fj__native.pthread_mutex_lock(&lock);
    for (const fj_loop *loop = first; loop != NULL; loop = loop->listed_next)
        room++;
    struct answer **answers = fj__alloc((room + 1) * sizeof(struct answer *));
    for (fj_loop *loop = first; answers != NULL && loop != NULL; loop = loop->listed_next) {
        struct answer *a = is_quiet(loop) ? NULL : ask(loop);
        if (a != NULL)
            answers[n++] = a;
    }
    (void)fj__native.pthread_mutex_unlock(&lock);
    *ret = answers;
    return n;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* @param by real time   @return whether it has answered */
static bool wait_for(struct answer *a, int64_t asked, int64_t by)
{
    for (;;) {
        /* One that ran when it was asked may have ended since. */
        int64_t until = atomic_load(&a->loop->tid) != 0 ? by : sooner(by, asked + STILL_NS);
        int64_t now = fj__clock_real_ns();
        if (atomic_load(&a->done) != 0)
            return true;
        if (now >= until)
            return false;
        if (!a->asked && fj__loop_gone(a->loop))
            return true;
        if (!a->asked)
            put_question(a);
        (void)fj__futex_wait(&a->done, 0, (fj_deadline){ sooner(until, now + STILL_NS) });
    }
}

/* ---- as JSON ------------------------------------------------------------------------------------ */

static json_t *text_or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *seconds(int64_t ns)
{
    return json_real(round((double)ns * 1e-3) / 1e6); /* no more digits than mean something */
}

static json_t *frames_json(fj__symbols *names, void *const *frames, int n)
{
    json_t *all = json_array();
    char text[320];

    for (int i = 0; i < n; i++) {
        fj__symbols_text(names, frames[i], true, true, text, sizeof text);
        (void)json_array_append_new(all, json_string(text));
    }
    return all;
}

static json_t *task_json(const fj__look_task *t, fj__symbols *names, int64_t coarse, int64_t now)
{
    return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:o, s:o, s:o}", "id", (int)t->id,
                     "name", t->name, "state", t->state, "waiting_for", text_or_null(t->waits), "age",
                     seconds(coarse - t->made), "waited",
                     t->parked != 0 ? seconds(coarse - t->parked) : json_null(), "ends_in",
                     t->ends != FJ_NEVER_NS ? seconds(t->ends - now) : json_null(), "flavour",
                     t->green ? "green" : "explicit", "stack_bytes", (json_int_t)t->stack, "stack_size",
                     (json_int_t)t->stack_size, "method", text_or_null(t->method), "request_id",
                     text_or_null(t->request), "backtrace", frames_json(names, t->frames, t->n));
}

static json_t *tasks_json(const fj__look *l, fj__symbols *names)
{
    json_t *all = json_array();
    int64_t coarse = fj__clock_coarse_ns(), now = fj_now().ns;

    for (size_t i = 0; i < l->n_tasks; i++)
        (void)json_array_append_new(all, task_json(&l->tasks[i], names, coarse, now));
    return all;
}

static int by_time(const void *a, const void *b)
{
    const fj__look_timer *t = a, *u = b;

    return t->at < u->at ? -1 : t->at > u->at;
}

static json_t *timers_json(const fj__look *l)
{
    json_t *all = json_array();
    int64_t now = fj_now().ns;

    if (l->n_timers > 1)
        qsort(l->timers, l->n_timers, sizeof l->timers[0], by_time);
    for (size_t i = 0; i < l->n_timers; i++)
        (void)json_array_append_new(
            all, json_pack("{s:o, s:s}", "due_in", seconds(l->timers[i].at - now), "what", l->timers[i].what));
    return all;
}

static json_t *watchers_json(const fj__look *l)
{
    json_t *all = json_array();

    for (size_t i = 0; i < l->n_watchers; i++) {
        const fj__look_watcher *w = &l->watchers[i];
        (void)json_array_append_new(all, json_pack("{s:i, s:b, s:b, s:s}", "fd", w->fd, "read", w->read,
                                                   "write", w->write, "what", w->what));
    }
    return all;
}

static void set_more(json_t *to, const char *key, size_t all, size_t told)
{
    if (all > told)
        (void)json_object_set_new(to, key, json_integer((json_int_t)(all - told)));
}

static json_t *look_json(const fj__look *l, fj__symbols *names)
{
    json_t *ret = json_pack("{s:s, s:i, s:o, s:b, s:b, s:b, s:b, s:I, s:I, s:n, s:o, s:o, s:o}", "thread",
                            l->thread, "tid", (int)l->tid, "executor", text_or_null(l->label), "running", 1,
                            "private", l->private_, "hosted", l->hosted, "debug", l->debug, "turns",
                            (json_int_t)l->turns, "ready", (json_int_t)l->ready, "blocked", "tasks",
                            tasks_json(l, names), "timers", timers_json(l), "watchers", watchers_json(l));

    set_more(ret, "tasks_more", l->all_tasks, l->n_tasks);
    set_more(ret, "timers_more", l->all_timers, l->n_timers);
    set_more(ret, "watchers_more", l->all_watchers, l->n_watchers);
    return ret;
}

static void thread_name(pid_t tid, char *name, size_t size)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)tid);
    FILE *f = fopen(path, "re");
    name[0] = '\0';
    if (f != NULL && fgets(name, (int)size, f) != NULL) {
        for (char *c = name; *c != '\0'; c++)
            *c = *c == '\n' ? '\0' : *c;
    }
    if (f != NULL)
        (void)fclose(f);
}

/* A loop that has not answered. */
static json_t *from_outside(fj_loop *loop, fj__symbols *names)
{
    pid_t tid = atomic_load(&loop->tid);
    int64_t awake = atomic_load(&loop->awake_at);
    char thread[32] = "";
    fj__capture where = { .n = 0 };

    if (tid != 0) {
        thread_name(tid, thread, sizeof thread);
        fj__capture_install();
        (void)fj__capture_take(tid, &where, NULL, NULL, (fj_deadline){ fj__clock_real_ns() + SIGHT_NS });
        fj__capture_uninstall();
    }
    json_t *ret = json_pack("{s:o, s:o, s:o, s:b}", "thread", text_or_null(thread), "tid",
                            tid != 0 ? json_integer(tid) : json_null(), "executor",
                            text_or_null(atomic_load(&loop->label)), "running", tid != 0);
    (void)json_object_set_new(ret, "blocked", tid != 0 ? seconds(fj__clock_coarse_ns() - awake) : json_null());
    (void)json_object_set_new(ret, "blocked_by", text_or_null(where.name));
    (void)json_object_set_new(ret, "backtrace", frames_json(names, where.frames, where.n));
    return ret;
}

static json_t *loop_json(struct answer *a, int64_t asked, int64_t by, fj__symbols *names)
{
    char name[32];
    bool answered = wait_for(a, asked, by);

    if (answered && a->look == NULL)
        return NULL;
    json_t *ret = answered ? look_json(a->look, names) : from_outside(a->loop, names);
    (void)snprintf(name, sizeof name, "loop-%u", a->loop->number);
    (void)json_object_set_new(ret, "name", json_string(name));
    return ret;
}

static json_t *all_loops(void *user, fj_deadline by)
{
    struct answer **answers = NULL;
    int64_t now = fj__clock_real_ns(), left = fj_left_ns(by);
    json_t *all = json_array();
    fj__symbols *names = fj__symbols_new();
    size_t n = ask_all(&answers);

    (void)user;
    for (size_t i = 0; i < n; i++) {
        json_t *one = loop_json(answers[i], now, now + sooner(left, ENOUGH_NS), names);
        if (one != NULL)
            (void)json_array_append_new(all, one);
        unref(answers[i]);
    }
    fj__free(answers);
    fj__symbols_free(names);
    return all;
}
