/* SPDX-License-Identifier: Apache-2.0 */
#include "base/plugin.h"

#include "base/alloc.h"
#include "base/native.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct plugin {
    struct plugin *next;
    const fj__plugin_kind *kind;
    const void *table;
    char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct plugin *loaded; /* never freed */

static const void *find(const fj__plugin_kind *kind, const char *path)
{
    const void *table = NULL;

    (void)fj__native.pthread_mutex_lock(&lock);
    for (const struct plugin *p = loaded; p != NULL && table == NULL; p = p->next) {
        if (p->kind == kind && strcmp(p->path, path) == 0)
            table = p->table;
    }
    (void)fj__native.pthread_mutex_unlock(&lock);
    return table;
}

/* Of two that load the same one at once both find the same table: once more in the list does no harm. */
static fj_code keep(const fj__plugin_kind *kind, const char *path, const void *table, fj_error **err)
{
    size_t size = strlen(path) + 1;
    struct plugin *p = fj__zalloc(sizeof *p + size);

    if (p == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for the %s %s", kind->what, path);
    memcpy(p->path, path, size);
    p->kind = kind;
    p->table = table;
    (void)fj__native.pthread_mutex_lock(&lock);
    p->next = loaded;
    loaded = p;
    (void)fj__native.pthread_mutex_unlock(&lock);
    return FJ_OK;
}

/* ---- who may change it ---------------------------------------------------------------------------- */

static bool is_trusted(const struct stat *s)
{
    return s->st_uid == 0 || s->st_uid == geteuid();
}

static fj_code check_folder(const fj__plugin_kind *kind, const char *path, fj_error **err)
{
    struct stat s;
    const char *slash = strrchr(path, '/');
    char *dir = slash == path ? fj__strdup("/") : fj__strndup(path, (size_t)(slash - path));

    if (dir == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for the %s %s", kind->what, path);
    fj_code code = FJ_OK;
    if (stat(dir, &s) != 0)
        code = fj_fail(err, kind->code, "the %s %s: %s", kind->what, path, strerror(errno));
    else if (!is_trusted(&s))
        code = fj_fail(err, kind->code,
                       "the %s %s is not loaded: its folder belongs to neither root nor the process's user",
                       kind->what, path);
    else if ((s.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (s.st_mode & S_ISVTX) == 0)
        code =
            fj_fail(err, kind->code, "the %s %s is not loaded: others may write to its folder (chmod go-w %s)",
                    kind->what, path, dir);
    fj__free(dir);
    return code;
}

/* Who may write to a folder above may put another in the place of one below it.  Groups are not asked: homes have groups. */
static fj_code check_above(const fj__plugin_kind *kind, const char *path, fj_error **err)
{
    struct stat s;
    char *dir = fj__strdup(path);
    fj_code code = FJ_OK;

    if (dir == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for the %s %s", kind->what, path);
    for (char *slash; code == FJ_OK && (slash = strrchr(dir, '/')) != NULL; *slash = '\0') {
        slash[slash == dir] = '\0'; /* of the last one there stays "/" */
        if (stat(dir, &s) != 0)
            code = fj_fail(err, kind->code, "the %s %s: %s: %s", kind->what, path, dir, strerror(errno));
        else if ((s.st_mode & S_IWOTH) != 0 && (s.st_mode & S_ISVTX) == 0)
            code = fj_fail(err, kind->code,
                           "the %s %s is not loaded: others may write to a folder above it (chmod o-w %s)",
                           kind->what, path, dir);
    }
    fj__free(dir);
    return code;
}

/* @param path with no link in it */
static fj_code check_file(const fj__plugin_kind *kind, const char *path, fj_error **err)
{
    struct stat s;

    if (stat(path, &s) != 0)
        return fj_fail(err, kind->code, "the %s %s: %s", kind->what, path, strerror(errno));
    if (!S_ISREG(s.st_mode))
        return fj_fail(err, kind->code, "the %s %s is no file", kind->what, path);
    if (!is_trusted(&s))
        return fj_fail(err, kind->code,
                       "the %s %s is not loaded: it belongs to neither root nor the process's user", kind->what,
                       path);
    if ((s.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return fj_fail(err, kind->code, "the %s %s is not loaded: others may write to it (chmod go-w %s)",
                       kind->what, path, path);
    fj_code code = check_folder(kind, path, err);
    return code == FJ_OK ? check_above(kind, path, err) : code;
}

/* ---- loading -------------------------------------------------------------------------------------- */

typedef const void *(*entry_fn)(void);

static fj_code check_table(const fj__plugin_kind *kind, void *handle, const char *path, const void **ret,
                           fj_error **err)
{
    entry_fn entry = NULL;
    uint32_t abi;
    void *symbol = dlsym(handle, kind->symbol);

    if (symbol == NULL)
        return fj_fail(err, kind->code, "%s is no %s: it does not export %s", path, kind->what, kind->symbol);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from an object's pointer to a function's */
    const void *table = entry();
    if (table == NULL)
        return fj_fail(err, kind->code, "%s refused to give its %s", path, kind->what);
    memcpy(&abi, table, sizeof abi);
    if (abi != kind->abi)
        return fj_fail(err, kind->code,
                       "%s is not made for this version of Fjord: its %s has ABI %u, this library %u", path,
                       kind->what, (unsigned)abi, (unsigned)kind->abi);
    const char *missing = kind->lacks(table);
    if (missing != NULL)
        return fj_fail(err, kind->code, "%s gives an incomplete table of the %s: no %s", path, kind->what,
                       missing);
    *ret = table;
    return FJ_OK;
}

static fj_code load(const fj__plugin_kind *kind, const char *path, const void **ret, fj_error **err)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (handle == NULL) {
        const char *why = dlerror();
        return fj_fail(err, kind->code, "the %s %s cannot be loaded: %s", kind->what, path,
                       why != NULL ? why : "no reason given");
    }
    fj_code code = check_table(kind, handle, path, ret, err);
    if (code == FJ_OK)
        code = keep(kind, path, *ret, err);
    if (code != FJ_OK) {
        *ret = NULL;
        (void)dlclose(handle);
    }
    return code;
}

/* The name comes from a configuration or a URL and becomes part of a path. */
static bool is_plain_word(const char *name)
{
    if (*name == '\0')
        return false;
    for (; *name != '\0'; name++) {
        if (!isalnum((unsigned char)*name) && *name != '_' && *name != '-')
            return false;
    }
    return true;
}

/* @param ret gives */
static fj_code path_of(const fj__plugin_kind *kind, const char *dir, const char *name, char **ret,
                       fj_error **err)
{
    if (name[0] != '/' && !is_plain_word(name))
        return fj_fail(err, kind->code, "\"%s\" is neither the name of a plug-in nor an absolute path", name);
    if (name[0] != '/' && (dir == NULL || dir[0] == '\0'))
        return fj_fail(err, kind->code, "no %s \"%s\": it is not built in and [fjord] plugin_dir is unset",
                       kind->what, name);
    *ret = name[0] == '/' ? fj__strdup(name) : fj__format("%s/%s.so", dir, name);
    return *ret != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "no memory for the %s \"%s\"", kind->what, name);
}

fj_code fj__plugin_load(const fj__plugin_kind *kind, const char *dir, const char *name, const char *called,
                        const void **ret, fj_error **err)
{
    char *path = NULL, *real = NULL;
    fj_code code = path_of(kind, dir, name, &path, err);

    *ret = NULL;
    if (code != FJ_OK)
        return code;
    real = realpath(path, NULL);
    if (real == NULL)
        code = fj_fail(err, kind->code, "no %s \"%s\": it is not built in, and %s: %s", kind->what, name, path,
                       strerror(errno));
    if (code == FJ_OK && (*ret = find(kind, real)) == NULL) {
        code = check_file(kind, real, err);
        if (code == FJ_OK)
            code = load(kind, real, ret, err);
    }
    if (called == NULL && name[0] != '/')
        called = name;
    if (code == FJ_OK && kind->has_name != NULL && called != NULL && !kind->has_name(*ret, called)) {
        *ret = NULL; /* it stays loaded: by another name it may be wanted */
        code = fj_fail(err, kind->code, "%s is no %s \"%s\": it has another name", real, kind->what, called);
    }
    free(real);
    fj__free(path);
    return code;
}
