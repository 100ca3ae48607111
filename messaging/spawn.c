/* SPDX-License-Identifier: Apache-2.0 */
/* Worker processes: made, asked, reaped. */
#include "service_impl.h"

#include "base/alloc.h"
#include "base/native.h"

#include <fjord/log.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child has its parent's descriptors: as long as it holds another worker's, that one would not see its parent die. */
static void close_parents(fj_service *s)
{
    for (size_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i].fd >= 0)
            (void)fj__native.close(s->slots[i].fd);
        s->slots[i].fd = -1;
    }
    (void)fj__native.close(s->signal_fd);
    s->signal_fd = -1;
}

fj_code fj__service_spawn(fj_service *s, fj__slot *slot, fj_error **err)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        return fj_fail(err, FJ_SYSTEM, "no socket for a worker of %s: %s", slot->kind->name, strerror(errno));
    (void)fflush(NULL); /* what is buffered is written once */
    pid_t pid = fork();
    if (pid == 0) {
        close_parents(s);
        (void)fj__native.close(fds[0]);
        slot->fd = fds[1];
        int status = fj__worker_process(s, slot);
        (void)fflush(NULL);
        (void)fj_log_flush(1000);
        _exit(status); /* what the program has at exit is its parent's to run */
    }
    int error = errno;
    (void)fj__native.close(fds[1]);
    if (pid < 0) {
        (void)fj__native.close(fds[0]);
        return fj_fail(err, FJ_SYSTEM, "no process for a worker of %s: %s", slot->kind->name, strerror(error));
    }
    slot->pid = pid;
    slot->fd = fds[0];
    slot->ready = slot->beat = slot->deaf = slot->reloading = slot->killed = false;
    return FJ_OK;
}

bool fj__service_reap(fj__slot *slot, char *how, size_t n)
{
    siginfo_t info = { .si_pid = 0 };

    if (slot->pid == 0 || waitid(P_PID, (id_t)slot->pid, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
        return false;
    how[0] = '\0';
    if (info.si_code != CLD_EXITED)
        (void)snprintf(how, n, "was ended by signal %d", info.si_status);
    else if (info.si_status != 0)
        (void)snprintf(how, n, "ended with status %d", info.si_status);
    slot->pid = 0;
    slot->ready = slot->beat = slot->deaf = slot->reloading = false;
    if (slot->fd >= 0)
        (void)fj__native.close(slot->fd);
    slot->fd = -1;
    return true;
}

void fj__service_ask(fj__slot *slot, char what)
{
    ssize_t n = slot->fd >= 0 ? fj__native.send(slot->fd, &what, 1, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

    (void)n; /* one that reads no more is not answering either, and that is seen */
}
