/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_ERROR_H
#define FJORD_BASE_ERROR_H
/* The error object from inside the library. */
#include <fjord/error.h>

/** The shared error that stands for "out of memory" when there is none for an error object. */
bool fj__error_is_static(const fj_error *err);

#endif
