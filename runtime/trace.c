/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/trace.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <stdio.h>
#include <string.h>

void fj__trace_prepare(void)
{
    void *first[1];

    (void)backtrace(first, 1);
}

int fj__trace_take(void **frames, int max)
{
    return backtrace(frames, max);
}

/* @return what snprintf() answers */
static int print(char *text, size_t size, const char *arrow, void *frame)
{
    Dl_info info = { 0 };

    if (dladdr(frame, &info) == 0 || info.dli_fname == NULL)
        return snprintf(text, size, "%s%p", arrow, frame);
    const char *slash = strrchr(info.dli_fname, '/');
    const char *module = slash != NULL ? slash + 1 : info.dli_fname;
    ptrdiff_t in_module = (char *)frame - (char *)info.dli_fbase;
    if (info.dli_sname == NULL)
        return snprintf(text, size, "%s[%s+0x%tx]", arrow, module, in_module);
    return snprintf(text, size, "%s%s+0x%tx [%s+0x%tx]", arrow, info.dli_sname,
                    (char *)frame - (char *)info.dli_saddr, module, in_module);
}

void fj__trace_text(void *const *frames, int n, char *text, size_t size)
{
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        int wrote = print(text + at, size - at, i > 0 ? " < " : "", frames[i]);
        if (wrote < 0 || (size_t)wrote >= size - at) {
            text[at] = '\0'; /* half a call would mislead */
            return;
        }
        at += (size_t)wrote;
    }
}
