/* SPDX-License-Identifier: Apache-2.0 */
/* fjord version: what is in use. */
#include "tools/common.h"
#include <dlfcn.h>
#include <string.h>

/* librabbitmq belongs to the amqp driver alone; a command built without it can still say so. */
static const char *rabbitmq_version(void)
{
    const char *(*get)(void) = NULL;
    void *symbol = dlsym(RTLD_DEFAULT, "amqp_version");

    memcpy(&get, &symbol, sizeof(get));
    return get != NULL ? get() : "none";
}

int tool_version(int argc, char **argv)
{
    tool_opts o;
    json_t *all = NULL;
    int rc = tool_parse(argc, argv, 0, &o);

    if (rc < 0 && o.rest_count > 0)
        rc = tool_misuse(&o, "version takes no arguments");
    if (rc < 0 && o.json) {
        all = json_pack("{s:s, s:s, s:s}", "fjord", fj_version(), "jansson", jansson_version_str(),
                        "librabbitmq", rabbitmq_version());
        rc = tool_print(&o, all);
    } else if (rc < 0) {
        printf("fjord %s\njansson %s\nlibrabbitmq %s\n", fj_version(), jansson_version_str(),
               rabbitmq_version());
        rc = TOOL_DONE;
    }
    json_decref(all);
    tool_opts_fini(&o);
    return rc;
}
