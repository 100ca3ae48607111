/* SPDX-License-Identifier: Apache-2.0 */
/* Running a graph: a group of tasks, in which each that ends well begins those that waited for it alone. */
#include "runtime/graph.h"

#include "base/alloc.h"
#include "runtime/group.h"

static fj_code run_node(void *user, json_t **ret, fj_error **err);

static fj_code begin(fj_task_node *node, fj_error **err)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.name = node->name;
    fj_code code = fj_task_group_spawn(node->graph->group, run_node, node, &opts, NULL, err);
    if (code != FJ_OK)
        fj_error_prefix(err, "%s", node->name);
    node->begun = code == FJ_OK;
    return code;
}

static fj_code begin_next(const fj_task_node *node, fj_error **err)
{
    const fj__nodes *waiting = fj__node_needed_by(node);
    fj_code code = FJ_OK;

    for (size_t i = 0; i < waiting->n; i++) {
        fj_task_node *next = waiting->at[i];
        if (--next->missing == 0 && code == FJ_OK && fj__task_group_well(node->graph->group))
            code = begin(next, err);
    }
    return code;
}

/* Another that failed, for the error that tells all. */
static void collect(fj_task_graph *graph, fj_code code, const fj_error *error)
{
    char *text = fj__format("%s%s%s", graph->text != NULL ? graph->text : "", graph->text != NULL ? "; " : "",
                            fj_error_text(error));

    if (text != NULL) {
        fj__free(graph->text);
        graph->text = text;
    }
    if (graph->failed++ == 0)
        graph->code = code;
}

static fj_code run_node(void *user, json_t **ret, fj_error **err)
{
    fj_task_node *node = user;
    fj_task_graph *graph = node->graph;
    fj_code code = node->fn(node->user, ret, err);

    if (code == FJ_OK)
        return begin_next(node, err);
    if (!fj__task_group_well(graph->group))
        return code;
    if (*err == NULL)
        (void)fj_fail(err, code, "%s", fj_code_text(code));
    fj_error_prefix(err, "%s", node->name);
    if (graph->collect) {
        collect(graph, code, *err);
        *err = fj_error_free(*err);
        return FJ_OK;
    }
    if (code == FJ_CANCELLED) { /* of itself, and those that need it would wait for ever */
        fj__task_group_fail(graph->group, *err);
        *err = NULL;
    }
    return code;
}

static fj_code begin_first(fj_task_graph *graph, fj_error **err)
{
    fj_code code = FJ_OK;

    for (size_t i = 0; i < graph->nodes.n && code == FJ_OK; i++) {
        if (graph->nodes.at[i]->missing == 0)
            code = begin(graph->nodes.at[i], err);
    }
    return code;
}

/* "2 of 5 tasks failed: db: no such host; cache: out of memory; 1 did not begin" */
static fj_code tell_all(const fj_task_graph *graph, fj_error **err)
{
    size_t left = 0;

    if (graph->failed == 0)
        return FJ_OK;
    for (size_t i = 0; i < graph->nodes.n; i++)
        left += !graph->nodes.at[i]->begun;
    const char *text = graph->text != NULL ? graph->text : fj_code_text(graph->code);
    if (left == 0)
        return fj_fail(err, graph->code, "%zu of %zu tasks failed: %s", graph->failed, graph->nodes.n, text);
    return fj_fail(err, graph->code, "%zu of %zu tasks failed: %s; %zu did not begin", graph->failed,
                   graph->nodes.n, text, left);
}

static FJ_AWAITS fj_code run(fj_task_graph *graph, fj_deadline by, fj_error **err)
{
    fj_error *error = NULL;

    if (begin_first(graph, &error) != FJ_OK)
        fj__task_group_fail(graph->group, error);
    return fj_task_group_wait(graph->group, by, err);
}

fj_code fj_task_graph_run(fj_task_graph *graph, bool collect_all, fj_deadline by, fj_error **err)
{
    if (fj_task_current() == NULL)
        return fj_fail(err, FJ_WRONG_CONTEXT, "only a task can run a graph of tasks");
    if (graph->running)
        return fj_fail(err, FJ_STATE, "the graph of tasks runs already");
    fj_code code = fj__graph_check(graph, err);
    if (code != FJ_OK)
        return code;
    if (fj_task_group_new(&graph->group) != FJ_OK)
        return fj_fail(err, FJ_NOMEM, "no memory for a group of tasks");
    for (size_t i = 0; i < graph->nodes.n; i++) {
        graph->nodes.at[i]->missing = fj__node_needs(graph->nodes.at[i])->n;
        graph->nodes.at[i]->begun = false;
    }
    graph->running = true;
    graph->collect = collect_all;
    graph->failed = 0;
    code = run(graph, by, err);
    if (code == FJ_OK)
        code = tell_all(graph, err);
    graph->group = fj_task_group_free(graph->group);
    fj__free(graph->text);
    graph->text = NULL;
    graph->running = false;
    return code;
}
