/* SPDX-License-Identifier: Apache-2.0 */
/* One who is connected: lines in, lines out, on a thread that may wait for it. */
#include "backdoor_impl.h"

#include "base/alloc.h"
#include "base/native.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct talk {
    int fd, quit;
    const fj__backdoor_who *who;
    char *in; /* what was read and is no whole line */
    size_t n;
};

/* Wait until the descriptor is ready.  @return false when it is over: told to quit, or @p ms have passed */
static bool wait_for(const struct talk *t, short events, int ms)
{
    struct pollfd fds[2] = { { .fd = t->quit, .events = POLLIN }, { .fd = t->fd, .events = events } };
    int n;

    do
        n = fj__native.poll(fds, 2, ms);
    while (n < 0 && errno == EINTR);
    return n > 0 && fds[0].revents == 0;
}

static bool write_all(const struct talk *t, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t wrote = fj__native.send(t->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (wrote > 0) {
            text += wrote;
            n -= (size_t)wrote;
        } else if (wrote < 0 && errno == EAGAIN) {
            if (!wait_for(t, POLLOUT, FJ__BACKDOOR_WRITE_MS))
                return false;
        } else if (wrote < 0 && errno != EINTR) {
            return false;
        }
    }
    return true;
}

static bool is_blank(const char *line, size_t n)
{
    size_t at = 0;

    while (at < n && strchr(" \t\r", line[at]) != NULL && line[at] != '\0')
        at++;
    return at == n;
}

static bool answer(const struct talk *t, const char *line, size_t n)
{
    size_t size = 0;

    if (is_blank(line, n))
        return true;
    char *text = fj__backdoor_answer(line, n, t->who, &size);
    bool written = text != NULL && write_all(t, text, size);
    fj__free(text);
    return written;
}

/* Answer the whole lines that are there. */
static bool answer_lines(struct talk *t)
{
    char *from = t->in, *end;
    bool good = true;

    while (good && (end = memchr(from, '\n', t->n - (size_t)(from - t->in))) != NULL) {
        good = answer(t, from, (size_t)(end - from));
        from = end + 1;
    }
    t->n -= (size_t)(from - t->in);
    memmove(t->in, from, t->n);
    if (good && t->n == FJ__BACKDOOR_LINE) {
        fj__backdoor_refuse(t->fd, FJ_TOO_BIG, "a request has 65536 bytes at most");
        good = false;
    }
    return good;
}

static void talk(struct talk *t)
{
    for (;;) {
        if (!wait_for(t, POLLIN, FJ__BACKDOOR_IDLE_MS))
            return;
        ssize_t n = fj__native.recv(t->fd, t->in + t->n, FJ__BACKDOOR_LINE - t->n, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n < 0)
            return;
        if (n == 0) { /* the last line may lack its end */
            (void)answer(t, t->in, t->n);
            return;
        }
        t->n += (size_t)n;
        if (!answer_lines(t))
            return;
    }
}

void fj__backdoor_talk(int fd, int quit, const fj__backdoor_who *who)
{
    struct talk t = { .fd = fd, .quit = quit, .who = who, .in = fj__alloc(FJ__BACKDOOR_LINE) };

    if (t.in != NULL)
        talk(&t);
    fj__free(t.in);
}

void fj__backdoor_refuse(int fd, fj_code code, const char *text)
{
    size_t n = 0;
    char *line = fj__backdoor_refusal(code, text, &n);

    if (line != NULL) {
        ssize_t wrote = fj__native.send(fd, line, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)wrote; /* who does not read does not hear */
    }
    fj__free(line);
}
