/* SPDX-License-Identifier: Apache-2.0 */
#include "in_task.h"

#include <fjord/green.h>
#include <string.h>

static char told[512];

static fj_code run(void *user, json_t **ret, fj_error **err)
{
    void (*const *body)(void) = user;

    (void)ret;
    (void)err;
    (*body)();
    return FJ_OK;
}

void in_task(void (*body)(void))
{
    told[0] = '\0';
    rt_begin();
    rt_code(rt_run(run, &body), OK);
    rt_end();
}

void in_green(void (*body)(void))
{
    fj_future *done = NULL;

    told[0] = '\0';
    rt_begin();
    rt_code(fj_wrap_green_fn(run, &body, NULL, &done, NULL), OK);
    rt_code(fj_loop_run_until_complete(rt_loop, done, NULL, NULL), OK);
    fj_future_unref(done);
    rt_end();
}

void note(const char *text)
{
    (void)strncat(told, text, sizeof told - strlen(told) - 1);
}

const char *notes(void)
{
    return told;
}

fj_code pause_ms(int64_t ms)
{
    return fj_sleep(fj_in_ms(ms));
}

fj_code sleeps(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    fj_code code = pause_ms((int64_t)(uintptr_t)user);
    note(code == FJ_OK ? "+" : "-");
    return code;
}
