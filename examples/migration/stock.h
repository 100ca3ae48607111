/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EXAMPLE_STOCK_H
#define EXAMPLE_STOCK_H
/* Stands for a library that was there before: it knows nothing of Fjord, and blocks. */

/** Ask the stock service at 127.0.0.1:@p port how many there are of @p item.  @return -1: it does not answer, with errno */
int stock_ask(unsigned short port, const char *item);

#endif
