/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/own.h"
#include <string.h>

/* What getopt answers for the first row's long form: above all letters, and all shared options. */
enum { OWN_FIRST = 1024 };

void tool_own_help(const tool_own *own)
{
    for (size_t i = 0; own != NULL && i < own->count; i++) {
        const tool_own_option *row = &own->rows[i];
        char text[64], letter[] = { '-', row->letter, '\0' };
        bool both = row->letter != '\0' && row->name != NULL;

        (void)snprintf(text, sizeof text, "%s%s%s%s %s", row->letter != '\0' ? letter : "", both ? ", " : "",
                       row->name != NULL ? "--" : "", row->name != NULL ? row->name : "",
                       row->value != NULL ? row->value : "");
        printf("  %-23s %s\n", text, row->help);
    }
}

bool tool_own_has(const tool_own *own, const char *name)
{
    for (size_t i = 0; own != NULL && i < own->count; i++)
        if (own->rows[i].name != NULL && strcmp(own->rows[i].name, name) == 0)
            return true;
    return false;
}

size_t tool_own_list(const tool_own *own, struct option *names, char letters[TOOL_OWN_LETTERS])
{
    size_t n = 0;

    *letters++ = ':';
    for (size_t i = 0; own != NULL && i < own->count; i++) {
        const tool_own_option *row = &own->rows[i];
        if (row->name != NULL)
            names[n++] = (struct option){ row->name, row->value != NULL ? required_argument : no_argument, NULL,
                                          OWN_FIRST + (int)i };
        if (row->letter != '\0')
            *letters++ = row->letter;
        if (row->letter != '\0' && row->value != NULL)
            *letters++ = ':';
    }
    *letters = '\0';
    return n;
}

bool tool_own_take(const tool_own *own, const tool_opts *o, int option, int *ret_rc)
{
    for (size_t i = 0; own != NULL && i < own->count; i++) {
        if (option != OWN_FIRST + (int)i && (option == '\0' || option != own->rows[i].letter))
            continue;
        *ret_rc = own->take(o, i, optarg, own->user);
        return true;
    }
    return false;
}
