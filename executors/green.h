/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_GREEN_H
#define FJORD_EXECUTORS_GREEN_H
#include <fjord/executor.h>
#include <fjord/task.h>

extern const fj_executor_ops fj__executor_green;
/** The tasks of `green` and `bridged`: implicit, unless the method is explicit. */
void fj__green_shape(fj_flavour flavour, fj_task_opts *opts);

#endif
