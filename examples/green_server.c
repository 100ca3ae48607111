/* SPDX-License-Identifier: Apache-2.0 */
/* Ordinary C that blocks, in one thread: `green_server service.conf`, and then several of these at once:
 *     fjord call host nap seconds:=2       fjord call host resolve name=localhost       fjord call host run command=uptime
 * While one method sleeps, looks a name up or waits for a program, the others run.  Linked with -lfjord-green. */
#include "calc.h"

#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

static fj_code nap(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    unsigned left = sleep((unsigned)json_integer_value(json_object_get(args, "seconds")));

    (void)req, (void)ret;
    return left == 0 ? FJ_OK : fj_fail(err, FJ_CANCELLED, "woken early"); /* the server does not wait longer */
}

static fj_code resolve(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const char *name = json_string_value(json_object_get(args, "name"));
    struct addrinfo *found = NULL;
    char text[256] = "";
    int e = getaddrinfo(name, NULL, NULL, &found);

    (void)req;
    if (e != 0)
        return fj_raise(err, "socket", "gaierror", NULL, "%s", gai_strerror(e));
    (void)getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(found);
    *ret = json_string(text);
    return FJ_OK;
}

/* What a program prints, by read(2): stdio would block, for libc calls itself by other names than the hooks'. */
static fj_code run(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const char *command = json_string_value(json_object_get(args, "command"));
    FILE *program = command != NULL ? popen(command, "re") : NULL;
    char text[4096];
    ssize_t n = program != NULL ? read(fileno(program), text, sizeof text) : -1;

    (void)req;
    if (program == NULL || pclose(program) != 0 || n < 0)
        return fj_fail(err, FJ_SYSTEM, "the command failed");
    *ret = json_stringn(text, (size_t)n);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("nap", FJ_GREEN, nap), FJ_METHOD("resolve", FJ_GREEN, resolve),
                                     FJ_METHOD("run", FJ_GREEN, run) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

int main(int argc, char **argv)
{
    fj_target here = FJ_TARGET(.topic = "host", .server = "host1");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_conf *conf = NULL;
    fj_error *err = NULL;
    fj_code code = fj_conf_load(argc > 1 ? argv[1] : "service.conf", &conf, &err);

    opts.executor = "green";
    if (code == FJ_OK)
        code = fj_transport_open(conf, NULL, &transport, &err);
    if (code == FJ_OK)
        code = fj_server_new(transport, &here, &opts, &server, &err);
    if (code == FJ_OK)
        code = fj_server_add(server, &endpoint, NULL, &err);
    if (code == FJ_OK)
        code = fj_server_start(server, &err);
    if (code == FJ_OK && puts("serving host under the executor green") >= 0 && fflush(stdout) == 0)
        code = fj_run(&err);
    fj_server_free(server);
    fj_transport_free(transport);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : calc_failed("green_server", err);
}
