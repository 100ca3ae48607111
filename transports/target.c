/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buffer.h"
#include <fjord/target.h>

#include <string.h>

static bool append(fj__buf *b, const char *text)
{
    return fj__buf_append(b, text, strlen(text));
}

/* A comma from the second field on, then "key=value".  As in Python, unset and empty are one. */
static bool field(fj__buf *b, const char **gap, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return true;
    bool ok = append(b, *gap) && append(b, key) && append(b, "=") && append(b, value);
    *gap = ", ";
    return ok;
}

fj_code fj_target_format(const fj_target *target, char **ret)
{
    fj__buf b = { 0 };
    const char *gap = "";
    bool ok = append(&b, "<Target ") && field(&b, &gap, "exchange", target->exchange) &&
              field(&b, &gap, "topic", target->topic) && field(&b, &gap, "namespace", target->ns) &&
              field(&b, &gap, "version", target->version) && field(&b, &gap, "server", target->server) &&
              field(&b, &gap, "fanout", target->fanout ? "True" : NULL) && append(&b, ">");
    char *text = ok ? fj__strndup((const char *)fj__buf_data(&b), fj__buf_len(&b)) : NULL;

    fj__buf_fini(&b);
    if (text == NULL)
        return FJ_NOMEM;
    *ret = text;
    return FJ_OK;
}
