/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_GROUP_H
#define FJORD_GROUP_H
/*
 * Tasks in company: pools of bounded size (eventlet's GreenPool), groups that wait for all (asyncio's TaskGroup), graphs
 * of tasks with dependencies and a runner that steps (OpenStack Heat's DependencyTaskGroup and TaskRunner).
 */
#include <fjord/await.h>
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>
#include <fjord/task.h>

FJ_BEGIN_DECLS

/* ---- pools ---------------------------------------------------------------------------------------- */

typedef struct fj_task_pool fj_task_pool;
/** @param size how many run at once   @param opts of each task; copied; may be NULL */
FJ_API FJ_MUST_USE fj_code fj_task_pool_new(unsigned size, const fj_task_opts *opts, fj_task_pool **ret);
/** Those that run go on.  Accepts NULL, answers NULL. */
FJ_API fj_task_pool *fj_task_pool_free(fj_task_pool *pool);
/** Spawn, after waiting for a place.  @param ret gives; may be NULL   @errors TIMEOUT, CANCELLED, those of spawn */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_task_pool_spawn(fj_task_pool *pool, fj_task_fn fn, void *user,
                                                        fj_deadline by, fj_task **ret, fj_error **err);
FJ_API unsigned fj_task_pool_running(const fj_task_pool *pool);
/** Wait until none runs. */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_task_pool_wait(fj_task_pool *pool, fj_deadline by);

/* ---- groups --------------------------------------------------------------------------------------- */

typedef struct fj_task_group fj_task_group;
/** Tasks of which the first that fails cancels the others (and the waiter learns of it). */
FJ_API FJ_MUST_USE fj_code fj_task_group_new(fj_task_group **ret);
/** Cancels those that have not ended.  Accepts NULL, answers NULL. */
FJ_API fj_task_group *fj_task_group_free(fj_task_group *group);
/** @errors STATE when it is over, those of spawn */
FJ_API FJ_MUST_USE fj_code fj_task_group_spawn(fj_task_group *group, fj_task_fn fn, void *user,
                                               const fj_task_opts *opts, fj_task **ret, fj_error **err);
/** Wait for all; at @p by, or when the caller is cancelled, those left are cancelled and waited for.
 *  @return OK; the first error; TIMEOUT; CANCELLED */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_task_group_wait(fj_task_group *group, fj_deadline by, fj_error **err);

/* ---- graphs --------------------------------------------------------------------------------------- */

typedef struct fj_task_graph fj_task_graph;
typedef struct fj_task_node fj_task_node;
FJ_API FJ_MUST_USE fj_code fj_task_graph_new(fj_task_graph **ret);
FJ_API fj_task_graph *fj_task_graph_free(fj_task_graph *graph);
/** @param ret lends, for the graph's life */
FJ_API FJ_MUST_USE fj_code fj_task_graph_add(fj_task_graph *graph, const char *name, fj_task_fn fn, void *user,
                                             fj_task_node **ret);
/** @p node begins only after @p needed has ended well.  @errors STATE once it runs, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_task_graph_depend(fj_task_graph *graph, fj_task_node *node, fj_task_node *needed);
/** In the other direction, as Heat does to take down what it built. */
FJ_API void fj_task_graph_reverse(fj_task_graph *graph);
/** Run all, each as soon as its dependencies allow.  The first error cancels the rest, unless @p collect, when what
 *  does not depend on it goes on and the error tells all.  @errors BAD_VALUE names a circle; TIMEOUT; CANCELLED */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_task_graph_run(fj_task_graph *graph, bool collect, fj_deadline by,
                                                       fj_error **err);

/* ---- a runner that steps -------------------------------------------------------------------------- */

typedef struct fj_task_runner fj_task_runner;
/** Drive one task from plain code, a step at a time: each runs it to its next fj_yield() or other wait, on a loop of
 *  the runner's own.  @param ret gives */
FJ_API FJ_MUST_USE fj_code fj_task_runner_new(fj_task_fn fn, void *user, const fj_task_opts *opts,
                                              fj_task_runner **ret, fj_error **err);
/** Cancels a task that has not ended, and lets it clean up. */
FJ_API fj_task_runner *fj_task_runner_free(fj_task_runner *runner);
/** Begin; with a timeout in seconds (0: none), after which the task gets FJ_TIMEOUT at its next wait.
 *  @errors STATE when it was started */
FJ_API FJ_MUST_USE fj_code fj_task_runner_start(fj_task_runner *runner, double timeout, fj_error **err);
/** One step.  @return OK when the task has ended well; AGAIN while it has not; its error   @errors STATE */
FJ_API FJ_MUST_USE fj_code fj_task_runner_step(fj_task_runner *runner, fj_error **err);
/** Start, unless started, and step until it has ended, sleeping @p wait_time seconds between steps.
 *  @param ret gives the result; may be NULL   @blocks */
FJ_API FJ_MUST_USE fj_code fj_task_runner_run_to_completion(fj_task_runner *runner, double wait_time,
                                                            json_t **ret, fj_error **err);
FJ_API bool fj_task_runner_done(const fj_task_runner *runner);
FJ_API void fj_task_runner_cancel(fj_task_runner *runner);

FJ_END_DECLS
#endif
