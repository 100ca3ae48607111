/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/graph.h"

#include "base/alloc.h"

enum { NEEDS = 0, NEEDED_BY = 1 };

fj_code fj_task_graph_new(fj_task_graph **ret)
{
    fj_task_graph *graph = fj__zalloc(sizeof *graph);

    if (graph == NULL)
        return FJ_NOMEM;
    *ret = graph;
    return FJ_OK;
}

static void free_node(fj_task_node *node)
{
    fj__free(node->edges[NEEDS].at);
    fj__free(node->edges[NEEDED_BY].at);
    fj__free(node->name);
    fj__free(node);
}

fj_task_graph *fj_task_graph_free(fj_task_graph *graph)
{
    if (graph == NULL)
        return NULL;
    for (size_t i = 0; i < graph->nodes.n; i++)
        free_node(graph->nodes.at[i]);
    fj__free(graph->nodes.at);
    fj__free(graph);
    return NULL;
}

static bool add(fj__nodes *nodes, fj_task_node *node)
{
    fj_task_node **at = fj__grow(nodes->at, &nodes->capacity, nodes->n + 1, sizeof(fj_task_node *));

    if (at == NULL)
        return false;
    nodes->at = at;
    nodes->at[nodes->n++] = node;
    return true;
}

fj_code fj_task_graph_add(fj_task_graph *graph, const char *name, fj_task_fn fn, void *user, fj_task_node **ret)
{
    if (graph->running)
        return FJ_STATE;
    fj_task_node *node = fj__zalloc(sizeof *node);
    if (node == NULL)
        return FJ_NOMEM;
    *node = (fj_task_node){
        .graph = graph, .name = fj__strdup(name != NULL ? name : "task"), .fn = fn, .user = user
    };
    if (node->name == NULL || !add(&graph->nodes, node)) {
        free_node(node);
        return FJ_NOMEM;
    }
    if (ret != NULL)
        *ret = node;
    return FJ_OK;
}

fj_code fj_task_graph_depend(fj_task_graph *graph, fj_task_node *node, fj_task_node *needed)
{
    unsigned needs = graph->reversed ? NEEDED_BY : NEEDS;

    if (graph->running)
        return FJ_STATE;
    if (node->graph != graph || needed->graph != graph)
        return FJ_BAD_VALUE;
    if (!add(&node->edges[needs], needed))
        return FJ_NOMEM;
    if (!add(&needed->edges[1 - needs], node)) {
        node->edges[needs].n--;
        return FJ_NOMEM;
    }
    return FJ_OK;
}

void fj_task_graph_reverse(fj_task_graph *graph)
{
    if (!graph->running)
        graph->reversed = !graph->reversed;
}

const fj__nodes *fj__node_needs(const fj_task_node *node)
{
    return &node->edges[node->graph->reversed ? NEEDED_BY : NEEDS];
}

const fj__nodes *fj__node_needed_by(const fj_task_node *node)
{
    return &node->edges[node->graph->reversed ? NEEDS : NEEDED_BY];
}

/* ---- circles ------------------------------------------------------------------------------------- */

/* The way from @p first to @p last, and on to @p first again. */
static fj_code name_circle(const fj_task_node *first, const fj_task_node *last, fj_error **err)
{
    char *text = fj__strdup(first->name);

    for (const fj_task_node *node = last; text != NULL; node = node->from) {
        char *longer = fj__format("%s -> %s", node->name, text);
        fj__free(text);
        text = longer;
        if (node == first)
            break;
    }
    fj_code code = text != NULL ? fj_fail(err, FJ_BAD_VALUE, "tasks need each other in a circle: %s", text)
                                : fj_fail(err, FJ_NOMEM, "no memory to name a circle of tasks");
    fj__free(text);
    return code;
}

/* Go from @p root to all it needs, directly or not, depth first; whom we find on our own way closes a circle. */
static fj_code walk(fj_task_node *root, fj_error **err)
{
    fj_task_node *node = root;

    root->mark = FJ__NODE_OPEN;
    while (node != NULL) {
        const fj__nodes *needs = fj__node_needs(node);
        fj_task_node *next = node->edge < needs->n ? needs->at[node->edge++] : NULL;
        if (next == NULL) {
            node->mark = FJ__NODE_CLOSED;
            node = node->from;
        } else if (next->mark == FJ__NODE_OPEN) {
            return name_circle(next, node, err);
        } else if (next->mark == FJ__NODE_NEW) {
            next->mark = FJ__NODE_OPEN;
            next->from = node;
            node = next;
        }
    }
    return FJ_OK;
}

fj_code fj__graph_check(fj_task_graph *graph, fj_error **err)
{
    fj_code code = FJ_OK;

    for (size_t i = 0; i < graph->nodes.n; i++) {
        fj_task_node *node = graph->nodes.at[i];
        node->mark = FJ__NODE_NEW;
        node->edge = 0;
        node->from = NULL;
    }
    for (size_t i = 0; i < graph->nodes.n && code == FJ_OK; i++) {
        if (graph->nodes.at[i]->mark == FJ__NODE_NEW)
            code = walk(graph->nodes.at[i], err);
    }
    return code;
}
