/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_SERIALIZER_H
#define FJORD_SERIALIZER_H
/*
 * Serializers turn a program's entities and contexts into plain JSON on the way out and back on the way in
 * (oslo.messaging's Serializer).  On a client: arguments out, result in; on a server: arguments in, result out.
 * Entities are converted one argument at a time.
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

/** Each slot: @param in lends.  @param ret gives (a new reference; `*ret = json_incref(in)` passes through).
 *  NULL slots pass through.  Called on the thread of the call or method, never with a lock held. */
typedef struct {
    size_t size;
    void *user;
    fj_code (*entity_out)(void *user, const json_t *context, json_t *in, json_t **ret, fj_error **err);
    fj_code (*entity_in)(void *user, const json_t *context, json_t *in, json_t **ret, fj_error **err);
    fj_code (*context_out)(void *user, json_t *in, json_t **ret, fj_error **err);
    fj_code (*context_in)(void *user, json_t *in, json_t **ret, fj_error **err);
} fj_serializer;
#define FJ_SERIALIZER_INIT                                  \
    {                                                       \
        sizeof(fj_serializer), NULL, NULL, NULL, NULL, NULL \
    }

FJ_END_DECLS
#endif
