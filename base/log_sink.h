/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_LOG_SINK_H
#define FJORD_BASE_LOG_SINK_H
/*
 * A place that lines go to.  Each has a ring of its own and a thread of its own that writes, so that one that is stuck holds up
 * neither those who log nor the other places.  A line is in the ring until it is written: a place that fails is tried again, with
 * pauses, and what finds no room meanwhile is counted.
 */
#include "base/log_line.h"

typedef struct fj__log_sink fj__log_sink;

/** What became of an attempt to write. */
typedef enum {
    FJ__LOG_WROTE,
    FJ__LOG_FULL, /* it would block: once the descriptor is writable again it goes on */
    FJ__LOG_DOWN  /* it does not work now: again after a pause */
} fj__log_result;

/* What the writer's thread does with a place; nothing else calls these. */
typedef struct {
    /** Bytes of one line, which it may change; none: only open the place anew if that is wanted.  @p done counts what was
     *  written of them before, 0 at first. */
    fj__log_result (*write)(fj__log_sink *s, char *bytes, size_t n, size_t *done);
} fj__log_place;

typedef struct {
    const fj__log_place *place;
    fj__log_format format;
    const char *path;  /* of a file or a socket; lends */
    const char *ident; /* lends */
    int facility;
    size_t ring; /* bytes */
} fj__log_sink_opts;

/** @return gives; NULL: no memory */
fj__log_sink *fj__log_sink_new(const fj__log_sink_opts *opts);
/** No more lines: it writes what it has, unless it is stuck, and frees itself. */
void fj__log_sink_close(fj__log_sink *s);
/** Never blocks. */
void fj__log_sink_push(fj__log_sink *s, const fj__log_line *line);
/** Files are opened anew before their next line, and at once where none waits.  May be called by a signal's handler. */
void fj__log_sinks_reopen(void);
/** Wait until all sinks, those that were closed too, have written what they have.
 *  @param ms at most   @return whether they have */
bool fj__log_sinks_flush(int ms);
/** Around a fork.  In the child the sinks are empty, for the parent writes its lines, and start threads of their own when they are
 *  used; those that were closed are gone. */
void fj__log_sinks_before_fork(void);
void fj__log_sinks_after_fork(bool child);

/* ---- for places -------------------------------------------------------------------------------- */

/** The descriptor, -1 when there is none; whoever sets another closes the one before. */
int fj__log_sink_fd(const fj__log_sink *s);
void fj__log_sink_set_fd(fj__log_sink *s, int fd);
const char *fj__log_sink_path(const fj__log_sink *s);
/** Whether it is to be opened anew; it is asked once for each time. */
bool fj__log_sink_wants_reopen(fj__log_sink *s);

extern const fj__log_place fj__log_stderr, fj__log_file, fj__log_syslog, fj__log_journal;

/** Write to standard error without waiting, as one write that raises no SIGPIPE.  @return false when it would block, or
 *  there is no room now */
bool fj__log_stderr_try(const char *bytes, size_t n);

#endif
