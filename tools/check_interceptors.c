/* SPDX-License-Identifier: Apache-2.0 */
/* Interceptors: whether each can be loaded, and what is in their groups, whose options are not in the table but theirs. */
#include "base/alloc.h"
#include "messaging/chain.h"
#include "tools/check.h"
#include <string.h>
#include <strings.h>

#define FRONT "interceptor:"

void check_interceptors(check *c, const char *origin, const char *group, const char *key, const char *value)
{
    char **items = c->conf != NULL ? fj__option_split(value) : NULL;

    for (size_t i = 0; items != NULL && items[i] != NULL; i++) {
        const fj_interceptor *ops = NULL;
        fj_error *err = NULL;
        if (items[i][0] != '\0' && fj_interceptor_find(c->conf, items[i], &ops, &err) != FJ_OK)
            check_add(c, CHECK_ERROR, origin, group, key, "%s", fj_error_text(err));
        fj_error_free(err);
    }
    fj__option_items_free(items);
}

/* Whether an item of the list has this group. */
static bool has_group(const char *item, const char *group)
{
    char *name = fj__interceptor_name(item);
    bool has = name != NULL && strcasecmp(name, group + sizeof FRONT - 1) == 0;

    fj__free(name);
    return has;
}

static bool reads(const fj_interceptor *ops, const char *key)
{
    const char *const *at = ops->options;

    while (at != NULL && *at != NULL && strcmp(*at, key) != 0)
        at++;
    return at == NULL || *at != NULL;
}

/* @param items  of [fjord] interceptors; NULL: none */
static void check_option(check *c, const fj__entry *e, char *const *items)
{
    const fj_interceptor *ops = NULL;

    for (; items != NULL && *items != NULL; items++)
        if (has_group(*items, e->group))
            break;
    if (items == NULL || *items == NULL)
        check_add(c, CHECK_WARNING, e->origin, e->group, e->key,
                  "it is ignored: [fjord] interceptors lists none of that name");
    else if (c->conf != NULL && fj_interceptor_find(c->conf, *items, &ops, NULL) == FJ_OK &&
             !reads(ops, e->key))
        check_add(c, CHECK_WARNING, e->origin, e->group, e->key,
                  "the interceptor %s knows no such option: it is ignored", ops->name);
}

void check_interceptor_groups(check *c)
{
    fj__value v = { 0 };

    if (fj__value_make(c->state, fj__option_find("fjord", "interceptors"), &v, NULL) == FJ_OK)
        for (size_t i = 0; i < c->state->n; i++)
            if (strncmp(c->state->entries[i].group, FRONT, sizeof FRONT - 1) == 0)
                check_option(c, &c->state->entries[i], v.items);
    fj__value_fini(&v);
}
