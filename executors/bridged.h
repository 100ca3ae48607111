/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_BRIDGED_H
#define FJORD_EXECUTORS_BRIDGED_H
#include <fjord/executor.h>

extern const fj_executor_ops fj__executor_bridged;

#endif
