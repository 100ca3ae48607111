/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever the bytes: no crash; and what is read and written is a fixed point, since the writer's text is canonical. */
#include <fjord/json.h>

#include <stdlib.h>
#include <string.h>

static void json_must(bool holds)
{
    if (!holds)
        abort();
}

static void json_one(const char *text, size_t n, fj_json_odd odd)
{
    fj_json_opts opts = FJ_JSON_OPTS_INIT;
    json_t *value, *again;
    char *first, *second;
    size_t first_n, second_n;

    opts.odd = odd;
    if (fj_json_read(text, n, &opts, &value, NULL) != FJ_OK)
        return;
    json_must(fj_json_write(value, &opts, &first, &first_n, NULL) == FJ_OK);
    json_must(strlen(first) == first_n);
    fj_json_odd back = odd;
    if (odd == FJ_JSON_REFUSE) /* an object that looks like a wrapped form is written as the token */
        back = FJ_JSON_WRAP;
    opts.odd = back;
    json_must(fj_json_read(first, first_n, &opts, &again, NULL) == FJ_OK);
    json_must(fj_json_write(again, &opts, &second, &second_n, NULL) == FJ_OK);
    if (odd == FJ_JSON_WRAP)
        json_must(first_n == second_n && memcmp(first, second, first_n) == 0);
    free(first);
    free(second);
    json_decref(value);
    json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_one((const char *)data, n, FJ_JSON_WRAP);
    json_one((const char *)data, n, FJ_JSON_NULL);
    json_one((const char *)data, n, FJ_JSON_REFUSE);
    return 0;
}
