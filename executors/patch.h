/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_PATCH_H
#define FJORD_EXECUTORS_PATCH_H
#include <fjord/conf.h>
#include <fjord/error.h>

/** Switch on the groups of hooks that [fjord] patch names (all but mutex without a configuration), as far as they are there, and
 *  log which are.
 *  @param insists  whether [fjord] green_require_hooks has a say
 *  @errors BAD_CONFIG (no such group); UNSUPPORTED when hooks are missing and required   @thread any */
fj_code fj__patch(const fj_conf *conf, bool insists, fj_error **err);
/** Whether green methods switch as promised: every group of hooks that [fjord] patch names is on, and there is one. */
bool fj__patch_is_live(const fj_conf *conf);

#endif
