/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration says of the log: which lines there are, and where they go. */
#include <fjord/log.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "base/options.h"
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

/* What was opened last, as text: opening a transport with the same configuration, or reading it again, leaves the log alone; and so does one
 * that says nothing of it, unless one before did. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *opened;

static const char *text_of(const fj_conf *conf, const char *name)
{
    const char *text = fj_conf_str(conf, "DEFAULT", name);

    return text != NULL ? text : "";
}

/* As oslo.log has it.  @return gives, "" for none; NULL: no memory */
static char *file_of(const fj_conf *conf)
{
    const char *file = text_of(conf, "log_file"), *folder = text_of(conf, "log_dir");

    if (folder[0] == '\0' || file[0] == '/')
        return fj__strdup(file);
    if (file[0] == '\0')
        return fj__format("%s/%s.log", folder, program_invocation_short_name);
    return fj__format("%s/%s", folder, file);
}

static fj_code blame(const char *option, fj_code code, fj_error **err)
{
    fj_error_prefix(err, "%s", option);
    if (code == FJ_BAD_VALUE && err != NULL)
        fj_error_set_code(*err, FJ_BAD_CONFIG);
    return code == FJ_BAD_VALUE ? FJ_BAD_CONFIG : code;
}

static fj_code open_places(const fj_log_opts *o, bool some, fj_error **err)
{
    fj_code code = fj_log_open(some ? o : NULL, err);

    return code == FJ_BAD_VALUE ? blame("[DEFAULT] syslog_log_facility", code, err) : code;
}

static fj_code set_places(const fj_conf *conf, fj_error **err)
{
    char *file = file_of(conf);
    fj_log_opts o = FJ_LOG_OPTS(.journal = fj_conf_bool(conf, "DEFAULT", "use_journal"),
                                .to_stderr = fj_conf_bool(conf, "DEFAULT", "use_stderr"),
                                .json = fj_conf_bool(conf, "DEFAULT", "use_json"),
                                .ring = (size_t)fj_conf_int(conf, "fjord", "log_buffer"));
    fj_code code = FJ_OK;

    o.file = file != NULL && file[0] != '\0' ? file : NULL;
    if (fj_conf_bool(conf, "DEFAULT", "use_syslog"))
        o.facility = text_of(conf, "syslog_log_facility");
    if (o.json && o.file == NULL && o.facility == NULL && !o.journal)
        o.to_stderr = true; /* which is where lines go then */
    bool some = o.file != NULL || o.facility != NULL || o.journal || o.to_stderr;
    char *wanted = some ? fj__format("%s\n%s\n%d %d %d %zu", file, o.facility != NULL ? o.facility : "",
                                     o.journal, o.to_stderr, o.json, o.ring)
                        : fj__strdup("");
    if (file == NULL || wanted == NULL) {
        code = fj_fail(err, FJ_NOMEM, "no memory for the log");
        goto out;
    }
    (void)fj__native.pthread_mutex_lock(&lock);
    if (strcmp(wanted, opened != NULL ? opened : "") != 0)
        code = open_places(&o, some, err);
    if (code == FJ_OK) {
        char *before = opened;
        opened = wanted;
        wanted = before;
    }
    (void)fj__native.pthread_mutex_unlock(&lock);
out:
    fj__free(wanted);
    fj__free(file);
    return code;
}

/* A level as Python's logging has it, by name or number.  @return -1: graver than all of ours; -2: it is none */
static int python_level(const char *text)
{
    static const struct {
        const char *name;
        int level;
    } all[] = { { "CRITICAL", -1 },
                { "FATAL", -1 },
                { "ERROR", FJ_LOG_ERROR },
                { "WARN", FJ_LOG_WARNING },
                { "WARNING", FJ_LOG_WARNING },
                { "AUDIT", FJ_LOG_INFO },
                { "INFO", FJ_LOG_INFO },
                { "DEBUG", FJ_LOG_DEBUG },
                { "TRACE", FJ_LOG_TRACE } };
    char *end = NULL;

    for (size_t i = 0; i < fj__countof(all); i++)
        if (strcasecmp(text, all[i].name) == 0)
            return all[i].level;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || n <= 0)
        return -2;
    return n > 40   ? -1
           : n > 30 ? FJ_LOG_ERROR
           : n > 20 ? FJ_LOG_WARNING
           : n > 10 ? FJ_LOG_INFO
           : n > 5  ? FJ_LOG_DEBUG
                    : FJ_LOG_TRACE;
}

/* "amqp=WARN" as a switch.  A name that no component can have is one of Python's. */
static fj_code switch_one(char *item, fj_error **err)
{
    char *equals = strchr(item, '='), word[64];
    int level = equals != NULL ? python_level(equals + 1) : -2;

    if (level == -2)
        return fj_fail(err, FJ_BAD_CONFIG, "\"%s\" is not as NAME=LEVEL", item);
    *equals = '\0';
    int n = level < 0 ? snprintf(word, sizeof word, "-%s", item)
                      : snprintf(word, sizeof word, "%s=%s", item, fj_log_level_name((fj_log_level)level));
    if (n > 0 && (size_t)n < sizeof word)
        (void)fj_log_switch(word, NULL);
    return FJ_OK;
}

static fj_code set_default_levels(const fj_conf *conf, fj_error **err)
{
    char **items = fj__option_split(text_of(conf, "default_log_levels"));
    fj_code code = items != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "no memory for the log");

    for (size_t i = 0; code == FJ_OK && items[i] != NULL; i++)
        if (items[i][0] != '\0')
            code = switch_one(items[i], err);
    fj__option_items_free(items);
    return code == FJ_OK ? code : blame("[DEFAULT] default_log_levels", code, err);
}

static fj_code set_limit(const fj_conf *conf, fj_error **err)
{
    const char *except = text_of(conf, "rate_limit_except_level");
    int level = except[0] != '\0' ? python_level(except) : -1;
    unsigned burst = (unsigned)fj_conf_int(conf, "DEFAULT", "rate_limit_burst");
    unsigned seconds = (unsigned)fj_conf_int(conf, "DEFAULT", "rate_limit_interval");

    if (level == -2)
        return fj_fail(err, FJ_BAD_CONFIG, "[DEFAULT] rate_limit_except_level: there is no level \"%s\"",
                       except);
    if (strcmp(fj_conf_origin(conf, "DEFAULT", "rate_limit_burst"), "default") != 0)
        fj_log_limit(burst, seconds, level);
    return FJ_OK;
}

/* Which lines are logged; what the configuration leaves out stays as the program had it. */
static fj_code set_levels(const fj_conf *conf, fj_error **err)
{
    fj_log_level level;

    if (strcmp(fj_conf_origin(conf, "fjord", "log_level"), "default") != 0) {
        if (fj_log_level_parse(fj_conf_str(conf, "fjord", "log_level"), &level))
            fj_log_set_level(level);
    } else if (strcmp(fj_conf_origin(conf, "DEFAULT", "debug"), "default") != 0)
        fj_log_set_level(fj_conf_bool(conf, "DEFAULT", "debug") ? FJ_LOG_DEBUG : FJ_LOG_WARNING);
    fj_code code = set_default_levels(conf, err);
    if (code != FJ_OK)
        return code;
    code = fj_log_switch(fj_conf_str(conf, "fjord", "log_components"), err);
    return code == FJ_OK ? set_limit(conf, err) : blame("[fjord] log_components", code, err);
}

fj_code fj__log_configure(const fj_conf *conf, fj_error **err)
{
    fj_code code = set_levels(conf, err);

    return code == FJ_OK ? set_places(conf, err) : code;
}
