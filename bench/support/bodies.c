/* SPDX-License-Identifier: Apache-2.0 */
#include "bodies.h"
#include "plan.h"

#include <stdint.h>
#include <stdlib.h>

static const fj_target target = FJ_TARGET(.topic = "bench");

static json_t *record(long i)
{
    return json_pack("{s:I, s:s, s:f, s:b, s:[i,i]}", "id", (json_int_t)i, "name", "volume-\xc3\xa9", "size",
                     1.5, "bootable", 1, "hosts", 1, 2);
}

void bodies_write(const json_t *args, const fj_json_opts *opts, char **ret, size_t *n)
{
    fj_send send = { .size = sizeof send, .target = &target, .method = "echo", .flags = FJ_SEND_CALL };

    send.args = (json_t *)(uintptr_t)args; /* only read */
    plan_check(fj_body_request(&send, "0123456789abcdef0123456789abcdef",
                               "reply_0123456789abcdef0123456789abcdef", opts, ret, n, NULL) == FJ_OK,
               "writing a request");
}

json_t *bodies_args(size_t size, const fj_json_opts *opts)
{
    json_t *list = json_array(), *args = json_pack("{s:o}", "x", list);

    for (long i = 0;; i++) {
        char *body = NULL;
        size_t n = 0;

        bodies_write(args, opts, &body, &n);
        free(body);
        if (n >= size)
            return args;
        plan_check(json_array_append_new(list, record(i)) == 0, "making arguments");
    }
}
