/* SPDX-License-Identifier: Apache-2.0 */
/* fjord serve: a server whose methods are a program, a module, or an echo. */
#include "base/alloc.h"
#include "messaging/backdoor_impl.h"
#include "runtime/green.h"
#include "tools/common.h"
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#define SERVER_NAME_MAX 256

/* What every method of --exec gets from fj_request_data(). */
typedef struct {
    const char *program;
    double timeout;
} exec_data;

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)err;
    *ret = json_incref(args);
    return FJ_OK;
}

static fj_code run_program(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const exec_data *d = fj_request_data(req);
    json_t *context = json_deep_copy(fj_request_context(req));
    json_t *input =
        json_pack("{s:s, s:s?, s:s, s:O, s:o}", "method", fj_request_method(req), "namespace",
                  fj_request_ns(req), "version", fj_request_version(req), "args", args, "context", context);
    fj_code rc;

    if (input == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    rc = tool_exec(d->program, input, d->timeout > 0 ? fj_in_seconds(d->timeout) : fj_never(), ret, err);
    json_decref(input);
    return rc;
}

/* A method named "*" takes whatever no other method takes.  Both are plain: tool_wait() sees for itself where it runs. */
static const fj_method echo_methods[] = { FJ_METHOD("*", FJ_PLAIN, echo) };
static const fj_method exec_methods[] = { FJ_METHOD("*", FJ_PLAIN, run_program) };

/* Take the endpoints of a module into @p server.  The module stays loaded: its code may still run at exit. */
static fj_code add_module(fj_server *server, const char *path, fj_error **err)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const fj_endpoint *const *const *symbol;
    fj_code rc = FJ_OK;

    if (module == NULL)
        return fj_fail(err, FJ_NOT_FOUND, "%s", dlerror());
    symbol = dlsym(module, "fj_module_endpoints");
    if (symbol == NULL || *symbol == NULL)
        return fj_fail(err, FJ_NOT_FOUND, "%s has no fj_module_endpoints", path);
    for (const fj_endpoint *const *e = *symbol; rc == FJ_OK && *e != NULL; e++)
        rc = fj_server_add(server, *e, NULL, err);
    return rc;
}

/* The groups of hooks that are live, and so what of a green method switches.  @return to be freed with fj__free() */
static char *live_hooks(void)
{
    unsigned live = 0;

    for (unsigned group = 1; group <= FJ_PATCH_ALL; group <<= 1)
        live |= fj_is_patched(group) ? group : 0;
    return fj__green_group_names(live);
}

/* The one line that tells scripts, and who looks on, that messages are taken. */
static void say_ready(const tool_opts *o, const fj_server *server, const fj_target *target)
{
    const char *executor = fj_server_executor(server);
    char *live = live_hooks(), *text = NULL;
    const char *hooks = live != NULL ? live : "";
    json_t *line = json_pack("{s:b, s:s, s:s, s:s, s:s}", "ready", 1, "topic", target->topic, "server",
                             target->server, "executor", executor, "hooks", hooks);

    if (!o->json)
        tool_note(o, "fjord serve: ready, topic %s, server %s, executor %s%s%s", target->topic, target->server,
                  executor, *hooks != '\0' ? ", hooks " : "", hooks);
    else if (line != NULL && fj_json_write(line, NULL, &text, NULL, NULL) == FJ_OK)
        tool_note(o, "%s", text);
    free(text);
    json_decref(line);
    fj__free(live);
}

static fj_code serve_until_told(const tool_opts *o, fj_server *server, const fj_target *target, fj_error **err)
{
    fj_code rc = fj_run_signals(err);

    if (rc == FJ_OK)
        rc = fj_server_start(server, err);
    if (rc != FJ_OK)
        return rc;
    say_ready(o, server, target);
    return fj_run(err);
}

static void open_backdoor(const tool_opts *o)
{
    fj_conf *conf = NULL;

    if (tool_conf(o, &conf, NULL) == FJ_OK)
        fj__backdoor_configured(conf, o->rest[0], "");
    fj_conf_free(conf);
}

static fj_code serve(tool_opts *o, const char *server_name, fj_error **err)
{
    fj_endpoint endpoint = FJ_ENDPOINT(o->ns, o->version, echo_methods);
    exec_data data = { o->exec, o->timeout };
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target target = FJ_TARGET(.exchange = o->exchange, .topic = o->rest[0], .server = server_name);
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_code rc = tool_open(o, &transport, err);

    opts.executor = o->executor;
    if (o->exec != NULL)
        endpoint.methods = exec_methods;
    if (rc == FJ_OK)
        rc = fj_server_new(transport, &target, &opts, &server, err);
    if (rc == FJ_OK)
        rc = o->module != NULL ? add_module(server, o->module, err)
                               : fj_server_add(server, &endpoint, &data, err);
    open_backdoor(o);
    if (rc == FJ_OK)
        rc = serve_until_told(o, server, &target, err);
    fj_backdoor_stop();
    if (rc == FJ_TIMEOUT && o->module != NULL)
        return rc; /* a method is left behind, and its code and what it uses with it, until the process ends */
    tool_exec_end();
    fj_server_free(server);
    fj_transport_free(transport);
    return rc;
}

/* ---- in worker processes ------------------------------------------------------------------------ */

/* What every worker is built from. */
typedef struct {
    const tool_opts *o;
    const char *server_name, *url;
    exec_data data;
    fj_endpoint endpoint;
} plan;

static void end_programs(fj_worker *worker, void *user)
{
    (void)worker, (void)user;
    tool_exec_end();
}

static fj_code build(fj_worker *worker, void *user, fj_error **err)
{
    plan *p = user;
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target target = FJ_TARGET(.exchange = p->o->exchange, .topic = p->o->rest[0], .server = p->server_name);
    fj_transport *transport = NULL;
    fj_server *server = NULL;

    opts.executor = p->o->executor;
    fj_worker_at_stop(worker, end_programs, NULL);
    fj_code rc = fj_worker_transport(worker, p->url, &transport, err);
    if (rc == FJ_OK)
        rc = fj_worker_server(worker, transport, &target, &opts, &server, err);
    if (rc == FJ_OK)
        rc = p->o->module != NULL ? add_module(server, p->o->module, err)
                                  : fj_server_add(server, &p->endpoint, &p->data, err);
    return rc;
}

static void say_workers_ready(void *user)
{
    const plan *p = user;
    json_t *line = json_pack("{s:b, s:s, s:s, s:i}", "ready", 1, "topic", p->o->rest[0], "server",
                             p->server_name, "workers", (int)p->o->workers);
    char *text = NULL;

    if (!p->o->json)
        tool_note(p->o, "fjord serve: ready, topic %s, server %s, %u workers", p->o->rest[0], p->server_name,
                  p->o->workers);
    else if (line != NULL && fj_json_write(line, NULL, &text, NULL, NULL) == FJ_OK)
        tool_note(p->o, "%s", text);
    free(text);
    json_decref(line);
}

static fj_code serve_in_workers(tool_opts *o, const char *server_name, fj_error **err)
{
    const char *url = o->url != NULL ? o->url : getenv("FJORD_URL");
    plan p = { o,
               server_name,
               url != NULL && *url != '\0' ? url : NULL,
               { o->exec, o->timeout },
               FJ_ENDPOINT(o->ns, o->version, echo_methods) };
    fj_service *service = NULL;
    fj_conf *conf = NULL;
    fj_code rc = tool_conf(o, &conf, err);

    if (o->exec != NULL)
        p.endpoint.methods = exec_methods;
    if (rc == FJ_OK)
        rc = fj_service_new(conf, &service, err);
    if (rc == FJ_OK)
        rc = fj_service_add(service, o->rest[0], build, &p, o->workers, err);
    if (rc == FJ_OK) {
        fj_service_at_ready(service, say_workers_ready, &p);
        rc = fj_service_run(service, err);
    }
    fj_service_free(service);
    fj_conf_free(conf);
    return rc;
}

int tool_serve(int argc, char **argv)
{
    char host[SERVER_NAME_MAX] = "";
    fj_error *err = NULL;
    tool_opts o;
    int rc = tool_parse(argc, argv, TOOL_DEADLINE | TOOL_METHOD | TOOL_SERVER | TOOL_SERVE, &o);

    if (rc < 0 && o.rest_count != 1)
        rc = tool_misuse(&o, "one TOPIC is needed");
    if (rc < 0 && (o.exec != NULL) + (o.module != NULL) + (o.echo ? 1 : 0) != 1)
        rc = tool_misuse(&o, "one of --exec, --module and --echo is needed");
    if (rc < 0 && o.server == NULL && (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0'))
        rc = tool_misuse(&o, "this host has no name: --server is needed");
    if (rc < 0) {
        fj_code (*run)(tool_opts *, const char *, fj_error **) = o.as_service ? serve_in_workers : serve;
        rc = run(&o, o.server != NULL ? o.server : host, &err) == FJ_OK ? TOOL_DONE : tool_fail(&o, err);
    }
    tool_opts_fini(&o);
    return rc;
}
