/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/logins.h"

#include "base/alloc.h"

#include <string.h>

static void let_go(fj__login *login)
{
    fj__free(login->user);
    fj__secret_clear(&login->password);
    fj__free(login);
}

bool fj__login_put(fj__login_now *now, const fj_url *url, size_t i)
{
    bool given = i < fj_url_hosts(url);
    const char *user = given ? fj_url_user(url, i) : NULL;
    const char *word = given ? fj_url_password(url, i) : NULL;
    fj__login *before = atomic_load_explicit(now, memory_order_relaxed), *login = NULL;

    user = user != NULL && *user != '\0' ? user : "guest";
    word = word != NULL && *word != '\0' ? word : "guest";
    if (before != NULL && strcmp(before->user, user) == 0 &&
        strcmp(fj__secret_text(&before->password), word) == 0)
        return true;
    login = fj__zalloc(sizeof *login);
    if (login == NULL)
        return false;
    login->user = fj__strdup(user);
    login->password.hidden = fj__strdup(word);
    if (login->user == NULL || login->password.hidden == NULL) {
        let_go(login);
        return false;
    }
    login->before = before;
    atomic_store_explicit(now, login, memory_order_release);
    return true;
}

const fj__login *fj__login_of(const fj__login_now *now)
{
    return atomic_load_explicit(now, memory_order_acquire);
}

void fj__login_fini(fj__login_now *now)
{
    fj__login *login = atomic_exchange(now, NULL);

    while (login != NULL) {
        fj__login *before = login->before;
        let_go(login);
        login = before;
    }
}

bool fj__login_follows(const fj_conf *conf, const fj_url *url)
{
    fj_url *other = NULL;
    char *a = NULL, *b = NULL;
    bool same = fj_url_parse(fj_conf_str(conf, "DEFAULT", "transport_url"), &other, NULL) == FJ_OK &&
                fj_url_format(url, &a) == FJ_OK && fj_url_format(other, &b) == FJ_OK && strcmp(a, b) == 0;

    fj__secret_clear(&(fj__secret){ a });
    fj__secret_clear(&(fj__secret){ b });
    fj_url_free(other);
    return same;
}
