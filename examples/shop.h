/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHOP_H
#define SHOP_H
/* The shop that coroutine_server serves and loop_client asks. */
#include <fjord/fjord.h>

/** Methods price(item), total(a, b) and remind(seconds), in no namespace.  Its data is a client for "shop". */
extern const fj_endpoint shop_endpoint;

#endif
