/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TARGET_H
#define FJORD_TARGET_H
/*
 * A target says where a message goes, or what a server listens to (oslo.messaging's Target).
 * Which fields a use needs: a server topic and server; a client topic; an endpoint ns and version.
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

typedef struct {
    size_t size;
    const char *exchange; /**< NULL: the transport's control_exchange */
    const char *topic;
    const char *server;  /**< this server only */
    const char *ns;      /**< namespace of the method; NULL is the null namespace, "" is another */
    const char *version; /**< "major.minor"; NULL: unset */
    bool fanout;         /**< every server of the topic (casts only) */
} fj_target;

#ifdef __cplusplus
static inline fj_target fj_target_make(const char *topic)
{
    fj_target t = fj_target();
    t.size = sizeof(fj_target);
    t.topic = topic;
    return t;
}
#else
/** Initialiser: `fj_target here = FJ_TARGET(.topic = "calc", .server = "host1");` */
#define FJ_TARGET(...)                         \
    {                                          \
        .size = sizeof(fj_target), __VA_ARGS__ \
    }
#endif

/** "<Target topic=calc, server=host1>", as oslo prints one in its errors.  @param ret gives; free() */
FJ_API FJ_MUST_USE fj_code fj_target_format(const fj_target *target, char **ret);

FJ_END_DECLS
#endif
