/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the control socket. */
#include "base/alloc.h"
#include "tools/chaos/control.h"
#include <errno.h>
#include <string.h>

typedef json_t *(*command_fn)(chaos_proxy *p, const char *rest);

static json_t *answer(const char *key, json_t *value)
{
    return json_pack("{s:b, s:o*}", "ok", 1, key, value);
}

static json_t *refuse(const char *text)
{
    return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

static json_t *refuse_error(fj_error *err)
{
    json_t *said = refuse(fj_error_text(err));

    fj_error_free(err);
    return said;
}

static json_t *do_list(chaos_proxy *p, const char *rest)
{
    return *rest == '\0' ? answer("connections", chaos_proxy_list(p)) : refuse("list takes nothing");
}

static json_t *do_rules(chaos_proxy *p, const char *rest)
{
    return *rest == '\0' ? answer("rules", chaos_proxy_rules(p)) : refuse("rules takes nothing");
}

static json_t *do_stats(chaos_proxy *p, const char *rest)
{
    return *rest == '\0' ? answer("stats", chaos_proxy_stats(p)) : refuse("stats takes nothing");
}

static json_t *do_add(chaos_proxy *p, const char *rest)
{
    json_error_t where;
    json_t *json = json_loads(rest, JSON_REJECT_DUPLICATES, &where), *said;
    chaos_rule *rule = NULL;
    fj_error *err = NULL;

    if (json == NULL) {
        char text[JSON_ERROR_TEXT_LENGTH + 32];
        (void)snprintf(text, sizeof text, "rule:%d: %s", where.column, where.text);
        return refuse(text);
    }
    if (chaos_rule_read(json, "rule", &rule, &err) == FJ_OK && chaos_proxy_add(p, rule, &err) == FJ_OK)
        said = answer("rule", json_string(rule->name));
    else {
        said = refuse_error(err);
        chaos_rule_free(rule);
    }
    json_decref(json);
    return said;
}

static json_t *do_remove(chaos_proxy *p, const char *rest)
{
    return chaos_proxy_remove(p, rest) ? answer("removed", json_string(rest)) : refuse("there is no such rule");
}

static json_t *do_kill(chaos_proxy *p, const char *rest)
{
    char *end = NULL;
    bool all = strncmp(rest, "all", 3) == 0;
    uint64_t id;
    size_t n;

    errno = 0;
    id = all ? 0 : strtoull(rest, &end, 10);
    end = all ? (char *)(uintptr_t)(rest + 3) : end;
    if (errno != 0 || end == rest || (*rest == '-') || (!all && id == 0) ||
        (*end != '\0' && strcmp(end, " reset") != 0 && strcmp(end, " close") != 0))
        return refuse("kill takes a connection's number, or all, and reset or close");
    n = chaos_proxy_kill(p, id, strcmp(end, " close") != 0);
    return n > 0 || all ? answer("killed", json_integer((json_int_t)n)) : refuse("there is no such connection");
}

static json_t *do_pause(chaos_proxy *p, const char *rest)
{
    if (*rest != '\0')
        return refuse("pause takes nothing");
    chaos_proxy_pause(p, true);
    return answer("paused", json_true());
}

static json_t *do_resume(chaos_proxy *p, const char *rest)
{
    if (*rest != '\0')
        return refuse("resume takes nothing");
    chaos_proxy_pause(p, false);
    return answer("paused", json_false());
}

static json_t *do_listen(chaos_proxy *p, const char *rest)
{
    bool on = strcmp(rest, "on") == 0;
    fj_error *err = NULL;

    if (!on && strcmp(rest, "off") != 0)
        return refuse("listen takes on or off");
    if (chaos_proxy_listen(p, on, &err) != FJ_OK)
        return refuse_error(err);
    return answer("listening", json_boolean(on));
}

static const struct {
    const char *name, *takes, *help;
    command_fn run;
} commands[] = {
    { "list", "", "the connections", do_list },
    { "rules", "", "the rules, and how often each has acted", do_rules },
    { "stats", "", "all numbers", do_stats },
    { "add", "RULE", "a rule, as one object of a plan's `rules`", do_add },
    { "remove", "NAME", "a rule", do_remove },
    { "kill", "N|all [reset|close]", "a connection, or all; by RST unless close is said", do_kill },
    { "pause", "", "nothing passes any more", do_pause },
    { "resume", "", "everything goes on", do_resume },
    { "listen", "on|off", "off: the system refuses connections", do_listen },
};

void chaos_command_help(FILE *out)
{
    for (size_t i = 0; i < fj__countof(commands); i++)
        fprintf(out, "  %s %-*s %s\n", commands[i].name, (int)(28 - strlen(commands[i].name)),
                commands[i].takes, commands[i].help);
}

json_t *chaos_command(chaos_proxy *proxy, const char *line)
{
    size_t n = strcspn(line, " ");

    for (size_t i = 0; i < fj__countof(commands); i++)
        if (strlen(commands[i].name) == n && strncmp(commands[i].name, line, n) == 0)
            return commands[i].run(proxy, line + n + strspn(line + n, " "));
    return refuse("there is no such command");
}
