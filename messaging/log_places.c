/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration says of the log: which lines there are, and where they go. */
#include <fjord/log.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "internal.h"

#include <errno.h>

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

static fj_code open_places(const fj_log_opts *o, bool some, fj_error **err)
{
    fj_code code = fj_log_open(some ? o : NULL, err);

    if (code != FJ_BAD_VALUE)
        return code;
    fj_error_prefix(err, "[DEFAULT] syslog_log_facility");
    if (err != NULL)
        fj_error_set_code(*err, FJ_BAD_CONFIG);
    return FJ_BAD_CONFIG;
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

/* Which lines are logged; what the configuration leaves out stays as the program had it. */
static fj_code set_levels(const fj_conf *conf, fj_error **err)
{
    fj_log_level level;

    if (strcmp(fj_conf_origin(conf, "fjord", "log_level"), "default") != 0) {
        if (fj_log_level_parse(fj_conf_str(conf, "fjord", "log_level"), &level))
            fj_log_set_level(level);
    } else if (strcmp(fj_conf_origin(conf, "DEFAULT", "debug"), "default") != 0)
        fj_log_set_level(fj_conf_bool(conf, "DEFAULT", "debug") ? FJ_LOG_DEBUG : FJ_LOG_WARNING);
    if (fj_log_switch(fj_conf_str(conf, "fjord", "log_components"), err) == FJ_OK)
        return FJ_OK;
    fj_error_prefix(err, "[fjord] log_components");
    if (err != NULL)
        fj_error_set_code(*err, FJ_BAD_CONFIG);
    return FJ_BAD_CONFIG;
}

fj_code fj__log_configure(const fj_conf *conf, fj_error **err)
{
    fj_code code = set_levels(conf, err);

    return code == FJ_OK ? set_places(conf, err) : code;
}
