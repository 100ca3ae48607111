/* SPDX-License-Identifier: Apache-2.0 */
/* The sample configuration, out of the table. */
#include "base/alloc.h"
#include "base/buffer.h"
#include "base/options.h"

#include <string.h>

static void add(fj__buf *b, bool *ok, char *text)
{
    *ok = *ok && text != NULL && fj__buf_append(b, text, strlen(text));
    fj__free(text);
}

static void add_older(fj__buf *b, bool *ok, const fj__option *o)
{
    char group[FJ__GROUP_MAX], name[FJ__NAME_MAX];

    for (size_t i = 0; fj__option_older(o, i, group, name); i++) {
        bool same = strcmp(group, o->group) == 0;
        add(b, ok,
            fj__format("# Older name: %s%s%s%s\n", same ? "" : "[", same ? "" : group, same ? "" : "] ", name));
    }
}

/* The comment above an option. */
static void add_comment(fj__buf *b, bool *ok, const fj__option *o)
{
    add(b, ok,
        fj__format("\n# %s (%s%s%s)\n", o->help, fj__option_type_name(o->type), o->unit ? ", " : "",
                   o->unit ? o->unit : ""));
    if (o->def == NULL)
        add(b, ok, fj__strdup("# Not set by default.\n"));
    if (o->choices != NULL)
        add(b, ok, fj__format("# One of: %s\n", o->choices));
    if (o->min <= o->max && o->max < 1e300)
        add(b, ok, fj__format("# From %.10g to %.10g\n", o->min, o->max));
    else if (o->min <= o->max)
        add(b, ok, fj__format("# At least %.10g\n", o->min));
    if (o->effect == FJ__RELOADS)
        add(b, ok, fj__strdup("# A reload takes it in.\n"));
    if (o->effect == FJ__NEEDLESS)
        add(b, ok, fj__strdup("# Has no effect: Fjord needs no such setting.\n"));
    if (o->effect == FJ__MISSING)
        add(b, ok, fj__strdup("# Has no effect: Fjord cannot do this (yet), and warns when it is set.\n"));
    if ((o->flags & FJ__GOING) != 0)
        add(b, ok, fj__strdup("# Deprecated by oslo.messaging.\n"));
    add_older(b, ok, o);
}

char *fj__options_sample(void)
{
    fj__buf b = { 0 };
    bool ok = true;
    const char *group = "";
    const fj__option *o;

    add(&b, &ok,
        fj__strdup("# Every option of Fjord with its default.  Options of oslo.messaging keep their names.\n"));
    for (size_t i = 0; (o = fj__option_at(i)) != NULL && o->effect != FJ__FOREIGN; i++) {
        if (strcmp(group, o->group) != 0)
            add(&b, &ok, fj__format("\n[%s]\n", o->group));
        group = o->group;
        add_comment(&b, &ok, o);
        const char *def = o->def != NULL ? o->def : "";
        add(&b, &ok, fj__format("#%s =%s%s\n", o->name, *def != '\0' ? " " : "", def));
    }
    ok = ok && fj__buf_append(&b, "", 1);
    char *text = ok ? fj__strndup((const char *)fj__buf_data(&b), fj__buf_len(&b) - 1) : NULL;
    fj__buf_fini(&b);
    return text;
}
