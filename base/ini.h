/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_INI_H
#define FJORD_BASE_INI_H
/*
 * The INI dialect of oslo.config, line by line:
 *
 *   [group]          from the first column; everything between the brackets is the name, blanks too
 *   key = value      or key: value, whichever of the two comes first; blanks around both go, then one pair of quotes
 *     more           a line that begins with a blank or a tab goes on with the value, whatever it holds ("# x" too);
 *                    a comment or an empty line ends the value
 *   # and ;          begin a comment in the first column only
 *
 * Lines end by \n, \r\n or \r.  The text is UTF-8 without a byte order mark.
 */
#include <fjord/base.h>
#include <fjord/error.h>

/** What is told of a text.  Each answers false to end the reading: memory ran out, or it has seen enough. */
typedef struct {
    bool (*group)(void *self, const char *group, unsigned line); /* a heading; NULL: nobody asks */
    bool (*option)(void *self, const char *group, const char *key, const char *value, unsigned line);
    /** @param group, key  what is known of them at this line, or "" */
    bool (*error)(void *self, unsigned line, const char *group, const char *key, const char *text);
} fj__ini_ops;

/** Read a text.  Goes on after an error.  @return false when memory ran out or @p ops ended it */
bool fj__ini_read(const char *text, size_t n, const fj__ini_ops *ops, void *self);

#endif
