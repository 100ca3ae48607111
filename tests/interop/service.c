/* SPDX-License-Identifier: Apache-2.0 */
/* A service with methods of each flavour, for executors.py: `service FILE`.  What runs it is the file's business alone. */
#include <fjord/fjord.h>
#include <stdio.h>
#include <time.h>

static json_int_t number(json_t *args, const char *name)
{
    return json_integer_value(json_object_get(args, name));
}

static fj_code add(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_integer(number(args, "a") + number(args, "b"));
    return FJ_OK;
}

static fj_code refuse(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_raise(err, "shop.errors", "SoldOut", NULL, "no pears left");
}

/* Waits as C does. */
static fj_code nap(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct timespec t = { .tv_nsec = (long)number(args, "ms") * 1000000 };

    (void)req, (void)err;
    if (nanosleep(&t, NULL) != 0)
        return fj_fail(err, FJ_CANCELLED, "woken early");
    *ret = json_string("slept");
    return FJ_OK;
}

static fj_code twice(void *user, json_t **ret, fj_error **err)
{
    (void)err;
    *ret = json_integer(2 * *(json_int_t *)user);
    return FJ_OK;
}

/* Waits for a task and for a thread. */
static fj_code count(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_int_t n = number(args, "n");
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_future *parts[2] = { NULL, NULL }, *both = NULL;
    fj_task *task = NULL;
    fj_code code = fj_task_spawn(twice, &n, &opts, &task, err);

    (void)req;
    if (code == FJ_OK)
        code = fj_run_in_executor(twice, &n, NULL, &parts[1], err);
    if (code == FJ_OK) {
        parts[0] = fj_task_future(task);
        code = fj_gather(parts, 2, 0, &both, err);
    }
    if (code == FJ_OK)
        code = fj_await(both, fj_in_ms(5000), ret, err);
    fj_future_unref(both);
    fj_future_unref(parts[1]);
    fj_task_unref(task);
    return code;
}

static const fj_method methods[] = { FJ_METHOD("add", FJ_PLAIN, add),
                                     FJ_METHOD_FLAGS("refuse", FJ_PLAIN, refuse, FJ_EXPECTED),
                                     FJ_METHOD("nap", FJ_GREEN, nap), FJ_METHOD("count", FJ_CORO, count) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

int main(int argc, char **argv)
{
    fj_target here = FJ_TARGET(.topic = "it-executors", .server = "one");
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_conf *conf = NULL;
    fj_error *err = NULL;
    fj_code code = fj_conf_load(argc > 1 ? argv[1] : "service.conf", &conf, &err);

    if (code == FJ_OK)
        code = fj_transport_open(conf, NULL, &transport, &err);
    if (code == FJ_OK)
        code = fj_server_new(transport, &here, NULL, &server, &err);
    if (code == FJ_OK)
        code = fj_server_add(server, &endpoint, NULL, &err);
    if (code == FJ_OK)
        code = fj_run_signals(&err);
    if (code == FJ_OK)
        code = fj_server_start(server, &err);
    if (code == FJ_OK && printf("serving under %s\n", fj_server_executor(server)) > 0 && fflush(stdout) == 0)
        code = fj_run(&err);
    if (code != FJ_OK)
        (void)fprintf(stderr, "service: %s\n", fj_error_text(err));
    fj_error_free(err);
    fj_server_free(server);
    fj_transport_free(transport);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : 1;
}
