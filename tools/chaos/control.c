/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: a few clients at a time, each with a line in and a line out. */
#include "tools/chaos/control.h"
#include "base/alloc.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 16, LINE_MAX_BYTES = 4 * 1024 * 1024 };

typedef struct {
    chaos_control *control;
    int fd; /* -1: nobody */
    bool writing;
    fj__buf in, out;
} client;

struct chaos_control {
    chaos_proxy *proxy;
    int listener;
    char *path;
    client clients[CLIENTS];
};

static void leave(client *c)
{
    fj_loop *loop = c->control->proxy->loop;

    if (c->fd < 0)
        return;
    (void)fj_loop_remove_reader(loop, c->fd);
    (void)fj_loop_remove_writer(loop, c->fd);
    (void)close(c->fd);
    c->fd = -1;
    c->writing = false;
    fj__buf_fini(&c->in);
    fj__buf_fini(&c->out);
}

static void on_writable(fj_loop *loop, int fd, void *user);

/* Send what there is.  @return false: the client has left */
static bool flush(client *c)
{
    fj_loop *loop = c->control->proxy->loop;

    while (fj__buf_len(&c->out) > 0) {
        ssize_t n = send(c->fd, fj__buf_data(&c->out), fj__buf_len(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN &&
            (c->writing || fj_loop_add_writer(loop, c->fd, on_writable, c, NULL) == FJ_OK)) {
            c->writing = true;
            return true;
        }
        if (n < 0) {
            leave(c);
            return false;
        }
        fj__buf_consume(&c->out, (size_t)n);
    }
    if (c->writing)
        (void)fj_loop_remove_writer(loop, c->fd);
    c->writing = false;
    return true;
}

static void on_writable(fj_loop *loop, int fd, void *user)
{
    (void)loop;
    (void)fd;
    (void)flush(user);
}

static bool reply(client *c, json_t *said)
{
    char *text = said != NULL ? json_dumps(said, JSON_COMPACT) : NULL;
    bool ok = text != NULL && fj__buf_append(&c->out, text, strlen(text)) && fj__buf_append(&c->out, "\n", 1);

    fj__free(text);
    json_decref(said);
    if (!ok) {
        leave(c);
        return false;
    }
    return flush(c);
}

static bool run_lines(client *c)
{
    uint8_t *at, *end;

    while (fj__buf_len(&c->in) > 0 &&
           (end = memchr(at = c->in.bytes + c->in.begin, '\n', fj__buf_len(&c->in))) != NULL) {
        size_t n = (size_t)(end - at) + 1;
        *end = '\0';
        if (!reply(c, chaos_command(c->control->proxy, (const char *)at)))
            return false;
        fj__buf_consume(&c->in, n);
    }
    return true;
}

static void on_readable(fj_loop *loop, int fd, void *user)
{
    client *c = user;
    uint8_t *to = fj__buf_reserve(&c->in, 65536);
    ssize_t n = to != NULL ? recv(fd, to, 65536, MSG_DONTWAIT) : 0;

    (void)loop;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        leave(c);
        return;
    }
    fj__buf_commit(&c->in, (size_t)n);
    if (run_lines(c) && (fj__buf_len(&c->in) > LINE_MAX_BYTES || fj__buf_len(&c->out) > LINE_MAX_BYTES))
        leave(c);
}

static void on_accept(fj_loop *loop, int listener, void *user)
{
    chaos_control *control = user;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for (size_t i = 0; fd >= 0 && i < CLIENTS; i++)
        if (control->clients[i].fd < 0 &&
            fj_loop_add_reader(loop, fd, on_readable, &control->clients[i], NULL) == FJ_OK) {
            control->clients[i].fd = fd;
            return;
        }
    if (fd >= 0)
        (void)close(fd);
}

/* What a proxy that was killed has left is no obstacle; one that lives is. */
static fj_code make_way(const struct sockaddr_un *at, fj_error **err)
{
    struct stat there;
    int fd;
    bool lives;

    if (lstat(at->sun_path, &there) != 0)
        return FJ_OK;
    if (!S_ISSOCK(there.st_mode))
        return fj_fail(err, FJ_BAD_VALUE, "%s: is there, and no socket", at->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    lives = fd < 0 || connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 || errno != ECONNREFUSED;
    if (fd >= 0)
        (void)close(fd);
    if (lives)
        return fj_fail(err, FJ_STATE, "%s: somebody answers there", at->sun_path);
    return unlink(at->sun_path) == 0 ? FJ_OK : fj_fail(err, FJ_SYSTEM, "%s: %s", at->sun_path, strerror(errno));
}

static fj_code open_socket(chaos_control *c, const struct sockaddr_un *at, fj_error **err)
{
    mode_t before;
    bool bound;

    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listener < 0)
        return fj_fail(err, FJ_SYSTEM, "%s: %s", at->sun_path, strerror(errno));
    before = umask(0177); /* of this user alone from its first moment on; there is one thread */
    bound = bind(c->listener, (const struct sockaddr *)at, sizeof *at) == 0;
    (void)umask(before);
    if (!bound || (c->path = fj__strdup(at->sun_path)) == NULL || listen(c->listener, CLIENTS) != 0)
        return fj_fail(err, FJ_SYSTEM, "%s: %s", at->sun_path, strerror(errno));
    return fj_loop_add_reader(c->proxy->loop, c->listener, on_accept, c, err);
}

fj_code chaos_control_new(chaos_proxy *proxy, const char *path, chaos_control **ret, fj_error **err)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    chaos_control *c;
    fj_code rc;

    if (strlen(path) >= sizeof at.sun_path || *path == '\0')
        return fj_fail(err, FJ_BAD_VALUE, "%s: a socket's path has 1 to %zu bytes", path,
                       sizeof at.sun_path - 1);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    c = fj__zalloc(sizeof *c);
    if (c == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    c->proxy = proxy;
    c->listener = -1;
    for (size_t i = 0; i < CLIENTS; i++)
        c->clients[i] = (client){ .control = c, .fd = -1 };
    rc = make_way(&at, err);
    if (rc == FJ_OK)
        rc = open_socket(c, &at, err);
    if (rc == FJ_OK)
        *ret = c;
    else
        chaos_control_free(c);
    return rc;
}

chaos_control *chaos_control_free(chaos_control *c)
{
    if (c == NULL)
        return NULL;
    for (size_t i = 0; i < CLIENTS; i++)
        leave(&c->clients[i]);
    if (c->listener >= 0) {
        (void)fj_loop_remove_reader(c->proxy->loop, c->listener);
        (void)close(c->listener);
    }
    if (c->path != NULL)
        (void)unlink(c->path);
    fj__free(c->path);
    fj__free(c);
    return NULL;
}
