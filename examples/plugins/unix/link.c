/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session with the broker.  One thread a driver connects, reads, and looks at the clock; whoever has something to send
 * writes it himself as far as the socket takes it, and leaves the rest to the thread.
 */
#include "unix.h"

#include <fjord/log.h>
#include <fjord/original.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { READ_SIZE = 65536, AHEAD = 1 << 20, RETRY_MS = 20, RETRY_MOST_MS = 1000 };

/* ---- out ---------------------------------------------------------------------------------------- */

void link_break(struct driver *d)
{
    if (d->fd >= 0)
        (void)shutdown(d->fd, SHUT_RDWR);
}

void link_put(struct driver *d, struct frame f)
{
    if (d->welcome && !frame_put(&d->out, &f))
        link_break(d); /* what was said may not be missing something in the middle */
}

/* What is to be sent into what is being sent, but not too much of it. */
static void fill(struct driver *d)
{
    for (struct op *op; (op = d->unwritten) != NULL && bytes_left(&d->out) < AHEAD; d->unwritten = op->next) {
        if (op->kind == OP_MARK || op->written)
            continue;
        if (!bytes_put(&d->out, op->frame.data, op->frame.end)) {
            link_break(d);
            return;
        }
        op->written = true;
    }
}

void link_write(struct driver *d)
{
    if (d->welcome)
        fill(d);
    while (d->fd >= 0 && bytes_left(&d->out) > 0) {
        ssize_t n =
            fj_original_send(d->fd, d->out.data + d->out.at, bytes_left(&d->out), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            bytes_take(&d->out, (size_t)n);
            if (d->welcome)
                fill(d);
        } else if (errno == EAGAIN) {
            link_wake(d, fj_now()); /* it will wait for room */
            return;
        } else if (errno != EINTR) {
            link_break(d);
            return;
        }
    }
}

void link_wake(struct driver *d, fj_deadline by)
{
    const uint64_t one = 1;

    if (d->asleep.ns > by.ns) {
        d->asleep = by;
        (void)!fj_original_write(d->wake, &one, sizeof one);
    }
}

/* ---- in ----------------------------------------------------------------------------------------- */

/* The broker knows nothing of this session: it is another one, or we were away for too long.  What it may have had is lost, or
 * is not; the rest is numbered anew. */
static void begin_anew(struct driver *d)
{
    d->in_seq = d->out_seq = 0;
    for (struct op *op = d->first, *next; op != NULL; op = next) {
        next = op->next;
        op->seq = 0;
        if (op->kind == OP_MARK || op->seen)
            continue;
        if (d->met && op->written && op->kind != OP_REPLY && (op->flags & FJ_SEND_RESEND) == 0) {
            op_fail(op, FJ_LOST, "the broker was lost before it said that it has the message");
            continue;
        }
        op->seq = ++d->out_seq;
        frame_renumber(&op->frame, op->seq);
    }
    op_marks(d);
}

static void on_welcome(struct driver *d, const struct frame *f)
{
    if ((f->flags & FRAME_KNOWN) == 0)
        begin_anew(d);
    for (struct op *op = d->first; op != NULL; op = op->next)
        op->written = op->seen || (op->seq != 0 && op->seq <= f->id);
    d->unwritten = d->first;
    d->welcome = d->met = true;
    d->failed = 0;
    listeners_welcome(d);
}

static void on_seen(struct driver *d, uint64_t seq)
{
    for (struct op *op = d->first, *next; op != NULL; op = next) {
        next = op->next;
        if (op->kind == OP_MARK || op->seen)
            continue;
        if (op->seq > seq)
            break;
        op->seen = true;
        bytes_free(&op->frame);
        if (op->kind != OP_CALL)
            op_end(op, NULL, NULL);
    }
    op_marks(d);
}

static void on_returned(struct driver *d, uint64_t seq)
{
    for (struct op *op = d->first; op != NULL; op = op->next) {
        if (op->seq != seq || op->kind == OP_MARK)
            continue;
        op->written = op->seen = false; /* it was sent, but to nobody */
        op_fail(op, FJ_UNDELIVERABLE, "no queue takes the message");
        op_marks(d);
        return;
    }
}

static void on_reply(struct driver *d, const struct frame *f)
{
    fj_body_answer a = FJ_BODY_ANSWER_INIT;
    struct op *op = d->first;
    fj_error *err = NULL;

    if (fj_body_read_reply(f->body, f->n, &d->json, &a, &err) != FJ_OK) {
        fj_log(FJ_LOG_ERROR, "unix", "an answer cannot be read: %s", fj_error_text(err));
        fj_error_free(err);
        return;
    }
    while (op != NULL && (op->kind != OP_CALL || strcmp(op->id, a.call_id) != 0))
        op = op->next;
    if (op != NULL && !a.last) {
        if (op->monitor > 0)
            op->due = fj_sooner(op->by, fj_in_seconds(op->monitor));
    } else if (op != NULL) {
        op_end(op, a.failure == NULL ? a.result : NULL, a.failure);
        if (a.failure == NULL)
            a.result = NULL;
        a.failure = NULL;
        op_marks(d);
    } /* else: its caller has gone, or has an answer */
    fj_body_answer_fini(&a);
}

static void obey(struct driver *d, const struct frame *f)
{
    if (f->seq != 0) {
        d->owes_seen = true;
        if (f->seq <= d->in_seq)
            return;
        d->in_seq = f->seq;
    }
    if (f->type == WELCOME)
        on_welcome(d, f);
    else if (f->type == SEEN)
        on_seen(d, f->id);
    else if (f->type == RETURNED)
        on_returned(d, f->id);
    else if (f->type == REPLY)
        on_reply(d, f);
    else
        listeners_told(d, f);
}

static void lose(struct driver *d)
{
    if (d->welcome && !d->leave)
        fj_log(FJ_LOG_WARNING, "unix", "the connection to %s is lost; connecting again", d->path);
    (void)fj_original_close(d->fd);
    d->fd = -1;
    d->welcome = d->owes_seen = false;
    bytes_free(&d->in);
    bytes_free(&d->out);
    listeners_lost(d);
}

/* @return false: the connection is over */
static bool receive(struct driver *d)
{
    struct frame f;
    long size;

    if (!bytes_reserve(&d->in, READ_SIZE))
        return false;
    ssize_t n = fj_original_recv(d->fd, d->in.data + d->in.end, READ_SIZE, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    if (n > 0)
        d->in.end += (size_t)n;
    while ((size = frame_get(&d->in, &f)) > 0) {
        obey(d, &f);
        bytes_take(&d->in, (size_t)size);
    }
    if (d->owes_seen)
        link_put(d, (struct frame){ .type = SEEN, .id = d->in_seq });
    d->owes_seen = false;
    link_write(d);
    return size == 0;
}

/* ---- connecting --------------------------------------------------------------------------------- */

static bool connect_once(struct driver *d)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return false;
    memcpy(at.sun_path, d->path, strlen(d->path) + 1); /* open() has looked at its length */
    if (fj_original_connect(fd, (struct sockaddr *)&at, sizeof at) == 0) {
        d->fd = fd;
        return true;
    }
    int why = errno;
    (void)fj_original_close(fd);
    errno = why;
    return false;
}

/* Nobody is there: whoever wanted no more attempts than these has had them. */
static void give_up_some(struct driver *d, const char *why)
{
    for (struct op *op = d->first, *next; op != NULL; op = next) {
        next = op->next;
        if ((op->kind == OP_CALL || op->kind == OP_CAST) && !op->seen && op->retry >= 0 &&
            op->tries++ >= (unsigned)op->retry)
            op_fail(op, FJ_UNREACHABLE, "no broker at %s: %s", d->path, why);
    }
    op_marks(d);
}

static void try_to_connect(struct driver *d)
{
    const struct frame hello = { .type = HELLO, .key = d->session, .id = d->in_seq };
    int ms = RETRY_MS << (d->failed < 6 ? d->failed : 6);

    d->retry_at = fj_in_ms(ms < RETRY_MOST_MS ? ms : RETRY_MOST_MS);
    d->failed++; /* until there is a welcome */
    if (!connect_once(d)) {
        give_up_some(d, strerror(errno));
        return;
    }
    d->epoch++;
    if (!frame_put(&d->out, &hello))
        link_break(d);
    link_write(d);
}

/* ---- the thread --------------------------------------------------------------------------------- */

/* End what is due.  @return when the next one is */
static fj_deadline expire(struct driver *d)
{
    fj_deadline next_due = fj_never();

    for (struct op *op = d->first, *next; op != NULL; op = next) {
        next = op->next;
        if (!fj_passed(op->due))
            next_due = fj_sooner(next_due, op->due);
        else if (op->kind == OP_CALL)
            op_fail(op, FJ_TIMEOUT, "Timed out waiting for a reply to message ID %s", op->id);
        else
            op_fail(op, FJ_TIMEOUT, "the broker did not take the message in time");
    }
    op_marks(d);
    return next_due;
}

/* All but waiting.  @return until when that may last */
static fj_deadline work(struct driver *d)
{
    bool wanted = d->first != NULL || d->listeners != NULL;
    fj_deadline now = fj_now(), until = listeners_beat(d, now);

    until = fj_sooner(until, expire(d));
    if (d->fd < 0 && wanted && fj_passed(d->retry_at))
        try_to_connect(d);
    if (d->fd < 0 && wanted)
        until = fj_sooner(until, d->retry_at);
    link_write(d);
    return until;
}

static void wait_for_news(struct driver *d, int fd, bool out, fj_deadline until)
{
    struct pollfd fds[] = { { .fd = d->wake, .events = POLLIN },
                            { .fd = fd, .events = (short)(POLLIN | (out ? POLLOUT : 0)) } };
    uint64_t count;

    (void)fj_original_poll(fds, 2, fj_left_ms(until));
    if (fds[0].revents != 0)
        (void)!fj_original_read(d->wake, &count, sizeof count);
}

static void *run(void *user)
{
    struct driver *d = user;

    driver_lock(d);
    while (!d->leave) {
        fj_deadline until = work(d);
        int fd = d->fd;
        bool out = bytes_left(&d->out) > 0;
        d->asleep = d->over == NULL ? until : fj_now();
        if (d->over != NULL) { /* complete them, and look again: their call-backs may send */
            driver_unlock(d);
            driver_lock(d);
            continue;
        }
        driver_unlock(d);
        wait_for_news(d, fd, out, until);
        driver_lock(d);
        d->asleep = (fj_deadline){ 0 }; /* awake: nobody need wake it */
        if (d->fd >= 0 && !receive(d))
            lose(d);
    }
    link_put(d, (struct frame){ .type = BYE });
    link_write(d);
    if (d->fd >= 0)
        lose(d);
    driver_unlock(d);
    return NULL;
}

bool link_start(struct driver *d)
{
    sigset_t all, before;

    if (d->has_thread)
        return true;
    (void)sigfillset(&all); /* signals are for the program's threads */
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    d->has_thread = pthread_create(&d->thread, NULL, run, d) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return d->has_thread;
}
