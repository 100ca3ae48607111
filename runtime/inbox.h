/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_INBOX_H
#define FJORD_RUNTIME_INBOX_H
/*
 * What other threads have for a loop: any number of writers, one reader, no lock.  The reader is woken by an eventfd, and
 * only when it sleeps: wake-ups that come while one is on its way cost no system call.
 */
#include <fjord/error.h>
#include <stdatomic.h>

typedef struct fj__letter fj__letter;
struct fj__letter {
    fj__letter *next;
    void (*read)(
        fj__letter
            *letter); /* on the reader's thread; the letter may be posted again, or freed, from then on */
    atomic_bool posted;
};

typedef struct {
    _Atomic(fj__letter *) head; /* newest first */
    atomic_int state;           /* awake, asleep, woken */
    int fd;                     /* eventfd: the reader watches it */
    uint64_t owed;              /* the reader's: writes to it that were promised and are not read yet */
} fj__inbox;

fj_code fj__inbox_init(fj__inbox *in, fj_error **err);
void fj__inbox_fini(fj__inbox *in);
/** Read what is there, and take nothing more.  @thread the reader's */
void fj__inbox_close(fj__inbox *in);
/** @return false when the letter is there already, unread, or the inbox is closed.  @thread any, async-signal-safe */
bool fj__inbox_post(fj__inbox *in, fj__letter *letter);
/** Wake the reader though there is no letter.  @thread any, async-signal-safe */
void fj__inbox_wake(fj__inbox *in);
/** Whether somebody has woken the reader since it was last asked.  @thread any */
bool fj__inbox_woken(const fj__inbox *in);
/** Read all there is, oldest first.  @return whether there was something.  @thread the reader's */
bool fj__inbox_read(fj__inbox *in);
/** Before a sleep: @return false when something came, and the reader must not sleep.  @thread the reader's */
bool fj__inbox_sleep(fj__inbox *in);
/** After it.  @return whether somebody has woken the reader   @thread the reader's */
bool fj__inbox_awake(fj__inbox *in);

#endif
