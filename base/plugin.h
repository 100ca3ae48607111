/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_PLUGIN_H
#define FJORD_BASE_PLUGIN_H
/*
 * Plug-ins: shared objects that export one function, which gives a const table that begins with an ABI number.  One is loaded once
 * and kept for the life of the process, for its table and its objects' code are lent for ever.
 *
 * What it does it does with all the rights of the process.  So nobody may be able to change it but root and the process's
 * user: it, and the folder it is in, must be theirs and not writable by their group or others (a folder may be, if it is
 * sticky), and no folder above that one may be writable by others, unless it is sticky.
 */
#include <fjord/error.h>

/** What all plug-ins of a kind have in common. */
typedef struct {
    const char *what;   /**< such as "executor", for texts */
    const char *symbol; /**< of the function, a `const TABLE *(*)(void)` */
    uint32_t abi;       /**< that the table must have */
    fj_code code;       /**< of refusals */
    /** What of the table is missing that must be there, such as "create"; NULL: nothing.  Looks at nothing behind its size. */
    const char *(*lacks)(const void *table);
    /** Whether the table is that of @p name.  NULL: any name will do. */
    bool (*has_name)(const void *table, const char *name);
} fj__plugin_kind;

/** Load `<dir>/<name>.so`, or @p name itself if that is an absolute path.  Any other name is a plain word.
 *  @param called  the name that its table must have; NULL: @p name, if that is no path
 *  @param dir may be NULL or empty: only a path will do
 *  @param ret lends, for ever: the table   @errors kind->code, in words that name the file and say why; NOMEM
 *  @thread any, with no lock held: code of the plug-in runs */
fj_code fj__plugin_load(const fj__plugin_kind *kind, const char *dir, const char *name, const char *called,
                        const void **ret, fj_error **err);

#endif
