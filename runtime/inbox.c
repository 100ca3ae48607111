/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inbox.  Writers push letters on a stack, and then say WOKEN.  Only the writer that finds the reader ASLEEP owes it a
 * write to the eventfd; one who finds AWAKE or WOKEN need not, for the reader cannot fall asleep any more without seeing it:
 * sleeping is an exchange of AWAKE for ASLEEP, which then fails.
 */
#include "runtime/inbox.h"

#include "base/native.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { AWAKE, ASLEEP, WOKEN };

static fj__letter closed; /* as the head: nothing is taken any more */

fj_code fj__inbox_init(fj__inbox *in, fj_error **err)
{
    atomic_init(&in->head, NULL);
    atomic_init(&in->state, AWAKE);
    in->owed = 0;
    in->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (in->fd < 0)
        return fj_fail(err, FJ_SYSTEM, "eventfd: %s", strerror(errno));
    return FJ_OK;
}

void fj__inbox_fini(fj__inbox *in)
{
    if (in->fd >= 0)
        (void)fj__native.close(in->fd);
    in->fd = -1;
}

void fj__inbox_wake(fj__inbox *in)
{
    if (atomic_load(&in->state) == WOKEN || atomic_exchange(&in->state, WOKEN) != ASLEEP)
        return;
    int saved = errno;
    /* Cannot fail: the counter would have to reach its limit of 2^64 - 2. */
    (void)eventfd_write(in->fd, 1);
    errno = saved;
}

bool fj__inbox_post(fj__inbox *in, fj__letter *letter)
{
    /* A read-and-write in both cases: what the poster did before is seen by the reader of a letter that was there already. */
    if (atomic_exchange(&letter->posted, true))
        return false;
    fj__letter *head = atomic_load_explicit(&in->head, memory_order_relaxed);
    do {
        if (head == &closed) {
            atomic_store(&letter->posted, false);
            return false;
        }
        letter->next = head;
    } while (!atomic_compare_exchange_weak(&in->head, &head, letter));
    fj__inbox_wake(in);
    return true;
}

static void read_all(fj__letter *newest)
{
    fj__letter *oldest = NULL;

    while (newest != NULL) {
        fj__letter *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        fj__letter *next = oldest->next;
        (void)atomic_exchange(&oldest->posted, false);
        oldest->read(oldest);
        oldest = next;
    }
}

bool fj__inbox_read(fj__inbox *in)
{
    fj__letter *head = atomic_load_explicit(&in->head, memory_order_relaxed);

    if (head == NULL || head == &closed)
        return false;
    read_all(atomic_exchange(&in->head, NULL));
    return true;
}

void fj__inbox_close(fj__inbox *in)
{
    fj__letter *head = atomic_exchange(&in->head, &closed);

    if (head != &closed)
        read_all(head);
}

bool fj__inbox_sleep(fj__inbox *in)
{
    int awake = AWAKE;

    if (atomic_compare_exchange_strong(&in->state, &awake, ASLEEP))
        return true;
    atomic_store(&in->state, AWAKE);
    return false;
}

bool fj__inbox_woken(const fj__inbox *in)
{
    return atomic_load(&in->state) == WOKEN;
}

bool fj__inbox_awake(fj__inbox *in)
{
    bool woken = atomic_exchange(&in->state, AWAKE) == WOKEN;
    eventfd_t n = 0;

    /* The write may still be on its way: it is read after a later sleep, which it cuts short. */
    in->owed += woken;
    if (in->owed != 0 && eventfd_read(in->fd, &n) == 0)
        in->owed -= n;
    return woken;
}
