/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_GROUP_H
#define FJORD_RUNTIME_GROUP_H
/* Groups of tasks from inside the library. */
#include <fjord/group.h>

/** Whether it goes on: nothing has failed, and nobody has cut it short. */
bool fj__task_group_well(const fj_task_group *group);
/** As if a task of it had ended with @p error (takes; not NULL).  Nothing but the first counts. */
void fj__task_group_fail(fj_task_group *group, fj_error *error);

#endif
