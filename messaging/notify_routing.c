/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notification driver routing: a file in YAML, [oslo_messaging_notifications] routing_config, says which events go to which
 * drivers.  It has groups, these have drivers, and those have rules:
 *
 *     group_1:
 *       messagingv2:
 *         accepted_events: ["compute.instance.*"]
 *         accepted_priorities: ["error", "warn"]
 *
 * A driver gets what fits one of the patterns of each list it has, and gets it once, in however many groups it is.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "messaging/notify_drivers.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <yaml.h>

/* Patterns; without a list everything fits. */
struct patterns {
    bool given;
    char **all;
    size_t n, room;
};

struct rule {
    size_t driver; /* its place */
    struct patterns events, priorities;
};

struct routing {
    fj__notify_drivers drivers;
    struct rule *rules;
    size_t n, room;
};

struct reading {
    struct routing *into;
    yaml_document_t *document;
    const fj_notify_driver_opts *opts;
    const char *file;
};

/* ---- reading the file --------------------------------------------------------------------------- */

static const char *text_of(const yaml_node_t *node)
{
    return node != NULL && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static bool is_empty(const yaml_node_t *node)
{
    const char *text = text_of(node);

    return node == NULL || (text != NULL && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                            (text[0] == '\0' || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0));
}

static fj_code misread(const struct reading *r, const yaml_node_t *node, const char *what, fj_error **err)
{
    return fj_fail(err, FJ_BAD_CONFIG, "%s:%zu: %s", r->file, node != NULL ? node->start_mark.line + 1 : 1,
                   what);
}

static fj_code add_pattern(const struct reading *r, const yaml_node_t *node, bool lower, struct patterns *into,
                           fj_error **err)
{
    const char *text = text_of(node);

    if (text == NULL)
        return misread(r, node, "a pattern is a text", err);
    char **more = fj__grow(into->all, &into->room, into->n + 1, sizeof(char *));
    char *copy = more != NULL ? fj__strdup(text) : NULL;
    if (more != NULL)
        into->all = more;
    if (copy == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a pattern");
    for (char *c = copy; lower && *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    into->all[into->n++] = copy;
    return FJ_OK;
}

static fj_code read_patterns(const struct reading *r, const yaml_node_t *node, bool lower,
                             struct patterns *into, fj_error **err)
{
    fj_code code = FJ_OK;

    into->given = true;
    if (is_empty(node))
        return FJ_OK;
    if (node->type == YAML_SCALAR_NODE)
        return add_pattern(r, node, lower, into, err);
    if (node->type != YAML_SEQUENCE_NODE)
        return misread(r, node, "patterns are a list", err);
    const yaml_node_item_t *at = node->data.sequence.items.start;
    for (; code == FJ_OK && at < node->data.sequence.items.top; at++)
        code = add_pattern(r, yaml_document_get_node(r->document, *at), lower, into, err);
    return code;
}

/* Calls @p fn for each pair of a mapping, or of nothing. */
static fj_code each(const struct reading *r, const yaml_node_t *node, const char *what,
                    fj_code (*fn)(const struct reading *r, const char *key, const yaml_node_t *value,
                                  void *user, fj_error **err),
                    void *user, fj_error **err)
{
    fj_code code = FJ_OK;

    if (is_empty(node))
        return FJ_OK;
    if (node->type != YAML_MAPPING_NODE)
        return misread(r, node, what, err);
    const yaml_node_pair_t *at = node->data.mapping.pairs.start;
    for (; code == FJ_OK && at < node->data.mapping.pairs.top; at++) {
        const char *key = text_of(yaml_document_get_node(r->document, at->key));
        code = key != NULL ? fn(r, key, yaml_document_get_node(r->document, at->value), user, err)
                           : misread(r, node, what, err);
    }
    return code;
}

static fj_code read_list(const struct reading *r, const char *key, const yaml_node_t *value, void *user,
                         fj_error **err)
{
    struct rule *rule = user;

    if (strcmp(key, "accepted_events") == 0)
        return read_patterns(r, value, false, &rule->events, err);
    if (strcmp(key, "accepted_priorities") == 0)
        return read_patterns(r, value, true, &rule->priorities, err);
    fj__log(FJ_LOG_WARNING, "notify", "%s: a driver has no list \"%s\"", r->file, key);
    return FJ_OK;
}

static fj_code read_driver(const struct reading *r, const char *name, const yaml_node_t *value, void *user,
                           fj_error **err)
{
    struct routing *into = r->into;
    fj_error *error = NULL;
    size_t at = 0;

    (void)user;
    if (strcmp(name, fj__notify_routing.name) == 0)
        return misread(r, value, "routing does not route to itself", err);
    fj_code code = fj__notify_drivers_add(&into->drivers, name, r->opts, &at, &error);
    if (code == FJ_NO_DRIVER) { /* as a notifier leaves it out */
        fj__log(FJ_LOG_WARNING, "notify", "%s: the driver %s is left out: %s", r->file, name,
                fj_error_text(error));
        fj_error_free(error);
        return FJ_OK;
    }
    if (code != FJ_OK)
        return fj_error_move(error, err);
    struct rule *more = fj__grow(into->rules, &into->room, into->n + 1, sizeof *more);
    if (more == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a rule");
    into->rules = more;
    more[into->n] = (struct rule){ .driver = at };
    return each(r, value, "a driver has lists of patterns", read_list, &more[into->n++], err);
}

static fj_code read_group(const struct reading *r, const char *name, const yaml_node_t *value, void *user,
                          fj_error **err)
{
    (void)name, (void)user;
    return each(r, value, "a group has drivers", read_driver, NULL, err);
}

static fj_code read_document(struct routing *into, yaml_parser_t *parser, const fj_notify_driver_opts *opts,
                             const char *path, fj_error **err)
{
    yaml_document_t document;
    struct reading r = { into, &document, opts, path };

    if (yaml_parser_load(parser, &document) == 0)
        return fj_fail(err, FJ_BAD_CONFIG, "%s:%zu: %s", path, parser->problem_mark.line + 1,
                       parser->problem != NULL ? parser->problem : "it is no YAML");
    fj_code code =
        each(&r, yaml_document_get_root_node(&document), "a routing file has groups", read_group, NULL, err);
    yaml_document_delete(&document);
    return code;
}

static fj_code read_file(struct routing *into, const fj_notify_driver_opts *opts, const char *path,
                         fj_error **err)
{
    yaml_parser_t parser;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return fj_fail(err, FJ_BAD_CONFIG, "[oslo_messaging_notifications] routing_config: %s: %s", path,
                       strerror(errno));
    fj_code code = yaml_parser_initialize(&parser) != 0 ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
    if (code == FJ_OK) {
        yaml_parser_set_input_file(&parser, file);
        code = read_document(into, &parser, opts, path, err);
        yaml_parser_delete(&parser);
    }
    (void)fclose(file);
    return code;
}

/* ---- routing ------------------------------------------------------------------------------------ */

static bool fits(const struct patterns *p, const char *text)
{
    for (size_t i = 0; i < p->n; i++)
        if (fnmatch(p->all[i], text, FNM_NOESCAPE) == 0)
            return true;
    return !p->given;
}

static fj_code notify(void *state, const fj_notification *n, fj_future **ret, fj_error **err)
{
    const struct routing *r = state;
    fj__notify_sent sent = { 0 };
    fj_notification one = *n;

    if (r->drivers.n > 1)
        one.flags = 0; /* who waits for several helps none of them along */
    for (size_t at = 0; at < r->drivers.n; at++) {
        const struct fj__notify_open *to = &r->drivers.all[at];
        fj_future *future = NULL;
        fj_error *error = NULL;
        bool on = false;
        for (size_t i = 0; !on && i < r->n; i++)
            on = r->rules[i].driver == at && fits(&r->rules[i].events, n->event_type) &&
                 fits(&r->rules[i].priorities, fj_priority_name(n->priority));
        if (!on)
            continue;
        fj_code code = to->ops->notify(to->state, &one, &future, &error);
        fj__notify_sent_add(&sent, code, future, error);
    }
    return fj__notify_sent_end(&sent, ret, err);
}

/* ---- life --------------------------------------------------------------------------------------- */

static void fini(struct patterns *p)
{
    for (size_t i = 0; i < p->n; i++)
        fj__free(p->all[i]);
    fj__free(p->all);
}

static void close_(void *state)
{
    struct routing *r = state;

    for (size_t i = 0; i < r->n; i++) {
        fini(&r->rules[i].events);
        fini(&r->rules[i].priorities);
    }
    fj__free(r->rules);
    fj__notify_drivers_fini(&r->drivers);
    fj__free(r);
}

static fj_code open_(const fj_notify_driver_opts *opts, void **ret, fj_error **err)
{
    const char *path = fj_conf_str(opts->conf, "oslo_messaging_notifications", "routing_config");
    struct routing *r = fj__zalloc(sizeof *r);
    fj_code code = r != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");

    if (code == FJ_OK && path != NULL && path[0] != '\0')
        code = read_file(r, opts, path, err);
    if (code == FJ_OK)
        *ret = r;
    else if (r != NULL)
        close_(r);
    return code;
}

const fj_notify_driver fj__notify_routing = {
    FJ_NOTIFY_DRIVER_ABI, sizeof(fj_notify_driver), "routing", open_, notify, close_
};
