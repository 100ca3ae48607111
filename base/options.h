/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_OPTIONS_H
#define FJORD_BASE_OPTIONS_H
/* The one table of options.  The parser, the sample file, `fjord config` and the docs all come from it. */
#include <fjord/base.h>
#include <fjord/conf.h>
#include <fjord/error.h>

typedef enum {
    FJ__OPT_STRING,
    FJ__OPT_SECRET, /* never shown */
    FJ__OPT_URL,    /* shown with its password hidden */
    FJ__OPT_INT,
    FJ__OPT_FLOAT,
    FJ__OPT_BOOL,
    FJ__OPT_LIST,  /* items by commas */
    FJ__OPT_MULTI, /* may be given several times */
    FJ__OPT_CHOICE
} fj__option_type;

/** What setting an option does.  Those that do nothing are told of, see fj__conf_note_unused(). */
typedef enum {
    FJ__FIXED = 0, /* it is read once, when what it is for is made */
    FJ__RELOADS,   /* it may change while it is in use */
    FJ__NEEDLESS,  /* Fjord has nothing for it to tune, and loses nothing by that: told at info level */
    FJ__MISSING    /* Fjord cannot do it, or not yet: a warning */
} fj__effect;

typedef struct {
    const char *group, *name;
    fj__option_type type;
    const char *def;        /* as in a file; NULL: unset */
    double min, max;        /* of numbers; min > max: no bounds */
    const char *unit;       /* "s", "bytes"; NULL: none */
    const char *choices;    /* of a choice: words apart by spaces */
    const char *deprecated; /* an older name in the same group; NULL: none */
    fj__effect effect;
    const char *help;
} fj__option;

/** The i-th option in the sample's order; NULL past the last. */
const fj__option *fj__option_at(size_t i);
/** By name or older name; NULL: not in the table. */
const fj__option *fj__option_find(const char *group, const char *name);
const char *fj__option_type_name(fj__option_type type);
/** Whether @p value is a value of the option.  @errors BAD_CONFIG; the text does not show a secret */
fj_code fj__option_check(const fj__option *o, const char *value, fj_error **err);
/** "true", "1", "on", "yes" and their opposites in any case; false when it is none. */
bool fj__bool_parse(const char *text, bool *ret);
/** As strtod() under the C locale, whatever the program's: a full stop is the decimal point.  @thread any */
double fj__number_parse(const char *text, char **end);
/** The sample file.  @return gives; NULL when memory ran out */
char *fj__options_sample(void);

/** Log each option that has a value other than its default and does nothing, with where it was set.
 *  @return how many are FJ__MISSING */
size_t fj__conf_note_unused(const fj_conf *conf);

#endif
