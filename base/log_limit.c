/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_limit.h"

#include <string.h>

/* Components have names of this length, and a program has few; should there be more, the last ones share what is left. */
enum { NAME = 32, COMPONENTS = 64 };

static struct {
    unsigned burst, seconds;
    int except; /* this level and what is graver is not counted */
    size_t n;
    struct window {
        char name[NAME];
        int64_t began;
        unsigned lines;
        unsigned long left_out;
    } windows[COMPONENTS];
} limit;

bool fj__log_limit_set(unsigned burst, unsigned seconds, int except)
{
    limit.burst = burst;
    limit.seconds = seconds;
    limit.except = except;
    limit.n = 0;
    return burst != 0 && seconds != 0;
}

static struct window *window_of(const char *component, int64_t now)
{
    for (size_t i = 0; i < limit.n; i++)
        if (strncmp(limit.windows[i].name, component, NAME - 1) == 0)
            return &limit.windows[i];
    if (limit.n == COMPONENTS)
        return &limit.windows[COMPONENTS - 1];
    struct window *w = &limit.windows[limit.n++];
    *w = (struct window){ .began = now };
    memcpy(w->name, component, strnlen(component, NAME - 1));
    return w;
}

bool fj__log_limit_pass(fj_log_level level, const char *component, int64_t now, fj__log_limit_told *ret)
{
    *ret = (fj__log_limit_told){ .burst = limit.burst, .seconds = limit.seconds };
    if ((int)level <= limit.except)
        return true;
    struct window *w = window_of(component != NULL ? component : "", now);
    if (now - w->began >= (int64_t)limit.seconds * 1000000000) {
        ret->left_out = w->left_out;
        w->began = now;
        w->lines = 0;
        w->left_out = 0;
    }
    if (w->lines < limit.burst) {
        w->lines++;
        return true;
    }
    ret->first = w->left_out++ == 0;
    return false;
}
