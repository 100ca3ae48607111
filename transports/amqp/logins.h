/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_LOGINS_H
#define FJORD_AMQP_LOGINS_H
/* Users and passwords, host by host, which may change while connections are made: what is in force is exchanged in one store, and what
 * was before is kept until the end, for whoever is reading it. */
#include "base/log.h"
#include <fjord/conf.h>
#include <fjord/url.h>
#include <stdatomic.h>

typedef struct fj__login {
    char *user;
    fj__secret password;
    struct fj__login *before; /* what this one took the place of */
} fj__login;

typedef _Atomic(fj__login *) fj__login_now;

/** What @p url has for its host @p i, guest where it says nothing (wire.md section 1).  @return false: no memory
 *  @thread one at a time; readers may be there */
bool fj__login_put(fj__login_now *login, const fj_url *url, size_t i);
/** The one in force.  Lends, until fj__login_fini().  @thread any */
const fj__login *fj__login_of(const fj__login_now *login);
/** Wipe and free all there ever was. */
void fj__login_fini(fj__login_now *login);

/** Whether @p url is the one that @p conf has, so that a change there is meant for it, too. */
bool fj__login_follows(const fj_conf *conf, const fj_url *url);

#endif
