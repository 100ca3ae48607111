/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_URL_H
#define FJORD_URL_H
/*
 * Transport URLs: transport://[user[:pass]@]host[:port][,...][/virtual_host][?query]
 * The grammar is oslo.messaging's, wire.md section 1.
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

typedef struct fj_url fj_url;

/** @param text lends; a NULL or empty text means "rabbit://".  @param ret gives
 *  @errors BAD_URL; the text never holds the password   @thread any */
FJ_API FJ_MUST_USE fj_code fj_url_parse(const char *text, fj_url **ret, fj_error **err);
FJ_API fj_url *fj_url_free(fj_url *url); /* accepts NULL, answers NULL */
FJ_API fj_url *fj_url_copy(const fj_url *url);

/* What a URL says.  All lend, as long as the URL lives. */
FJ_API const char *fj_url_scheme(const fj_url *url); /**< lower case, whole: "kombu+memory" */
FJ_API const char *fj_url_driver(const fj_url *url); /**< the scheme before its first '+' */
/** The virtual host, "/" when the URL gives none. */
FJ_API const char *fj_url_vhost(const fj_url *url);
FJ_API size_t fj_url_hosts(const fj_url *url); /**< how many hosts; may be 0 */
FJ_API const char *fj_url_host(const fj_url *url, size_t i);
FJ_API unsigned fj_url_port(const fj_url *url, size_t i);        /**< 0: not given */
FJ_API const char *fj_url_user(const fj_url *url, size_t i);     /**< NULL: not given */
FJ_API const char *fj_url_password(const fj_url *url, size_t i); /**< NULL: not given; a secret: never log it */
/** The query, in order: repeated keys joined by commas, keys without a value dropped.
 *  @return false past the last */
FJ_API bool fj_url_query(const fj_url *url, size_t i, const char **ret_key, const char **ret_value);

/** The URL with "***" for each password: what may be shown.  @param ret gives; free() */
FJ_API FJ_MUST_USE fj_code fj_url_redacted(const fj_url *url, char **ret);
/** The URL whole, requoted as oslo writes it: it parses back to the same.  Holds the password. */
FJ_API FJ_MUST_USE fj_code fj_url_format(const fj_url *url, char **ret);

FJ_END_DECLS
#endif
