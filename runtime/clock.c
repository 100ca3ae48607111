/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#include <limits.h>
#include <stdatomic.h>
#include <time.h>

enum { NS_PER_MS = 1000000 };
#define NS_PER_S 1000000000LL

static _Atomic int64_t fake_ns = -1;
static atomic_bool automatic;

void fj__clock_set_fake(int64_t ns)
{
    atomic_store(&fake_ns, ns);
}

void fj__clock_set_auto(bool on)
{
    atomic_store(&automatic, on);
}

bool fj__clock_auto(void)
{
    return atomic_load_explicit(&fake_ns, memory_order_relaxed) >= 0 && atomic_load(&automatic);
}

void fj__clock_advance(fj_deadline to)
{
    int64_t fake = atomic_load(&fake_ns);

    while (fake >= 0 && fake < to.ns && !atomic_compare_exchange_weak(&fake_ns, &fake, to.ns))
        ;
}

int64_t fj__clock_real_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock on Linux: clock_gettime(2) */
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t fj__clock_coarse_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

fj_deadline fj_now(void)
{
    int64_t fake = atomic_load_explicit(&fake_ns, memory_order_relaxed);

    return (fj_deadline){ fake >= 0 ? fake : fj__clock_real_ns() };
}

static fj_deadline after(int64_t ns)
{
    fj_deadline t = fj_now();

    t.ns = ns > FJ_NEVER_NS - t.ns ? FJ_NEVER_NS : t.ns + ns;
    return t;
}

fj_deadline fj_in_ms(int64_t ms)
{
    if (ms > INT64_MAX / NS_PER_MS)
        return fj_never();
    if (ms < INT64_MIN / NS_PER_MS)
        ms = INT64_MIN / NS_PER_MS;
    return ms < 0 ? (fj_deadline){ fj_now().ns - 1 } : after(ms * NS_PER_MS);
}

fj_deadline fj_in_seconds(double s)
{
    if (!(s < 9.0e9)) /* 285 years: beyond what the type holds; also not-a-number */
        return fj_never();
    return s < 0.0 ? fj_in_ms(-1) : after((int64_t)(s * (double)NS_PER_S));
}

fj_deadline fj_never(void)
{
    return (fj_deadline){ FJ_NEVER_NS };
}

bool fj_is_never(fj_deadline by)
{
    return by.ns == FJ_NEVER_NS;
}

bool fj_passed(fj_deadline by)
{
    return !fj_is_never(by) && fj_now().ns >= by.ns;
}

fj_deadline fj_sooner(fj_deadline a, fj_deadline b)
{
    return a.ns <= b.ns ? a : b;
}

int64_t fj_left_ns(fj_deadline by)
{
    if (fj_is_never(by))
        return FJ_NEVER_NS;
    int64_t now = fj_now().ns;
    return by.ns > now ? by.ns - now : 0;
}

int fj_left_ms(fj_deadline by)
{
    if (fj_is_never(by))
        return -1;
    int64_t ms = (fj_left_ns(by) + NS_PER_MS - 1) / NS_PER_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}
