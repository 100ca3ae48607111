/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plug-in: an interceptor by which a service answers those only who know a word.  On a client it puts the word into the context of
 * everything that is sent; on a server it refuses what comes without, and takes the word out again, so that no method hands it on.
 *
 *     cc -shared -fPIC $(pkg-config --cflags fjord) -o token.so interceptor_token.c
 *
 *     [fjord]
 *     interceptors = token
 *     plugin_dir = /usr/local/lib/fjord/plugins        # or interceptors = /path/of/token.so
 *
 *     [interceptor:token]
 *     token = the word
 *
 * Who can read the broker's messages can read the word: it keeps out mistakes, not enemies.
 */
#include <fjord/interceptor.h>

#include <stdlib.h>
#include <string.h>

#define KEY "auth_token"

static fj_code open_it(void *user, const fj_conf *conf, const char *section, void **ret_state, fj_error **err)
{
    char *token = NULL;
    fj_code code = fj_conf_lookup(conf, section, "token", &token, err);

    (void)user;
    if (code == FJ_NOT_FOUND || (code == FJ_OK && *token == '\0'))
        code = fj_fail(err, FJ_BAD_CONFIG, "[%s] needs a token", section);
    if (code == FJ_OK)
        *ret_state = token;
    else
        free(token);
    return code;
}

static fj_code show(void *state, fj_rpc *rpc, fj_error **err)
{
    json_t *context = fj_rpc_edit_context(rpc);

    if (context == NULL || json_object_set_new(context, KEY, json_string(state)) != 0)
        return fj_fail(err, FJ_NOMEM, "no memory for a token");
    return FJ_OK;
}

/* In a time that does not tell where they differ. */
static bool same(const char *token, const char *shown)
{
    size_t n = strlen(token), m = strlen(shown);
    unsigned char differ = n != m;

    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)(token[i] ^ shown[m != 0 ? i % m : 0]);
    return differ == 0;
}

static fj_code check(void *state, fj_rpc *rpc, fj_error **err)
{
    const char *shown = json_string_value(json_object_get(fj_rpc_context(rpc), KEY));

    if (shown == NULL || !same(state, shown))
        return fj_fail(err, FJ_ACCESS, "%s is not for who does not know the token", fj_rpc_method(rpc));
    json_t *context = fj_rpc_edit_context(rpc);
    if (context == NULL || json_object_del(context, KEY) != 0)
        return fj_fail(err, FJ_NOMEM, "no memory for a context");
    return FJ_OK;
}

static const char *const options[] = { "token", NULL };

static const fj_interceptor token = FJ_INTERCEPTOR(.name = "token", .options = options, .open = open_it,
                                                   .close = free, .client_begin = show, .server_begin = check);

FJ_API const fj_interceptor *fj_interceptor_plugin(void);
const fj_interceptor *fj_interceptor_plugin(void)
{
    return &token;
}
