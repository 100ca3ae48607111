/* SPDX-License-Identifier: Apache-2.0 */
/* fjord config: a sample file, a check of one's own, and what is in force. */
#include "base/options.h"
#include "tools/common.h"

#include <stdlib.h>
#include <string.h>

static int sample(const tool_opts *o)
{
    char *text = fj__options_sample();

    if (text == NULL)
        return tool_misuse(o, "out of memory");
    (void)fputs(text, stdout);
    free(text);
    return TOOL_DONE;
}

static int check(tool_opts *o)
{
    int rc = TOOL_DONE;

    for (int i = 1; i < o->rest_count; i++) {
        fj_conf *conf = NULL;
        fj_error *err = NULL;
        if (fj_conf_load(o->rest[i], &conf, &err) != FJ_OK) {
            (void)tool_fail(o, err);
            rc = TOOL_USAGE;
        } else {
            tool_note(o, "%s: good", o->rest[i]);
        }
        fj_conf_free(conf);
    }
    return rc;
}

/* A value as it may be shown: secrets hidden, passwords of URLs too. */
static char *shown(const fj_conf *conf, const fj__option *opt)
{
    const char *value = fj_conf_str(conf, opt->group, opt->name);
    fj_url *url = NULL;
    char *text = NULL;

    if (value == NULL)
        return strdup("<unset>");
    if (opt->type == FJ__OPT_SECRET)
        return strdup("***");
    if (opt->type != FJ__OPT_URL)
        return strdup(value);
    if (fj_url_parse(value, &url, NULL) != FJ_OK || fj_url_redacted(url, &text) != FJ_OK)
        text = strdup("<not a URL>");
    fj_url_free(url);
    return text;
}

static int show(const tool_opts *o)
{
    fj_conf *conf = NULL;
    fj_error *err = NULL;
    const char *group = "";

    if (tool_conf(o, &conf, &err) != FJ_OK)
        return tool_fail(o, err);
    for (size_t i = 0; fj__option_at(i) != NULL; i++) {
        const fj__option *opt = fj__option_at(i);
        char *value = shown(conf, opt);
        if (strcmp(group, opt->group) != 0)
            printf("%s[%s]\n", *group != '\0' ? "\n" : "", opt->group);
        group = opt->group;
        printf("%s = %s  # %s\n", opt->name, value != NULL ? value : "",
               fj_conf_origin(conf, opt->group, opt->name));
        free(value);
    }
    fj_conf_free(conf);
    return TOOL_DONE;
}

int tool_config(int argc, char **argv)
{
    tool_opts o;
    int rc = tool_parse(argc, argv, TOOL_COMMON, &o);
    const char *what = o.rest_count > 0 ? o.rest[0] : "";

    if (rc >= 0)
        ;
    else if (strcmp(what, "sample") == 0 && o.rest_count == 1)
        rc = sample(&o);
    else if (strcmp(what, "check") == 0 && o.rest_count > 1)
        rc = check(&o);
    else if (strcmp(what, "show") == 0 && o.rest_count == 1)
        rc = show(&o);
    else
        rc = tool_misuse(&o, "config takes sample, check FILE... or show");
    tool_opts_fini(&o);
    return rc;
}
