/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_CONFORMANCE_METHODS_H
#define FJORD_TESTS_CONFORMANCE_METHODS_H
/* What the server of each cell offers: the same functions, whatever the flavour. */
#include <fjord/endpoint.h>

/** The endpoint with every method of @p flavour.  Its data is the rig.  Lends, for ever. */
const fj_endpoint *methods_of(fj_flavour flavour);

#endif
