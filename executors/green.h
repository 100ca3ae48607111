/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_GREEN_H
#define FJORD_EXECUTORS_GREEN_H
#include <fjord/executor.h>

extern const fj_executor_ops fj__executor_green;

#endif
