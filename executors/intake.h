/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_INTAKE_H
#define FJORD_EXECUTORS_INTAKE_H
/*
 * The intake of a server: polls the listener for at most as many messages as there are free slots, takes them out of the
 * broker's hands as a batch, and begins each in its slot.  It runs on a thread of its own or in a task.
 */
#include "executors/slots.h"

typedef struct fj__intake fj__intake;
struct fj__intake {
    fj__slots *slots;
    fj_listener *listener;
    bool ack_done;
    /** Have the request that @p slot holds run.  @return OK; else why it cannot be, and its caller is told that */
    fj_code (*run)(fj__intake *in, fj__slot *slot, fj_error **err);
    fj__trouble trouble;
    atomic_bool ended;
};

/** Until the slots or the listener are closed.  What was polled and not begun goes back to the broker. */
void fj__intake_run(fj__intake *in);
/** Wait, on a plain thread, until fj__intake_run() has returned, or all was given up.  @errors TIMEOUT */
fj_code fj__intake_join(fj__intake *in, fj_deadline by, fj_error **err);

#endif
