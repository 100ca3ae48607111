/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <string.h>

void fj__text_cut(char *into, size_t n, const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;

    if (len >= n) {
        for (len = n - 1; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
            len--;
    }
    if (len != 0)
        memcpy(into, text, len);
    into[len] = '\0';
}
