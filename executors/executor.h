/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_EXECUTOR_H
#define FJORD_EXECUTORS_EXECUTOR_H
#include <fjord/executor.h>

/** The executor that `<dir>/<name>.so` holds: loaded once and kept for ever.
 *  @errors NO_EXECUTOR when there is no such file, or it was made for another version   @thread any */
fj_code fj__executor_load(const char *dir, const char *name, const fj_executor_ops **ret, fj_error **err);

#endif
