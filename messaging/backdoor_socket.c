/* SPDX-License-Identifier: Apache-2.0 */
/* The backdoor's file: nobody else's at any moment, and never another's in its place. */
#include "backdoor_impl.h"

#include "base/native.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- its name ----------------------------------------------------------------------------------- */

static fj_code append(char *to, size_t size, const char *text, size_t n, fj_error **err)
{
    size_t at = strlen(to);

    if (n >= size - at)
        return fj_fail(err, FJ_BAD_VALUE, "a socket's path has %zu bytes at most: %s%.*s...", size - 1, to,
                       (int)n, text);
    memcpy(to + at, text, n);
    to[at + n] = '\0';
    return FJ_OK;
}

static fj_code stands_for(char what, const fj__backdoor_who *who, const char **ret, char *number,
                          fj_error **err)
{
    (void)snprintf(number, 16, "%d", (int)getpid());
    *ret = what == 'p'   ? number
           : what == 'n' ? who->name
           : what == 'w' ? who->worker
           : what == '%' ? "%"
                         : NULL;
    if (*ret == NULL)
        return fj_fail(err, FJ_BAD_VALUE,
                       "%%%c stands for nothing in a backdoor's path: %%p, %%n, %%w and %%%% do",
                       what != '\0' ? what : '?');
    if (what == 'w' && who->worker[0] == '\0')
        *ret = "main";
    if (what == 'n' && strchr(*ret, '/') != NULL)
        return fj_fail(err, FJ_BAD_VALUE, "the name \"%s\" cannot be part of a path", *ret);
    return FJ_OK;
}

fj_code fj__backdoor_path(const char *pattern, const fj__backdoor_who *who, char *ret, size_t size,
                          fj_error **err)
{
    fj_code code = FJ_OK;
    bool distinct = false;
    char number[16];

    ret[0] = '\0';
    while (code == FJ_OK && *pattern != '\0') {
        size_t plain = strcspn(pattern, "%");
        code = append(ret, size, pattern, plain, err);
        pattern += plain;
        if (code != FJ_OK || *pattern == '\0')
            continue;
        const char *text = NULL;
        code = stands_for(pattern[1], who, &text, number, err);
        if (code == FJ_OK)
            code = append(ret, size, text, strlen(text), err);
        distinct |= pattern[1] == 'p' || pattern[1] == 'w';
        pattern += code == FJ_OK ? 2 : 0;
    }
    /* Workers each have one, also where the path does not tell them apart. */
    if (code == FJ_OK && !distinct && who->worker[0] >= '0' && who->worker[0] <= '9') {
        char own[sizeof who->name + sizeof who->worker + 2];
        int n = snprintf(own, sizeof own, ".%s.%s", who->name, who->worker);
        code = append(ret, size, own, (size_t)n, err);
    }
    if (code == FJ_OK && ret[0] == '\0')
        return fj_fail(err, FJ_BAD_VALUE, "a backdoor needs a path");
    return code;
}

/* ---- its file ----------------------------------------------------------------------------------- */

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    return at;
}

/* Who replaces a socket that a dead process left has to be alone with it: else two would, one after the other. */
static int lock_folder(const char *path)
{
    char copy[sizeof(((fj__backdoor_file *)0)->path)];

    (void)snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* It takes others of us a moment; somebody else's lock is not waited for. */
    for (int i = 0; fd >= 0 && i < 200 && syscall(SYS_flock, fd, LOCK_EX | LOCK_NB) != 0; i++)
        (void)fj__native.nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    return fd;
}

/* What is there already: nothing, or what a dead process left, which is removed. */
static fj_code make_room(const char *path, fj_error **err)
{
    struct stat st;
    struct sockaddr_un at = address_of(path);

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? FJ_OK : fj_fail(err, FJ_SYSTEM, "backdoor %s: %s", path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return fj_fail(err, FJ_SYSTEM, "backdoor %s: there is a file that is no socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fj_fail(err, FJ_SYSTEM, "backdoor %s: %s", path, strerror(errno));
    int why = fj__native.connect(fd, (const struct sockaddr *)&at, sizeof at) == 0 ? 0 : errno;
    (void)fj__native.close(fd);
    if (why == 0 || why == EAGAIN) /* EAGAIN: it has as many as it takes */
        return fj_fail(err, FJ_BUSY, "backdoor %s: a process that runs has it", path);
    if (why != ECONNREFUSED)
        return fj_fail(err, FJ_SYSTEM, "backdoor %s: %s", path, strerror(why));
    return unlink(path) == 0 || errno == ENOENT
               ? FJ_OK
               : fj_fail(err, FJ_SYSTEM, "backdoor %s: %s", path, strerror(errno));
}

/* Linux makes the file with the mode of the socket itself, less the umask: there is no moment at which others could open it. */
static fj_code bind_there(int fd, fj__backdoor_file *file, fj_error **err)
{
    struct sockaddr_un at = address_of(file->path);
    struct stat st;

    if (fchmod(fd, S_IRUSR | S_IWUSR) != 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0)
        return fj_fail(err, errno == EADDRINUSE ? FJ_BUSY : FJ_SYSTEM, "backdoor %s: %s", file->path,
                       strerror(errno));
    if (lstat(file->path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return fj_fail(err, FJ_SYSTEM, "backdoor %s: the socket has vanished", file->path);
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    /* With an odd umask even we might not, and elsewhere others might. */
    if (((st.st_mode & 0777) != 0600 && chmod(file->path, 0600) != 0) ||
        listen(fd, FJ__BACKDOOR_CLIENTS) != 0) {
        int why = errno;
        fj__backdoor_unlink(file);
        return fj_fail(err, FJ_SYSTEM, "backdoor %s: %s", file->path, strerror(why));
    }
    return FJ_OK;
}

fj_code fj__backdoor_listen(fj__backdoor_file *file, int *ret, fj_error **err)
{
    int folder = lock_folder(file->path);
    fj_code code = make_room(file->path, err);
    int fd = code == FJ_OK ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;

    if (code == FJ_OK && fd < 0)
        code = fj_fail(err, FJ_SYSTEM, "backdoor %s: %s", file->path, strerror(errno));
    if (code == FJ_OK)
        code = bind_there(fd, file, err);
    if (folder >= 0)
        (void)fj__native.close(folder);
    if (code == FJ_OK)
        *ret = fd;
    else if (fd >= 0)
        (void)fj__native.close(fd);
    return code;
}

void fj__backdoor_unlink(const fj__backdoor_file *file)
{
    struct stat st;

    if (lstat(file->path, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino)
        (void)unlink(file->path);
}

bool fj__backdoor_may(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}
