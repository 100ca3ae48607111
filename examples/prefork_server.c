/* SPDX-License-Identifier: Apache-2.0 */
/* The calculator in worker processes: `prefork_server service.conf [WORKERS]`.  SIGTERM drains it, SIGHUP reloads its file, and
 * a worker that dies is started again.  With 0 workers it is one process, for a debugger. */
#include "calc.h"

#include <stdio.h>
#include <stdlib.h>

/* Runs in each worker, after the fork: what is made here is this worker's, and the worker takes it down. */
static fj_code build(fj_worker *worker, void *user, fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = "calc", .server = "host1");
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_code code = fj_worker_transport(worker, NULL, &transport, err);

    (void)user;
    if (code == FJ_OK)
        code = fj_worker_server(worker, transport, &here, NULL, &server, err);
    return code == FJ_OK ? fj_server_add(server, &calc_endpoint, NULL, err) : code;
}

static void say_ready(void *user)
{
    (void)user;
    printf("serving calc\n");
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    fj_service *service = NULL;
    fj_conf *conf = NULL;
    fj_error *err = NULL;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s CONFIG-FILE [WORKERS]\n", argv[0]);
        return 2;
    }
    unsigned workers = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 2;
    fj_code code = fj_conf_load(argv[1], &conf, &err);
    if (code == FJ_OK)
        code = fj_service_new(conf, &service, &err);
    if (code == FJ_OK)
        code = fj_service_add(service, "calc", build, NULL, workers, &err);
    if (code == FJ_OK) {
        fj_service_at_ready(service, say_ready, NULL);
        code = fj_service_run(service, &err);
    }
    fj_service_free(service);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : calc_failed("prefork_server", err);
}
