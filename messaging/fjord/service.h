/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_SERVICE_H
#define FJORD_SERVICE_H
/*
 * A service: worker processes that serve, and a parent that keeps them (docs/services.md).
 *
 * A factory runs in each worker, after the fork, and builds what is served there: nothing is inherited but the configuration.
 * The parent has no loop, no connection and no thread but those that write its log and that of its backdoor, and neither may the program have when it calls
 * fj_service_run().
 *
 *   SIGTERM   workers take no more and finish what runs ([fjord] drain); what does not end is given up, and named.
 *   SIGINT    the same without the time to finish; and so does a second SIGTERM.
 *   SIGHUP    the configuration's files are read again, if they are good; else nothing changes.
 *
 * Under systemd (Type=notify) it tells READY when every worker listens, RELOADING, STOPPING, STATUS, and WATCHDOG while
 * every worker turns and has its broker.
 */
#include <fjord/base.h>
#include <fjord/conf.h>
#include <fjord/error.h>
#include <fjord/notify_listener.h>
#include <fjord/server.h>
#include <fjord/target.h>
#include <fjord/transport.h>

FJ_BEGIN_DECLS

typedef struct fj_service fj_service;
/** A worker process, as seen from within. */
typedef struct fj_worker fj_worker;

/** Build what @p worker serves, on its main thread: see fj_worker_transport(), fj_worker_server() and fj_worker_listener().  Nothing is started by it.
 *  When it fails the worker ends, and is started again, but for an error before the service was ever ready that would come
 *  again (fj_code_retriable()): that ends the service. */
typedef fj_code (*fj_worker_fn)(fj_worker *worker, void *user, fj_error **err);
typedef void (*fj_worker_hook)(fj_worker *worker, void *user);

/** @param conf lends (copied); NULL for the defaults   @param ret gives   @errors NOMEM   @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_service_new(const fj_conf *conf, fj_service **ret, fj_error **err);
/** Not while it runs.  Accepts NULL, answers NULL. */
FJ_API fj_service *fj_service_free(fj_service *service);
/** Have @p workers processes run @p factory.  With 0 it runs in this process, for a debugger; then so must all others of
 *  this service.
 *  @param name  for the log (copied)   @param user  lends until the service is freed, and is seen by each worker as it was at the
 *  fork   @errors BAD_ARGS, NOMEM; STATE while it runs */
FJ_API FJ_MUST_USE fj_code fj_service_add(fj_service *service, const char *name, fj_worker_fn factory,
                                          void *user, unsigned workers, fj_error **err);
/** Call @p fn in the parent once every worker listens for the first time, when systemd is told READY.  Before it runs. */
FJ_API void fj_service_at_ready(fj_service *service, void (*fn)(void *user), void *user);
/** Run the workers until SIGTERM or SIGINT.  Workers that end are started again, as many at once as a name has workers and
 *  one each [fjord] respawn_delay after that.  Takes SIGTERM, SIGINT, SIGHUP and SIGCHLD while it runs.  When this process
 *  dies its workers drain and end.
 *  @blocks   @return OK when every worker ended in order
 *  @errors TIMEOUT names what was given up; what a factory or a start answered, see fj_worker_fn; STATE when nothing was
 *  added, or on a loop; FORKED; SYSTEM, NOMEM   @thread the only one of the process */
FJ_API FJ_MUST_USE fj_code fj_service_run(fj_service *service, fj_error **err);

/* ---- in a worker -------------------------------------------------------------------------------- */

/** The name given to fj_service_add().  Lends. */
FJ_API const char *fj_worker_name(const fj_worker *worker);
/** 0 to workers - 1: one that is started again has its number again. */
FJ_API unsigned fj_worker_number(const fj_worker *worker);
/** The configuration in use.  Lends. */
FJ_API const fj_conf *fj_worker_conf(const fj_worker *worker);
/** As fj_transport_open(), with the worker's configuration; SIGHUP reloads it.  In a factory.
 *  @param ret lends: the worker frees it at its end   @errors as fj_transport_open() */
FJ_API FJ_MUST_USE fj_code fj_worker_transport(fj_worker *worker, const char *url, fj_transport **ret,
                                               fj_error **err);
/** As fj_server_new(): give it endpoints with fj_server_add(); the worker starts it after the factory.  In a factory.
 *  @param ret lends: the worker frees it at its end   @errors as fj_server_new() */
FJ_API FJ_MUST_USE fj_code fj_worker_server(fj_worker *worker, fj_transport *transport, const fj_target *target,
                                            const fj_server_opts *opts, fj_server **ret, fj_error **err);
/** As fj_notify_listener_new(), for what fj_worker_server() is to servers: give it endpoints with fj_notify_listener_add().  In a factory.
 *  @param ret lends: the worker frees it at its end   @errors as fj_notify_listener_new() */
FJ_API FJ_MUST_USE fj_code fj_worker_listener(fj_worker *worker, fj_transport *transport,
                                              const fj_target *targets, size_t n,
                                              const fj_notify_listener_opts *opts, fj_notify_listener **ret,
                                              fj_error **err);
/** Call @p fn after each reload, on a thread of its own.  One at a time; NULL for none.  In a factory. */
FJ_API void fj_worker_at_reload(fj_worker *worker, fj_worker_hook fn, void *user);
/** Call @p fn when the worker has drained, or was not given the time to: what its methods still wait for may be cut short here.
 *  One; in a factory. */
FJ_API void fj_worker_at_stop(fj_worker *worker, fj_worker_hook fn, void *user);
/** Call @p fn at the worker's end, when nothing is served any more; not when something was given up, for that still runs.
 *  One; in a factory. */
FJ_API void fj_worker_at_end(fj_worker *worker, fj_worker_hook fn, void *user);

FJ_END_DECLS
#endif
