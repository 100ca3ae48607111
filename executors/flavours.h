/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_FLAVOURS_H
#define FJORD_EXECUTORS_FLAVOURS_H
/*
 * The table of executors and flavours: which methods run as what they are, and which are emulated, that is to say, run by
 * something that is brought in for them, or without what their flavour promises.
 */
#include <fjord/executor.h>

/** How methods of @p flavour are emulated under @p ops with @p conf, such as "on a loop of its thread's own"; NULL: they are
 *  not.  Only once the hooks were switched on, as far as they are there.  @return lends, for ever */
const char *fj__emulated(const fj_executor_ops *ops, fj_flavour flavour, const fj_conf *conf);
/** Refuse what [fjord] strict refuses: a dispatcher with a method that is emulated under @p ops.
 *  @errors BAD_CONFIG names the first such method and says what to change */
fj_code fj__strict(const fj_executor_ops *ops, const fj_dispatcher *d, const fj_conf *conf, fj_error **err);

#endif
