/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_INSPECT_H
#define FJORD_TOOLS_INSPECT_H
/* What the files of `fjord inspect` share. */
#include "tools/common.h"

enum { INSPECT_FOUND = 256 }; /* processes at once */

typedef struct {
    char *paths[INSPECT_FOUND]; /* owned */
    size_t n;
    const char *name; /* NULL, or only processes that are called so are meant */
} inspect_found;

/* ---- inspect_find.c: which sockets are meant ---- */

/** @param target a path, a process id, or a name; NULL: whatever the configuration says   @param ret gives, with inspect_found_fini()
 *  @errors NOT_FOUND, ACCESS, UNREACHABLE, BAD_CONFIG, NOMEM */
fj_code inspect_find(const tool_opts *o, const char *target, inspect_found *ret, fj_error **err);
void inspect_found_fini(inspect_found *found);

/* ---- inspect_ask.c: one socket ---- */

typedef struct inspect_peer inspect_peer;

/** @param ret gives   @errors UNREACHABLE nobody answers; ACCESS; UNSUPPORTED another protocol; PROTOCOL; TIMEOUT */
fj_code inspect_open(const char *path, double timeout, inspect_peer **ret, fj_error **err);
inspect_peer *inspect_close(inspect_peer *peer);
/** What it said of itself.  Lends. */
const json_t *inspect_who(const inspect_peer *peer);
/** @param args an array of texts (lends), or NULL   @param ret gives   @errors what it answers; LOST, TIMEOUT, PROTOCOL */
fj_code inspect_ask(inspect_peer *peer, const char *word, const json_t *args, json_t **ret, fj_error **err);

/* ---- inspect_show.c: for people ---- */

/** Print what was answered to @p word.  @param stacks whether to print each task's */
void inspect_show(const char *word, json_t *answer, bool stacks);
/** What was seen most: of methods, on standard error. */
void inspect_show_methods(const tool_opts *o, const json_t *profile);

#endif
