/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_TASKS_H
#define FJORD_EXECUTORS_TASKS_H
/*
 * What the executors on a loop have in common: one task polls, each request runs in a task of its own, all on the loop of
 * the thread that started the server.  They differ in their table, and in how a method's task is made.
 */
#include <fjord/executor.h>
#include <fjord/task.h>

/** Set what a task for a method of @p flavour needs: its stack, whether libc's calls may switch. */
typedef void (*fj__task_shape_fn)(fj_flavour flavour, fj_task_opts *opts);

/** create() for a table whose other slots are FJ__TASKS_OPS. */
fj_code fj__tasks_create(const fj_executor_ops *ops, fj__task_shape_fn shape, const fj_conf *conf,
                         const fj_executor_opts *opts, fj_executor **ret, fj_error **err);

fj_code fj__tasks_start(fj_executor *x, fj_listener *listener, fj_dispatcher *dispatcher, fj_error **err);
fj_code fj__tasks_step(fj_executor *x, fj_deadline by, fj_error **err);
fj_code fj__tasks_submit(fj_executor *x, void (*job)(void *user), void *user, fj_error **err);
fj_code fj__tasks_invoke(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err);
void fj__tasks_close(fj_executor *x);
fj_code fj__tasks_stop(fj_executor *x, fj_deadline by, fj_error **err);
void fj__tasks_abort(fj_executor *x);
void fj__tasks_free(fj_executor *x);
void fj__tasks_at_fork(fj_executor *x);
unsigned fj__tasks_running(const fj_executor *x, unsigned *ret_slots);

/** What is the same in all their tables. */
/* clang-format off */
#define FJ__TASKS_OPS                                                                                         \
    .abi = FJ_EXECUTOR_ABI, .size = sizeof(fj_executor_ops), .start = fj__tasks_start, .step = fj__tasks_step, \
    .submit = fj__tasks_submit, .invoke = fj__tasks_invoke, .close = fj__tasks_close, .stop = fj__tasks_stop,  \
    .abort = fj__tasks_abort, .free = fj__tasks_free, .at_fork = fj__tasks_at_fork, .running = fj__tasks_running
/* clang-format on */

#endif
