/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_GRAPH_H
#define FJORD_RUNTIME_GRAPH_H
/* Who needs whom: a graph of tasks without the tasks' running. */
#include <fjord/group.h>

typedef struct {
    fj_task_node **at;
    size_t n, capacity;
} fj__nodes;

struct fj_task_node {
    fj_task_graph *graph;
    char *name;
    fj_task_fn fn;
    void *user;
    fj__nodes edges[2]; /* those it needs, those that need it; as often as it was said */
    size_t missing;     /* while it runs: how many of those it needs have not ended well */
    bool begun;
    /* while a circle is sought: */
    enum { FJ__NODE_NEW = 0, FJ__NODE_OPEN, FJ__NODE_CLOSED } mark;
    size_t edge;
    fj_task_node *from;
};

struct fj_task_graph {
    fj__nodes nodes;
    bool reversed, running, collect;
    fj_task_group *group;
    /* of those that failed, when all are collected: */
    size_t failed;
    fj_code code;
    char *text;
};

/** Those that @p node needs, or that need it, in the direction the graph has now. */
const fj__nodes *fj__node_needs(const fj_task_node *node);
const fj__nodes *fj__node_needed_by(const fj_task_node *node);
/** @return OK; BAD_VALUE naming a circle */
fj_code fj__graph_check(fj_task_graph *graph, fj_error **err);

#endif
