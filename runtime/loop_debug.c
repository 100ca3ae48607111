/* SPDX-License-Identifier: Apache-2.0 */
/* Debug mode, and trouble: what nobody could be told. */
#include "runtime/loop_impl.h"

#include "base/log.h"
#include "runtime/green.h"

#include <stdio.h>

void fj__loop_trouble(fj_loop *loop, const char *what, const fj_error *error)
{
    if (loop != NULL && loop->trouble != NULL)
        loop->trouble(loop, what, error, loop->trouble_user);
    else if (error != NULL)
        fj__log(FJ_LOG_ERROR, "loop", "%s: %s: %s", what, fj_code_name(fj_error_code(error)),
                fj_error_text(error));
    else
        fj__log(FJ_LOG_ERROR, "loop", "%s", what);
}

void fj_loop_set_trouble_handler(fj_loop *loop, fj_loop_trouble_fn fn, void *user)
{
    loop->trouble = fn;
    loop->trouble_user = user;
}

bool fj__loop_wrong_thread(fj_loop *loop, const char *function)
{
    fj_error *error = NULL;

    if (fj__loop_here(loop))
        return false;
    (void)fj_fail(&error, FJ_WRONG_CONTEXT, "%s() from another thread than the loop's is refused", function);
    fj__loop_trouble(loop, "a call from a wrong thread", error);
    fj_error_free(error);
    return true;
}

bool fj_loop_debug(const fj_loop *loop)
{
    return atomic_load_explicit(&loop->debug, memory_order_relaxed);
}

void fj_loop_set_slow_callback_duration(fj_loop *loop, double seconds)
{
    /* Also for not-a-number; 1e9 seconds are beyond any. */
    atomic_store(&loop->slow_ns, seconds >= 0. && seconds < 1e9 ? (int64_t)(seconds * 1e9) : INT64_MAX);
}

void fj__loop_begin(fj_loop *loop, const char *name)
{
    (void)snprintf(loop->busy_name, sizeof loop->busy_name, "%s", name != NULL ? name : "a call-back");
    loop->busy_since = fj__clock_real_ns();
    if (loop->watchdog != NULL)
        fj__watchdog_begin(loop->watchdog, loop->busy_name, loop->busy_since);
}

void fj__loop_end(fj_loop *loop)
{
    int64_t took = fj__clock_real_ns() - loop->busy_since;

    loop->busy_since = 0;
    if (loop->watchdog != NULL)
        fj__watchdog_end(loop->watchdog);
    if (took >= atomic_load(&loop->slow_ns))
        fj__log(FJ_LOG_WARNING, "loop", "%s took %.3f seconds", loop->busy_name, (double)took * 1e-9);
}

void fj_loop_set_debug(fj_loop *loop, bool on)
{
    fj_error *error = NULL;

    if (on == fj_loop_debug(loop))
        return;
    atomic_store(&loop->debug, on);
    if (!on) {
        loop->busy_since = 0;
        if (loop->watchdog != NULL && fj_loop_is_running(loop))
            fj__watchdog_unwatch(loop->watchdog);
        fj__watchdog_free(loop->watchdog);
        loop->watchdog = NULL;
        return;
    }
    fj__green_watch();
    /* Without a watchdog the rest of debug mode goes on. */
    if (fj__watchdog_new(&loop->slow_ns, &loop->watchdog, &error) != FJ_OK)
        fj__loop_trouble(loop, "debug mode has no watchdog", error);
    else if (fj_loop_is_running(loop))
        fj__watchdog_watch(loop->watchdog);
    fj_error_free(error);
}
