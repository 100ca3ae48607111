/* SPDX-License-Identifier: Apache-2.0 */
/* fjord inspect: what a running process does, asked at its backdoor. */
#include "tools/inspect.h"

#include "base/alloc.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 16 };

/* What is asked, in order; the arguments of log and profile are all that follow them. */
typedef struct {
    const char *target;
    const char *words[WORDS];
    size_t n;
    json_t *args; /* of the last word */
} questions;

static const char *const known[] = { "tasks", "timers",   "loops", "connections", "queues",
                                     "calls", "counters", "log",   "profile",     "version" };
static const char *const usual[] = { "loops", "tasks", "connections", "queues", "calls", "counters" };

static bool is_known(const char *word)
{
    for (size_t i = 0; i < fj__countof(known); i++) {
        if (strcmp(known[i], word) == 0)
            return true;
    }
    return false;
}

static bool takes_args(const char *word)
{
    return strcmp(word, "log") == 0 || strcmp(word, "profile") == 0;
}

/* @return -1 to go on; else the exit code */
static int read_questions(const tool_opts *o, questions *q)
{
    int i = 0;

    *q = (questions){ .args = json_array() };
    if (o->rest_count > 0 && !is_known(o->rest[0]))
        q->target = o->rest[i++];
    for (; i < o->rest_count; i++) {
        if (q->n > 0 && takes_args(q->words[q->n - 1])) {
            (void)json_array_append_new(q->args, json_string(o->rest[i]));
            continue;
        }
        if (!is_known(o->rest[i]))
            return tool_misuse(o, "%.40s cannot be asked", o->rest[i]);
        if (q->n == WORDS)
            return tool_misuse(o, "so much cannot be asked at once");
        q->words[q->n++] = o->rest[i];
    }
    for (size_t k = 0; q->n == 0 && k < fj__countof(usual); k++)
        q->words[k] = usual[k];
    q->n = q->n == 0 ? fj__countof(usual) : q->n;
    if (o->during > 0 && (q->n != 1 || strcmp(q->words[0], "profile") != 0 || json_array_size(q->args) > 0))
        return tool_misuse(o, "--for goes with profile alone");
    return -1;
}

/* ---- answers ------------------------------------------------------------------------------------ */

static const char *text_of(const json_t *who, const char *key)
{
    const char *text = json_string_value(json_object_get(who, key));

    return text != NULL ? text : "";
}

static void show_head(const inspect_peer *peer, const char *path)
{
    const json_t *who = inspect_who(peer);
    const char *worker = text_of(who, "worker");

    printf("== %s%s%s, process %" JSON_INTEGER_FORMAT ", fjord %s, %s\n", text_of(who, "name"),
           worker[0] != '\0' ? "/" : "", worker, json_integer_value(json_object_get(who, "pid")),
           text_of(who, "fjord"), path);
}

/* The lists of an answer stand beside those of others; what has none stands under its word. */
static void merge(json_t *into, const char *word, json_t *answer)
{
    if (json_is_array(json_object_get(answer, word)))
        (void)json_object_update(into, answer);
    else
        (void)json_object_set(into, word, answer);
}

static fj_code ask_all(const tool_opts *o, inspect_peer *peer, const questions *q, json_t *all, fj_error **err)
{
    fj_code code = FJ_OK;

    for (size_t i = 0; i < q->n && code == FJ_OK; i++) {
        json_t *answer = NULL;
        const char *word = q->words[i];
        code = inspect_ask(peer, word, takes_args(word) ? q->args : NULL, &answer, err);
        if (code == FJ_OK && o->json)
            merge(all, word, answer);
        if (code == FJ_OK && !o->json) {
            if (q->n > 1)
                printf("%s%s:\n", i > 0 ? "\n" : "", word);
            inspect_show(word, answer, o->stack);
        }
        json_decref(answer);
    }
    return code;
}

static void sleep_for(double seconds)
{
    struct timespec left = { .tv_sec = (time_t)seconds };

    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0)
        ;
}

/* Profile for a while: on, which ends by itself should this command not live as long; dump; off. */
static fj_code take_profile(const tool_opts *o, inspect_peer *peer, json_t *all, fj_error **err)
{
    char seconds[32], hz[32];
    json_t *answer = NULL, *args = NULL;

    (void)snprintf(seconds, sizeof seconds, "%.3f", o->during);
    (void)snprintf(hz, sizeof hz, "%lu", o->hz);
    args = json_pack("[s, s, s]", "on", seconds, hz);
    fj_code code = inspect_ask(peer, "profile", args, &answer, err);
    json_decref(args);
    json_decref(answer);
    answer = NULL;
    if (code != FJ_OK)
        return code;
    sleep_for(o->during);
    json_t *off = NULL;
    args = json_pack("[s]", "off");
    code = inspect_ask(peer, "profile", args, &off, err);
    json_decref(args);
    json_decref(off);
    args = json_pack("[s]", "dump");
    if (code == FJ_OK)
        code = inspect_ask(peer, "profile", args, &answer, err);
    json_decref(args);
    if (code == FJ_OK && o->json) {
        merge(all, "profile", answer);
    } else if (code == FJ_OK) {
        inspect_show("profile", answer, false);
        (void)fflush(stdout);
        inspect_show_methods(o, answer);
    }
    json_decref(answer);
    return code;
}

/* @param head whether to say whose answers follow */
static fj_code inspect_one(const tool_opts *o, const char *path, const questions *q, const char *name,
                           bool head, fj_error **err)
{
    inspect_peer *peer = NULL;
    fj_code code = inspect_open(path, o->timeout > 0 ? o->timeout : 2., &peer, err);

    if (code != FJ_OK)
        return code;
    if (name != NULL && strcmp(text_of(inspect_who(peer), "name"), name) != 0) {
        inspect_close(peer);
        return fj_fail(err, FJ_NOT_FOUND, "what answers at %s is not called %s", path, name);
    }
    json_t *all = json_pack("{s:s, s:O}", "path", path, "process", inspect_who(peer));
    if (head && !o->json && o->during <= 0)
        show_head(peer, path);
    code = o->during > 0 ? take_profile(o, peer, all, err) : ask_all(o, peer, q, all, err);
    if (code == FJ_OK && o->json)
        (void)tool_print(o, all);
    json_decref(all);
    inspect_close(peer);
    return code;
}

/* Of several, one that has just ended, or is another's, is no error if another answers. */
static fj_code inspect_all(const tool_opts *o, const inspect_found *found, const questions *q, fj_error **err)
{
    fj_code code = FJ_OK;
    size_t answered = 0;

    for (size_t i = 0; i < found->n; i++) {
        fj_error *why = NULL;
        bool head = found->n > 1 || q->n > 1;
        if (answered > 0 && !o->json)
            putchar('\n');
        code = inspect_one(o, found->paths[i], q, found->name, head, &why);
        answered += code == FJ_OK;
        if (code != FJ_OK && found->n > 1 && code != FJ_NOT_FOUND)
            tool_note(o, "fjord inspect: %s", fj_error_text(why));
        if (code != FJ_OK && i + 1 == found->n && answered == 0)
            return fj_error_move(why, err);
        if (code != FJ_OK && code != FJ_NOT_FOUND && code != FJ_UNREACHABLE && code != FJ_LOST)
            return fj_error_move(why, err);
        fj_error_free(why);
    }
    return FJ_OK;
}

static fj_code inspect_on(const tool_opts *o, const questions *q, fj_error **err)
{
    bool terminal = isatty(STDOUT_FILENO) != 0, again = false;
    fj_code code = FJ_OK;

    do {
        inspect_found found;
        if (again)
            sleep_for(o->watch);
        code = inspect_find(o, q->target, &found, err);
        if (code == FJ_OK && o->watch > 0 && !o->json)
            fputs(terminal ? "\033[H\033[2J" : again ? "\n" : "", stdout);
        if (code == FJ_OK)
            code = inspect_all(o, &found, q, err);
        inspect_found_fini(&found);
        again = true;
        if (code == FJ_OK && fflush(stdout) != 0)
            return fj_fail(err, FJ_SYSTEM, "standard output takes no more");
    } while (code == FJ_OK && o->watch > 0);
    return code;
}

int tool_inspect(int argc, char **argv)
{
    tool_opts o;
    questions q = { .args = NULL };
    fj_error *err = NULL;
    int rc = tool_parse(argc, argv, TOOL_DEADLINE | TOOL_INSPECT | TOOL_FOR, &o);

    if (rc < 0)
        rc = read_questions(&o, &q);
    if (rc < 0)
        rc = inspect_on(&o, &q, &err) == FJ_OK ? TOOL_DONE : tool_fail(&o, err);
    json_decref(q.args);
    tool_opts_fini(&o);
    return rc;
}
