/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for some of several futures. */
#include "base/native.h"
#include "runtime/batch.h"

#include "base/alloc.h"

#include <fjord/await.h>

static bool enough(const fj__batch *b, void *user)
{
    switch (*(const fj_wait_until *)user) {
    case FJ_FIRST_COMPLETED:
        return b->done != 0 || b->n == 0;
    case FJ_FIRST_ERROR:
        return b->failed != 0 || b->done == b->n;
    default:
        return b->done == b->n;
    }
}

fj_code fj_wait(fj_future *const *futures, size_t n, fj_wait_until until, fj_deadline by, size_t *ret_done,
                fj_error **err)
{
    fj__batch *b = NULL;
    fj_code code = fj__batch_new(futures, n, &b, err);

    if (code != FJ_OK)
        return code;
    code = fj__batch_wait(b, enough, &until, by);
    if (ret_done != NULL && (code == FJ_OK || code == FJ_TIMEOUT)) {
        (void)fj__native.pthread_mutex_lock(&b->lock);
        *ret_done = b->done;
        (void)fj__native.pthread_mutex_unlock(&b->lock);
    }
    fj__batch_free(b);
    return code == FJ_OK ? FJ_OK : fj_fail(err, code, "waiting for %zu futures: %s", n, fj_code_text(code));
}

struct fj_as_completed {
    fj__batch *batch;
    size_t taken;
};

fj_code fj_as_completed_new(fj_future *const *futures, size_t n, fj_as_completed **ret, fj_error **err)
{
    fj_as_completed *it = fj__zalloc(sizeof *it);

    if (it == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to watch %zu futures", n);
    fj_code code = fj__batch_new(futures, n, &it->batch, err);
    if (code != FJ_OK) {
        fj__free(it);
        return code;
    }
    *ret = it;
    return FJ_OK;
}

static bool one_there(const fj__batch *b, void *user)
{
    (void)user;
    return b->first != NULL;
}

fj_code fj_as_completed_next(fj_as_completed *it, fj_deadline by, fj_future **ret)
{
    if (it->taken == it->batch->n)
        return FJ_NOT_FOUND;
    fj_code code = fj__batch_wait(it->batch, one_there, NULL, by);
    if (code == FJ_OK) {
        *ret = fj__batch_take(it->batch);
        it->taken++;
    }
    return code;
}

fj_as_completed *fj_as_completed_free(fj_as_completed *it)
{
    if (it != NULL)
        fj__batch_free(it->batch);
    fj__free(it);
    return NULL;
}
