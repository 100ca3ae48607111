/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

static const char *names[MOST];
static unsigned n_names;

/* Built-in ones, and plug-ins by their names, or paths, in FJ_TEST_EXECUTORS. */
static void read_names(void)
{
    static char more[1024];
    const char *named = getenv("FJ_TEST_EXECUTORS");
    char *rest = NULL;

    for (const fj_executor_ops *x; n_names < MOST && (x = fj_executor_builtin(n_names)) != NULL;)
        names[n_names++] = x->name;
    (void)snprintf(more, sizeof more, "%s", named != NULL ? named : "");
    for (char *name = strtok_r(more, " ", &rest); name != NULL && n_names < MOST;
         name = strtok_r(NULL, " ", &rest))
        names[n_names++] = name;
}

static unsigned executors(void)
{
    if (n_names == 0)
        read_names();
    return n_names;
}

unsigned table_columns(void)
{
    return executors() * TABLE_FLAVOURS;
}

static const char *const flavour_names[] = { [FJ_PLAIN] = "plain", [FJ_GREEN] = "green", [FJ_CORO] = "coro" };
static const fj_flavour flavours[TABLE_FLAVOURS] = { FJ_PLAIN, FJ_GREEN, FJ_CORO };

static const scenario *const all[] = { scenarios_calls, scenarios_inner, scenarios_load, scenarios_ends,
                                       scenarios_lost };

const scenario *table_row(unsigned i)
{
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
        for (const scenario *s = all[k]; s->name != NULL; s++)
            if (i-- == 0)
                return s;
    return NULL;
}

unsigned table_rows(void)
{
    unsigned n = 0;

    while (table_row(n) != NULL)
        n++;
    return n;
}

cell table_cell(unsigned column, const char *url)
{
    (void)executors();
    return (cell){ names[column / TABLE_FLAVOURS], flavours[column % TABLE_FLAVOURS], url };
}

const char *table_flavour(unsigned column)
{
    return flavour_names[flavours[column % TABLE_FLAVOURS]];
}

/* One executor's three flavours of a row, as "ok" or as the letters of those that are not. */
static void print_field(const outcome *three)
{
    static const char letters[] = "pgc";
    char bad[TABLE_FLAVOURS + 1] = "";
    int n = 0;
    bool run = false;

    for (int i = 0; i < TABLE_FLAVOURS; i++) {
        run = run || three[i] != CELL_NOT_RUN;
        if (three[i] == CELL_BAD)
            bad[n++] = letters[i];
    }
    bad[n] = '\0';
    if (n > 0)
        (void)printf("  FAIL %-6s", bad);
    else
        (void)printf("  %-11s", run ? "ok" : "-");
}

void table_print(const char *transport, const outcome *cells)
{
    (void)printf("%-40s", transport);
    for (unsigned i = 0; i < executors(); i++)
        (void)printf("  %-11s", names[i]);
    for (unsigned row = 0; row < table_rows(); row++, cells += table_columns()) {
        unsigned run = 0;
        for (unsigned i = 0; i < table_columns(); i++)
            run += cells[i] != CELL_NOT_RUN ? 1 : 0;
        if (run == 0)
            continue;
        (void)printf("\n%-40s", table_row(row)->name);
        for (unsigned i = 0; i < executors(); i++)
            print_field(cells + i * TABLE_FLAVOURS);
    }
    (void)printf("\n");
}

bool table_save(const char *transport, const outcome *cells)
{
    static const char *const words[] = { "not run", "ok", "FAILED" };
    const char *path = getenv("FJ_RESULTS");
    FILE *out = path != NULL && *path != '\0' ? fopen(path, "ae") : NULL;

    if (out == NULL)
        return path == NULL || *path == '\0';
    for (unsigned row = 0; row < table_rows(); row++)
        for (unsigned i = 0; i < table_columns(); i++)
            (void)fprintf(out, "%s|%s|%s|%s|%s\n", transport, table_row(row)->name, names[i / TABLE_FLAVOURS],
                          table_flavour(i), words[*cells++]);
    return fclose(out) == 0;
}
