/* SPDX-License-Identifier: Apache-2.0 */
/* Reads JSON a line on standard input and writes each back on a line, or `refused`: for tests/interop/json_oracle.py. */
#include <fjord/json.h>

#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    while ((n = getline(&line, &room, stdin)) > 0) {
        json_t *value = NULL;
        char *text = NULL;

        if (line[n - 1] == '\n')
            n--;
        if (fj_json_read(line, (size_t)n, NULL, &value, NULL) == FJ_OK &&
            fj_json_write(value, NULL, &text, NULL, NULL) == FJ_OK)
            (void)puts(text);
        else
            (void)puts("refused");
        json_decref(value);
        free(text);
    }
    free(line);
    return 0;
}
