/* SPDX-License-Identifier: Apache-2.0 */
/* fjord config: the sample file, a check of files, what is in effect, and the man page of it all. */
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

char *tool_shown_url(const char *text)
{
    char *shown = NULL;
    fj_url *url = NULL;

    if (fj_url_parse(text, &url, NULL) != FJ_OK || fj_url_redacted(url, &shown) != FJ_OK)
        shown = fj__strdup("***");
    fj_url_free(url);
    return shown;
}

int tool_config(int argc, char **argv)
{
    tool_opts o;
    int rc = tool_parse(argc, argv, TOOL_CONFIG, &o);
    const char *what = rc < 0 && o.rest_count > 0 ? o.rest[0] : "";

    if (rc < 0 && strcmp(what, "sample") == 0)
        rc = sample(&o);
    else if (rc < 0 && strcmp(what, "check") == 0)
        rc = tool_config_check(&o);
    else if (rc < 0 && strcmp(what, "show") == 0)
        rc = tool_config_show(&o);
    else if (rc < 0 && strcmp(what, "man") == 0)
        rc = tool_config_man(&o);
    else if (rc < 0)
        rc = tool_misuse(&o, "sample, check or show is needed");
    tool_opts_fini(&o);
    return rc;
}
