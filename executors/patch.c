/* SPDX-License-Identifier: Apache-2.0 */
#include "executors/patch.h"

#include "base/alloc.h"
#include "base/log.h"
#include "runtime/green.h"

static fj_code groups_of(const fj_conf *conf, unsigned *ret, fj_error **err)
{
    const char *const *names = conf != NULL ? fj_conf_list(conf, "fjord", "patch") : NULL;
    unsigned what = 0;

    *ret = FJ_PATCH_DEFAULT;
    if (names == NULL)
        return FJ_OK;
    for (; *names != NULL; names++) {
        unsigned group = fj__green_group(*names);
        if (group == 0)
            return fj_fail(err, FJ_BAD_CONFIG,
                           "[fjord] patch: \"%s\" is none of socket, time, dns, process, select, mutex",
                           *names);
        what |= group;
    }
    *ret = what;
    return FJ_OK;
}

/* Each for itself, so that one that is missing keeps no other off.  @return those that are missing */
static unsigned patch_each(unsigned what, fj_error **ret_why)
{
    unsigned missing = 0;

    for (unsigned group = 1; group <= FJ_PATCH_ALL; group <<= 1) {
        if ((what & group) != 0 && fj_green_patch(group, missing == 0 ? ret_why : NULL) != FJ_OK)
            missing |= group;
    }
    return missing;
}

static void log_groups(fj_log_level level, const char *text, unsigned what, const char *why)
{
    char *names = what != 0 && fj__log_on(level, "executor") ? fj__green_group_names(what) : NULL;

    if (names != NULL)
        fj__log(level, "executor", "%s: %s%s%s", text, names, why[0] != '\0' ? ": " : "", why);
    fj__free(names);
}

fj_code fj__patch(const fj_conf *conf, bool insists, fj_error **err)
{
    fj_error *why = NULL;
    unsigned what = 0;
    fj_code code = groups_of(conf, &what, err);

    if (code != FJ_OK)
        return code;
    unsigned missing = patch_each(what, &why);
    if (missing != 0 && insists && conf != NULL && fj_conf_bool(conf, "fjord", "green_require_hooks")) {
        code = fj_error_move(why, err);
        fj_error_prefix(err, "[fjord] green_require_hooks");
        return code;
    }
    log_groups(FJ_LOG_INFO, "hooks are live", what & ~missing, "");
    log_groups(FJ_LOG_WARNING, "no hooks, so that blocking calls really block", missing,
               why != NULL ? fj_error_text(why) : "");
    fj_error_free(why);
    return FJ_OK;
}

bool fj__patch_is_live(const fj_conf *conf)
{
    unsigned what = 0;

    return groups_of(conf, &what, NULL) == FJ_OK && what != 0 && fj_is_patched(what);
}
