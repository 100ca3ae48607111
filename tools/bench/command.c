/* SPDX-License-Identifier: Apache-2.0 */
/* fjord bench: which of the five it is. */
#include "tools/bench/bench.h"

static int run(bench_run *r)
{
    switch (r->plan->mode) {
    case BENCH_RPC_SERVER:
        return bench_rpc_server(r);
    case BENCH_NOTIFY_SERVER:
    case BENCH_BATCH_SERVER:
        return bench_notify_server(r);
    default:
        return bench_client(r);
    }
}

int tool_bench(int argc, char **argv)
{
    bench_plan plan;
    bench_run r;
    tool_opts o;
    int rc = bench_options(argc, argv, &o, &plan);

    if (rc < 0) {
        rc = bench_run_init(&r, &o, &plan) ? run(&r) : TOOL_USAGE;
        bench_run_fini(&r);
    }
    tool_opts_fini(&o);
    return rc;
}
