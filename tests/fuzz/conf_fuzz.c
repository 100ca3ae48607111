/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever the bytes: no crash; what is read is read alike by whoever refuses at the first error and by whoever goes on; every value
 * is in its plain form, and that form reads as itself. */
#include "base/conf_state.h"

#include <stdlib.h>
#include <string.h>

static void conf_must(bool holds)
{
    if (!holds)
        abort();
}

static bool count_errors(void *user, const char *name, unsigned line, const char *group, const char *key,
                         const char *text)
{
    (void)name, (void)group, (void)key;
    conf_must(line != 0);
    if (text != NULL)
        ++*(unsigned *)user;
    return true;
}

static void one_option(const fj__state *s, const fj__option *o)
{
    fj__value v = { 0 };
    char *again = NULL;

    if (fj__value_make(s, o, &v, NULL) == FJ_OK && v.text != NULL && o->effect != FJ__FOREIGN) {
        conf_must(fj__option_plain(o, v.text, &again, NULL) == FJ_OK);
        conf_must(strcmp(again, v.text) == 0);
    }
    free(again);
    fj__value_fini(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fj__state *lenient = fj__state_new(), *strict = fj__state_new();
    const fj__option *o;
    unsigned errors = 0;

    conf_must(fj__state_parse(lenient, "f", (const char *)data, n, 0, count_errors, &errors, NULL) == FJ_OK);
    fj_code rc = fj__state_parse(strict, "f", (const char *)data, n, 0, NULL, NULL, NULL);
    conf_must((rc == FJ_OK) == (errors == 0));
    conf_must(rc != FJ_OK || strict->n == lenient->n);
    for (size_t i = 0; (o = fj__option_at(i)) != NULL; i++)
        one_option(lenient, o);
    fj__state_free(lenient);
    fj__state_free(strict);
    return 0;
}
