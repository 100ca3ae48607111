/* SPDX-License-Identifier: Apache-2.0 */
/* A program on systemd's event loop that serves and calls in it: `sd_event service.conf [drive]`. */
#include "visit.h"

#include <fjord/adapters/sd-event.h>
#include <stdio.h>

static int tick(sd_event_source *source, uint64_t usec, void *user)
{
    (void)usec, (void)user;
    puts("sd-event ticks");
    (void)sd_event_source_set_time_relative(source, 5000);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void over(void *user)
{
    (void)sd_event_exit(user, 0);
}

int main(int argc, char **argv)
{
    sd_event *event = NULL;
    sd_event_source *ticks = NULL;
    fj_sd_watcher *watcher = NULL;
    fj_loop *loop = NULL;
    fj_error *err = NULL;

    if (sd_event_default(&event) < 0)
        return 1;
    fj_code code = visit_drives(argc, argv) ? fj_sd_loop_new(event, &loop, &err) : fj_loop_new(&loop, &err);
    if (code == FJ_OK && !visit_drives(argc, argv))
        watcher = fj_sd_attach(loop, event);
    if (code != FJ_OK || (watcher == NULL && !visit_drives(argc, argv))) {
        fprintf(stderr, "sd_event: %s\n", err != NULL ? fj_error_text(err) : "no descriptor");
        return 1;
    }
    fj_loop_set_current(loop); /* what belongs to a loop belongs to this one, on this thread */
    (void)sd_event_add_time_relative(event, &ticks, CLOCK_MONOTONIC, 5000, 1000, tick, NULL);
    visit *v = visit_begin(argc > 1 ? argv[1] : "service.conf", loop, over, event);
    if (v != NULL)
        (void)sd_event_loop(event);
    int failed = visit_end(v);
    fj_sd_detach(watcher);
    fj_loop_free(loop);
    sd_event_source_unref(ticks);
    sd_event_unref(event);
    return failed;
}
