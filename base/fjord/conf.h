/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_CONF_H
#define FJORD_CONF_H
/*
 * Configuration in oslo.config's INI dialect, so that one file can serve a Python service and a C one:
 * `[group]` headings, `key = value` or `key: value`, `#` and `;` in the first column for comments,
 * continuation lines that begin with white space, quotes around a whole value, options that may be given
 * several times, lists by commas, `$name`, `${name}`, `${group.name}` substitution, `$$` for a dollar.
 *
 * Every option known to Fjord stands in one table (group, name, type, range, default, unit, help); what
 * the table does not know is kept (for `fjord config show`) and ignored, for the file may be another
 * program's too.  Order of precedence: fj_conf_set(), the environment's OS_GROUP__OPTION, files (the
 * last one wins), the table's default.
 *
 * A conf may be read by many threads at once, also while it is reloaded; reading files and setting need it alone.
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

typedef struct fj_conf fj_conf;

/** A configuration of defaults (and environment overrides) only.  Gives; NULL, logged, when memory ran out or a variable of the
 *  environment holds a bad value, or one that refers to what only a file has: see fj_conf_load(). */
FJ_API fj_conf *fj_conf_new(void);
/** As fj_conf_new() and fj_conf_read().  @param ret gives.  @blocks on the file system */
FJ_API FJ_MUST_USE fj_code fj_conf_load(const char *path, fj_conf **ret, fj_error **err);
/** Read a file into @p conf, or every *.conf of a folder in alphabetical order.  Known options are checked
 *  against the table here.  @errors NOT_FOUND, SYSTEM, BAD_CONFIG; the text has file:line. */
FJ_API FJ_MUST_USE fj_code fj_conf_read(fj_conf *conf, const char *path, fj_error **err);
/** As fj_conf_read() from memory; @p name stands for the file in errors. */
FJ_API FJ_MUST_USE fj_code fj_conf_parse(fj_conf *conf, const char *name, const char *text, size_t n,
                                         fj_error **err);
/** Read the files where configurations are by default: fjord.conf, then PROGRAM.conf if @p program is not NULL, each of the first
 *  of ~/.fjord, ~, /etc/fjord and /etc that has it; then in the same way the folders fjord.conf.d and PROGRAM.conf.d.
 *  None is needed.  @errors as fj_conf_read().  @blocks on the file system */
FJ_API FJ_MUST_USE fj_code fj_conf_read_default(fj_conf *conf, const char *program, fj_error **err);
/** What fj_conf_reload() found.  @param now  whether the new value counts from now on; false: the option is read once, and has its old
 *  value until the program starts again.  What is passed is lent for ever. */
typedef void (*fj_conf_changed)(void *user, const char *group, const char *key, bool now);
/** Read again every file and folder that @p conf was read from.  Options that reload have their new values in one step; what was
 *  fj_conf_set() or parsed from memory stays.  On failure nothing changes.  Others may read @p conf meanwhile, and what it
 *  lent them stays valid until it is freed, which is also how long the values of before are kept; one thread reloads at a time.
 *  @param changed  called for each option of the table whose value differs; NULL: nobody asks
 *  @errors as fj_conf_read().  @blocks on the file system */
FJ_API FJ_MUST_USE fj_code fj_conf_reload(fj_conf *conf, fj_conf_changed changed, void *user, fj_error **err);
/** Set one option, above every file.  @p value is parsed as in a file; NULL takes the setting back.
 *  @errors NOT_FOUND for an option the table does not have, BAD_CONFIG for a bad value */
FJ_API FJ_MUST_USE fj_code fj_conf_set(fj_conf *conf, const char *group, const char *key, const char *value,
                                       fj_error **err);
/** A deep copy.  Gives; NULL when memory ran out. */
FJ_API fj_conf *fj_conf_copy(const fj_conf *conf);
/** Accepts NULL, answers NULL. */
FJ_API fj_conf *fj_conf_free(fj_conf *conf);

/* Typed reading of options of the table, after substitution.  They cannot fail: values were checked when
 * they were read, and asking for an option the table does not have, or as another type, is a defect of
 * the program, answered by the type's zero and an error in the log.  What they lend is valid until the
 * conf is changed or freed. */
FJ_API const char *fj_conf_str(const fj_conf *conf, const char *group,
                               const char *key); /* lends; NULL when unset */
FJ_API int64_t fj_conf_int(const fj_conf *conf, const char *group, const char *key);
FJ_API double fj_conf_float(const fj_conf *conf, const char *group, const char *key);
FJ_API bool fj_conf_bool(const fj_conf *conf, const char *group, const char *key);
/** The items of a list or multi-valued option, ended by NULL.  Lends. */
FJ_API const char *const *fj_conf_list(const fj_conf *conf, const char *group, const char *key);

/** Any option of any group, known to the table or not, as text after substitution.
 *  @param ret gives; free()   @errors NOT_FOUND, BAD_CONFIG */
FJ_API FJ_MUST_USE fj_code fj_conf_lookup(const fj_conf *conf, const char *group, const char *key, char **ret,
                                          fj_error **err);
/** Where an option's value comes from: "service.conf:12", "OS_FJORD__EXECUTOR", "set", "default". */
FJ_API const char *fj_conf_origin(const fj_conf *conf, const char *group, const char *key);

FJ_END_DECLS
#endif
