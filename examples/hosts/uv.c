/* SPDX-License-Identifier: Apache-2.0 */
/* A program on libuv's loop that serves and calls in it: `uv service.conf [drive]`. */
#include "visit.h"

#include <fjord/adapters/libuv.h>
#include <stdio.h>

static void tick(uv_timer_t *timer)
{
    (void)timer;
    puts("libuv ticks");
}

static void over(void *user)
{
    uv_stop(user);
}

int main(int argc, char **argv)
{
    uv_loop_t *uv = uv_default_loop();
    uv_timer_t ticks;
    fj_uv_watcher *watcher = NULL;
    fj_loop *loop = NULL;
    fj_error *err = NULL;
    fj_code code = visit_drives(argc, argv) ? fj_uv_loop_new(uv, &loop, &err) : fj_loop_new(&loop, &err);

    if (code == FJ_OK && !visit_drives(argc, argv))
        watcher = fj_uv_attach(loop, uv);
    if (code != FJ_OK || (watcher == NULL && !visit_drives(argc, argv))) {
        fprintf(stderr, "uv: %s\n", err != NULL ? fj_error_text(err) : "no descriptor");
        return 1;
    }
    fj_loop_set_current(loop); /* what belongs to a loop belongs to this one, on this thread */
    (void)uv_timer_init(uv, &ticks);
    (void)uv_timer_start(&ticks, tick, 5, 5);
    visit *v = visit_begin(argc > 1 ? argv[1] : "service.conf", loop, over, uv);
    if (v != NULL)
        (void)uv_run(uv, UV_RUN_DEFAULT);
    int failed = visit_end(v);
    fj_uv_detach(watcher);
    fj_loop_free(loop);
    uv_close((uv_handle_t *)&ticks, NULL);
    (void)uv_run(uv, UV_RUN_DEFAULT); /* libuv closes its handles */
    (void)uv_loop_close(uv);
    return failed;
}
