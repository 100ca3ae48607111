/* SPDX-License-Identifier: Apache-2.0 */
/* Notifications from C to C: `notify sink URL COUNT EXECUTOR` says "ready", and then how many seconds there were between the first and
 * the last of COUNT; `notify source URL COUNT WINDOW EXECUTOR` sends them, WINDOW of them unconfirmed at a time. */
#include <fjord/fjord.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long wanted;
static atomic_long seen;
static double first, last;
static char topic[64];

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static fj_code count(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    long n = atomic_fetch_add(&seen, 1) + 1;

    (void)req, (void)ret;
    if (json_object_get(args, "payload") == NULL)
        return fj_fail(err, FJ_BAD_ARGS, "no payload");
    if (n == 1)
        first = now();
    if (n == wanted) {
        last = now();
        fj_run_stop();
    }
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("info", FJ_PLAIN, count) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);

static fj_code sink(fj_transport *transport, const char *executor, fj_error **err)
{
    fj_target target = FJ_TARGET(.topic = topic);
    fj_notify_listener_opts opts = FJ_NOTIFY_LISTENER_OPTS_INIT;
    fj_notify_listener *listener = NULL;

    opts.executor = executor;
    fj_code code = fj_notify_listener_new(transport, &target, 1, &opts, &listener, err);
    if (code == FJ_OK)
        code = fj_notify_listener_add(listener, &endpoint, NULL, NULL, err);
    if (code == FJ_OK)
        code = fj_notify_listener_start(listener, err);
    if (code == FJ_OK) {
        puts("ready");
        (void)fflush(stdout);
        code = fj_run(err);
        printf("%.6f\n", last - first);
    }
    fj_notify_listener_free(listener);
    return code;
}

static fj_code source(fj_transport *transport, long window, fj_error **err)
{
    static const char *const drivers[] = { "messagingv2", NULL };
    const char *const topics[] = { topic, NULL };
    fj_notifier_opts opts = FJ_NOTIFIER_OPTS_INIT;
    fj_notifier *notifier = NULL;

    opts.drivers = drivers;
    opts.topics = topics;
    opts.publisher_id = "bench.host1";
    fj_code code = fj_notifier_new(transport, &opts, &notifier, err);
    for (long i = 1; code == FJ_OK && i <= wanted; i++) {
        code = fj_notifier_notify_async(notifier, FJ_NOTIFY_INFO, "bench.event",
                                        json_pack("{s:s}", "x", "0123456789abcdef0123456789"), NULL, NULL, err);
        if (code == FJ_OK && (i % window == 0 || i == wanted))
            code = fj_notifier_flush(notifier, fj_never(), err);
    }
    fj_notifier_free(notifier);
    return code;
}

int main(int argc, char **argv)
{
    bool sinks = argc == 5 && strcmp(argv[1], "sink") == 0;
    fj_transport *transport = NULL;
    fj_error *err = NULL;

    if (!sinks && (argc != 6 || strcmp(argv[1], "source") != 0)) {
        fprintf(stderr, "usage: notify sink URL COUNT EXECUTOR | notify source URL COUNT WINDOW EXECUTOR\n");
        return 2;
    }
    wanted = strtol(argv[3], NULL, 10);
    (void)snprintf(topic, sizeof topic, "bench_notify_%s", argv[sinks ? 4 : 5]);
    fj_code code = fj_transport_open(NULL, argv[2], &transport, &err);
    if (code == FJ_OK)
        code = sinks ? sink(transport, argv[4], &err) : source(transport, strtol(argv[4], NULL, 10), &err);
    if (code != FJ_OK)
        fprintf(stderr, "notify: %s (%s)\n", fj_error_text(err), fj_code_name(code));
    fj_error_free(err);
    fj_transport_free(transport);
    return code == FJ_OK ? 0 : 1;
}
