/* SPDX-License-Identifier: Apache-2.0 */
#include "access.h"

bool fj__access_allows(fj_access policy, const fj_method *method, const char *name)
{
    switch (policy) {
    case FJ_ACCESS_LEGACY:
        return true;
    case FJ_ACCESS_EXPLICIT:
        return (method->flags & FJ_EXPOSED) != 0;
    case FJ_ACCESS_DEFAULT:
        break;
    }
    return name[0] != '_';
}
