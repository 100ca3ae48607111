/* SPDX-License-Identifier: Apache-2.0 */
/* How a run looks: the line of a second, the line of a group's results, and a histogram. */
#include "base/alloc.h"
#include "tools/bench/bench.h"

#define NS_PER_S 1e9

enum { BAR = 40 };

const char *bench_time_text(double ns, char text[24])
{
    static const char *const units[] = { "ns", "us", "ms", "s" };
    double size = ns < 0 ? -ns : ns;
    unsigned unit = 0;

    for (; unit < fj__countof(units) - 1 && size >= 999.5; unit++) {
        size /= 1e3;
        ns /= 1e3;
    }
    (void)snprintf(text, 24,
                   size < 9.995 && unit > 0   ? "%.2f %s"
                   : size < 99.95 && unit > 0 ? "%.1f %s"
                                              : "%.0f %s",
                   ns, units[unit]);
    return text;
}

static void draw_latency(FILE *out, const bench_point *p)
{
    char mean[24], least[24], most[24];

    if (p->timed > 0)
        fprintf(out, ", mean %s, min %s, max %s", bench_time_text((double)p->sum / (double)p->timed, mean),
                bench_time_text((double)p->least, least), bench_time_text((double)p->most, most));
}

void bench_draw_second(FILE *out, const char *label, double since, const bench_point *p)
{
    fprintf(out, "%s: %.0f s, %llu messages, %llu bytes", label, since, (unsigned long long)p->count,
            (unsigned long long)p->size);
    draw_latency(out, p);
}

void bench_draw_summary(FILE *out, bench_group *g)
{
    fj__histogram_view *v = fj__alloc(sizeof *v); /* too large for a small stack */
    char a[24], b[24], c[24];
    double start, seconds;
    bench_point all = bench_total(g, &start, &seconds);

    fprintf(out, "%s: %llu messages in %.2f s", g->label, (unsigned long long)all.count, seconds);
    if (seconds > 0)
        fprintf(out, ", %.1f a second, %.0f bytes a second", (double)all.count / seconds,
                (double)all.size / seconds);
    draw_latency(out, &all);
    if (v != NULL && all.timed > 0) {
        fj__histogram_look(&g->took, v);
        fprintf(out, ", p50 %s, p99 %s, p99.9 %s", bench_time_text((double)fj__histogram_at(v, 500), a),
                bench_time_text((double)fj__histogram_at(v, 990), b),
                bench_time_text((double)fj__histogram_at(v, 999), c));
    }
    fputc('\n', out);
    fj__free(v);
}

/* ---- the histogram ------------------------------------------------------------------------------ */

/* 1, 2, 5, 10, 20, 50... */
static uint64_t next_edge(uint64_t edge)
{
    uint64_t first = edge;

    while (first >= 10)
        first /= 10;
    return first == 2 ? edge / 2 * 5 : edge * 2;
}

static void draw_row(FILE *out, uint64_t from, uint64_t to, uint64_t count, uint64_t largest, uint64_t all)
{
    static const char bar[] = "########################################";
    int filled = (int)((count * BAR + largest - 1) / largest);
    char low[24], high[24];

    fprintf(out, "%9s - %-7s %-*.*s %9llu %6.2f %%\n", bench_time_text((double)from, low),
            bench_time_text((double)to, high), BAR, filled, bar, (unsigned long long)count,
            100.0 * (double)count / (double)all);
}

void bench_draw_histogram(FILE *out, const fj__histogram *h)
{
    fj__histogram_view *v = fj__alloc(sizeof *v);
    uint64_t first = 1, largest = 0, count;

    if (v != NULL)
        fj__histogram_look(h, v);
    if (v == NULL || v->count == 0)
        goto out;
    while (fj__histogram_below(v, next_edge(first)) == 0)
        first = next_edge(first);
    for (uint64_t edge = first, below = 0; below < v->count; edge = next_edge(edge)) {
        count = fj__histogram_below(v, next_edge(edge)) - below;
        below += count;
        largest = count > largest ? count : largest;
    }
    for (uint64_t edge = first, below = 0; below < v->count; edge = next_edge(edge)) {
        count = fj__histogram_below(v, next_edge(edge)) - below;
        below += count;
        draw_row(out, edge, next_edge(edge), count, largest, v->count);
    }
out:
    fj__free(v);
}
