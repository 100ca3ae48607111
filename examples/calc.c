/* SPDX-License-Identifier: Apache-2.0 */
#include "calc.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static fj_code two(json_t *args, const char *method, json_int_t *a, json_int_t *b, fj_error **err)
{
    if (json_unpack(args, "{s:I, s:I}", "a", a, "b", b) != 0)
        return fj_fail(err, FJ_BAD_ARGS, "%s needs integers a and b", method); /* Python sees TypeError */
    return FJ_OK;
}

static fj_code add(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_int_t a, b;
    fj_code code = two(args, fj_request_method(req), &a, &b, err);

    if (code == FJ_OK)
        *ret = json_integer(a + b);
    return code;
}

static fj_code sub(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_int_t a, b;
    fj_code code = two(args, fj_request_method(req), &a, &b, err);

    if (code == FJ_OK)
        *ret = json_integer(a - b);
    return code;
}

static fj_code divide(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_int_t a, b;
    fj_code code = two(args, fj_request_method(req), &a, &b, err);

    if (code != FJ_OK)
        return code;
    if (b == 0) /* a Python caller can catch it as such */
        return fj_raise(err, "builtins", "ZeroDivisionError", NULL, "division by zero");
    *ret = json_real((double)a / (double)b);
    return FJ_OK;
}

static fj_code ms_of(json_t *args, fj_request *req, int *ret, fj_error **err)
{
    if (json_unpack(args, "{s:i}", "ms", ret) != 0 || *ret < 0)
        return fj_fail(err, FJ_BAD_ARGS, "%s needs a number of milliseconds, ms", fj_request_method(req));
    return FJ_OK;
}

/* Any blocking code may stand here: what it holds up depends on the executor. */
static fj_code slow(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    int ms;
    fj_code code = ms_of(args, req, &ms, err);

    if (code != FJ_OK)
        return code;
    fj_deadline by = fj_in_ms(ms);
    while (!fj_passed(by)) /* a signal may cut it short */
        if (usleep((useconds_t)fj_left_ms(by) * 1000) != 0 && errno == ECANCELED)
            return fj_fail(err, FJ_CANCELLED, "slow was given up");
    *ret = json_integer(ms);
    return FJ_OK;
}

/* The same as explicit code: on a loop the others go on meanwhile. */
static fj_code nap(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    int ms;
    fj_code code = ms_of(args, req, &ms, err);

    if (code == FJ_OK)
        code = fj_sleep(fj_in_ms(ms));
    if (code == FJ_OK)
        *ret = json_integer(ms);
    return code;
}

static const fj_method methods[] = {
    FJ_METHOD("add", FJ_PLAIN, add),   FJ_METHOD("sub", FJ_PLAIN, sub), FJ_METHOD("div", FJ_PLAIN, divide),
    FJ_METHOD("slow", FJ_PLAIN, slow), FJ_METHOD("nap", FJ_CORO, nap),
};

const fj_endpoint calc_endpoint = FJ_ENDPOINT("calc", "1.1", methods);

int calc_failed(const char *what, fj_error *err)
{
    fprintf(stderr, "%s: %s (%s)\n", what, fj_error_text(err), fj_code_name(fj_error_code(err)));
    fj_error_free(err);
    return 1;
}
