/* SPDX-License-Identifier: Apache-2.0 */
/* A program on GLib's main loop that serves and calls in it: `glib service.conf [drive]`. */
#include "visit.h"

#include <fjord/adapters/glib.h>
#include <stdio.h>

static gboolean tick(gpointer user)
{
    (void)user;
    puts("GLib ticks");
    return G_SOURCE_CONTINUE;
}

static void over(void *user)
{
    g_main_loop_quit(user);
}

int main(int argc, char **argv)
{
    GMainLoop *main_loop = g_main_loop_new(NULL, FALSE);
    GSource *source = NULL;
    fj_loop *loop = NULL;
    fj_error *err = NULL;
    fj_code code = visit_drives(argc, argv) ? fj_glib_loop_new(NULL, &loop, &err) : fj_loop_new(&loop, &err);

    if (code == FJ_OK && !visit_drives(argc, argv))
        source = fj_glib_attach(loop, NULL);
    if (code != FJ_OK || (source == NULL && !visit_drives(argc, argv))) {
        fprintf(stderr, "glib: %s\n", err != NULL ? fj_error_text(err) : "no descriptor");
        return 1;
    }
    fj_loop_set_current(loop); /* what belongs to a loop belongs to this one, on this thread */
    guint ticks = g_timeout_add(5, tick, NULL);
    visit *v = visit_begin(argc > 1 ? argv[1] : "service.conf", loop, over, main_loop);
    if (v != NULL)
        g_main_loop_run(main_loop);
    int failed = visit_end(v);
    fj_glib_detach(source);
    fj_loop_free(loop);
    (void)g_source_remove(ticks);
    g_main_loop_unref(main_loop);
    return failed;
}
