/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_CHECK_H
#define FJORD_TOOLS_CHECK_H
/* What the files of `fjord config check` share: the findings. */
#include "base/conf_state.h"
#include "tools/common.h"

typedef enum { CHECK_ERROR, CHECK_WARNING, CHECK_NOTE } check_severity;

typedef struct {
    char *file, *group, *key, *text; /* file: "" for what is in no file */
    unsigned line;
    check_severity severity;
} check_finding;

typedef struct {
    fj__state *state;
    fj_conf *conf; /* for the registries; NULL when the environment is too wrong for one */
    check_finding *found;
    size_t n, room;
    unsigned count[3]; /* by severity */
    bool failed;       /* memory ran out */
} check;

/** Tell of something at @p origin, a "file:line" or the name of a variable. */
void check_add(check *c, check_severity severity, const char *origin, const char *group, const char *key,
               const char *format, ...) FJ_PRINTF(6, 7);

/* check_names.c */

/** An entry whose option the table does not have. */
void check_unknown(check *c, const fj__entry *e);
/** A heading that is not a group of ours, but nearly. */
void check_group(check *c, const char *origin, const char *group);
/** OS_GROUP__KEY of our groups that is no option. */
void check_environment_names(check *c);

/* check_rules.c */

/** What a good value of an option may still be wrong in.  @param e  where it stands  @param plain  its plain form; NULL: a number that is empty */
void check_value(check *c, const fj__option *o, const fj__entry *e, const char *plain);
/** Options that do not go with each other. */
void check_together(check *c);

/* check_interceptors.c */

/** Each of a list can be loaded. */
void check_interceptors(check *c, const char *origin, const char *group, const char *key, const char *value);
/** The options in [interceptor:NAME]. */
void check_interceptor_groups(check *c);

#endif
