/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_NOTIFY_FILTER_H
#define FJORD_NOTIFY_FILTER_H
/*
 * Which notifications an endpoint gets, as oslo.messaging's NotificationFilter says it: by regular expressions that must fit from the
 * beginning of a text, though not to its end.  They are Perl's (PCRE2), which are those of Python's `re` but for corners.
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

/** The member @p key must be there, be a text, and fit. */
typedef struct {
    const char *key;
    const char *pattern;
} fj_notify_rule;

/** All that is given must fit. */
typedef struct {
    size_t size;
    const char *publisher_id;      /**< a pattern; NULL: any */
    const char *event_type;        /**< a pattern; NULL: any */
    const fj_notify_rule *context; /**< of the context; `context_count` of them, and so on */
    size_t context_count;
    const fj_notify_rule *metadata; /**< of message_id and timestamp */
    size_t metadata_count;
    const fj_notify_rule *payload;
    size_t payload_count;
} fj_notify_filter;
#define FJ_NOTIFY_FILTER(...)                         \
    {                                                 \
        .size = sizeof(fj_notify_filter), __VA_ARGS__ \
    }

FJ_END_DECLS
#endif
