/* SPDX-License-Identifier: Apache-2.0 */
/* One backdoor: a line out, a line in. */
#include "tools/inspect.h"

#include "base/alloc.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PROTOCOL = 1, LINE_MAX_ = 256 << 20 /* no answer is as long */ };
#define MARGIN 5.0 /* seconds that an answer may take beyond what a loop has */

struct inspect_peer {
    int fd;
    const char *path;
    double timeout;
    json_t *who;
    char *in; /* what was read */
    size_t n, room;
};

static fj_code refused(const char *path, int why, fj_error **err)
{
    struct stat st;

    switch (why) {
    case ENOENT:
        return fj_fail(err, FJ_UNREACHABLE, "there is no %s: the process does not run, or has no backdoor",
                       path);
    case ECONNREFUSED:
        if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
            return fj_fail(err, FJ_BAD_VALUE, "%s is no socket", path);
        return fj_fail(err, FJ_UNREACHABLE, "nobody answers at %s: the process has ended", path);
    case EACCES:
    case EPERM:
        if (stat(path, &st) == 0)
            return fj_fail(err, FJ_ACCESS, "permission denied: %s is user %u's, who may ask, and root", path,
                           (unsigned)st.st_uid);
        return fj_fail(err, FJ_ACCESS, "permission denied: %s", path);
    default:
        return fj_fail(err, FJ_UNREACHABLE, "%s: %s", path, strerror(why));
    }
}

static fj_code dial(const char *path, int *ret, fj_error **err)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof at.sun_path)
        return fj_fail(err, FJ_BAD_VALUE, "the path of a socket has %zu bytes at most", sizeof at.sun_path - 1);
    memcpy(at.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fj_fail(err, FJ_SYSTEM, "no socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) != 0) {
        int why = errno;
        (void)close(fd);
        return refused(path, why, err);
    }
    *ret = fd;
    return FJ_OK;
}

static fj_code lost(const inspect_peer *p, fj_error **err)
{
    return fj_fail(err, FJ_LOST,
                   "%s was closed without an answer: the process has ended, or closed its backdoor", p->path);
}

/* Until it is ready, or @p by. */
static fj_code wait_for(inspect_peer *p, short events, fj_deadline by, fj_error **err)
{
    struct pollfd fd = { .fd = p->fd, .events = events };
    int n;

    do
        n = poll(&fd, 1, fj_left_ms(by));
    while (n < 0 && errno == EINTR);
    return n != 0 ? FJ_OK : fj_fail(err, FJ_TIMEOUT, "no answer from %s in time", p->path);
}

static fj_code send_all(inspect_peer *p, const char *text, size_t n, fj_deadline by, fj_error **err)
{
    fj_code code = FJ_OK;

    while (n > 0 && code == FJ_OK) {
        ssize_t wrote = send(p->fd, text, n, MSG_NOSIGNAL);
        if (wrote > 0) {
            text += wrote;
            n -= (size_t)wrote;
        } else if (wrote < 0 && errno == EAGAIN) {
            code = wait_for(p, POLLOUT, by, err);
        } else if (wrote < 0 && errno == EPIPE) {
            return FJ_OK; /* it has refused, and what it said can be read */
        } else if (wrote < 0 && errno != EINTR) {
            return lost(p, err);
        }
    }
    return code;
}

static fj_code read_some(inspect_peer *p, fj_deadline by, fj_error **err)
{
    char *in = fj__grow(p->in, &p->room, p->n + 65536, 1);

    if (in == NULL || p->n > LINE_MAX_)
        return fj_fail(err, FJ_NOMEM, "the answer is too long");
    p->in = in;
    ssize_t n = recv(p->fd, p->in + p->n, p->room - p->n, 0);
    if (n > 0) {
        p->n += (size_t)n;
        return FJ_OK;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return wait_for(p, POLLIN, by, err);
    return lost(p, err);
}

static fj_code read_line(inspect_peer *p, fj_deadline by, json_t **ret, fj_error **err)
{
    fj_json_opts opts = FJ_JSON_OPTS_INIT;
    const char *end = NULL;
    fj_error *why = NULL;
    size_t looked = 0;

    for (; (end = p->n > looked ? memchr(p->in + looked, '\n', p->n - looked) : NULL) == NULL;) {
        looked = p->n;
        fj_code code = read_some(p, by, err);
        if (code != FJ_OK)
            return code;
    }
    size_t n = (size_t)(end - p->in);
    fj_code code = fj_json_read(p->in, n, &opts, ret, &why);
    if (code != FJ_OK)
        code = fj_fail(err, FJ_PROTOCOL, "what answers at %s is no backdoor: %s", p->path, fj_error_text(why));
    fj_error_free(why);
    p->n -= n + 1;
    memmove(p->in, p->in + n + 1, p->n);
    return code;
}

static fj_code code_named(const char *name)
{
    static const fj_code all[] = {
#define X(name, value, retriable, module, class_, text) FJ_##name,
        FJ_CODES(X)
#undef X
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (name != NULL && strcmp(fj_code_name(all[i]), name) == 0)
            return all[i];
    }
    return FJ_REMOTE;
}

fj_code inspect_ask(inspect_peer *p, const char *word, const json_t *args, json_t **ret, fj_error **err)
{
    json_t *request = json_pack("{s:s, s:O?, s:f}", "ask", word, "args", args, "timeout", p->timeout),
           *answer = NULL;
    fj_deadline by = fj_in_seconds(p->timeout + MARGIN);
    char *line = NULL;
    size_t n = 0;

    if (args == NULL)
        (void)json_object_del(request, "args");
    fj_code code =
        request != NULL ? fj_json_write(request, NULL, &line, &n, err) : fj_fail(err, FJ_NOMEM, NULL);
    if (code == FJ_OK)
        code = send_all(p, line, n, by, err);
    if (code == FJ_OK)
        code = send_all(p, "\n", 1, by, err);
    if (code == FJ_OK)
        code = read_line(p, by, &answer, err);
    const json_t *error = json_object_get(answer, "error");
    if (code == FJ_OK && json_is_object(error)) {
        const char *text = json_string_value(json_object_get(error, "text"));
        code = fj_fail(err, code_named(json_string_value(json_object_get(error, "code"))), "%s",
                       text != NULL ? text : "");
    } else if (code == FJ_OK && !json_is_object(json_object_get(answer, "answer"))) {
        code = fj_fail(err, FJ_PROTOCOL, "what answers at %s is no backdoor", p->path);
    } else if (code == FJ_OK) {
        *ret = json_incref(json_object_get(answer, "answer"));
    }
    json_decref(answer);
    json_decref(request);
    free(line);
    return code;
}

fj_code inspect_open(const char *path, double timeout, inspect_peer **ret, fj_error **err)
{
    inspect_peer *p = fj__zalloc(sizeof *p);
    fj_code code;

    if (p == NULL)
        return fj_fail(err, FJ_NOMEM, NULL);
    p->path = path;
    p->timeout = timeout;
    p->fd = -1;
    code = dial(path, &p->fd, err);
    if (code == FJ_OK)
        code = inspect_ask(p, "version", NULL, &p->who, err);
    json_int_t speaks = json_integer_value(json_object_get(p->who, "protocol"));
    if (code == FJ_OK && speaks != PROTOCOL)
        code = fj_fail(err, FJ_UNSUPPORTED,
                       "%s is of another version: fjord %s, which speaks protocol %d, and not %d", path,
                       json_string_value(json_object_get(p->who, "fjord")), (int)speaks, PROTOCOL);
    if (code == FJ_OK)
        *ret = p;
    else
        inspect_close(p);
    return code;
}

const json_t *inspect_who(const inspect_peer *p)
{
    return p->who;
}

inspect_peer *inspect_close(inspect_peer *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    json_decref(p->who);
    fj__free(p->in);
    fj__free(p);
    return NULL;
}
