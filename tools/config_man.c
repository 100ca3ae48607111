/* SPDX-License-Identifier: Apache-2.0 */
/* fjord config man: fjord.conf(5), of which the options come from the table.  The page in docs/man is what this prints. */
#include "base/options.h"
#include "tools/common.h"
#include <string.h>

static const char *const head =
    ".\\\" SPDX-License-Identifier: Apache-2.0\n"
    ".\\\" Made by `fjord config man`.\n"
    ".Dd November 23, 2026\n"
    ".Dt FJORD.CONF 5\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm fjord.conf\n"
    ".Nd configuration of programs that use Fjord\n"
    ".Sh DESCRIPTION\n"
    "The format is that of oslo.config, and a file may be shared with Python services: options that Fjord does "
    "not know are\n"
    "ignored.\n"
    ".Bl -bullet\n"
    ".It\n"
    ".Li [group]\n"
    "begins a group; every option stands in one.\n"
    "Groups are compared without regard to case, but for\n"
    ".Li DEFAULT .\n"
    ".It\n"
    ".Li key = value\n"
    "or\n"
    ".Li key: value\n"
    "sets an option.\n"
    "Blanks around the value go, then one pair of quotes.\n"
    "A line that begins with a blank continues the value.\n"
    ".It\n"
    ".Li #\n"
    "and\n"
    ".Li \\&;\n"
    "begin a comment in the first column.\n"
    ".It\n"
    "Of an option that is given again the last value counts; options of type multi take them all.\n"
    "Items of a list are apart by commas.\n"
    "Truth is\n"
    ".Li true , yes , on , 1\n"
    "or\n"
    ".Li false , no , off , 0\n"
    "in any case.\n"
    ".It\n"
    ".Li $name\n"
    "and\n"
    ".Li ${name}\n"
    "stand for an option of the same group or of\n"
    ".Li DEFAULT ,\n"
    ".Li ${group.name}\n"
    "for one of another;\n"
    ".Li $$\n"
    "is a dollar.\n"
    ".El\n"
    ".Pp\n"
    "An option\n"
    ".Ar key\n"
    "of\n"
    ".Ar group\n"
    "may be given in the environment as\n"
    ".Ev OS_GROUP__KEY ,\n"
    "which stands above all files.\n"
    "The file read last stands above those before it.\n"
    "An older name still counts, and is warned of.\n"
    ".Sh OPTIONS\n";

static const char *const tail =
    ".Sh FILES\n"
    "Of each the first that is there:\n"
    ".Bl -tag -width indent\n"
    ".It Pa ~/.fjord/fjord.conf , ~/fjord.conf , /etc/fjord/fjord.conf , /etc/fjord.conf\n"
    "read when no file is named.\n"
    ".It Pa ~/.fjord/fjord.conf.d , ~/fjord.conf.d , /etc/fjord/fjord.conf.d , /etc/fjord.conf.d\n"
    "whose\n"
    ".Pa *.conf\n"
    "are read after it, in the order of their names.\n"
    ".El\n"
    ".Sh SEE ALSO\n"
    ".Xr fjord 1\n"
    ".Pp\n"
    ".Ql fjord config check\n"
    "finds what is wrong in a file,\n"
    ".Ql fjord config show --origin\n"
    "tells what is in effect and why,\n"
    ".Ql fjord config sample\n"
    "prints a file to begin with.\n";

/* Text of a man page: no backslash is special in it, and no line begins as a request. */
static void put(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++)
        fputs(*text == '\\' ? "\\e" : (char[]){ *text, '\0' }, stdout);
}

static void put_range(const fj__option *o)
{
    if (o->choices != NULL)
        printf("One of: %s.\n", o->choices);
    if (o->min <= o->max && o->max < 1e300)
        printf("From %.10g to %.10g.\n", o->min, o->max);
    else if (o->min <= o->max)
        printf("At least %.10g.\n", o->min);
}

static void put_remarks(const fj__option *o)
{
    char group[FJ__GROUP_MAX], name[FJ__NAME_MAX];

    if (o->effect == FJ__RELOADS)
        puts("A reload takes it in.");
    if (o->effect == FJ__NEEDLESS)
        puts("It has no effect: Fjord needs no such setting.");
    if (o->effect == FJ__MISSING)
        puts("It has no effect: Fjord cannot do this (yet), and warns when it is set.");
    if ((o->flags & FJ__GOING) != 0)
        puts("Deprecated by oslo.messaging.");
    if ((o->flags & FJ__WHOLE) != 0)
        puts("oslo.messaging takes whole numbers only.");
    for (size_t i = 0; fj__option_older(o, i, group, name); i++)
        printf("Older name:\n.Li [%s] %s .\n", group, name);
}

static void put_option(const fj__option *o)
{
    printf(".It Ic %s\n", o->name);
    put(o->help);
    printf("\n.br\nType: %s", fj__option_type_name(o->type));
    if (o->unit != NULL)
        printf(" (%s)", o->unit);
    if (o->def != NULL && *o->def != '\0')
        printf("; default: %s.\n", o->def);
    else
        puts(o->def != NULL ? "; default: empty." : "; not set by default.");
    put_range(o);
    put_remarks(o);
}

int tool_config_man(const tool_opts *o)
{
    const fj__option *option;
    const char *group = "";

    if (o->rest_count != 1)
        return tool_misuse(o, "man takes no files");
    fputs(head, stdout);
    for (size_t i = 0; (option = fj__option_at(i)) != NULL && option->effect != FJ__FOREIGN; i++) {
        if (strcmp(group, option->group) != 0)
            printf("%s.Ss [%s]\n.Bl -tag -width indent\n", *group != '\0' ? ".El\n" : "", option->group);
        group = option->group;
        put_option(option);
    }
    puts(".El");
    puts("Options of oslo.messaging's drivers for AMQP 1.0 and Kafka are known and ignored.");
    fputs(tail, stdout);
    return fflush(stdout) == 0 ? TOOL_DONE : TOOL_REMOTE;
}
