/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_HOOKS_HOOKS_H
#define FJORD_HOOKS_HOOKS_H
/* What the hooks share: whether a call is green, and how it waits.  docs/internals/green.md has the whole. */
#include "runtime/hooks/real.h"
#include "runtime/hooks/table.h"

#include <errno.h>

#define FJ__NEVER INT64_MAX

/** In front of each function of libc's that is defined here. */
#define FJ__HOOK __attribute__((visibility("default")))
/** The library is there when the program starts, so its thread-locals may lie where one instruction reaches them. */
#define FJ__THREAD _Thread_local __attribute__((tls_model("initial-exec")))

/** Flags with which recv and its kin do not wait anyway. */
#define FJ__NO_WAIT (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB)

/** The mode that follows @p flags in open's arguments, if one does. */
#define FJ__MODE(mode, flags)                                             \
    do {                                                                  \
        if (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE) { \
            va_list more;                                                 \
            va_start(more, flags);                                        \
            (mode) = va_arg(more, mode_t);                                \
            va_end(more);                                                 \
        }                                                                 \
    } while (0)

#pragma GCC visibility push(hidden)

/* ---- state.c ---- */

extern FJ__THREAD int fj__green_on;
/** This thread's, once somebody has asked; 0. */
extern FJ__THREAD pid_t fj__green_tid;

/** Whether the hooks of @p group are live: the runtime is there and the group is patched. */
bool fj__green_live(unsigned group);
/** The runtime's half; only where fj__green_live() or fj__green_runtime_there() has said so. */
const fj__green_runtime *fj__green_rt(void);

/** Whether the running call is to switch instead of blocking. */
static inline bool fj__green(unsigned group)
{
    return __builtin_expect(fj__green_on != 0, 0) && fj__green_live(group);
}

/** A descriptor is about to be closed: wake who waits for it, on whatever thread. */
void fj__green_closing(int fd);
/** The same of a stream's. */
void fj__green_closing_stream(FILE *file);

/** O_NONBLOCK is set on a description for the moment of a call, under this lock, and looked at under it too. */
void fj__green_lock_flags(void);
void fj__green_unlock_flags(void);

/* ---- wait.c ---- */

/** A call that may have to wait for one descriptor. */
typedef struct {
    int fd;
    short events; /* POLLIN or POLLOUT */
    bool asked;   /* the description and its time-out have been asked for */
    int64_t by;   /* FJ__NEVER, or the earliest of what was given and the socket's own time-out */
} fj__waiting;

#define FJ__WAITING(on, what) ((fj__waiting){ .fd = (on), .events = (what), .by = FJ__NEVER })

int64_t fj__green_now(void);
/** @return the deadline that is @p t away; the past for a negative time, FJ__NEVER for none (NULL) or beyond reach */
int64_t fj__green_in(const struct timespec *t);
/** The same of milliseconds, negative for never. */
int64_t fj__green_in_ms(int ms);
/** Whether a call with this time-out could wait: it is not nought, and not nonsense.  NULL is never. */
bool fj__green_waits_for(const struct timespec *t);

/** After a call that failed without waiting: suspend and say whether to try again.  @return false: errno is the answer
 *  (EAGAIN: the user made it non-blocking, or its time-out has passed) */
bool fj__green_again(fj__waiting *w);
/** The description is known to be blocking: ask for its time-out alone. */
void fj__green_ask_timeout(fj__waiting *w);
/** Suspend until @p fd is ready.  @return the runtime's answer */
int fj__green_wait(int fd, short events, int64_t by);
/** Whether @p fd is ready for @p events (or broken, or no descriptor) this moment. */
bool fj__green_ready(int fd, short events);
/** Before each call that may answer at once: let others run now and then.  @return false: errno is the answer, for the task
 *  was asked to end, and no call would have told it */
bool fj__green_breath(void);
/** A call has succeeded: put errno back, and count it for fj__green_breath().  @return @p answer */
ssize_t fj__green_done(ssize_t answer, int saved_errno);
/** Run on the pool, what takes its time but needs nobody.  @return false: it has not run, errno says why */
bool fj__green_offload(void (*fn)(void *arg), void *arg);
/** The same of what waits for what others do, who may need the pool to do it. */
bool fj__green_offload_long(void (*fn)(void *arg), void *arg);

/* ---- flags.c ---- */

/** O_NONBLOCK on the description for a moment, unless it is there already.  Takes the lock of the flags.
 *  @return the flags to put back with fj__green_block(); negative: nothing is to be put back, and the lock is not held */
int fj__green_unblock(int fd);
/** The end of the moment, if @p flags are not negative.  Keeps errno. */
void fj__green_block(int fd, int flags);
/** Whether the user made it non-blocking. */
bool fj__green_nonblocking(int fd);
/** F_GETFL and F_SETFL, which see nothing of such a moment and are not undone at its end. */
int fj__green_get_flags(int (*call)(int fd, int what, ...), int fd);
int fj__green_set_flags(int (*call)(int fd, int what, ...), int fd, void *flags);
/** Whether the user wants more than a byte at a time from this socket (SO_RCVLOWAT). */
bool fj__green_low_water(int fd);

/* ---- span.c: bytes in several pieces, of which some are done ---- */

typedef struct {
    struct iovec *iov;
    size_t count, off; /* off: done of the first */
    struct iovec rest; /* of the first, once begun */
} fj__span;

fj__span fj__span_of(const struct iovec *iov, size_t count);
/** @p n more bytes are done. */
void fj__span_move(fj__span *s, size_t n);
/** The pieces to go on with.  @param ret_n how many  @return lends, until the span moves */
struct iovec *fj__span_next(fj__span *s, size_t *ret_n);
/** Bytes left. */
size_t fj__span_left(const fj__span *s);

/* ---- the green halves that several hooks share; each answers as libc does ---- */

ssize_t fj__green_receive(int fd, struct msghdr *m, int flags);
ssize_t fj__green_transmit(int fd, const struct msghdr *m, int flags);
ssize_t fj__green_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len);
ssize_t fj__green_readv(int fd, const struct iovec *iov, int n);
int fj__green_poll(struct pollfd *fds, nfds_t n, int64_t by);
int fj__green_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask);
/** Whether @p mask would change what signals this thread takes. */
bool fj__green_other_mask(const sigset_t *mask);

/** Whether @p name, called by the program, comes here. */
bool fj__green_is_hooked(const char *name);
/** Whether @p function is an interceptor of a sanitizer's. */
bool fj__green_is_sanitizers(const void *function);
/** @p found, or NULL if it is of this library (or of the program that holds it). */
void *fj__green_not_ours(void *found);
/** Whether there is a hook of that name here at all. */
bool fj__green_names(const char *name);

#pragma GCC visibility pop
#endif
