/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EXAMPLE_METHODS_H
#define EXAMPLE_METHODS_H
/* The shop's methods, as they were written, and as they are in the end. */
#include <fjord/fjord.h>

/** What they have in common. */
struct shop {
    unsigned short stock_port;
    unsigned present;   /* customers in meet */
    fj_event *all_here; /* for meet_explicit */
};

/* green.c: C that blocks */
fj_code pause_green(fj_request *req, json_t *args, json_t **ret, fj_error **err);
fj_code stock_green(fj_request *req, json_t *args, json_t **ret, fj_error **err);
fj_code meet_green(fj_request *req, json_t *args, json_t **ret, fj_error **err);

/* explicit.c: the same by functions that await */
FJ_AWAITS fj_code pause_explicit(fj_request *req, json_t *args, json_t **ret, fj_error **err);
FJ_AWAITS fj_code stock_explicit(fj_request *req, json_t *args, json_t **ret, fj_error **err);
FJ_AWAITS fj_code meet_explicit(fj_request *req, json_t *args, json_t **ret, fj_error **err);

#endif
