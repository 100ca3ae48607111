/* SPDX-License-Identifier: Apache-2.0 */
/* Which sockets `fjord inspect` is to ask: of a path, of a process, of a service by its name. */
#include "tools/inspect.h"

#include "base/alloc.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void inspect_found_fini(inspect_found *found)
{
    for (size_t i = 0; i < found->n; i++)
        fj__free(found->paths[i]);
    found->n = 0;
}

static void add(inspect_found *found, const char *path)
{
    for (size_t i = 0; i < found->n; i++) {
        if (strcmp(found->paths[i], path) == 0)
            return;
    }
    if (found->n < INSPECT_FOUND && (found->paths[found->n] = fj__strdup(path)) != NULL)
        found->n++;
}

/* ---- by the configuration ----------------------------------------------------------------------- */

static bool put(char *to, size_t size, const char *text, size_t n)
{
    size_t at = strlen(to);

    if (n >= size - at)
        return false;
    memcpy(to + at, text, n);
    to[at + n] = '\0';
    return true;
}

/* As a pattern for glob(3): what stands for a process, any; and what is to be taken as it is, so.
 * @return false when it is too long to be a socket's */
static bool as_glob(const char *path, const char *name, char *ret, size_t size)
{
    bool fits = true;

    for (ret[0] = '\0'; *path != '\0' && fits; path++) {
        if (*path == '%' && path[1] != '\0') {
            path++;
            if (*path == 'n' && name != NULL)
                fits = put(ret, size, name, strlen(name));
            else
                fits = put(ret, size, *path == '%' ? "%" : "*", 1);
        } else {
            fits = (strchr("*?[\\", *path) == NULL || put(ret, size, "\\", 1)) && put(ret, size, path, 1);
        }
    }
    return fits;
}

static void add_glob(inspect_found *found, const char *pattern)
{
    glob_t all = { .gl_pathc = 0 };
    struct stat st;

    if (glob(pattern, 0, NULL, &all) == 0) {
        for (size_t i = 0; i < all.gl_pathc; i++) {
            if (stat(all.gl_pathv[i], &st) == 0 && S_ISSOCK(st.st_mode))
                add(found, all.gl_pathv[i]);
        }
    }
    globfree(&all);
}

/* Those of [fjord] backdoor: the path itself, and what workers add to it. */
static fj_code find_configured(const tool_opts *o, const char *name, inspect_found *ret, fj_error **err)
{
    char pattern[512];
    fj_conf *conf = NULL;
    fj_code code = tool_conf(o, &conf, err);

    if (code != FJ_OK)
        return code;
    const char *path = fj_conf_str(conf, "fjord", "backdoor");
    if (path == NULL || path[0] == '\0')
        code =
            name != NULL
                ? fj_fail(err, FJ_NOT_FOUND,
                          "where %s has its backdoor is not known: the configuration has no [fjord] backdoor "
                          "(--config-file); a path or a process id will do, too",
                          name)
                : fj_fail(err, FJ_NOT_FOUND,
                          "the configuration has no [fjord] backdoor: PATH or PID is needed");
    if (code == FJ_OK && as_glob(path, name, pattern, sizeof pattern - 4)) {
        add_glob(ret, pattern);
        (void)put(pattern, sizeof pattern, ".*.*", 4);
        add_glob(ret, pattern);
    }
    if (code == FJ_OK && ret->n == 0)
        code = fj_fail(err, FJ_UNREACHABLE, "nothing %s%sruns with its backdoor at %s",
                       name != NULL ? name : "", name != NULL ? " " : "", path);
    ret->name = name;
    fj_conf_free(conf);
    return code;
}

/* ---- by the process ----------------------------------------------------------------------------- */

static bool has_socket(const char *pid, unsigned long inode)
{
    char path[320], link[64], wanted[64];
    DIR *all;
    const struct dirent *e;
    bool has = false;

    (void)snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    (void)snprintf(path, sizeof path, "/proc/%s/fd", pid);
    all = opendir(path);
    while (!has && all != NULL && (e = readdir(all)) != NULL) {
        (void)snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, e->d_name);
        ssize_t n = readlink(path, link, sizeof link - 1);
        link[n > 0 ? n : 0] = '\0';
        has = strcmp(link, wanted) == 0;
    }
    if (all != NULL)
        (void)closedir(all);
    return has;
}

/* Its backdoor has a thread that is called so: whatever else the process listens on is not asked. */
static bool has_backdoor(const char *pid)
{
    char path[320], name[32];
    const struct dirent *e;
    bool has = false;

    (void)snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *all = opendir(path);
    while (!has && all != NULL && (e = readdir(all)) != NULL) {
        (void)snprintf(path, sizeof path, "/proc/%s/task/%s/comm", pid, e->d_name);
        FILE *f = fopen(path, "re");
        has = f != NULL && fgets(name, sizeof name, f) != NULL && strcmp(name, "fj-backdoor\n") == 0;
        if (f != NULL)
            (void)fclose(f);
    }
    if (all != NULL)
        (void)closedir(all);
    return has;
}

/* "0000000000000000: 00000002 00000000 00010000 0001 01 12345 /path": one that listens. */
static void look_at_line(const char *pid, char *line, inspect_found *found)
{
    struct stat st;
    unsigned long flags = 0, inode = 0;
    int at = 0;

    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "%*[^:]: %*x %*x %lx %*x %*x %lu %n", &flags, &inode, &at) != 2 || at == 0 ||
        line[at] != '/')
        return;
    if ((flags & 0x10000) != 0 && has_socket(pid, inode) && stat(line + at, &st) == 0 && S_ISSOCK(st.st_mode) &&
        (st.st_mode & 0777) == 0600)
        add(found, line + at);
}

static fj_code find_process(const char *pid, inspect_found *ret, fj_error **err)
{
    char path[64], line[512];
    struct stat st;

    (void)snprintf(path, sizeof path, "/proc/%.20s", pid);
    if (stat(path, &st) != 0)
        return fj_fail(err, FJ_UNREACHABLE, "there is no process %s", pid);
    (void)snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    if (access(path, R_OK) != 0)
        return fj_fail(err, FJ_ACCESS, "permission denied: process %s is user %u's, who may ask, and root", pid,
                       (unsigned)st.st_uid);
    (void)snprintf(path, sizeof path, "/proc/%.20s/net/unix", pid);
    FILE *f = has_backdoor(pid) ? fopen(path, "re") : NULL;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        look_at_line(pid, line, ret);
    if (f != NULL)
        (void)fclose(f);
    return ret->n > 0 ? FJ_OK : fj_fail(err, FJ_UNREACHABLE, "process %s has no backdoor", pid);
}

fj_code inspect_find(const tool_opts *o, const char *target, inspect_found *ret, fj_error **err)
{
    *ret = (inspect_found){ .n = 0 };
    if (target == NULL)
        return find_configured(o, NULL, ret, err);
    if (strchr(target, '/') != NULL) {
        add(ret, target);
        return ret->n > 0 ? FJ_OK : fj_fail(err, FJ_NOMEM, NULL);
    }
    if (target[0] != '\0' && target[strspn(target, "0123456789")] == '\0')
        return find_process(target, ret, err);
    return find_configured(o, target, ret, err);
}
