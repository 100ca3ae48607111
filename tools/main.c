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
      "serve TOPIC [--server NAME] (--exec 'PROGRAM' | --module ./calc.so | --echo) [--executor NAME] "
      "[--workers N]" },
    { "notify", tool_notify,
      "notify EVENT_TYPE [key=text | key:=json]... | @FILE | - [--priority P] [--publisher ID] [--topic T]" },
    { "listen", tool_listen,
      "listen [--topic T] [--priority P]... [--pool NAME] [--match FIELD=REGEX]... [--count N] [--for S]" },
    { "bench", tool_bench,
      "bench rpc-server | rpc-client | notify-server | batch-notify-server | notify-client [-p THREADS] "
      "[-m MESSAGES] [-l SECONDS] [-j FILE]" },
    { "ping", tool_ping, "ping TOPIC[.SERVER]" },
    { "config", tool_config,
      "config sample | check [FILE...] [--strict] | show [--origin] [--all | --defaults] [GROUP.KEY...]" },
    { "inspect", tool_inspect, "inspect [PATH | PID | NAME] [WHAT...] [--watch SECONDS]" },
    { "version", tool_version, "version" },
};

void tool_usage(const char *command, FILE *out)
{
    for (size_t i = 0; i < fj__countof(commands); i++)
        if (strcmp(command, commands[i].name) == 0)
            fprintf(out, "usage: fjord %s [options]\n", commands[i].usage);
}

static void usage(FILE *out)
{
    fputs("usage:\n", out);
    for (size_t i = 0; i < fj__countof(commands); i++)
        fprintf(out, "  fjord %s\n", commands[i].usage);
    fputs("options of every command; `fjord COMMAND --help` lists its own, too:\n", out);
    tool_options_help(TOOL_COMMON, out);
    fputs("exit codes:\n"
          "  0 done, 1 remote failure, 2 usage, 3 timeout, 4 unreachable\n"
          "See fjord(1).\n",
          out);
}

static const tool_command *find(const char *name)
{
    for (size_t i = 0; i < fj__countof(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    tool_command_first(argc, argv);
    const char *name = argc > 1 ? argv[1] : "";
    const tool_command *command;
    char help[] = "--help", *words[] = { argc > 2 ? argv[2] : NULL, help, NULL };

    /* A reader of standard output that went away, or a program that does not read, is an error, no death. */
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(name, "help") == 0 && argc > 2 && (command = find(argv[2])) != NULL)
        return command->run(2, words);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (strcmp(name, "help") == 0 && argc == 2)) {
        usage(stdout);
        return fflush(stdout) == 0 ? TOOL_DONE : TOOL_REMOTE;
    }
    command = find(strcmp(name, "--version") == 0 ? "version" : name);
    if (command != NULL)
        return command->run(argc - 1, argv + 1);
    if (*name != '\0')
        fprintf(stderr, "fjord: there is no command %s\n",
                argc > 2 && strcmp(name, "help") == 0 ? argv[2] : name);
    usage(stderr);
    return TOOL_USAGE;
}
