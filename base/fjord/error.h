/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_ERROR_H
#define FJORD_ERROR_H
/*
 * Error codes and the error object.  Every function that can fail answers an fj_code and, through a
 * last parameter `fj_error **err` (which may be NULL), the details.  *err is written on failure only.
 */
#include <fjord/base.h>
#include <jansson.h>

FJ_BEGIN_DECLS

/*
 * One list makes the enum, the names, the texts and the table from codes to Python classes (what a
 * Python caller of a C method sees; wire.md section 8).  Values are never renumbered, only appended.
 *   X(name, value, retriable, python module, python class, text)
 * retriable: the same call may succeed later with nothing changed on this side.
 */
#define FJ_CODES(X)                                                                                            \
    X(OK, 0, 0, "", "", "done")                                                                                \
    X(DEFERRED, 1, 0, "", "", "the request will be answered later")                                            \
    X(TIMEOUT, 2, 1, "oslo_messaging.exceptions", "MessagingTimeout", "no answer in time")                     \
    X(CANCELLED, 3, 0, "concurrent.futures._base", "CancelledError", "the caller gave up")                     \
    X(UNREACHABLE, 4, 1, "oslo_messaging.exceptions", "MessageDeliveryFailure", "no broker could be reached")  \
    X(LOST, 5, 1, "oslo_messaging.exceptions", "MessageDeliveryFailure",                                       \
      "the connection was lost before the outcome was known")                                                  \
    X(REMOTE, 6, 0, "oslo_messaging.rpc.client", "RemoteError", "the remote method failed")                    \
    X(RAISED, 7, 0, "builtins", "Exception", "the method raised an error of its own class")                    \
    X(NOMEM, 8, 1, "builtins", "MemoryError", "out of memory")                                                 \
    X(BAD_ARGS, 9, 0, "builtins", "TypeError", "wrong arguments")                                              \
    X(BAD_VALUE, 10, 0, "builtins", "ValueError", "a value outside its range")                                 \
    X(NOT_FOUND, 11, 0, "builtins", "KeyError", "no such thing")                                               \
    X(NO_METHOD, 12, 0, "oslo_messaging.rpc.dispatcher", "NoSuchMethod", "no such method")                     \
    X(BAD_VERSION, 13, 0, "oslo_messaging.rpc.dispatcher", "UnsupportedVersion",                               \
      "no endpoint serves this version")                                                                       \
    X(VERSION_CAP, 14, 0, "oslo_messaging.rpc.client", "RPCVersionCapError",                                   \
      "the message's version is above the cap")                                                                \
    X(BAD_TARGET, 15, 0, "oslo_messaging.exceptions", "InvalidTarget", "the target is not valid")              \
    X(BAD_URL, 16, 0, "oslo_messaging.transport", "InvalidTransportURL", "the transport URL is not valid")     \
    X(NO_DRIVER, 17, 0, "oslo_messaging.transport", "DriverLoadFailure", "no driver of that name")             \
    X(NO_EXECUTOR, 18, 0, "oslo_messaging.server", "ExecutorLoadFailure", "no executor of that name")          \
    X(BAD_CONFIG, 19, 0, "builtins", "ValueError", "the configuration is not valid")                           \
    X(UNDELIVERABLE, 20, 1, "oslo_messaging.exceptions", "MessageUndeliverable",                               \
      "no queue takes this message")                                                                           \
    X(REFUSED, 21, 1, "oslo_messaging.exceptions", "MessageDeliveryFailure", "the broker refused the message") \
    X(AUTH, 22, 0, "oslo_messaging.exceptions", "MessageDeliveryFailure", "the broker refused the login")      \
    X(ACCESS, 23, 0, "builtins", "PermissionError", "access refused")                                          \
    X(NO_QUEUE, 24, 1, "oslo_messaging.exceptions", "MessageDeliveryFailure",                                  \
      "the queue or exchange does not exist")                                                                  \
    X(MISMATCH, 25, 0, "oslo_messaging.exceptions", "MessageDeliveryFailure",                                  \
      "the queue or exchange exists with other properties")                                                    \
    X(PROTOCOL, 26, 0, "builtins", "RuntimeError", "the peer broke the protocol")                              \
    X(BAD_JSON, 27, 0, "builtins", "ValueError", "not valid JSON")                                             \
    X(BAD_MESSAGE, 28, 0, "builtins", "ValueError", "a message of the wrong shape")                            \
    X(TOO_BIG, 29, 0, "builtins", "ValueError", "over the size limit")                                         \
    X(TOO_DEEP, 30, 0, "builtins", "ValueError", "nested over the depth limit")                                \
    X(AGAIN, 31, 1, "builtins", "BlockingIOError", "nothing now; try again")                                   \
    X(BUSY, 32, 1, "builtins", "RuntimeError", "every slot is taken")                                          \
    X(CLOSED, 33, 0, "builtins", "RuntimeError", "already closed or stopped")                                  \
    X(STATE, 34, 0, "builtins", "RuntimeError", "not legal in this state")                                     \
    X(WRONG_CONTEXT, 35, 0, "builtins", "RuntimeError", "a blocking call on a loop's thread outside a task")   \
    X(FORKED, 36, 0, "builtins", "RuntimeError", "the handle was made before a fork")                          \
    X(UNSUPPORTED, 37, 0, "builtins", "NotImplementedError", "not supported here")                             \
    X(SYSTEM, 38, 1, "builtins", "OSError", "the system refused")                                              \
    X(INTERNAL, 39, 0, "builtins", "RuntimeError", "a defect in Fjord")                                        \
    X(TLS, 40, 0, "oslo_messaging.exceptions", "MessageDeliveryFailure",                                       \
      "the broker, or this client, refused TLS")                                                               \
    X(REQUEUE, 41, 1, "builtins", "RuntimeError", "the notification is to be delivered again")

typedef enum {
#define X(name, value, retriable, module, class_, text) FJ_##name = value,
    FJ_CODES(X)
#undef X
    /** Codes from here on belong to the application: see fj_remote_error in client.h. */
    FJ_USER = 1000
} fj_code;

/** Whether the broker, and so perhaps a server, has the message that the failed operation sent. */
typedef enum {
    FJ_SENT_NO = 0, /**< certainly not: sending again cannot do it twice */
    FJ_SENT_MAYBE,  /**< it left this process, and its fate is unknown */
    FJ_SENT_YES     /**< the broker confirmed it, or an answer came */
} fj_sent;

/** Flags of an error: see fj_error_set_flags(). */
enum {
    /** An expected failure (oslo's expected_exceptions): it is sent to the caller as any other, but
     *  the server logs it at debug level only. */
    FJ_EXPECTED = 1 << 0
};

typedef struct fj_error fj_error;

/** "TIMEOUT" for FJ_TIMEOUT; "USER" for the application's codes; "?" for others.  @thread any */
FJ_API const char *fj_code_name(fj_code code);
/** The code's general text, such as "no answer in time".  @thread any */
FJ_API const char *fj_code_text(fj_code code);
/** Whether the same operation may succeed later with nothing changed on this side.  @thread any */
FJ_API bool fj_code_retriable(fj_code code);
/** The Python module and class that stand for @p code on the wire.  Lends, for ever.  @thread any */
FJ_API const char *fj_code_module(fj_code code);
FJ_API const char *fj_code_class(fj_code code);

/** Make an error and return its code, so that a method can end with
 *  `return fj_fail(err, FJ_BAD_ARGS, "add needs integers")`.
 *  @param err   may be NULL (only the code is answered); an error already in *err is freed first
 *  @return @p code always, also when memory for the details ran out.   @thread any */
FJ_API fj_code fj_fail(fj_error **err, fj_code code, const char *format, ...) FJ_PRINTF(3, 4);

/** As fj_fail(), with a Python class of one's own: a Python caller that allows @p module raises it,
 *  any other sees RemoteError with that class name.
 *  @param args  takes; the exception's args, an array; NULL for [text]
 *  @return FJ_RAISED.   @thread any */
FJ_API fj_code fj_raise(fj_error **err, const char *module, const char *class_name, json_t *args,
                        const char *format, ...) FJ_PRINTF(5, 6);

/** Put "text: " of the caller's view in front of the error's text.  Nothing if *err is NULL. */
FJ_API void fj_error_prefix(fj_error **err, const char *format, ...) FJ_PRINTF(2, 3);

/** Accepts NULL; answers NULL, so that `err = fj_error_free(err)` reads in one line. */
FJ_API fj_error *fj_error_free(fj_error *err);
/** A deep copy, or NULL when memory ran out (or @p err is NULL).  Gives. */
FJ_API fj_error *fj_error_copy(const fj_error *err);
/** Move @p err (takes) into *@p to when @p to is not NULL, else free it; answers its code. */
FJ_API fj_code fj_error_move(fj_error *err, fj_error **to);

/* What an error says.  All accept NULL (then: FJ_OK, "", FJ_SENT_NO, false, NULL).  What they lend is
 * valid as long as the error. */
FJ_API fj_code fj_error_code(const fj_error *err);
FJ_API const char *fj_error_text(const fj_error *err);
/** Where: "localhost:5672 vhost / queue calc", or "" when the error has no place. */
FJ_API const char *fj_error_where(const fj_error *err);
FJ_API fj_sent fj_error_sent(const fj_error *err);
FJ_API bool fj_error_retriable(const fj_error *err);
FJ_API unsigned fj_error_flags(const fj_error *err);
/** The class and module of a failure that came from, or goes to, the other side; for errors of this
 *  side the table's entry for the code. */
FJ_API const char *fj_error_remote_class(const fj_error *err);
FJ_API const char *fj_error_remote_module(const fj_error *err);
FJ_API const json_t *fj_error_remote_args(const fj_error *err);   /**< array or NULL */
FJ_API const json_t *fj_error_remote_kwargs(const fj_error *err); /**< object or NULL */
FJ_API const json_t *fj_error_traceback(const fj_error *err);     /**< array of strings or NULL */

/* Complete an error under construction.  Nothing happens when @p err is NULL. */
FJ_API void fj_error_set_code(fj_error *err, fj_code code);
FJ_API void fj_error_set_where(fj_error *err, const char *format, ...) FJ_PRINTF(2, 3);
FJ_API void fj_error_set_sent(fj_error *err, fj_sent sent);
FJ_API void fj_error_set_flags(fj_error *err, unsigned flags);
/** @param class_name, module  copied; NULL leaves the table's entry
 *  @param args, kwargs, traceback  take; NULL for none */
FJ_API void fj_error_set_remote(fj_error *err, const char *module, const char *class_name, json_t *args,
                                json_t *kwargs, json_t *traceback);

/** "no | maybe | yes".  @thread any */
FJ_API const char *fj_sent_name(fj_sent sent);

FJ_END_DECLS
#endif
