/* SPDX-License-Identifier: Apache-2.0 */
/* Older names that are used, and options that are set and do nothing: they are known, since a file may be shared with Python, but never taken in
 * silence. */
#include "base/alloc.h"
#include "base/conf_state.h"
#include "base/log.h"

#include <string.h>

/* Whether it has another value than its default; of a list that has none, any. */
static bool is_set(const fj_conf *conf, const fj__option *o)
{
    const char *value = fj_conf_str(conf, o->group, o->name);
    char *usual = NULL;

    if (value == NULL || strcmp(fj_conf_origin(conf, o->group, o->name), "default") == 0)
        return false;
    if (o->def == NULL || fj__option_plain(o, o->def, &usual, NULL) != FJ_OK || usual == NULL)
        return *value != '\0';
    bool same = strcmp(value, usual) == 0;
    fj__free(usual);
    return !same;
}

size_t fj__conf_note_unused(const fj_conf *conf)
{
    const fj__state *s = fj__conf_now(conf);
    const fj__option *o;
    size_t missing = 0;

    for (size_t i = 0; (o = fj__option_at(i)) != NULL; i++) {
        bool needless = o->effect == FJ__NEEDLESS;
        if (s->values[i].older != NULL && (o->flags & FJ__RENAMED) == 0)
            fj__log(FJ_LOG_WARNING, "conf", "%s: %s is deprecated; it is now [%s] %s", s->values[i].origin,
                    s->values[i].older, o->group, o->name);
        if ((!needless && o->effect != FJ__MISSING) || !is_set(conf, o))
            continue;
        missing += !needless;
        fj__log(needless ? FJ_LOG_INFO : FJ_LOG_WARNING, "conf", "%s: [%s] %s has no effect: %s",
                fj_conf_origin(conf, o->group, o->name), o->group, o->name,
                needless ? "Fjord needs no such setting" : "Fjord cannot do this (yet)");
    }
    return missing;
}
