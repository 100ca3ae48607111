/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_CONF_STATE_H
#define FJORD_BASE_CONF_STATE_H
/* What a configuration holds, for the files that make one: what was read (conf.c, conf_files.c), what follows from it
 * (conf_values.c), and how one takes the place of another (conf_reload.c). */
#include "base/ini.h"
#include "base/options.h"
#include <stdatomic.h>

/** The `file` of an entry that fj_conf_set() made. */
#define FJ__CONF_SET UINT32_MAX

/** One `key = value`.  Groups are in lower case but for DEFAULT, as oslo.config compares them. */
typedef struct {
    char *group, *key, *value, *origin; /* origin: "service.conf:12" */
    uint32_t file;                      /* which text it is from: they count up in the order they were read */
    uint32_t source;                    /* which of fj_conf.sources */
} fj__entry;

/** What an option of the table has, ready to be lent. */
typedef struct {
    char *text;   /* its plain form; NULL: unset */
    char **items; /* of lists, ended by NULL */
    char *origin;
    char *older; /* the older name by which it was given, as "[group] name"; NULL: by its own */
} fj__value;

typedef struct fj__state {
    fj__entry *entries; /* in the order they were read */
    size_t n, room;
    uint32_t files;
    fj__value *values;        /* one for each option of the table */
    struct fj__state *before; /* whom this took the place of: what it lent is still read */
} fj__state;

struct fj_conf {
    _Atomic(fj__state *) now;
    char **sources; /* the path of each fj_conf_read(); NULL where the text came from memory */
    size_t source_count, source_room;
};

/* conf.c */

/** One that must be read into before its values are asked for, so that variables of the environment may refer to what is in the files.
 *  Gives; NULL: NOMEM. */
fj_conf *fj__conf_bare(fj_error **err);
fj__state *fj__conf_now(const fj_conf *conf);
bool fj__state_add(fj__state *s, const char *group, const char *key, const char *value, const char *origin,
                   uint32_t source);
bool fj__state_copy_entry(fj__state *s, const fj__entry *e);
/** Drop all entries but the first @p n. */
void fj__state_truncate(fj__state *s, size_t n);
fj__state *fj__state_new(void);
/** Frees those before it, too.  Accepts NULL, answers NULL. */
fj__state *fj__state_free(fj__state *s);

/* conf_files.c */

/** What is wrong in a text; or, with @p text NULL, a heading.  @return false to read no further */
typedef bool (*fj__conf_report)(void *user, const char *name, unsigned line, const char *group, const char *key,
                                const char *text);
/** Add the entries of a text, a file, or a folder's files.  Values are not looked at.
 *  @param report  NULL: the first error ends it, as BAD_CONFIG
 *  @errors NOT_FOUND, SYSTEM, BAD_CONFIG, NOMEM; entries that were added stay */
fj_code fj__state_parse(fj__state *s, const char *name, const char *text, size_t n, uint32_t source,
                        fj__conf_report report, void *user, fj_error **err);
fj_code fj__state_read(fj__state *s, const char *path, uint32_t source, fj__conf_report report, void *user,
                       fj_error **err);
/** The files of a folder that are read: *.conf without a dot in front, in the order of their bytes.
 *  @param ret gives, ended by NULL; free with fj__option_items_free() */
fj_code fj__conf_folder(const char *path, char ***ret, fj_error **err);

/** The files and folders of fj_conf_read_default() that there are.  @return gives, ended by NULL; NULL: no memory */
char **fj__conf_default_paths(const char *program);

/* conf_values.c */

/** The group as it is compared.  @param into holds @p room bytes  @return false: it is too long for any known group */
bool fj__conf_group(const char *group, char *into, size_t room);
/** What the option has now.  @param ret give back with fj__value_fini(), on failure too
 *  @errors BAD_CONFIG, with where it comes from; NOMEM */
fj_code fj__value_make(const fj__state *s, const fj__option *o, fj__value *ret, fj_error **err);
void fj__value_fini(fj__value *v);
/** What @p text, given for the option, stands for, in its plain form.  @param ret gives; NULL: a number that is none
 *  @errors BAD_CONFIG, without any secret; NOMEM */
fj_code fj__state_plain(const fj__state *s, const fj__option *o, const char *text, char **ret, fj_error **err);
/** Any entry or option, after substitution.  @param ret gives   @errors NOT_FOUND, BAD_CONFIG, NOMEM */
fj_code fj__state_lookup(const fj__state *s, const char *group, const char *key, char **ret, fj_error **err);
/** Substitute in @p value, which stands in @p group.  @errors BAD_CONFIG, NOMEM */
fj_code fj__state_expand(const fj__state *s, const char *group, const char *value, char **ret, fj_error **err);
/** The last entry of that name.  Lends; NULL: none */
const fj__entry *fj__state_find(const fj__state *s, const char *group, const char *key);
/** Which of the option's names an entry has: 0 its own, then its older ones; -1: it is none of it. */
int fj__entry_rank(const fj__entry *e, const fj__option *o);
/** Make the values of all options anew; on failure the old ones stay. */
fj_code fj__state_refresh(fj__state *s, fj_error **err);
/** "OS_GROUP__OPTION".  @return the value in the environment; NULL: not there */
const char *fj__conf_environment(const char *group, const char *key, char *ret_name, size_t room);

#endif
