/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "## `blocking`"; plug-ins are not on the page */
static bool is_heading(const char *line, unsigned executor)
{
    const fj_executor_ops *x = fj_executor_builtin(executor);
    char wanted[80];

    if (x == NULL)
        return false;
    (void)snprintf(wanted, sizeof wanted, "## `%s`", x->name);
    return strcmp(line, wanted) == 0;
}

static bool is_row(const char *line, unsigned row)
{
    const char *name = table_row(row)->name;

    return strncmp(line, "| ", 2) == 0 && strncmp(line + 2, name, strlen(name)) == 0 &&
           strncmp(line + 2 + strlen(name), " | ", 3) == 0;
}

/* Whether the page, which is open, holds a table for each executor, with these rows alone.
 * @param line, size  room; holds the line that is wrong */
static bool tables_are_right(FILE *in, char *line, int size)
{
    unsigned tables = 0, row = table_rows();

    while (fgets(line, size, in) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "## ", 3) == 0) {
            if (row != table_rows() || !is_heading(line, tables++))
                return false;
            row = 0;
        } else if (tables > 0 && strncmp(line, "| ", 2) == 0 && strncmp(line, "| scenario |", 12) != 0) {
            if (row == table_rows() || !is_row(line, row++))
                return false;
        }
    }
    (void)snprintf(line, (size_t)size, "its end");
    return tables > 0 && fj_executor_builtin(tables) == NULL && row == table_rows();
}

bool page_is_right(const char *path)
{
    char line[600] = "it cannot be read";
    FILE *in = fopen(path, "re");
    bool good = in != NULL && tables_are_right(in, line, (int)sizeof line);

    if (in != NULL)
        (void)fclose(in);
    if (!good)
        (void)printf("FAILED %s names other scenarios or executors than there are (%s): `make "
                     "conformance-page` writes it\n",
                     path, line);
    return good;
}
