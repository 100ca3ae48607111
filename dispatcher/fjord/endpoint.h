/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_ENDPOINT_H
#define FJORD_ENDPOINT_H
/*
 * Endpoints: the methods a server offers, and the request a method is given.
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

typedef struct fj_request fj_request;

/** How a method waits.  Every flavour runs under every executor; [fjord] strict refuses those that only emulate it. */
typedef enum {
    FJ_PLAIN = 0, /**< as any code does: what blocks holds up the thread */
    FJ_GREEN, /**< by blocking calls of libc, which switch where libfjord-green is in the process: <fjord/green.h> */
    FJ_CORO /**< by functions marked FJ_AWAITS or FJ_MAY_AWAIT: always in a task, made where needed */
} fj_flavour;

/** A method.  fj_task_current() tells whether it runs in a task: every one does under an executor on a loop.
 *  @param req   lends, during the call; fj_request_ref() to keep it
 *  @param args  lends: the keyword arguments, an object
 *  @param ret   gives: the result; left NULL it is JSON null
 *  @return FJ_OK; FJ_DEFERRED when req was kept and will be answered later; else a failure, set with
 *          fj_fail() or fj_raise() (a bare code is sent with the code's text) */
typedef fj_code (*fj_method_fn)(fj_request *req, json_t *args, json_t **ret, fj_error **err);

/** Flags of a method; FJ_EXPECTED (error.h) marks all its failures as expected. */
enum {
    FJ_EXPOSED = 1 << 8 /**< callable under the explicit access policy */
};

/** A method named "*" takes every method name that no other method takes, under the same access policy: names
 *  that begin with '_' stay private.  fj_request_method() tells which it was. */
typedef struct {
    size_t size;
    const char *name;
    fj_flavour flavour;
    fj_method_fn fn;
    unsigned flags;
} fj_method;

typedef struct {
    size_t size;
    const char *ns;      /**< namespace; NULL is the null namespace */
    const char *version; /**< NULL: "1.0" */
    const fj_method *methods;
    size_t method_size; /**< sizeof(fj_method) where the table was compiled */
    size_t count;
    const char *const *legacy_ns; /**< further namespaces, `legacy_count` of them; an item may be NULL */
    size_t legacy_count;
} fj_endpoint;

/** `static const fj_method calc_methods[] = { FJ_METHOD("add", FJ_PLAIN, add) };` */
#define FJ_METHOD(name, flavour, fn)                   \
    {                                                  \
        sizeof(fj_method), (name), (flavour), (fn), 0u \
    }
#define FJ_METHOD_FLAGS(name, flavour, fn, flags)           \
    {                                                       \
        sizeof(fj_method), (name), (flavour), (fn), (flags) \
    }
/** `static const fj_endpoint calc = FJ_ENDPOINT("calc", "1.1", calc_methods);` */
#define FJ_ENDPOINT(ns, version, table)                                                                        \
    {                                                                                                          \
        sizeof(fj_endpoint), (ns), (version), (table), sizeof((table)[0]), sizeof(table) / sizeof((table)[0]), \
            NULL, 0                                                                                            \
    }

/* ---- the request, as a method sees it.  All lend, as long as the caller holds a reference. -------- */

/** The data given to fj_server_add(). */
FJ_API void *fj_request_data(const fj_request *req);
FJ_API const char *fj_request_method(const fj_request *req);
FJ_API const char *fj_request_ns(const fj_request *req);      /**< NULL: null namespace */
FJ_API const char *fj_request_version(const fj_request *req); /**< "1.0" when the caller gave none */
/** The caller's context, deserialized; an object, with client_timeout in it; frozen: do not change it. */
FJ_API const json_t *fj_request_context(const fj_request *req);
/** Whether the caller waits for an answer. */
FJ_API bool fj_request_is_call(const fj_request *req);

/** Keep the request beyond the method, to answer it later.  @thread any */
FJ_API fj_request *fj_request_ref(fj_request *req);
/** Drop a reference; dropping the last one of a deferred request unanswered sends a failure.  Accepts NULL. */
FJ_API fj_request *fj_request_unref(fj_request *req);
/** Answer a deferred request, once, from any thread.  Nothing is sent for a cast.
 *  @param result takes; NULL for JSON null   @errors STATE when it was answered; FORKED in a child of the
 *  process that took it; those of reply in driver.h */
FJ_API fj_code fj_request_reply(fj_request *req, json_t *result, fj_error **err);
/** @param failure takes; not NULL */
FJ_API fj_code fj_request_fail(fj_request *req, fj_error *failure, fj_error **err);

FJ_END_DECLS
#endif
