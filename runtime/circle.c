/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock over all registered waits, taken only by those who have to wait anyway.  Under it a chain is followed by names alone: an owner
 * is looked up, never followed, for it may have ended with its lock held.  A task that another waits for does exist,
 * and on this thread its wait can be read though it is not registered.
 *
 * A circle that is found is real.  Who closes it is here, so what he holds stays his; whoever waits for that is registered since
 * before the lock was taken and was not granted it, so what that one holds stays his, too; and so on round.
 *
 * It is told by letters: on each loop's own stack, for a task's is small and only its own thread can look at it.
 */
#include "runtime/circle.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "runtime/report.h"
#include "runtime/task_impl.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    LINES_LOG2 = 8,
    LONGEST = 16, /* who waits in a longer circle is not told */
};

static struct {
    pthread_mutex_t lock;
    fj__edge *lines[1 << LINES_LOG2];
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local pid_t thread_id;

static void lock(void)
{
    (void)fj__native.pthread_mutex_lock(&all.lock);
}

static void unlock(void)
{
    (void)fj__native.pthread_mutex_unlock(&all.lock);
}

/* Who waited are tasks and threads of the parent. */
static void in_child(void)
{
    for (size_t i = 0; i < fj__countof(all.lines); i++)
        all.lines[i] = NULL;
    thread_id = 0;
    unlock();
}

static void watch_forks(void)
{
    (void)pthread_atfork(lock, unlock, in_child);
}

static pid_t this_thread(void)
{
    if (thread_id == 0)
        thread_id = (pid_t)syscall(SYS_gettid);
    return thread_id;
}

/* Fibonacci hashing. */
static fj__edge **line_of(const void *who)
{
    return &all.lines[((uint64_t)(uintptr_t)who * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - LINES_LOG2)];
}

static fj__edge *find(const void *who)
{
    fj__edge *e = *line_of(who);

    while (e != NULL && e->who != who)
        e = e->next;
    return e;
}

/* ---- following ---------------------------------------------------------------------------------- */

static fj__edge edge_of(const fj__waiter *w, fj_deadline by)
{
    return (fj__edge){ .who = fj__waiter_self_of(w->task),
                       .task = w->task,
                       .wanted = w->wanted,
                       .by = w->task != NULL ? fj__task_latest(w->task, by) : by,
                       .thread = this_thread() };
}

static fj_deadline set_to(const fj__timer *timer)
{
    return timer->place != 0 ? (fj_deadline){ timer->at } : fj_never();
}

/* Whether @p task, which exists, waits on this thread for something that has an owner. */
static bool waits_here(const fj_task *task)
{
    return task->loop == fj_loop_running() && task->state == FJ__TASK_PARKED && task->waiter != NULL &&
           task->waiter->wanted != NULL && task->waiter->wanted->owner != NULL;
}

/* What the owner of what @p from wants waits for.  @return false when it does not wait, or nobody knows */
static bool follow(const fj__edge *from, void *who, fj__edge *ret)
{
    const fj__edge *known = find(who);

    if (known != NULL) {
        *ret = *known;
        return true;
    }
    if (from->wanted->lock) /* its owner may be no more */
        return false;
    fj_task *task = who;
    if (!waits_here(task))
        return false;
    *ret = edge_of(task->waiter, fj_never());
    ret->by = set_to(&task->timer);
    return true;
}

/* Whether one that is cancelled, or too late, is only about to leave. */
static bool is_leaving(const fj__edge *e)
{
    return fj_passed(e->by) || (e->task != NULL && fj__task_asked(e->task));
}

/* With the lock held.  @param chain has the first  @return the length of the circle that it closes, 0 if none */
static size_t follow_round(fj__edge *chain)
{
    for (size_t n = 1;; n++) {
        const fj__edge *last = &chain[n - 1];
        void *owner = last->wanted->owner(last->wanted->object);
        if (owner == NULL || is_leaving(last))
            return 0;
        if (owner == chain[0].who)
            return n > 1 || !last->wanted->handed ? n : 0;
        if (owner == last->who || n == LONGEST || !follow(last, owner, &chain[n]))
            return 0;
    }
}

/* It is told once, though a wait may be registered anew: each is in one circle at most, so another's word will do. */
static bool is_told(const fj__edge *chain, size_t n)
{
    bool told = false;

    for (size_t i = 1; i < n; i++) {
        fj__edge *e = find(chain[i].who);
        if (e == NULL)
            continue;
        told |= e->told_who == chain[0].who && e->told_object == chain[0].wanted->object;
        e->told_who = chain[0].who;
        e->told_object = chain[0].wanted->object;
    }
    return told;
}

/* ---- telling ------------------------------------------------------------------------------------ */

/* In a letter to the loop of the task that closed it. */
struct circle {
    fj__letter letter;
    fj_log_level level;
    char *text; /* of all */
    size_t n;
    struct member {
        fj_task *task; /* a reference; NULL: a plain thread */
        bool here;     /* the thread that closed it */
        char *text;
    } members[LONGEST];
};

static void free_circle(struct circle *c)
{
    for (size_t i = 0; i < c->n; i++) {
        fj_task_unref(c->members[i].task);
        fj__free(c->members[i].text);
    }
    fj__free(c->text);
    fj__free(c);
}

static void tell(struct circle *c)
{
    fj__log(c->level, "loop", "%s", c->text);
    for (size_t i = 0; i < c->n; i++) {
        struct member *m = &c->members[i];
        if (m->task != NULL)
            fj__report_sight(c->level, m->task, m->text);
        else if (m->here)
            fj__report_here(c->level, m->text);
    }
    free_circle(c);
}

static void read_circle(fj__letter *letter)
{
    tell(fj__container(letter, struct circle, letter));
}

/* "A; B; C": each waits for the next, and the last for the first.  With the lock held: so long all of them exist. */
static struct circle *describe(const fj__edge *chain, size_t n)
{
    struct circle *c = fj__zalloc(sizeof *c);
    char *text = NULL;
    bool ends = false, good = c != NULL;

    if (c == NULL)
        return NULL;
    c->letter.read = read_circle;
    for (size_t i = 0; i < n; i++) {
        const fj__edge *e = &chain[i];
        struct member *m = &c->members[c->n++];
        m->task = e->task != NULL ? fj_task_ref(e->task) : NULL;
        m->here = i == 0;
        m->text =
            fj__report_wait(e->task, e->thread, e->wanted, chain[(i + 1) % n].task, chain[(i + 1) % n].thread);
        good &= m->text != NULL;
        text = fj__report_join(text, i == 0 ? "a circle of waits: " : "; ", m->text);
        ends |= !fj_is_never(e->by);
    }
    c->level = ends ? FJ_LOG_WARNING : FJ_LOG_ERROR;
    c->text =
        fj__report_join(text, "; ", ends ? "it lasts until a deadline of theirs" : "none of them can go on");
    if (good && c->text != NULL)
        return c;
    free_circle(c);
    return NULL;
}

/* Whether @p w closes one.  Gives. */
static struct circle *look(const fj__waiter *w, const fj__edge *first)
{
    fj__edge chain[LONGEST];

    chain[0] = *first;
    size_t n = follow_round(chain);
    return n != 0 && atomic_load(&w->woken) == 0 && !is_told(chain, n) ? describe(chain, n) : NULL;
}

static void say(struct circle *c, const fj_task *task)
{
    if (c == NULL)
        return;
    if (task == NULL)
        tell(c);
    else if (!fj__loop_post(task->loop, &c->letter))
        free_circle(c);
}

/* ---- who waits ---------------------------------------------------------------------------------- */

void fj__circle_begin(fj__edge *edge, const fj__waiter *w, fj_deadline by)
{
    (void)pthread_once(&once, watch_forks);
    *edge = edge_of(w, by);
    lock();
    edge->at = line_of(edge->who);
    edge->next = *edge->at;
    if (edge->next != NULL)
        edge->next->at = &edge->next;
    *edge->at = edge;
    struct circle *c = look(w, edge);
    unlock();
    say(c, w->task);
}

void fj__circle_end(fj__edge *edge)
{
    lock();
    *edge->at = edge->next;
    if (edge->next != NULL)
        edge->next->at = edge->at;
    unlock();
}

/* A circle of tasks that wait for each other, without a lock, is closed by one that waits for a task that waits. */
__attribute__((noinline)) static void only_look(const fj__waiter *w, fj_deadline by)
{
    fj__edge edge = edge_of(w, by);

    (void)pthread_once(&once, watch_forks);
    lock();
    struct circle *c = look(w, &edge);
    unlock();
    say(c, w->task);
}

__attribute__((noinline)) static fj_code registered_pause(fj__waiter *w, fj_deadline by)
{
    fj__edge edge;

    fj__circle_begin(&edge, w, by);
    fj_code code = fj__waiter_pause(w, by);
    fj__circle_end(&edge);
    return code;
}

fj_code fj__circle_pause(fj__waiter *w, fj_deadline by)
{
    if (w->task->held != 0 || atomic_load_explicit(&w->task->owned, memory_order_relaxed) != 0)
        return registered_pause(w, by);
    if (waits_here((const fj_task *)w->wanted->object))
        only_look(w, by);
    return fj__waiter_pause(w, by);
}
