/* SPDX-License-Identifier: Apache-2.0 */
/* `fjord-chaos ctl SOCKET COMMAND...`: the other end of the control socket. */
#include "base/alloc.h"
#include "tools/chaos/control.h"
#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { DONE = 0, REFUSED = 1, USAGE = 2, UNREACHABLE = 4 };

/* The words as one line; a newline within JSON is a space as well. */
static bool line_of(int argc, char **argv, fj__buf *line)
{
    for (int i = 0; i < argc; i++) {
        size_t begin = line->end;
        if (!fj__buf_append(line, argv[i], strlen(argv[i])) ||
            !fj__buf_append(line, i + 1 < argc ? " " : "\n", 1))
            return false;
        for (size_t at = begin; at + 1 < line->end; at++)
            if (line->bytes[at] == '\n')
                line->bytes[at] = ' ';
    }
    return true;
}

static bool send_all(int fd, const fj__buf *line)
{
    for (size_t done = 0; done < fj__buf_len(line);) {
        ssize_t n = send(fd, fj__buf_data(line) + done, fj__buf_len(line) - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool read_answer(int fd, fj__buf *to)
{
    ssize_t n = 1;

    while (n > 0 && (fj__buf_len(to) == 0 || to->bytes[to->end - 1] != '\n')) {
        uint8_t *room = fj__buf_reserve(to, 4096);
        if (room == NULL)
            return false;
        n = recv(fd, room, 4096, 0);
        if (n < 0 && errno == EINTR) {
            n = 1;
            continue;
        }
        fj__buf_commit(to, n > 0 ? (size_t)n : 0);
    }
    return n > 0;
}

static int ask(const char *path, const fj__buf *line)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = UNREACHABLE;
    fj__buf said = { 0 };

    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    if (strlen(path) < sizeof at.sun_path && fd >= 0 &&
        connect(fd, (const struct sockaddr *)&at, sizeof at) == 0 && send_all(fd, line) &&
        read_answer(fd, &said)) {
        (void)fwrite(fj__buf_data(&said), 1, fj__buf_len(&said), stdout);
        rc = fflush(stdout) == 0 && fj__buf_len(&said) > 11 &&
                     memcmp(fj__buf_data(&said), "{\"ok\":true,", 11) == 0
                 ? DONE
                 : REFUSED;
    } else {
        fprintf(stderr, "fjord-chaos: %s: %s\n", path, errno != 0 ? strerror(errno) : "no answer");
    }
    if (fd >= 0)
        (void)close(fd);
    fj__buf_fini(&said);
    return rc;
}

int chaos_ctl(int argc, char **argv)
{
    fj__buf line = { 0 };
    int rc = USAGE;

    if (argc < 2) {
        fputs("usage: fjord-chaos ctl SOCKET COMMAND...\n", stderr);
        chaos_command_help(stderr);
    } else if (!line_of(argc - 1, argv + 1, &line))
        fputs("fjord-chaos: out of memory\n", stderr);
    else
        rc = ask(argv[0], &line);
    fj__buf_fini(&line);
    return rc;
}
