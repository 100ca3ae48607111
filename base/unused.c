/* SPDX-License-Identifier: Apache-2.0 */
/* Options that are set and do nothing: they are known, since a file may be shared with Python, but never taken in
 * silence. */
#include "base/log.h"
#include "base/options.h"

#include <string.h>

/* Whether it has another value than its default; of a list that has none, any. */
static bool is_set(const fj_conf *conf, const fj__option *o)
{
    const char *value = fj_conf_str(conf, o->group, o->name);

    return strcmp(fj_conf_origin(conf, o->group, o->name), "default") != 0 && value != NULL &&
           strcmp(value, o->def != NULL ? o->def : "") != 0;
}

size_t fj__conf_note_unused(const fj_conf *conf)
{
    const fj__option *o;
    size_t missing = 0;

    for (size_t i = 0; (o = fj__option_at(i)) != NULL; i++) {
        bool needless = o->effect == FJ__NEEDLESS;
        if ((!needless && o->effect != FJ__MISSING) || !is_set(conf, o))
            continue;
        missing += !needless;
        fj__log(needless ? FJ_LOG_INFO : FJ_LOG_WARNING, "conf", "%s: [%s] %s has no effect: %s",
                fj_conf_origin(conf, o->group, o->name), o->group, o->name,
                needless ? "Fjord needs no such setting" : "Fjord cannot do this (yet)");
    }
    return missing;
}
