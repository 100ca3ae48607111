/* SPDX-License-Identifier: Apache-2.0 */
/* Plans from anybody; and frames from anybody, in whatever pieces: all of the bytes are followed, and nothing past them is read. */
#include "tools/chaos/rule.h"

#include <stdlib.h>

static void chaos_must(bool holds)
{
    if (!holds)
        abort();
}

static void chaos_plan_of(const uint8_t *data, size_t n)
{
    chaos_plan plan;
    fj_error *err = NULL;

    if (chaos_plan_read((const char *)data, n, "plan", &plan, &err) == FJ_OK) {
        for (size_t i = 0; i < plan.count; i++)
            chaos_must(plan.rules[i]->name != NULL && plan.rules[i]->action < CHAOS_ACTIONS);
        chaos_plan_fini(&plan);
    } else {
        chaos_must(*fj_error_text(err) != '\0');
        fj_error_free(err);
    }
}

static void chaos_frames_of(const uint8_t *data, size_t n)
{
    chaos_contents *contents = chaos_contents_new();
    chaos_scan whole = { .have = 0 }, pieces = { .have = 0 };
    chaos_frame frame;

    chaos_must(contents != NULL);
    for (size_t at = 0; at < n;) {
        bool begins = chaos_scan_at_boundary(&whole) && !whole.raw, first = !whole.begun;
        size_t used = chaos_scan_feed(&whole, data + at, n - at);
        chaos_must(used > 0 && used <= n - at);
        if (begins && !whole.raw && chaos_scan_at_boundary(&whole)) {
            chaos_must(chaos_frame_length(data + at, used, first) == (long)used);
            chaos_frame_decode(contents, data + at, used, &frame);
            chaos_must(chaos_frame_name(&frame) != NULL);
        }
        at += used;
    }
    for (size_t at = 0; at < n;)
        at += chaos_scan_feed(&pieces, data + at, n - at < 3 ? n - at : 3);
    chaos_must(whole.frames == pieces.frames && whole.raw == pieces.raw);
    chaos_contents_free(contents);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n > 0 && data[0] == '{')
        chaos_plan_of(data, n);
    else
        chaos_frames_of(data, n);
    return 0;
}
