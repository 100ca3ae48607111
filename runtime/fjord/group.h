/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_GROUP_H
#define FJORD_GROUP_H
/*
 * Tasks in company: pools of bounded size (eventlet's GreenPool), groups that wait for all (asyncio's TaskGroup), graphs
 * of tasks with dependencies and a runner that steps (OpenStack Heat's DependencyTaskGroup and TaskRunner).
 * Each of them is used on one thread, that of the loop whose tasks it has, and freed when nobody waits in it.
 */
#include <fjord/await.h>
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>
#include <fjord/task.h>

FJ_BEGIN_DECLS

/* ---- pools ---------------------------------------------------------------------------------------- */

typedef struct fj_task_pool fj_task_pool;
/** @param size how many run at once   @param opts of each task; copied; may be NULL   @errors BAD_VALUE for 0, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_task_pool_new(unsigned size, const fj_task_opts *opts, fj_task_pool **ret);
/** Those that run go on.  Accepts NULL, answers NULL. */
FJ_API fj_task_pool *fj_task_pool_free(fj_task_pool *pool);
/** Spawn, after waiting for a place, in order of arrival.  A task of the pool does not wait for a place, lest all wait
 *  for each other: when the pool is full it lends its own, and waits until the new task has ended; cut short in that it
 *  cancels the new task.  @param ret gives; may be NULL
 *  @errors TIMEOUT, CANCELLED, WRONG_CONTEXT outside a task, those of fj_task_spawn() */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_task_pool_spawn(fj_task_pool *pool, fj_task_fn fn, void *user,
                                                        fj_deadline by, fj_task **ret, fj_error **err);
/** How many have not ended. */
FJ_API unsigned fj_task_pool_running(const fj_task_pool *pool);
/** Wait until none runs.  @return OK; TIMEOUT; CANCELLED; STATE in a task of the pool; WRONG_CONTEXT outside a task */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_task_pool_wait(fj_task_pool *pool, fj_deadline by);

/* ---- groups --------------------------------------------------------------------------------------- */

typedef struct fj_task_group fj_task_group;
/** Tasks of which the first that fails cancels the others (and the waiter learns of it).  One that ends with FJ_CANCELLED
 *  has not failed. */
FJ_API FJ_MUST_USE fj_code fj_task_group_new(fj_task_group **ret);
/** Cancels those that have not ended.  Accepts NULL, answers NULL. */
FJ_API fj_task_group *fj_task_group_free(fj_task_group *group);
/** From anywhere on the loop's thread, also from a task of the group.
 *  @param ret gives; may be NULL   @errors STATE when one has failed or a wait is over; those of fj_task_spawn() */
FJ_API FJ_MUST_USE fj_code fj_task_group_spawn(fj_task_group *group, fj_task_fn fn, void *user,
                                               const fj_task_opts *opts, fj_task **ret, fj_error **err);
/** Wait for all; at @p by, or when the caller is cancelled, those left are cancelled and waited for.
 *  @return OK; else what came first: the error of a task, TIMEOUT, CANCELLED.  STATE in a task of the group */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_task_group_wait(fj_task_group *group, fj_deadline by, fj_error **err);

/* ---- graphs --------------------------------------------------------------------------------------- */

typedef struct fj_task_graph fj_task_graph;
typedef struct fj_task_node fj_task_node;
FJ_API FJ_MUST_USE fj_code fj_task_graph_new(fj_task_graph **ret);
/** Accepts NULL, answers NULL.  Not while it runs. */
FJ_API fj_task_graph *fj_task_graph_free(fj_task_graph *graph);
/** @param name copied; NULL: "task"   @param ret lends, for the graph's life; may be NULL   @errors STATE while it runs,
 *  NOMEM */
FJ_API FJ_MUST_USE fj_code fj_task_graph_add(fj_task_graph *graph, const char *name, fj_task_fn fn, void *user,
                                             fj_task_node **ret);
/** @p node begins only after @p needed has ended well.  @errors STATE while it runs, BAD_VALUE for a node of another graph,
 *  NOMEM */
FJ_API FJ_MUST_USE fj_code fj_task_graph_depend(fj_task_graph *graph, fj_task_node *node, fj_task_node *needed);
/** In the other direction, as Heat does to take down what it built.  Nothing while it runs. */
FJ_API void fj_task_graph_reverse(fj_task_graph *graph);
/** Run all, each as soon as its dependencies allow; when all has ended it may be run again.  The first error cancels the
 *  rest, unless @p collect, when what does not depend on it goes on and the error tells all, with the code of the first.
 *  Here FJ_CANCELLED is an error, too, since those that need the task cannot begin.
 *  @errors BAD_VALUE names a circle; TIMEOUT; CANCELLED; STATE while it runs; those of fj_task_spawn() */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_task_graph_run(fj_task_graph *graph, bool collect, fj_deadline by,
                                                       fj_error **err);

/* ---- a runner that steps -------------------------------------------------------------------------- */

typedef struct fj_task_runner fj_task_runner;
/** Drive one task from plain code, a step at a time: each runs it to its next fj_yield() or other wait, on a loop of
 *  the runner's own.  It runs on the thread of the first step, which all of these functions are for.
 *  @param opts of the task, but for its loop; copied; may be NULL   @param ret gives   @errors NOMEM, SYSTEM */
FJ_API FJ_MUST_USE fj_code fj_task_runner_new(fj_task_fn fn, void *user, const fj_task_opts *opts,
                                              fj_task_runner **ret, fj_error **err);
/** Cancels a task that has not ended, and lets it clean up. */
FJ_API fj_task_runner *fj_task_runner_free(fj_task_runner *runner);
/** Begin, with a first step; with a timeout in seconds (0: none), after which the task gets FJ_TIMEOUT at its next wait,
 *  once.  @return OK, also when the task has ended: the next step tells how
 *  @errors STATE when it was started, or a loop runs on this thread; those of fj_task_spawn() */
FJ_API FJ_MUST_USE fj_code fj_task_runner_start(fj_task_runner *runner, double timeout, fj_error **err);
/** One step; does not wait for what the task waits for.
 *  @return OK when the task has ended well; AGAIN while it has not; its error   @errors STATE when it was not started */
FJ_API FJ_MUST_USE fj_code fj_task_runner_step(fj_task_runner *runner, fj_error **err);
/** Start, unless started, and step until it has ended, sleeping @p wait_time seconds between steps, and as long as there is
 *  nothing to do.  @param ret gives the result; may be NULL   @return its outcome   @blocks */
FJ_API FJ_MUST_USE fj_code fj_task_runner_run_to_completion(fj_task_runner *runner, double wait_time,
                                                            json_t **ret, fj_error **err);
FJ_API bool fj_task_runner_done(const fj_task_runner *runner);
/** The task gets FJ_CANCELLED at its next wait, which is in one of the next steps; not before @p grace seconds have passed
 *  (0: at once).  Not started, it never begins. */
FJ_API void fj_task_runner_cancel(fj_task_runner *runner, double grace);

FJ_END_DECLS
#endif
