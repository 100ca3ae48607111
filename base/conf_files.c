/* SPDX-License-Identifier: Apache-2.0 */
/* Texts, files and folders into the entries of a configuration. */
#include "base/alloc.h"
#include "base/buffer.h"
#include "base/conf_state.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 16 * 1024 * 1024 }; /* a configuration file larger than this is none */

/* One text being read. */
typedef struct {
    fj__state *state;
    const char *name;
    uint32_t source;
    fj__conf_report report;
    void *user;
    fj_error **err;
    fj_code rc;
} reading;

static bool no_memory(reading *r)
{
    r->rc = fj_fail(r->err, FJ_NOMEM, "out of memory");
    return false;
}

static bool take_group(void *self, const char *group, unsigned line)
{
    const reading *r = self;

    return r->report == NULL || r->report(r->user, r->name, line, group, "", NULL);
}

static bool take_option(void *self, const char *group, const char *key, const char *value, unsigned line)
{
    reading *r = self;
    char *origin = fj__format("%s:%u", r->name, line);
    char *in = fj__strdup(group);
    bool ok = origin != NULL && in != NULL && fj__conf_group(group, in, strlen(group) + 1) &&
              fj__state_add(r->state, in, key, value, origin, r->source);

    fj__free(origin);
    fj__free(in);
    return ok || no_memory(r);
}

static bool take_error(void *self, unsigned line, const char *group, const char *key, const char *text)
{
    reading *r = self;

    if (r->report != NULL)
        return r->report(r->user, r->name, line, group, key, text);
    r->rc = fj_fail(r->err, FJ_BAD_CONFIG, "%s:%u: %s%s%s", r->name, line, key, *key != '\0' ? ": " : "", text);
    return false;
}

fj_code fj__state_parse(fj__state *s, const char *name, const char *text, size_t n, uint32_t source,
                        fj__conf_report report, void *user, fj_error **err)
{
    static const fj__ini_ops ops = { take_group, take_option, take_error };
    reading r = { s, name, source, report, user, err, FJ_OK };

    if (!fj__ini_read(text, n, &ops, &r) && r.rc == FJ_OK && report == NULL)
        (void)no_memory(&r);
    s->files++;
    return r.rc;
}

static fj_code system_error(const char *path, fj_error **err)
{
    int why = errno;
    char reason[128];

    return fj_fail(err, why == ENOENT || why == ENOTDIR ? FJ_NOT_FOUND : FJ_SYSTEM, "%s: %s", path,
                   strerror_r(why, reason, sizeof reason));
}

/* All of a file.  @param into  wiped and freed by the caller */
static fj_code slurp(const char *path, fj__buf *into, fj_error **err)
{
    FILE *f = fopen(path, "re");
    fj_code rc = f != NULL ? FJ_OK : system_error(path, err);
    size_t n = 1;

    while (rc == FJ_OK && n != 0) {
        uint8_t *room = fj__buf_reserve(into, 65536);
        if (room == NULL)
            rc = fj_fail(err, FJ_NOMEM, "out of memory");
        else if ((n = fread(room, 1, 65536, f)) == 0 && ferror(f))
            rc = system_error(path, err);
        else
            fj__buf_commit(into, n);
        if (rc == FJ_OK && fj__buf_len(into) > FILE_MAX)
            rc = fj_fail(err, FJ_BAD_CONFIG, "%s: too large for a configuration file", path);
    }
    if (f != NULL)
        (void)fclose(f);
    return rc;
}

static fj_code read_file(fj__state *s, const char *path, uint32_t source, fj__conf_report report, void *user,
                         fj_error **err)
{
    fj__buf all = { 0 };
    fj_code rc = slurp(path, &all, err);

    if (rc == FJ_OK)
        rc = fj__state_parse(s, path, all.bytes != NULL ? (const char *)fj__buf_data(&all) : "",
                             fj__buf_len(&all), source, report, user, err);
    if (all.bytes != NULL)
        explicit_bzero(all.bytes, all.capacity); /* there are passwords in it */
    fj__buf_fini(&all);
    return rc;
}

static bool is_conf(const char *name)
{
    size_t n = strlen(name);

    return name[0] != '.' && n >= 5 && strcmp(name + n - 5, ".conf") == 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

fj_code fj__conf_folder(const char *path, char ***ret, fj_error **err)
{
    DIR *dir = opendir(path);
    size_t n = 0, room = 0, len = strlen(path);
    char **names = fj__grow(NULL, &room, 1, sizeof *names);
    struct dirent *d;
    fj_code rc = dir == NULL ? system_error(path, err) : FJ_OK;
    bool ok = names != NULL;

    if (ok)
        names[0] = NULL;
    while (rc == FJ_OK && ok && (d = readdir(dir)) != NULL) {
        if (!is_conf(d->d_name))
            continue;
        char **grown = fj__grow(names, &room, n + 2, sizeof *names);
        ok = grown != NULL;
        if (!ok)
            break;
        names = grown;
        names[n] = fj__format("%s%s%s", path, len != 0 && path[len - 1] == '/' ? "" : "/", d->d_name);
        ok = names[n] != NULL;
        names[n + ok] = NULL;
        n += ok;
    }
    if (dir != NULL)
        (void)closedir(dir);
    if (rc == FJ_OK && !ok)
        rc = fj_fail(err, FJ_NOMEM, "out of memory");
    if (rc == FJ_OK) {
        qsort(names, n, sizeof *names, by_bytes);
        *ret = names;
    } else
        fj__option_items_free(names);
    return rc;
}

fj_code fj__state_read(fj__state *s, const char *path, uint32_t source, fj__conf_report report, void *user,
                       fj_error **err)
{
    struct stat st;
    char **files = NULL;

    if (stat(path, &st) != 0)
        return system_error(path, err);
    if (!S_ISDIR(st.st_mode))
        return read_file(s, path, source, report, user, err);
    fj_code rc = fj__conf_folder(path, &files, err);
    for (size_t i = 0; rc == FJ_OK && files[i] != NULL; i++)
        rc = read_file(s, files[i], source, report, user, err);
    fj__option_items_free(files);
    return rc;
}

/* ---- where configurations are when nobody says so -------------------------------------------------------------- */

/* Add NAME.conf or NAME.conf.d of the first of the folders that has it. */
static bool add_first(char **paths, size_t *n, const char *const *folders, const char *name, const char *ending)
{
    bool there = false;

    for (size_t i = 0; !there && folders[i] != NULL; i++) {
        char *path = fj__format("%s/%s%s", folders[i], name, ending);
        if (path == NULL)
            return false;
        there = access(path, F_OK) == 0;
        if (there)
            paths[(*n)++] = path;
        else
            fj__free(path);
    }
    return true;
}

char **fj__conf_default_paths(const char *program)
{
    const char *home = getenv("HOME");
    char *own = fj__format("%s/.fjord", home != NULL ? home : "");
    const char *folders[] = { own, home, "/etc/fjord", "/etc", NULL };
    const char *const *from = home != NULL && *home != '\0' ? folders : folders + 2;
    bool other = program != NULL && *program != '\0' && strcmp(program, "fjord") != 0;
    char **paths = fj__zalloc(5 * sizeof *paths);
    size_t n = 0;

    bool ok = own != NULL && paths != NULL && add_first(paths, &n, from, "fjord", ".conf") &&
              (!other || add_first(paths, &n, from, program, ".conf")) &&
              add_first(paths, &n, from, "fjord", ".conf.d") &&
              (!other || add_first(paths, &n, from, program, ".conf.d"));
    fj__free(own);
    if (ok)
        return paths;
    fj__option_items_free(paths);
    return NULL;
}

fj_code fj_conf_read_default(fj_conf *conf, const char *program, fj_error **err)
{
    char **paths = fj__conf_default_paths(program);
    fj_code rc = paths != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");

    for (size_t i = 0; rc == FJ_OK && paths[i] != NULL; i++)
        rc = fj_conf_read(conf, paths[i], err);
    fj__option_items_free(paths);
    return rc;
}
