/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edges of loops in GLib's main context, which a program may come to: `edges`.  It is C and C++, is run under valgrind, too, and prints
 * what went wrong.
 */
#include <fjord/adapters/glib.h>
#include <fjord/fjord.h>
#include <stdio.h>
#include <stdlib.h>

static int failed;

static void expect(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "edges: %s\n", what);
    failed = 1;
}

/* One way or the other; to be ended by down(). */
static fj_loop *up(GMainContext *context, bool drive, GSource **ret_source)
{
    fj_loop *loop = NULL;
    fj_error *err = NULL;
    fj_code code = drive ? fj_glib_loop_new(context, &loop, &err) : fj_loop_new(&loop, &err);

    *ret_source = code == FJ_OK && !drive ? fj_glib_attach(loop, context) : NULL;
    if (code != FJ_OK || (!drive && *ret_source == NULL)) {
        fprintf(stderr, "edges: %s\n", err != NULL ? fj_error_text(err) : "no descriptor");
        exit(1);
    }
    return loop;
}

static void down(fj_loop *loop, GSource *source)
{
    fj_glib_detach(source);
    fj_loop_free(loop);
}

static void count(fj_loop *loop, void *user)
{
    (void)loop;
    ++*(int *)user;
}

static void soon(fj_loop *loop, int *counter)
{
    expect(fj_loop_call_soon(loop, count, counter, NULL, NULL) == FJ_OK, "a call was refused");
}

/* Each loop does its own, whichever was made or freed first. */
static void two_loops_in_one_context(bool drive)
{
    GMainContext *context = g_main_context_new();
    GSource *sources[2];
    fj_loop *loops[2];
    int counts[2] = { 0, 0 };

    for (int i = 0; i < 2; i++)
        loops[i] = up(context, drive, &sources[i]);
    for (int i = 0; i < 2; i++)
        soon(loops[i], &counts[i]);
    while (counts[0] == 0 || counts[1] == 0)
        (void)g_main_context_iteration(context, TRUE);
    down(loops[0], sources[0]);
    soon(loops[1], &counts[1]);
    while (counts[1] == 1)
        (void)g_main_context_iteration(context, TRUE);
    expect(counts[0] == 1 && counts[1] == 2, "two loops: each call was not made once");
    down(loops[1], sources[1]);
    g_main_context_unref(context);
}

struct nest {
    GMainContext *context;
    int inner, after;
    bool over;
};

static gboolean on_idle(gpointer user)
{
    ++*(int *)user;
    return G_SOURCE_REMOVE;
}

/* A call-back of Fjord's that runs the context until the host's own source in it was called. */
static void iterate_inside(fj_loop *loop, void *user)
{
    struct nest *n = (struct nest *)user;
    GSource *idle = g_idle_source_new();

    g_source_set_callback(idle, on_idle, &n->inner, NULL);
    (void)g_source_attach(idle, n->context);
    g_source_unref(idle);
    soon(loop, &n->after);
    while (n->inner == 0)
        (void)g_main_context_iteration(n->context, TRUE);
    expect(n->after == 0, "nested: a turn ran within a turn");
    n->over = true;
}

static void the_context_is_iterated_in_a_call_back(bool drive)
{
    struct nest n = { g_main_context_new(), 0, 0, false };
    GSource *source;
    fj_loop *loop = up(n.context, drive, &source);

    expect(fj_loop_call_soon(loop, iterate_inside, &n, NULL, NULL) == FJ_OK, "a call was refused");
    while (n.after == 0)
        (void)g_main_context_iteration(n.context, TRUE);
    expect(n.over, "nested: what it gave to the loop ran before it was over");
    down(loop, source);
    g_main_context_unref(n.context);
}

/* The host's loop is gone first: ours can still be turned, and freed. */
static void the_context_is_gone_first(bool drive)
{
    GMainContext *context = g_main_context_new();
    GSource *source;
    fj_loop *loop = up(context, drive, &source);
    int calls = 0;

    soon(loop, &calls);
    g_main_context_unref(context);
    while (calls == 0)
        expect(fj_loop_turn(loop, fj_never(), NULL) == FJ_OK, "gone first: no turn");
    soon(loop, &calls);
    down(loop, source);
    expect(calls == 1, "gone first: a call was made by a free");
}

static fj_code wait_for_ever(void *user, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    fj_code code = fj_sleep(fj_never());
    *(fj_code *)user = code;
    return code;
}

/* Nobody stops the tasks: freeing the loop cancels them. */
static void a_loop_is_freed_with_tasks_that_wait(bool drive)
{
    GMainContext *context = g_main_context_new();
    GSource *source;
    fj_loop *loop = up(context, drive, &source);
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_code code = FJ_OK;

    opts.loop = loop;
    expect(fj_task_spawn(wait_for_ever, &code, &opts, NULL, NULL) == FJ_OK, "a task was refused");
    while (g_main_context_iteration(context, FALSE))
        ;
    down(loop, source);
    expect(code == FJ_CANCELLED, "a task that waited was not cancelled");
    g_main_context_unref(context);
}

int main(void)
{
    for (int drive = 0; drive < 2; drive++) {
        two_loops_in_one_context(drive != 0);
        the_context_is_iterated_in_a_call_back(drive != 0);
        the_context_is_gone_first(drive != 0);
        a_loop_is_freed_with_tasks_that_wait(drive != 0);
    }
    return failed;
}
