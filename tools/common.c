/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/common.h"
#include "base/alloc.h"
#include "base/conf_state.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

int tool_misuse(const tool_opts *o, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "fjord %s: ", o->command);
    vfprintf(stderr, format, args);
    fprintf(stderr, " (fjord %s --help)\n", o->command);
    va_end(args);
    return TOOL_USAGE;
}

void tool_note(const tool_opts *o, const char *format, ...)
{
    va_list args;

    if (o->quiet)
        return;
    va_start(args, format);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static int exit_code(fj_code code)
{
    switch (code) {
    case FJ_OK:
        return TOOL_DONE;
    case FJ_TIMEOUT:
        return TOOL_TIMEOUT;
    case FJ_UNREACHABLE:
    case FJ_LOST:
    case FJ_UNDELIVERABLE:
    case FJ_REFUSED:
    case FJ_AUTH:
    case FJ_ACCESS:
    case FJ_NO_QUEUE:
    case FJ_MISMATCH:
    case FJ_PROTOCOL:
        return TOOL_UNREACHABLE;
    case FJ_BAD_ARGS:
    case FJ_BAD_VALUE:
    case FJ_NOT_FOUND:
    case FJ_BAD_TARGET:
    case FJ_BAD_URL:
    case FJ_NO_DRIVER:
    case FJ_NO_EXECUTOR:
    case FJ_BAD_CONFIG:
    case FJ_BAD_JSON:
    case FJ_TOO_BIG:
    case FJ_TOO_DEEP:
        return TOOL_USAGE;
    default:
        return TOOL_REMOTE;
    }
}

static void print_traceback(const fj_error *err)
{
    const json_t *lines = fj_error_traceback(err);

    for (size_t i = 0; i < json_array_size(lines); i++) {
        const char *line = json_string_value(json_array_get(lines, i));
        if (line != NULL)
            fprintf(stderr, "  %s%s", line, strchr(line, '\n') != NULL ? "" : "\n");
    }
}

static void print_error_text(const tool_opts *o, const fj_error *err)
{
    const char *where = fj_error_where(err);
    bool remote = fj_error_code(err) == FJ_REMOTE || fj_error_code(err) >= FJ_USER;

    fprintf(stderr, "fjord %s: %s: ", o->command, fj_code_name(fj_error_code(err)));
    if (remote)
        fprintf(stderr, "%s.%s: ", fj_error_remote_module(err), fj_error_remote_class(err));
    fprintf(stderr, "%s (%s%ssent: %s)\n", fj_error_text(err), where, *where != '\0' ? "; " : "",
            fj_sent_name(fj_error_sent(err)));
    if (o->verbose > 0)
        print_traceback(err);
}

static json_t *error_object(const fj_error *err)
{
    json_t *o =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:b}", "code", fj_code_name(fj_error_code(err)),
                  "number", (int)fj_error_code(err), "text", fj_error_text(err), "where", fj_error_where(err),
                  "sent", fj_sent_name(fj_error_sent(err)), "class", fj_error_remote_class(err), "module",
                  fj_error_remote_module(err), "retriable", fj_error_retriable(err));

    if (o != NULL && fj_error_remote_args(err) != NULL)
        json_object_set_new(o, "args", json_deep_copy(fj_error_remote_args(err)));
    if (o != NULL && fj_error_remote_kwargs(err) != NULL)
        json_object_set_new(o, "kwargs", json_deep_copy(fj_error_remote_kwargs(err)));
    if (o != NULL && fj_error_traceback(err) != NULL)
        json_object_set_new(o, "traceback", json_deep_copy(fj_error_traceback(err)));
    return o;
}

static bool print_error_json(const fj_error *err)
{
    json_t *object = error_object(err);
    char *text = NULL;
    bool done = object != NULL && fj_json_write(object, NULL, &text, NULL, NULL) == FJ_OK;

    if (done)
        fprintf(stderr, "%s\n", text);
    free(text);
    json_decref(object);
    return done;
}

int tool_fail(const tool_opts *o, fj_error *err)
{
    int rc = err != NULL ? exit_code(fj_error_code(err)) : TOOL_REMOTE;

    if (!o->json || !print_error_json(err))
        print_error_text(o, err);
    fj_error_free(err);
    return rc;
}

int tool_print(const tool_opts *o, const json_t *value)
{
    fj_error *err = NULL;
    char *text = NULL;

    if (fj_json_write(value, NULL, &text, NULL, &err) != FJ_OK)
        return tool_fail(o, err);
    puts(text);
    free(text);
    if (fflush(stdout) != 0) {
        fj_fail(&err, FJ_SYSTEM, "standard output: %s", strerror(errno));
        return tool_fail(o, err);
    }
    return TOOL_DONE;
}

fj_code tool_conf(const tool_opts *o, fj_conf **ret, fj_error **err)
{
    fj_conf *conf = fj__conf_bare(err);
    fj_code rc = FJ_OK;

    if (conf == NULL)
        return FJ_NOMEM;
    if (o->config_count == 0)
        rc = fj_conf_read_default(conf, NULL, err);
    for (size_t i = 0; rc == FJ_OK && i < o->config_count; i++)
        rc = fj_conf_read(conf, o->config_files[i], err);
    if (rc == FJ_OK)
        rc = fj__state_refresh(fj__conf_now(conf), err); /* there may have been no file */
    if (rc == FJ_OK && tool_log_level(o) != NULL)        /* above what the files say */
        rc = fj_conf_set(conf, "fjord", "log_level", tool_log_level(o), err);
    if (rc == FJ_OK)
        *ret = conf;
    else
        fj_conf_free(conf);
    return rc;
}

/* Who calls from a terminal reads there what is wrong, not in the log of a service. */
static fj_code log_here(fj_conf *conf, fj_error **err)
{
    static const char *const options[][2] = {
        { "log_file", "" }, { "log_dir", "" }, { "use_syslog", "false" }, { "use_journal", "false" }
    };
    fj_code rc = FJ_OK;

    for (size_t i = 0; rc == FJ_OK && i < sizeof options / sizeof options[0]; i++)
        rc = fj_conf_set(conf, "DEFAULT", options[i][0], options[i][1], err);
    return rc;
}

fj_code tool_open(tool_opts *o, fj_transport **ret, fj_error **err)
{
    const char *url = o->url != NULL ? o->url : getenv("FJORD_URL");
    fj_conf *conf = NULL;
    fj_code rc = tool_conf(o, &conf, err);

    if (rc == FJ_OK && strcmp(o->command, "serve") != 0)
        rc = log_here(conf, err);
    if (rc == FJ_OK)
        rc = (o->notes ? fj_notification_transport_open
                       : fj_transport_open)(conf, url != NULL && *url != '\0' ? url : NULL, ret, err);
    fj_conf_free(conf);
    if (o->url != NULL)
        explicit_bzero(o->url, strlen(o->url));
    return rc;
}

void tool_target(const tool_opts *o, char *text, fj_target *ret)
{
    char *dot = strrchr(text, '.');

    *ret = (fj_target)FJ_TARGET(.exchange = o->exchange, .topic = text, .server = o->server, .ns = o->ns,
                                .version = o->version, .fanout = o->fanout);
    if (o->server == NULL && dot != NULL && dot[1] != '\0') {
        *dot = '\0';
        ret->server = dot + 1;
    }
    if (ret->server != NULL && *ret->server == '\0')
        ret->server = NULL; /* --server '': a topic with a dot, and no server */
}

/* One of key=text and key:=json into @p args. */
static int take_arg(const tool_opts *o, const char *text, json_t *args)
{
    const char *eq = strchr(text, '=');
    size_t key_n = eq != NULL ? (size_t)(eq - text) : 0;
    bool is_json = key_n > 0 && text[key_n - 1] == ':';
    json_t *value = NULL;
    fj_error *err = NULL;
    char *key;
    int rc = -1;

    key_n -= is_json ? 1 : 0;
    if (key_n == 0)
        return tool_misuse(o, "an argument is neither key=text nor key:=json: %.40s", text);
    key = fj__strndup(text, key_n);
    if (is_json && fj_json_read(eq + 1, strlen(eq + 1), NULL, &value, &err) != FJ_OK)
        rc = tool_misuse(o, "%.*s: %s", (int)key_n, text, fj_error_text(err));
    if (!is_json)
        value = json_string(eq + 1);
    if (rc < 0 && (key == NULL || json_object_set_new(args, key, value) != 0))
        rc = tool_misuse(o, "%.*s is not valid UTF-8", (int)key_n, text);
    fj_error_free(err);
    fj__free(key);
    return rc;
}

int tool_args(const tool_opts *o, int first, json_t **ret)
{
    json_t *args = json_object();
    int rc = args != NULL ? -1 : tool_misuse(o, "out of memory");

    for (int i = first; rc < 0 && i < o->rest_count; i++)
        rc = take_arg(o, o->rest[i], args);
    if (rc < 0)
        *ret = args;
    else
        json_decref(args);
    return rc;
}
