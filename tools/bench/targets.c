/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/targets.h"
#include <string.h>

bool bench_target_parse(char *text, bench_target *ret)
{
    char *dot = strchr(text, '.');

    if (dot != NULL)
        *dot = '\0';
    *ret = (bench_target){ text, dot != NULL && dot[1] != '\0' ? dot + 1 : NULL };
    return *text != '\0';
}
