/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#define DEPTH_MAX 64u

/* Whether some part of the value may have a second holder; sets *deep when it nests too far. */
static bool shared(const json_t *value, unsigned depth, bool *deep)
{
    bool found = value->refcount != 1 && value->refcount != (size_t)-1; /* -1: true, false and null */

    if (depth > DEPTH_MAX) {
        *deep = true;
        return true;
    }
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value) && !*deep; i++)
            found |= shared(json_array_get(value, i), depth + 1, deep);
    } else if (json_is_object(value)) {
        void *unsafe = json_object_iter((json_t *)(uintptr_t)value); /* only to walk: nothing is changed */
        while (unsafe != NULL && !*deep) {
            found |= shared(json_object_iter_value(unsafe), depth + 1, deep);
            unsafe = json_object_iter_next((json_t *)(uintptr_t)value, unsafe);
        }
    }
    return found;
}

fj_code fj__fake_hand_over(json_t *value, json_t **ret, fj_error **err)
{
    bool deep = false;
    bool copy = shared(value, 1, &deep);

    if (deep)
        return fj_fail(err, FJ_TOO_DEEP, "a value nests more than %u levels deep", DEPTH_MAX);
    *ret = copy ? json_deep_copy(value) : json_incref(value);
    return *ret != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "no memory to copy a value");
}
