/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_CONFORMANCE_TABLE_H
#define FJORD_TESTS_CONFORMANCE_TABLE_H
/* The table's rows and columns, and how its cells come out. */
#include "tests/conformance/scenarios.h"

enum { TABLE_FLAVOURS = 3 };

/** Flavours of executors: those built in, and those that FJ_TEST_EXECUTORS names. */
unsigned table_columns(void);

/** The i-th row, or NULL past the last. */
const scenario *table_row(unsigned i);
unsigned table_rows(void);
/** The cell in @p column of whatever row. */
cell table_cell(unsigned column, const char *url);
const char *table_flavour(unsigned column);

/** How a cell came out over all seeds. */
typedef enum { CELL_NOT_RUN, CELL_GOOD, CELL_BAD } outcome;

/** Say it: a table if all cells were run, else or if some failed nothing but those.
 *  @param cells rows × columns, row by row */
void table_print(const char *transport, const outcome *cells);
/** Append it to the file that FJ_RESULTS names, if it does: a line a cell.  @return false when it cannot */
bool table_save(const char *transport, const outcome *cells);

/* page.c */
/** Whether the page that scripts/conformance-page wrote names these rows and executors, in this order and no others; prints
 *  what is wrong with it.  What it says of the outcomes is the last run's. */
bool page_is_right(const char *path);

#endif
