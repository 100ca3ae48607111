/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TRANSPORT_H
#define FJORD_TRANSPORT_H
/*
 * A transport: one broker (or the fake one), shared by any number of clients and servers of any thread.  Over rabbit://
 * each loop that uses it gets connections of its own, which that loop drives; all plain threads share others.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/conf.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

typedef struct fj_transport fj_transport;

/** Open a transport.  Does not connect: the first call, or a server's start, does.  [fjord] log_level and
 *  log_components, where @p conf sets them, hold for the process from here on; options that are set and do
 *  nothing are logged.
 *  @param conf  lends (copied); NULL for the defaults
 *  @param url   lends; NULL: [DEFAULT] transport_url of @p conf
 *  @param ret   gives
 *  @errors BAD_URL, NO_DRIVER, BAD_CONFIG (a query option of the URL, log_components), NOMEM   @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_transport_open(const fj_conf *conf, const char *url, fj_transport **ret,
                                             fj_error **err);
/** Close: pending calls end with FJ_CLOSED.  Then wait, until @p by, for what is to be flushed, and free.
 *  Its clients and servers must be freed before.  Accepts NULL, answers NULL.
 *  @blocks until @p by; a task suspends   @thread any.  Not in a call-back of a loop, where nothing is freed, and that is
 *  logged; nor in that of a future */
FJ_API FJ_MAY_AWAIT fj_transport *fj_transport_free_by(fj_transport *transport, fj_deadline by);
/** fj_transport_free_by() with two seconds. */
FJ_API FJ_MAY_AWAIT fj_transport *fj_transport_free(fj_transport *transport);
/** The configuration in use.  Lends, as long as the transport. */
FJ_API const fj_conf *fj_transport_conf(const fj_transport *transport);
/** fj_conf_reload() of the configuration in use, as a service does at SIGHUP: the log, clients made and servers started or stopped
 *  from now on follow it, and connections made from now on have the certificates that its files hold now, and the users and passwords
 *  of its transport_url, unless the transport was opened with another URL.  One thread at a time.
 *  @errors as fj_conf_reload(), which then changed nothing; BAD_CONFIG for log_components that are not understood, and for
 *          certificates that cannot be used and hosts other than those in use (those before stay), the rest being taken in; FORKED   @blocks on the file system */
FJ_API FJ_MUST_USE fj_code fj_transport_reload(fj_transport *transport, fj_conf_changed changed, void *user,
                                               fj_error **err);
/** The URL with its passwords hidden.  Lends. */
FJ_API const char *fj_transport_url(const fj_transport *transport);

FJ_END_DECLS
#endif
