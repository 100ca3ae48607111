/* SPDX-License-Identifier: Apache-2.0 */
/* Names that mean nothing to Fjord.  Other programs' are none of its business; of its own groups, and of what is nearly one of its
 * names, it tells. */
#include "base/alloc.h"
#include "tools/check.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { LONGEST = 64 }; /* names longer than this are like none of ours */

static const char *const groups[] = { "DEFAULT", "oslo_messaging_rabbit", "oslo_messaging_notifications",
                                      "oslo_messaging_metrics", "fjord" };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters must be changed, put in, left out or swapped to make one of the other, without regard to case. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][LONGEST + 1]; /* those of a's last two letters, and the present one */
    size_t an = strlen(a), bn = strlen(b);

    if (an > LONGEST || bn > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= bn; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= an; i++) {
        unsigned *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= bn; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            now[j] = least(least(last[j] + 1, now[j - 1] + 1), last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                tolower((unsigned char)a[i - 2]) == y)
                now[j] = least(now[j], before[j - 2] + 1);
        }
    }
    return rows[an % 3][bn];
}

static bool is_ours(const char *group)
{
    for (size_t i = 1; i < fj__countof(groups); i++)
        if (strcmp(group, groups[i]) == 0)
            return true;
    return false;
}

static bool is_foreign(const char *group)
{
    return strcmp(group, "oslo_messaging_amqp") == 0 || strcmp(group, "oslo_messaging_kafka") == 0;
}

/* The option of the group whose name, or an older one, is nearest to @p key, if it is no further than @p most. */
static const fj__option *nearest(const char *group, const char *key, unsigned most)
{
    const fj__option *o, *best = NULL;
    char in[FJ__GROUP_MAX], older[FJ__NAME_MAX];

    for (size_t i = 0; (o = fj__option_at(i)) != NULL; i++) {
        unsigned far = strcmp(o->group, group) == 0 ? distance(key, o->name) : LONGEST;
        for (size_t k = 0; fj__option_older(o, k, in, older); k++)
            if (strcmp(in, group) == 0)
                far = least(far, distance(key, older));
        if (far <= most && far < LONGEST) {
            best = o;
            most = far != 0 ? far - 1 : 0;
            if (far == 0)
                break;
        }
    }
    return best;
}

/* An option of that very name in another of our groups. */
static const fj__option *elsewhere(const char *group, const char *key)
{
    const fj__option *o;

    for (size_t i = 0; (o = fj__option_at(i)) != NULL; i++)
        if (strcmp(o->name, key) == 0 && strcmp(o->group, group) != 0 && o->effect != FJ__FOREIGN)
            return o;
    return NULL;
}

/* An option of whose name this is a piece, or nearly its beginning. */
static const fj__option *piece(const char *group, const char *key)
{
    const fj__option *o;
    char front[LONGEST + 2];
    size_t n = strlen(key);

    for (size_t i = 0; n >= 5 && n <= LONGEST && (o = fj__option_at(i)) != NULL; i++) {
        if (strcmp(o->group, group) != 0)
            continue;
        (void)snprintf(front, sizeof front, "%.*s", (int)n + 1, o->name);
        if (strstr(o->name, key) != NULL || (n >= 8 && distance(key, front) <= 2))
            return o;
    }
    return NULL;
}

/* What oslo.messaging had long ago, and transport_url says now. */
static bool is_of_url(const char *key)
{
    static const char *const names[] = { "rabbit_host",   "rabbit_hosts",    "rabbit_port",
                                         "rabbit_userid", "rabbit_password", "rabbit_virtual_host",
                                         "rpc_backend" };

    for (size_t i = 0; i < fj__countof(names); i++)
        if (strcmp(names[i], key) == 0)
            return true;
    return false;
}

static void tell_unknown(check *c, const char *origin, const char *group, const char *key)
{
    unsigned n = (unsigned)strlen(key);
    const fj__option *o = nearest(group, key, n < 8 ? 1 + (n > 4) : 3);

    if (is_of_url(key)) {
        check_add(c, CHECK_WARNING, origin, group, key,
                  "it is no option any more: [DEFAULT] transport_url says it");
        return;
    }
    if (o == NULL)
        o = elsewhere(group, key);
    if (o == NULL)
        o = piece(group, key);
    if (o == NULL)
        check_add(c, CHECK_WARNING, origin, group, key, "unknown option: it is ignored");
    else if (strcmp(o->group, group) == 0)
        check_add(c, CHECK_WARNING, origin, group, key, "unknown option: it is ignored; did you mean %s?",
                  o->name);
    else
        check_add(c, CHECK_WARNING, origin, group, key, "unknown option: it is ignored; %s belongs in [%s]",
                  o->name, o->group);
}

void check_unknown(check *c, const fj__entry *e)
{
    const fj__option *o;

    if (is_ours(e->group) || is_foreign(e->group)) {
        tell_unknown(c, e->origin, e->group, e->key);
        return;
    }
    if (strcmp(e->group, "DEFAULT") != 0)
        return;
    if (is_of_url(e->key)) {
        tell_unknown(c, e->origin, e->group, e->key);
        return;
    }
    /* [DEFAULT] is everybody's: only what is nearly ours, and the names that nobody else has */
    o = strlen(e->key) >= 8 ? nearest("DEFAULT", e->key, 2) : NULL;
    if (o != NULL && o->effect != FJ__FOREIGN) {
        check_add(c, CHECK_WARNING, e->origin, e->group, e->key, "unknown option: did you mean %s?", o->name);
        return;
    }
    o = strchr(e->key, '_') != NULL ? elsewhere("DEFAULT", e->key) : NULL;
    if (o != NULL && strcmp(o->group, "fjord") != 0)
        check_add(c, CHECK_WARNING, e->origin, e->group, e->key, "it has no effect here: it belongs in [%s]",
                  o->group);
}

void check_group(check *c, const char *origin, const char *group)
{
    char like[FJ__NAME_MAX];
    bool short_enough = fj__conf_group(group, like, sizeof like);
    const char *near = NULL;
    bool historic = strcmp(like, "oslo_messaging_zmq") == 0 || strcmp(like, "oslo_messaging_pika") == 0;

    if (!short_enough || strcmp(like, "DEFAULT") == 0 || is_ours(like) || is_foreign(like) || historic)
        return;
    for (size_t i = 0; near == NULL && i < fj__countof(groups); i++)
        if (distance(group, groups[i]) <= (strlen(groups[i]) > 10 ? 3 : strlen(groups[i]) > 6 ? 2 : 1))
            near = groups[i];
    if (near != NULL)
        check_add(c, CHECK_WARNING, origin, group, "",
                  "no group of Fjord or oslo.messaging; did you mean [%s]?", near);
    else if (strncmp(like, "oslo_messaging", 14) == 0)
        check_add(c, CHECK_WARNING, origin, group, "", "no group of oslo.messaging: it is ignored");
}

/* A variable whose name begins as those of the group do. */
static void check_variable(check *c, const char *group, const char *variable)
{
    char key[FJ__NAME_MAX];
    size_t front = strlen(group) + 5, n = strcspn(variable, "="); /* OS_ and __ */

    if (n <= front || n - front >= sizeof key || strncmp(variable, "OS_", 3) != 0 ||
        strncasecmp(variable + 3, group, front - 5) != 0 || strncmp(variable + front - 2, "__", 2) != 0)
        return;
    for (size_t i = 0; i <= n - front; i++)
        key[i] = i < n - front ? (char)tolower((unsigned char)variable[front + i]) : '\0';
    const fj__option *o = fj__option_find(group, key);
    if (o != NULL && strcmp(o->name, key) == 0)
        return;
    char *name = fj__strndup(variable, n);
    if (name != NULL && o != NULL && (o->flags & FJ__RENAMED) == 0)
        check_add(c, CHECK_WARNING, name, group, key,
                  "older names do not count in the environment; it is %s now", o->name);
    else if (name != NULL && o == NULL)
        tell_unknown(c, name, group, key);
    fj__free(name);
}

void check_environment_names(check *c)
{
    for (char **at = environ; at != NULL && *at != NULL; at++)
        for (size_t i = 1; i < fj__countof(groups); i++)
            check_variable(c, groups[i], *at);
}
