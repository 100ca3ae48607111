/* SPDX-License-Identifier: Apache-2.0 */
/* What can be asked at the backdoor: one function a word. */
#include "backdoor_impl.h"

#include "base/alloc.h"
#include "base/log.h"
#include "runtime/profile.h"

#include <fjord/clock.h>
#include <fjord/inspect.h>
#include <fjord/json.h>
#include <fjord/log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct request {
    const fj__backdoor_who *who;
    const char *word;
    const json_t *args; /* an array of texts */
    fj_deadline by;
};

typedef fj_code (*ask_fn)(const struct request *r, json_t **ret, fj_error **err);

struct word {
    const char *name;
    ask_fn fn;
    const char *usage, *help;
};

static const char *arg(const struct request *r, size_t i)
{
    const char *text = json_string_value(json_array_get(r->args, i));

    return text != NULL ? text : "";
}

/* ---- loops, and what is in them ----------------------------------------------------------------- */

/* Move what @p loop has under @p key to @p all, each with the loop's name. */
static void gather(json_t *loop, const char *key, json_t *all, json_int_t *more)
{
    char more_key[32];
    json_t *list = json_object_get(loop, key), *each;
    size_t i;

    (void)snprintf(more_key, sizeof more_key, "%s_more", key);
    *more += json_integer_value(json_object_get(loop, more_key));
    json_array_foreach(list, i, each)
    {
        (void)json_object_set(each, "loop", json_object_get(loop, "name"));
        (void)json_object_set(each, "thread", json_object_get(loop, "thread"));
        (void)json_array_append(all, each);
    }
}

static bool is_blocked(const json_t *loop)
{
    return json_is_number(json_object_get(loop, "blocked"));
}

/* "tasks" and "timers": those of all loops, and beside them the loops that do not tell theirs. */
static fj_code ask_parts(const struct request *r, json_t **ret, fj_error **err)
{
    char more_key[32];
    json_t *loops = NULL, *loop, *all, *blocked;
    size_t i;
    json_int_t more = 0;
    fj_code code = fj_inspect("loop", r->by, &loops, err);

    if (code != FJ_OK)
        return code;
    all = json_array();
    blocked = json_array();
    json_array_foreach(loops, i, loop)
    {
        gather(loop, r->word, all, &more);
        if (is_blocked(loop))
            (void)json_array_append(blocked, loop);
    }
    json_decref(loops);
    (void)snprintf(more_key, sizeof more_key, "%s_more", r->word);
    *ret = json_pack("{s:o, s:I, s:o}", r->word, all, more_key, more, "blocked", blocked);
    return FJ_OK;
}

static void put_count(json_t *loop, const char *key)
{
    char more_key[32];

    (void)snprintf(more_key, sizeof more_key, "%s_more", key);
    json_int_t n = (json_int_t)json_array_size(json_object_get(loop, key)) +
                   json_integer_value(json_object_get(loop, more_key));
    if (json_object_get(loop, key) != NULL)
        (void)json_object_set_new(loop, key, json_integer(n));
    (void)json_object_del(loop, more_key);
}

static fj_code ask_loops(const struct request *r, json_t **ret, fj_error **err)
{
    json_t *loops = NULL, *loop;
    size_t i;
    fj_code code = fj_inspect("loop", r->by, &loops, err);

    if (code != FJ_OK)
        return code;
    json_array_foreach(loops, i, loop)
    {
        put_count(loop, "tasks");
        put_count(loop, "timers");
    }
    *ret = json_pack("{s:o}", "loops", loops);
    return FJ_OK;
}

/* "connections", "queues", "calls", "counters". */
static fj_code ask_kind(const struct request *r, json_t **ret, fj_error **err)
{
    char kind[32];
    json_t *all = NULL;

    (void)snprintf(kind, sizeof kind, "%s", r->word);
    if (strcmp(kind, "counters") != 0)
        kind[strlen(kind) - 1] = '\0';
    fj_code code = fj_inspect(kind, r->by, &all, err);
    if (code == FJ_OK)
        *ret = json_pack("{s:o}", r->word, all);
    return code;
}

/* ---- the log ------------------------------------------------------------------------------------ */

/* A level for all, or switches by component. */
static fj_code set_levels(const char *text, fj_error **err)
{
    fj_log_level level;
    char all[32];

    bool is_level = fj_log_level_parse(text, &level);
    if (!is_level && text[0] != '-' && strchr(text, '=') == NULL) /* a slip of the keyboard is no component */
        return fj_fail(err, FJ_BAD_VALUE, "\"%.40s\" is neither a level nor COMPONENT=LEVEL nor -COMPONENT",
                       text);
    if (!is_level)
        return fj_log_switch(text, err);
    fj_log_set_level(level);
    if (!fj__log_has_all())
        return FJ_OK;
    (void)snprintf(all, sizeof all, "all=%s", fj_log_level_name(level)); /* of FJ_TRACE, say: it stands above */
    return fj_log_switch(all, err);
}

static fj_code ask_log(const struct request *r, json_t **ret, fj_error **err)
{
    fj_code code = FJ_OK;

    for (size_t i = 0; i < json_array_size(r->args) && code == FJ_OK; i++) {
        code = set_levels(arg(r, i), err);
        if (code == FJ_OK)
            fj__log(FJ_LOG_INFO, "backdoor", "the log's level is set: %s", arg(r, i));
    }
    if (code == FJ_OK)
        *ret = fj__log_levels();
    return code;
}

/* ---- profiles ----------------------------------------------------------------------------------- */

static fj_code ask_profile(const struct request *r, json_t **ret, fj_error **err)
{
    const char *what = arg(r, 0);
    fj_code code = FJ_OK;

    if (strcmp(what, "on") == 0)
        code = fj__profile_start((unsigned)strtoul(arg(r, 2), NULL, 10), strtod(arg(r, 1), NULL), err);
    else if (strcmp(what, "off") == 0)
        (void)fj__profile_stop();
    else if (what[0] != '\0' && strcmp(what, "dump") != 0)
        code = fj_fail(err, FJ_BAD_VALUE, "profile takes on, off or dump, not \"%.40s\"", what);
    if (code == FJ_OK)
        *ret = fj__profile_json(strcmp(what, "dump") == 0);
    return code;
}

/* ---- who it is ---------------------------------------------------------------------------------- */

static fj_code ask_version(const struct request *r, json_t **ret, fj_error **err)
{
    const char *worker = r->who->worker;

    (void)err;
    *ret = json_pack("{s:s, s:i, s:i, s:s, s:s, s:s?}", "fjord", fj_version(), "protocol", 1, "pid",
                     (int)getpid(), "program", program_invocation_short_name, "name", r->who->name, "worker",
                     worker[0] != '\0' ? worker : NULL);
    return FJ_OK;
}

static fj_code ask_help(const struct request *r, json_t **ret, fj_error **err);

static const struct word words[] = {
    { "tasks", ask_parts, "tasks", "every task: its state, what it waits for, since when and where" },
    { "timers", ask_parts, "timers", "every timer of a loop, and when it is due" },
    { "loops", ask_loops, "loops",
      "every loop: its thread, how much is in it, whether it is blocked, and where" },
    { "connections", ask_kind, "connections", "connections to brokers, with their channels" },
    { "queues", ask_kind, "queues", "queues that are read, and what waits in this process" },
    { "calls", ask_kind, "calls", "calls that have not ended, made and served" },
    { "counters", ask_kind, "counters", "calls by method, with how long they took" },
    { "log", ask_log, "log [LEVEL | COMPONENT=LEVEL | -COMPONENT]...",
      "tell the levels of the log, or set them" },
    { "profile", ask_profile, "profile on [SECONDS [HZ]] | off | dump", "samples of where time is spent" },
    { "version", ask_version, "version", "which process this is" },
    { "ping", ask_version, "ping", "the same" },
    { "help", ask_help, "help", "this" },
};

static fj_code ask_help(const struct request *r, json_t **ret, fj_error **err)
{
    json_t *all = json_object();

    (void)r, (void)err;
    for (size_t i = 0; i < fj__countof(words); i++)
        (void)json_object_set_new(all, words[i].usage, json_string(words[i].help));
    *ret = all;
    return FJ_OK;
}

static fj_code ask(const struct request *r, json_t **ret, fj_error **err)
{
    fj_code code = FJ_NOT_FOUND;
    const struct word *word = NULL;

    for (size_t i = 0; i < fj__countof(words); i++)
        word = strcmp(words[i].name, r->word) == 0 ? &words[i] : word;
    if (word == NULL)
        return fj_fail(err, code, "\"%.40s\" cannot be asked; \"help\" tells what can", r->word);
    code = word->fn(r, ret, err);
    if (code == FJ_OK && *ret == NULL)
        return fj_fail(err, FJ_NOMEM, NULL);
    return code;
}

/* ---- lines -------------------------------------------------------------------------------------- */

/* {"ask": "log", "args": ["debug"], "timeout": 2, "id": 7} */
static json_t *read_json(const char *line, size_t n, fj_error **err)
{
    static const fj_json_opts opts = { sizeof opts, FJ__BACKDOOR_LINE, 8, FJ_JSON_REFUSE };
    json_t *whole = NULL;

    if (fj_json_read(line, n, &opts, &whole, err) != FJ_OK)
        return NULL;
    const json_t *args = json_object_get(whole, "args");
    if (json_is_string(json_object_get(whole, "ask")) && (args == NULL || json_is_array(args)))
        return whole;
    (void)fj_fail(err, FJ_BAD_ARGS,
                  "a request is an object with \"ask\", a word, and perhaps \"args\", an array of words");
    json_decref(whole);
    return NULL;
}

/* log debug */
static json_t *read_words(const char *line, size_t n, fj_error **err)
{
    static const char gaps[] = " \t\r";
    json_t *whole = json_object(), *args = json_array();
    bool good = true;

    for (size_t at = 0; at < n && good;) {
        size_t end = at;
        while (end < n && (line[end] == '\0' || strchr(gaps, line[end]) == NULL))
            end++;
        json_t *word = end > at ? json_stringn(line + at, end - at) : NULL;
        if (word != NULL && json_object_get(whole, "ask") == NULL)
            (void)json_object_set_new(whole, "ask", word);
        else if (word != NULL)
            (void)json_array_append_new(args, word);
        good = word != NULL || end == at;
        at = end + 1;
    }
    (void)json_object_set_new(whole, "args", args);
    if (good)
        return whole;
    json_decref(whole);
    (void)fj_fail(err, FJ_BAD_ARGS, "a request is words of UTF-8, or a JSON object");
    return NULL;
}

static fj_deadline deadline_of(const json_t *whole)
{
    const json_t *timeout = json_object_get(whole, "timeout");
    double seconds = json_is_number(timeout) ? json_number_value(timeout) : FJ__BACKDOOR_WAIT;

    return fj_in_seconds(seconds < FJ__BACKDOOR_WAIT_MAX ? seconds : FJ__BACKDOOR_WAIT_MAX);
}

/* Takes what it wraps. */
static char *line_of(json_t *whole, size_t *ret_n)
{
    char *text = NULL, *line = NULL;
    size_t n = 0;

    if (whole != NULL && fj_json_write(whole, NULL, &text, &n, NULL) == FJ_OK)
        line = fj__realloc(text, n + 2);
    if (line == NULL)
        fj__free(text);
    json_decref(whole);
    if (line != NULL) {
        memcpy(line + n, "\n", 2);
        *ret_n = n + 1;
    }
    return line;
}

static json_t *refusal(fj_code code, const char *text)
{
    return json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", fj_code_name(code), "text", text);
}

char *fj__backdoor_refusal(fj_code code, const char *text, size_t *ret_n)
{
    return line_of(refusal(code, text), ret_n);
}

char *fj__backdoor_answer(const char *line, size_t n, const fj__backdoor_who *who, size_t *ret_n)
{
    size_t blanks = 0;
    fj_error *error = NULL;
    json_t *answer = NULL, *all = NULL;

    while (blanks < n && (line[blanks] == ' ' || line[blanks] == '\t'))
        blanks++;
    json_t *whole = line[blanks] == '{' ? read_json(line, n, &error) : read_words(line, n, &error);
    struct request r = { .who = who,
                         .word = json_string_value(json_object_get(whole, "ask")),
                         .args = json_object_get(whole, "args"),
                         .by = deadline_of(whole) };
    if (whole != NULL && ask(&r, &answer, &error) == FJ_OK)
        all = json_pack("{s:b, s:s, s:o}", "ok", 1, "ask", r.word, "answer", answer);
    else
        all = refusal(fj_error_code(error), fj_error_text(error));
    if (all != NULL && json_object_get(whole, "id") != NULL)
        (void)json_object_set(all, "id", json_object_get(whole, "id"));
    json_decref(whole);
    fj_error_free(error);
    return line_of(all, ret_n);
}
