/* SPDX-License-Identifier: Apache-2.0 */
/* The `fjord` command: finds the subcommand. */
#include "base/alloc.h"
#include "tools/common.h"
#include <signal.h>
#include <string.h>

static const tool_command commands[] = {
    { "call", tool_call, "call TOPIC[.SERVER] METHOD [key=text | key:=json]..." },
    { "cast", tool_cast, "cast TOPIC[.SERVER] METHOD [key=text | key:=json]... [--fanout] [--count N]" },
    { "serve", tool_serve,
      "serve TOPIC [--server NAME] (--exec 'PROGRAM' | --module ./calc.so | --echo) [--executor NAME]" },
    { "ping", tool_ping, "ping TOPIC[.SERVER]" },
    { "config", tool_config, "config sample | check FILE... | show" },
    { "version", tool_version, "version" },
};

static void usage(FILE *out)
{
    fputs("usage:\n", out);
    for (size_t i = 0; i < fj__countof(commands); i++)
        fprintf(out, "  fjord %s\n", commands[i].usage);
    fputs("common options:\n"
          "  --config-file F  --url URL  --exchange E  --json  --quiet  --verbose\n"
          "options of call, cast and ping:\n"
          "  --server NAME  --namespace N  --version V  --timeout S  --context JSON\n"
          "exit codes:\n"
          "  0 done, 1 remote failure, 2 usage, 3 timeout, 4 unreachable\n"
          "See fjord(1).\n",
          out);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    /* A reader of standard output that went away, or a program that does not read, is an error, no death. */
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        usage(stdout);
        return TOOL_DONE;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < fj__countof(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    usage(stderr);
    return TOOL_USAGE;
}
