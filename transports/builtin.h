/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TRANSPORTS_BUILTIN_H
#define FJORD_TRANSPORTS_BUILTIN_H
/* The drivers that are part of the library. */
#include <fjord/driver.h>

extern const fj_driver_ops fj__fake_driver;
extern const fj_driver_ops fj__amqp_driver;

#endif
