/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/waiter.h"

#include "runtime/circle.h"
#include "runtime/sync.h"
#include "runtime/task_impl.h"

fj_code fj__waiter_init(fj__waiter *w, const char *what)
{
    *w = (fj__waiter){ .task = fj_task_current(), .what = what };
    return w->task == NULL && fj_loop_running() != NULL ? FJ_WRONG_CONTEXT : FJ_OK;
}

void *fj__waiter_thread(void)
{
    static _Thread_local char thread;

    return &thread;
}

static bool is_woken(fj__waiter *w)
{
    return atomic_load_explicit(&w->woken, memory_order_acquire) != 0;
}

fj_code fj__waiter_pause(fj__waiter *w, fj_deadline by)
{
    if (is_woken(w))
        return FJ_OK;
    if (w->task != NULL) {
        w->task->waiter = w;
        fj_code code = fj__task_park(w->what, by);
        w->task->waiter = NULL;
        return code;
    }
    return fj__futex_wait(&w->woken, 0, by) || is_woken(w) ? FJ_OK : FJ_TIMEOUT;
}

/* Where circles are looked for. */
__attribute__((noinline)) static fj_code wait_watched(fj__waiter *w, fj_deadline by)
{
    fj__edge edge;
    fj_code code = FJ_OK;

    fj__circle_begin(&edge, w, by);
    while (code == FJ_OK && !is_woken(w))
        code = fj__waiter_pause(w, by);
    fj__circle_end(&edge);
    return code;
}

fj_code fj__waiter_wait(fj__waiter *w, fj_deadline by)
{
    fj_code code = FJ_OK;

    if (w->wanted != NULL && w->wanted->lock && !is_woken(w))
        return wait_watched(w, by);
    while (code == FJ_OK && !is_woken(w))
        code = fj__waiter_pause(w, by);
    return code;
}

static void say_woken(fj__waiter *w)
{
    atomic_store_explicit(&w->woken, 1, memory_order_release);
}

void fj__waiter_wake(fj__waiter *w)
{
    fj_task *task =
        w->task; /* once it is said the waiter may be gone, for it was perhaps awake for another reason */

    if (task == NULL) {
        say_woken(w);
        /* Only the address is named, and who sleeps on a futex bears to be woken for nothing. */
        fj__futex_wake(&w->woken, 1);
        return;
    }
    bool held = fj_loop_running() != fj_task_loop(task) && fj__task_hold(task);
    say_woken(w);
    fj__task_wake(task);
    if (held)
        fj__task_release(task);
}

void fj__waiters_push(fj__waiters *list, fj__waiter *w)
{
    w->next = NULL;
    w->prev = list->last;
    if (list->last != NULL)
        list->last->next = w;
    else
        list->first = w;
    list->last = w;
}

void fj__waiters_remove(fj__waiters *list, fj__waiter *w)
{
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        list->first = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    else
        list->last = w->prev;
    w->next = w->prev = NULL;
}

bool fj__waiters_has(const fj__waiters *list, const fj__waiter *w)
{
    return w->prev != NULL || list->first == w;
}
