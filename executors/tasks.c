/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's way: the intake, a task, takes a slot, acknowledges the message and spawns the request's task, which runs the
 * dispatcher's second step.  Deferred, it ends and its slot stays taken.  Whoever gives a slot back, on whatever thread,
 * wakes the intake.
 */
#include "tasks.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "executors/intake.h"
#include "executors/watched.h"
#include "runtime/local.h"
#include "runtime/loop.h"
#include "runtime/report.h"
#include "runtime/task.h"

/* JSON of a whole message is read on it: see executors.md's figures for stacks. */
#define INTAKE_STACK ((size_t)128 * 1024)

enum { HANG_MS = 30000 };

/* What runs in a slot.  It belongs to the loop's thread, but for `task`. */
struct run {
    struct tasks *owner;
    fj__slot *slot;
    fj_task *task; /* under the lock: for abort, which kills it */
    bool begun;    /* its task runs, or has: until that is over, for the slot may be taken again before */
};

struct tasks {
    fj_executor base; /* first */
    atomic_uint refs; /* the owner's, and the letter's while it is on its way */
    fj__slots slots;
    fj__intake intake;
    fj_loop *loop;
    _Atomic(fj_task *) polls; /* the intake's, once it runs; referenced */
    fj__letter nudge;         /* wakes the loop, and the intake in it; posted, it holds a reference */
    fj_listener *listener;    /* the server's */
    fj__watched *watched;     /* in front of it, if it does not park; it goes with the intake */
    fj__task_shape_fn shape;
    size_t stack; /* [fjord] stack_size; 0: as the flavour wants */
    size_t deep;  /* more of it, for deeply nested messages */
    fj_invoke_fn wrap;
    void *wrap_user;
    struct run *runs; /* by slot */
    pthread_mutex_t lock;
    unsigned alive;    /* tasks that have not ended, the intake's too; under the lock */
    unsigned finished; /* how many runs; on the loop's thread: for step */
};

static struct tasks *of(fj_executor *x)
{
    return (struct tasks *)(void *)x;
}

/* ---- a run -------------------------------------------------------------------------------------- */

static void count(struct tasks *t, int by)
{
    (void)fj__native.pthread_mutex_lock(&t->lock);
    t->alive += (unsigned)by;
    fj__eventcount_raise(&t->slots.changed); /* inside: with nothing alive the executor may be freed */
    (void)fj__native.pthread_mutex_unlock(&t->lock);
}

static void set_task(struct run *r, fj_task *task)
{
    (void)fj__native.pthread_mutex_lock(&r->owner->lock);
    r->task = task;
    (void)fj__native.pthread_mutex_unlock(&r->owner->lock);
}

static fj_code run(void *user, json_t **ret, fj_error **err)
{
    struct run *r = user;

    (void)ret, (void)err;
    fj__heritage_shed();
    if (atomic_load(&r->owner->slots.aborted))
        return FJ_OK;
    r->begun = true;
    set_task(r, fj_task_current());
    fj__slots_run(r->slot, &r->owner->base);
    set_task(r, NULL);
    r->owner->finished++;
    return FJ_OK;
}

/* The task is over.  One that was cancelled before it began, or got no stack, has a slot to be given back all the same. */
static void run_over(void *user)
{
    struct run *r = user;
    bool begun = r->begun;

    r->begun = false;
    if (!begun)
        fj__slots_give_up(r->slot, &r->owner->base);
    count(r->owner, -1);
}

static fj_code spawn(struct tasks *t, fj__slot *slot, const char *name, fj_flavour flavour, fj_error **err)
{
    struct run *r = &t->runs[slot - t->slots.all];
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.name = name;
    opts.loop = t->loop;
    opts.freed = run_over;
    t->shape(flavour, &opts);
    if (t->stack != 0)
        opts.stack = t->stack;
    opts.stack += t->deep;
    count(t, 1);
    fj_code code = fj__loop_here(t->loop) ? fj_task_spawn(run, r, &opts, NULL, err)
                                          : fj_task_spawn_threadsafe(run, r, &opts, NULL, err);
    if (code != FJ_OK)
        count(t, -1);
    return code;
}

static fj_code run_slot(fj__intake *in, fj__slot *slot, fj_error **err)
{
    const fj_method *method = fj_request_chosen(slot->req);

    return spawn(fj__container(in, struct tasks, intake), slot, method->name, method->flavour, err);
}

/* ---- the intake's task -------------------------------------------------------------------------- */

static fj_code take_in(void *user, json_t **ret, fj_error **err)
{
    struct tasks *t = user;

    (void)ret, (void)err;
    fj__heritage_shed(); /* a method may have started the server */
    atomic_store(&t->polls, fj_task_ref(fj_task_current()));
    fj__intake_run(&t->intake);
    return FJ_OK;
}

static void intake_over(void *user)
{
    struct tasks *t = user;

    atomic_store(&t->intake.ended, true); /* also when it never began */
    fj__watched_free(t->watched);         /* here, for it is the loop's thread */
    t->watched = NULL;
    count(t, -1);
}

static bool sleep_in_task(fj__slots *s, unsigned seen, fj_deadline by)
{
    if (fj__eventcount_read(&s->changed) != seen)
        return true;
    fj_code code = fj__task_park("a free slot", by);
    if (code == FJ_CANCELLED) /* the loop ends */
        fj__slots_close(s);
    return code != FJ_TIMEOUT;
}

static void wake_intake(struct tasks *t)
{
    fj_task *polls = atomic_load(&t->polls);

    if (polls != NULL)
        fj__task_wake(polls);
}

/* A letter that is being read is no longer posted, but read all the same: hence the reference. */
static void unref(struct tasks *t)
{
    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    fj_task_unref(atomic_load(&t->polls));
    fj__loop_unref(t->loop);
    fj__free(t->runs);
    fj__free(t);
}

static void read_nudge(fj__letter *letter)
{
    struct tasks *t = fj__container(letter, struct tasks, nudge);

    wake_intake(t);
    unref(t);
}

/* Async-signal-safe. */
static void post_nudge(struct tasks *t)
{
    (void)atomic_fetch_add(&t->refs, 1);
    if (!fj__loop_post(t->loop, &t->nudge))
        (void)atomic_fetch_sub(&t->refs,
                               1); /* the letter that is there has one; and whoever is here holds the owner's */
}

static void slot_freed(void *user)
{
    struct tasks *t = user;

    if (fj__loop_here(t->loop))
        wake_intake(t);
    else
        post_nudge(t);
}

static fj_code begin_intake(struct tasks *t, fj_error **err)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.name = "intake";
    opts.stack = INTAKE_STACK + t->deep;
    opts.loop = t->loop;
    opts.freed = intake_over;
    count(t, 1);
    fj_code code = fj_task_spawn(take_in, t, &opts, NULL, err);
    if (code != FJ_OK)
        count(t, -1);
    return code;
}

/* ---- the table ---------------------------------------------------------------------------------- */

/* JSON is read and written by recursion: what the configuration allows beyond the usual depth needs more stack. */
static size_t deep(const fj_conf *conf)
{
    enum { USUAL = 64, BYTES_A_LEVEL = 1024 };
    int64_t depth = conf != NULL ? fj_conf_int(conf, "fjord", "max_json_depth") : USUAL;

    return depth > USUAL ? (size_t)(depth - USUAL) * BYTES_A_LEVEL : 0;
}

/* Whoever asks for it in the environment or from code has it, too. */
static void watch_loop(fj_loop *loop, const fj_conf *conf)
{
    if (conf == NULL || !fj_conf_bool(conf, "fjord", "loop_debug"))
        return;
    fj_loop_set_slow_callback_duration(loop, fj_conf_float(conf, "fjord", "slow_callback_duration"));
    fj_loop_set_debug(loop, true);
}

fj_code fj__tasks_create(const fj_executor_ops *ops, fj__task_shape_fn shape, const fj_conf *conf,
                         const fj_executor_opts *opts, fj_executor **ret, fj_error **err)
{
    unsigned n = opts->slots > 0 ? opts->slots : 1;
    struct tasks *t = fj__zalloc(sizeof *t);

    if (t == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for an executor");
    t->runs = fj__zalloc(n * sizeof *t->runs);
    fj_code code = t->runs == NULL ? fj_fail(err, FJ_NOMEM, "no memory for %u slots", n)
                                   : fj__slots_init(&t->slots, n, err);
    if (code == FJ_OK && opts->loop == NULL) {
        code = fj_loop_current(&t->loop, err);
        if (code != FJ_OK)
            fj__slots_fini(&t->slots);
    }
    if (code != FJ_OK) {
        fj__free(t->runs);
        fj__free(t);
        return code;
    }
    for (unsigned i = 0; i < n; i++)
        t->runs[i] = (struct run){ .owner = t, .slot = &t->slots.all[i] };
    if (opts->loop != NULL)
        t->loop = opts->loop;
    (void)fj__loop_ref(t->loop);
    fj__loop_set_label(t->loop, ops->name);
    watch_loop(t->loop, conf);
    atomic_init(&t->refs, 1);
    t->base.ops = ops;
    t->shape = shape;
    t->deep = deep(conf);
    t->stack = conf != NULL ? (size_t)fj_conf_int(conf, "fjord", "stack_size") : 0;
    t->wrap = opts->wrap;
    t->wrap_user = opts->wrap_user;
    t->slots.sleep = sleep_in_task;
    t->slots.freed = slot_freed;
    t->nudge.read = read_nudge;
    t->slots.freed_user = t;
    t->intake = (fj__intake){ .slots = &t->slots, .ack_done = opts->ack_done, .run = run_slot };
    (void)pthread_mutex_init(&t->lock, NULL);
    *ret = &t->base;
    return FJ_OK;
}

fj_code fj__tasks_start(fj_executor *x, fj_listener *listener, fj_dispatcher *dispatcher, fj_error **err)
{
    struct tasks *t = of(x);

    t->slots.dispatcher = dispatcher;
    t->listener = t->intake.listener = listener;
    if (!listener->parks) {
        fj_code code = fj__watched_new(t->loop, listener, &t->watched, err);
        if (code != FJ_OK)
            return code;
        t->intake.listener = fj__watched_listener(t->watched);
    }
    fj_code code = begin_intake(t, err);
    if (code != FJ_OK) {
        fj__watched_free(t->watched);
        t->watched = NULL;
    }
    return code;
}

/* Whether the loop stands still because this thread, which runs it, is here. */
static bool may_turn(const struct tasks *t)
{
    return fj__loop_here(t->loop) && !fj_loop_is_running(t->loop) && !fj__loop_gone(t->loop);
}

fj_code fj__tasks_step(fj_executor *x, fj_deadline by, fj_error **err)
{
    struct tasks *t = of(x);
    unsigned before = t->finished;

    if (!may_turn(t))
        return fj_fail(err, FJ_STATE,
                       "a step belongs on the loop's thread, and not into its tasks or call-backs");
    while (t->finished == before) {
        if (atomic_load(&t->slots.closed) || atomic_load(&t->intake.ended))
            return fj_fail(err, FJ_CLOSED, "the executor takes no more");
        fj_code code = fj_loop_turn(t->loop, by, err);
        if (code != FJ_OK)
            return code;
    }
    return FJ_OK;
}

fj_code fj__tasks_submit(fj_executor *x, void (*job)(void *user), void *user, fj_error **err)
{
    struct tasks *t = of(x);

    if (atomic_load(&t->slots.closed))
        return fj_fail(err, FJ_CLOSED, "the executor is closed");
    fj__slot *slot = fj__slots_take(&t->slots);
    if (slot == NULL)
        return fj_fail(err, FJ_AGAIN, "all %u slots are taken", t->slots.n);
    fj__slots_set_job(slot, job, user);
    fj_code code = spawn(t, slot, "job", FJ_PLAIN, err);
    if (code != FJ_OK)
        fj__slots_give(slot);
    return code;
}

fj_code fj__tasks_invoke(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct tasks *t = user;

    return t->wrap != NULL ? t->wrap(t->wrap_user, req, args, ret, err)
                           : fj_invoke_direct(NULL, req, args, ret, err);
}

void fj__tasks_close(fj_executor *x)
{
    struct tasks *t = of(x);

    fj__slots_close(&t->slots);
    if (t->listener != NULL)
        t->listener->ops->interrupt(t->listener);
    post_nudge(t); /* not the task itself: a signal handler may be here */
}

/* Until `done`, by turning the loop if that is this thread's to do. */
static bool wait_until(struct tasks *t, bool (*done)(struct tasks *t), fj_deadline by)
{
    for (;;) {
        unsigned seen = fj__eventcount_read(&t->slots.changed);
        if (done(t))
            return true;
        fj_deadline until = fj__slots_patience(&t->slots, by);
        if (fj_passed(until))
            return false;
        if (!may_turn(t)) {
            if (!fj__eventcount_wait(&t->slots.changed, seen, until))
                return false;
            continue;
        }
        fj_code code = fj_loop_turn(t->loop, until, NULL);
        if (code != FJ_OK && code != FJ_TIMEOUT)
            return false;
    }
}

static bool is_drained(struct tasks *t)
{
    return atomic_load(&t->intake.ended) && fj__slots_running(&t->slots, NULL) == 0;
}

static bool is_over(struct tasks *t)
{
    (void)fj__native.pthread_mutex_lock(&t->lock);
    bool over = t->alive == 0;
    (void)fj__native.pthread_mutex_unlock(&t->lock);
    return over;
}

/* Where the methods are that a stop has waited for in vain. */
static void tell_running(struct tasks *t)
{
    enum { TOLD = 20 };

    for (unsigned i = 0, told = 0; i < t->slots.n && told < TOLD; i++) {
        (void)fj__native.pthread_mutex_lock(&t->lock);
        fj_task *task = t->runs[i].task != NULL ? fj_task_ref(t->runs[i].task) : NULL;
        (void)fj__native.pthread_mutex_unlock(&t->lock);
        if (task == NULL)
            continue;
        char *text =
            fj__format("method \"%s\" still runs when its server should have ended", fj_task_name(task));
        if (text != NULL)
            fj__report_sight(FJ_LOG_WARNING, task, text);
        fj__free(text);
        fj_task_unref(task);
        told++;
    }
}

fj_code fj__tasks_stop(fj_executor *x, fj_deadline by, fj_error **err)
{
    const fj_deadline passed = { .ns = 1 };
    struct tasks *t = of(x);

    if (fj__slots_inside(&t->slots))
        return fj_fail(err, FJ_STATE, "a wait from within one of the server's methods");
    if (fj_loop_running() != NULL && fj__loop_here(t->loop))
        return fj_fail(err, FJ_WRONG_CONTEXT, "a wait on the thread of the server's own loop, while it runs");
    if (wait_until(t, is_drained, by))
        return FJ_OK;
    fj_code code = fj__slots_drain(&t->slots, passed, err); /* which names what runs */
    if (code == FJ_TIMEOUT)
        tell_running(t);
    return code != FJ_OK ? code : fj_fail(err, FJ_TIMEOUT, "what polls the broker has not ended");
}

void fj__tasks_abort(fj_executor *x)
{
    struct tasks *t = of(x);

    (void)fj__native.pthread_mutex_lock(&t->lock);
    for (unsigned i = 0; i < t->slots.n; i++) {
        if (t->runs[i].task != NULL)
            (void)fj_task_kill(t->runs[i].task);
    }
    (void)fj__native.pthread_mutex_unlock(&t->lock);
    fj__slots_abort(&t->slots, x);
    post_nudge(t);
}

void fj__tasks_free(fj_executor *x)
{
    struct tasks *t = of(x);

    fj__tasks_close(x);
    atomic_store(&t->slots.patience, FJ_NEVER_NS);
    if (!wait_until(t, is_over, fj_in_ms(HANG_MS)) && !is_over(t)) {
        fj__log(
            FJ_LOG_WARNING, "executor",
            "possible hang: an executor has waited %d s for its loop, which no thread turns, or for a method",
            HANG_MS / 1000);
        (void)wait_until(t, is_over, fj_never());
    }
    (void)pthread_mutex_destroy(&t->lock);
    fj__slots_fini(&t->slots);
    unref(t);
}

void fj__tasks_at_fork(fj_executor *x)
{
    struct tasks *t = of(x);

    fj__slots_at_fork(&t->slots);
    (void)pthread_mutex_init(&t->lock, NULL);
    t->alive = 0; /* the loop, its tasks and the listener are the parent's */
    atomic_store(&t->polls, NULL);
    t->watched = NULL;
    t->listener = NULL;
}

unsigned fj__tasks_running(const fj_executor *x, unsigned *ret_slots)
{
    return fj__slots_running(&((const struct tasks *)(const void *)x)->slots, ret_slots);
}
