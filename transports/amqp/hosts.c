/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/hosts.h"

#include "base/alloc.h"
#include "base/ids.h"

static void shuffle(size_t *order, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        size_t j = (size_t)(fj__random_unit() * (double)(i + 1)), host = order[i];
        order[i] = order[j];
        order[j] = host;
    }
}

static bool is_cooling(const fj__amqp_settings *s, size_t host, fj_deadline now)
{
    int64_t failed = atomic_load(&s->hosts[host].failed_ns);

    return failed != 0 && now.ns - failed < (int64_t)(s->retry_max * 1e9);
}

/* In the order's turn, from the @p first of it on; those that cool down keep theirs behind the others. */
static void begin(fj__hosts *h, size_t first, fj_deadline now)
{
    const fj__amqp_settings *s = h->settings;
    size_t n = s->host_count, put = 0, cooling = n;

    if (s->shuffle)
        shuffle(h->order, n);
    for (size_t i = 0; i < n; i++) {
        size_t host = h->order[(first + i) % n];
        if (is_cooling(s, host, now))
            h->round[--cooling] = host;
        else
            h->round[put++] = host;
    }
    for (size_t last = n; cooling + 1 < last; cooling++) { /* they were put in from the back */
        size_t host = h->round[cooling];
        h->round[cooling] = h->round[--last];
        h->round[last] = host;
    }
    h->at = 0;
}

/* The place behind that of the host in use. */
static size_t behind(const fj__hosts *h)
{
    size_t i = 0;

    while (h->order[i] != h->round[h->at])
        i++;
    return i + 1;
}

bool fj__hosts_init(fj__hosts *h, const fj__amqp_settings *s, fj_deadline now)
{
    *h = (fj__hosts){ .settings = s,
                      .order = fj__alloc(s->host_count * sizeof *h->order),
                      .round = fj__alloc(s->host_count * sizeof *h->round) };
    if (h->order == NULL || h->round == NULL)
        return false;
    for (size_t i = 0; i < s->host_count; i++)
        h->order[i] = i;
    shuffle(h->order, s->host_count);
    begin(h, 0, now);
    return true;
}

void fj__hosts_fini(fj__hosts *h)
{
    fj__free(h->order);
    fj__free(h->round);
    *h = (fj__hosts){ .settings = NULL };
}

const fj__amqp_host *fj__hosts_now(const fj__hosts *h)
{
    return &h->settings->hosts[h->round[h->at]];
}

bool fj__hosts_next(fj__hosts *h, fj_deadline now)
{
    atomic_store(&h->settings->hosts[h->round[h->at]].failed_ns, now.ns);
    if (h->at + 1 < h->settings->host_count) {
        h->at++;
        return true;
    }
    begin(h, behind(h), now);
    return false;
}

void fj__hosts_reached(fj__hosts *h)
{
    atomic_store(&h->settings->hosts[h->round[h->at]].failed_ns, 0);
}

void fj__hosts_lost(fj__hosts *h, fj_deadline now)
{
    begin(h, behind(h), now);
}
