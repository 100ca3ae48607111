/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_ACCESS_H
#define FJORD_ACCESS_H
/* Access policies: which methods of an endpoint a peer may call (wire.md section 10). */
#include <fjord/base.h>

FJ_BEGIN_DECLS

typedef enum {
    FJ_ACCESS_DEFAULT = 0, /**< all but names that begin with '_' */
    FJ_ACCESS_LEGACY,      /**< all */
    FJ_ACCESS_EXPLICIT     /**< those flagged FJ_EXPOSED */
} fj_access;

FJ_END_DECLS
#endif
