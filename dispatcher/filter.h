/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DISPATCHER_FILTER_H
#define FJORD_DISPATCHER_FILTER_H
/* Filters of notifications, ready to be asked.  One may be asked by several threads at once. */
#include <fjord/notify_filter.h>

typedef struct fj__filter fj__filter;

/** @param from lends   @param ret gives   @errors BAD_VALUE names the pattern that is none; NOMEM */
fj_code fj__filter_new(const fj_notify_filter *from, fj__filter **ret, fj_error **err);
/** Accepts NULL. */
void fj__filter_free(fj__filter *f);
/** @param f  NULL: everything fits   @param args  as an endpoint gets them: publisher_id, event_type, payload, metadata */
bool fj__filter_fits(const fj__filter *f, const json_t *context, const json_t *args);

#endif
