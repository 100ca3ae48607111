/* SPDX-License-Identifier: Apache-2.0 */
/* fjord config: the sample file, a check of files, and what is in effect. */
#include "base/alloc.h"
#include "base/options.h"
#include "tools/common.h"
#include <string.h>

static int sample(const tool_opts *o)
{
    char *text;

    if (o->rest_count != 1)
        return tool_misuse(o, "sample takes no files");
    text = fj__options_sample();
    if (text == NULL)
        return tool_misuse(o, "out of memory");
    fputs(text, stdout);
    free(text);
    return fflush(stdout) == 0 ? TOOL_DONE : TOOL_REMOTE;
}

/* The files of --config-file, then those named: all into one configuration, as a program would read them. */
static int check(const tool_opts *o)
{
    fj_error *err = NULL;
    fj_conf *conf = NULL;
    fj_code rc;

    if (o->rest_count < 2 && o->config_count == 0)
        return tool_misuse(o, "check needs a file or a folder");
    rc = tool_conf(o, &conf, &err);
    for (int i = 1; rc == FJ_OK && i < o->rest_count; i++)
        rc = fj_conf_read(conf, o->rest[i], &err);
    if (rc == FJ_OK)
        (void)fj__conf_note_unused(conf);
    fj_conf_free(conf);
    if (rc != FJ_OK)
        return tool_fail(o, err);
    tool_note(o, "fjord config: valid");
    return TOOL_DONE;
}

/* What may be shown of a URL; NULL when memory ran out. */
static char *shown_url(const char *text)
{
    char *shown = NULL;
    fj_url *url = NULL;

    if (fj_url_parse(text, &url, NULL) != FJ_OK || fj_url_redacted(url, &shown) != FJ_OK)
        shown = fj__strdup("***");
    fj_url_free(url);
    return shown;
}

/* The value of an option as it may be shown.  @return gives; NULL when it is unset */
static char *shown_value(const fj_conf *conf, const fj__option *option)
{
    char *value = NULL, *shown;

    if (fj_conf_lookup(conf, option->group, option->name, &value, NULL) != FJ_OK || value == NULL)
        return NULL;
    if (option->type != FJ__OPT_SECRET && option->type != FJ__OPT_URL)
        return value;
    shown = option->type == FJ__OPT_URL ? shown_url(value) : fj__strdup("***");
    explicit_bzero(value, strlen(value));
    free(value);
    return shown;
}

static void show_text(const fj_conf *conf)
{
    const fj__option *option;
    const char *group = "";

    for (size_t i = 0; (option = fj__option_at(i)) != NULL; i++) {
        char *value = shown_value(conf, option);
        if (strcmp(group, option->group) != 0)
            printf("%s[%s]\n", i > 0 ? "\n" : "", option->group);
        group = option->group;
        if (value != NULL)
            printf("# %s\n%s = %s\n", fj_conf_origin(conf, option->group, option->name), option->name, value);
        else
            printf("# unset\n#%s =\n", option->name);
        free(value);
    }
}

static int show_json(const tool_opts *o, const fj_conf *conf)
{
    json_t *all = json_array();
    const fj__option *option;
    int rc;

    for (size_t i = 0; (option = fj__option_at(i)) != NULL; i++) {
        char *value = shown_value(conf, option);
        json_array_append_new(all, json_pack("{s:s, s:s, s:s?, s:s}", "group", option->group, "name",
                                             option->name, "value", value, "origin",
                                             fj_conf_origin(conf, option->group, option->name)));
        free(value);
    }
    rc = tool_print(o, all);
    json_decref(all);
    return rc;
}

static int show(const tool_opts *o)
{
    fj_error *err = NULL;
    fj_conf *conf = NULL;
    int rc = TOOL_DONE;

    if (o->rest_count != 1)
        return tool_misuse(o, "show takes its files from --config-file");
    if (tool_conf(o, &conf, &err) != FJ_OK)
        return tool_fail(o, err);
    if (o->json)
        rc = show_json(o, conf);
    else
        show_text(conf);
    fj_conf_free(conf);
    return rc;
}

int tool_config(int argc, char **argv)
{
    tool_opts o;
    int rc = tool_parse(argc, argv, 0, &o);
    const char *what = rc < 0 && o.rest_count > 0 ? o.rest[0] : "";

    if (rc < 0 && strcmp(what, "sample") == 0)
        rc = sample(&o);
    else if (rc < 0 && strcmp(what, "check") == 0)
        rc = check(&o);
    else if (rc < 0 && strcmp(what, "show") == 0)
        rc = show(&o);
    else if (rc < 0)
        rc = tool_misuse(&o, "sample, check or show is needed");
    tool_opts_fini(&o);
    return rc;
}
