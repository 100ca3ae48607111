/* SPDX-License-Identifier: Apache-2.0 */
#include "notify.h"

#include "base/alloc.h"
#include "base/log.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

static void find(void *library, const char *name, void *ret)
{
    void *symbol = dlsym(library, name);

    memcpy(ret, &symbol, sizeof symbol); /* C has no cast from an object to a function */
}

void fj__notify_open(fj__notify *n)
{
    int (*watchdog)(int unset_environment, uint64_t *usec) = NULL;
    uint64_t usec = 0;

    *n = (fj__notify){ NULL, 0 };
    if (getenv("NOTIFY_SOCKET") == NULL)
        return;
    void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL); /* stays: it is libc's to unload */
    if (library == NULL) {
        fj__log(FJ_LOG_WARNING, "service", "$NOTIFY_SOCKET is set, but systemd is told nothing: %s", dlerror());
        return;
    }
    find(library, "sd_notify", &n->tell);
    find(library, "sd_watchdog_enabled", &watchdog);
    if (watchdog != NULL && watchdog(0, &usec) > 0 && usec <= INT64_MAX / 1000)
        n->watchdog_ns = (int64_t)usec * 1000;
}

fj_deadline fj__notify_round(const fj__notify *n)
{
    enum { ROUNDS = 4 };

    return n->watchdog_ns == 0 ? fj_never() : (fj_deadline){ fj_now().ns + n->watchdog_ns / ROUNDS };
}

void fj__notify_tell(const fj__notify *n, const char *format, ...)
{
    va_list args;

    if (n->tell == NULL)
        return;
    va_start(args, format);
    char *text = fj__vformat(format, args);
    va_end(args);
    int rc = text != NULL ? n->tell(0, text) : 0;
    if (rc < 0)
        fj__log(FJ_LOG_DEBUG, "service", "systemd was not told %s: %s", text, strerror(-rc));
    fj__free(text);
}

void fj__notify_reloading(const fj__notify *n)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* the system's, whatever fj_now() says */
    fj__notify_tell(n, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                    (int64_t)now.tv_sec * 1000000 + (int64_t)now.tv_nsec / 1000);
}

void fj__notify_forget(void)
{
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}
