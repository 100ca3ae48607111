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
    FJ__MISSING,   /* Fjord cannot do it, or not yet: a warning */
    FJ__FOREIGN    /* it is of a driver that Fjord does not have: whatever its value, it is read and ignored */
} fj__effect;

/** What else there is to know of an option. */
enum {
    FJ__WHOLE = 1 << 0,    /* oslo.messaging takes integers only */
    FJ__GOING = 1 << 1,    /* oslo.messaging calls it deprecated for removal */
    FJ__LATER = 1 << 2,    /* oslo.messaging has it since a release after 14.0.3 */
    FJ__UNLISTED = 1 << 3, /* oslo.messaging has it, but its lists of options leave it out */
    FJ__RENAMED = 1 << 4   /* 14.0.3 knows its older name only */
};

typedef struct {
    const char *group, *name;
    fj__option_type type;
    const char *def;     /* as in a file; NULL: unset */
    double min, max;     /* of numbers; min > max: no bounds */
    const char *unit;    /* "s", "bytes"; NULL: none */
    const char *choices; /* of a choice: words apart by spaces */
    /* its older names, apart by spaces: "name" in the same group or "group/name"; NULL: none */
    const char *older;
    fj__effect effect;
    const char *help;
    unsigned flags;
} fj__option;

/** Room for any group's and any option's name. */
enum { FJ__GROUP_MAX = 64, FJ__NAME_MAX = 128 };

/** The i-th option in the sample's order; NULL past the last. */
const fj__option *fj__option_at(size_t i);
size_t fj__option_count(void);
/** By name or older name; NULL: not in the table. */
const fj__option *fj__option_find(const char *group, const char *name);
const char *fj__option_type_name(fj__option_type type);
/** The i-th older name of @p o.  @param ret_group, ret_name  hold FJ__GROUP_MAX and FJ__NAME_MAX  @return false past the last */
bool fj__option_older(const fj__option *o, size_t i, char *ret_group, char *ret_name);
/** Whether @p value is a value of the option.  @errors BAD_CONFIG; the text does not show a secret */
fj_code fj__option_check(const fj__option *o, const char *value, fj_error **err);
/** The value in its one spelling: "true", "7", "0.5"; lists and texts as they are.  @param ret gives; NULL for a number that
 *  is empty, which is none   @errors BAD_CONFIG, NOMEM */
fj_code fj__option_plain(const fj__option *o, const char *value, char **ret, fj_error **err);
/** As Python's str() has it, from its plain form: "True", "0.5", "['a', 'b']".  @param items of lists
 *  @return gives; NULL: no memory */
char *fj__option_python(const fj__option *o, const char *plain, const char *const *items);
/** As JSON: true, 7, 0.5, ["a"], "text", null when it is unset.  @return gives; NULL: no memory */
json_t *fj__option_json(const fj__option *o, const char *plain, const char *const *items);
/** A list's items, ended by NULL, as oslo.config splits them.  @return gives, items too; NULL: no memory */
char **fj__option_split(const char *value);
void fj__option_items_free(char **items);
/** "true", "1", "on", "yes" and their opposites in any case; false when it is none. */
bool fj__bool_parse(const char *text, bool *ret);
/** As strtod() under the C locale, whatever the program's: a full stop is the decimal point.  @thread any */
double fj__number_parse(const char *text, char **end);
/** The sample file.  @return gives; NULL when memory ran out */
char *fj__options_sample(void);

/* The options of oslo.messaging's other drivers (foreign.c), behind those of the table. */
extern const fj__option fj__foreign[];
extern const size_t fj__foreign_count;

/** Log each older name that was used, and each option that has a value other than its default and does nothing, with where it was set.
 *  @return how many are FJ__MISSING */
size_t fj__conf_note_unused(const fj_conf *conf);

#endif
