/* SPDX-License-Identifier: Apache-2.0 */
/* Transport URLs.  No error text quotes a part of the URL: with a stray '#', '/' or '?' in a password, what looks like
 * a port or a host is a piece of the password. */
#include "base/alloc.h"
#include "base/buffer.h"
#include "base/log.h"
#include <fjord/url.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct host {
    char *name, *user; /* user: NULL when not given */
    fj__secret password;
    unsigned port;
};

struct query {
    char *key, *value;
};

struct fj_url {
    char *scheme, *driver;
    char *vhost; /* as written: may be empty */
    struct host *hosts;
    size_t n_hosts, cap_hosts;
    struct query *query;
    size_t n_query, cap_query;
};

/* A part of the text that is being parsed. */
typedef struct {
    const char *at;
    size_t n;
} part;

static part cut(part *rest, size_t at)
{
    part head = { rest->at, at };

    rest->at += at;
    rest->n -= at;
    return head;
}

static size_t index_of(part p, char c)
{
    const char *found = p.n != 0 ? memchr(p.at, c, p.n) : NULL;
    return found != NULL ? (size_t)(found - p.at) : p.n;
}

static void skip(part *p, size_t n)
{
    p->at += n;
    p->n -= n;
}

/* ---- percent escapes ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Invalid escapes stay as they are, as in Python.  A NUL can be in no C string. */
static fj_code decode(part p, bool plus, char **ret, fj_error **err)
{
    char *out = fj__alloc(p.n + 1), *to = out;

    if (out == NULL)
        return fj_fail(err, FJ_NOMEM, NULL);
    for (size_t i = 0; i < p.n; i++) {
        char c = p.at[i];
        if (c == '%' && p.n - i > 2 && hex(p.at[i + 1]) >= 0 && hex(p.at[i + 2]) >= 0) {
            c = (char)(hex(p.at[i + 1]) * 16 + hex(p.at[i + 2]));
            i += 2;
            if (c == '\0') {
                explicit_bzero(out, p.n);
                fj__free(out);
                return fj_fail(err, FJ_BAD_URL, "the transport URL has a %%00");
            }
        } else if (c == '+' && plus) {
            c = ' ';
        }
        *to++ = c;
    }
    *to = '\0';
    *ret = out;
    return FJ_OK;
}

static bool text(fj__buf *b, const char *s)
{
    return fj__buf_append(b, s, strlen(s));
}

/* @p safe: characters that stay beside letters, digits and "_.-~"; @p plus: a space becomes '+' */
static bool quote(fj__buf *b, const char *s, const char *safe, bool plus)
{
    bool ok = true;

    for (; ok && *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x80 && (isalnum(c) || strchr("_.-~", c) != NULL || strchr(safe, c) != NULL)) {
            ok = fj__buf_append(b, s, 1);
        } else if (c == ' ' && plus) {
            ok = text(b, "+");
        } else {
            static const char digits[] = "0123456789ABCDEF";
            char escape[4] = { '%', digits[c >> 4], digits[c & 15u], '\0' };
            ok = text(b, escape);
        }
    }
    return ok;
}

/* ---- parsing ---- */

static fj_code parse_port(part p, unsigned *ret)
{
    unsigned port = 0;

    if (p.n == 0 || p.n > 5)
        return FJ_BAD_URL;
    for (size_t i = 0; i < p.n; i++) {
        if (p.at[i] < '0' || p.at[i] > '9')
            return FJ_BAD_URL;
        port = port * 10 + (unsigned)(p.at[i] - '0');
    }
    if (port == 0 || port > 65535)
        return FJ_BAD_URL;
    *ret = port;
    return FJ_OK;
}

static bool is_ipv6(part p)
{
    struct in6_addr address;
    char name[64];

    if (p.n >= sizeof name)
        return false;
    memcpy(name, p.at, p.n);
    name[p.n] = '\0';
    return inet_pton(AF_INET6, name, &address) == 1;
}

/* host, host:port, [v6], [v6]:port, or a bare IPv6 address */
static fj_code parse_place(part p, struct host *h, size_t number, fj_error **err)
{
    part name = p;
    bool has_port = false;

    if (p.n != 0 && p.at[0] == '[') {
        skip(&p, 1);
        name = cut(&p, index_of(p, ']'));
        if (p.n == 0 || (p.n > 1 && p.at[1] != ':'))
            return fj_fail(err, FJ_BAD_URL, "host %zu of the transport URL: the brackets are not right",
                           number);
        has_port = p.n > 1;
        skip(&p, has_port ? 2 : 1);
    } else if (index_of(p, ':') < p.n && !is_ipv6(p)) {
        name = cut(&p, index_of(p, ':'));
        has_port = true;
        skip(&p, 1);
    }
    if (has_port && parse_port(p, &h->port) != FJ_OK)
        return fj_fail(err, FJ_BAD_URL,
                       "host %zu of the transport URL: its port is no number from 1 to 65535 "
                       "(in a password, '#' is written %%23, '/' %%2F, '?' %%3F)",
                       number);
    h->name = fj__strndup(name.at, name.n);
    return h->name != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, NULL);
}

static fj_code parse_host(fj_url *url, part p, fj_error **err)
{
    struct host *all = fj__grow(url->hosts, &url->cap_hosts, url->n_hosts + 1, sizeof *all);
    fj_code code = FJ_OK;
    const char *last = memrchr(p.at, '@', p.n);

    if (all == NULL)
        return fj_fail(err, FJ_NOMEM, NULL);
    url->hosts = all;
    struct host *h = &all[url->n_hosts++];
    memset(h, 0, sizeof *h);
    if (last != NULL) {
        part login = cut(&p, (size_t)(last - p.at));
        skip(&p, 1);
        part user = cut(&login, index_of(login, ':'));
        code = decode(user, false, &h->user, err);
        if (code == FJ_OK && login.n != 0) {
            skip(&login, 1);
            code = decode(login, false, &h->password.hidden, err);
        }
    }
    return code == FJ_OK ? parse_place(p, h, url->n_hosts, err) : code;
}

static fj_code parse_hosts(fj_url *url, part p, fj_error **err)
{
    /* Python looks at the brackets of the whole authority first */
    if ((index_of(p, '[') < p.n) != (index_of(p, ']') < p.n))
        return fj_fail(err, FJ_BAD_URL, "the transport URL has a bracket that is not closed");
    while (p.n != 0) {
        part item = cut(&p, index_of(p, ','));
        skip(&p, p.n != 0 ? 1 : 0);
        fj_code code = item.n != 0 ? parse_host(url, item, err) : FJ_OK;
        if (code != FJ_OK)
            return code;
    }
    return FJ_OK;
}

/* Takes both on success. */
static fj_code add_query(fj_url *url, char *key, char *value, fj_error **err)
{
    for (size_t i = 0; i < url->n_query; i++) {
        struct query *q = &url->query[i];
        if (strcmp(q->key, key) != 0)
            continue;
        char *joined = fj__format("%s,%s", q->value, value);
        if (joined == NULL)
            return fj_fail(err, FJ_NOMEM, NULL);
        fj__free(q->value);
        q->value = joined;
        fj__free(key);
        fj__free(value);
        return FJ_OK;
    }
    struct query *all = fj__grow(url->query, &url->cap_query, url->n_query + 1, sizeof *all);
    if (all == NULL)
        return fj_fail(err, FJ_NOMEM, NULL);
    url->query = all;
    all[url->n_query++] = (struct query){ key, value };
    return FJ_OK;
}

static fj_code parse_query(fj_url *url, part p, fj_error **err)
{
    fj_code code = FJ_OK;

    while (p.n != 0 && code == FJ_OK) {
        char *name = NULL, *content = NULL;
        part value = cut(&p, index_of(p, '&'));
        skip(&p, p.n != 0 ? 1 : 0);
        part key = cut(&value, index_of(value, '='));
        if (value.n <= 1)
            continue;
        skip(&value, 1);
        code = decode(key, true, &name, err);
        if (code == FJ_OK)
            code = decode(value, true, &content, err);
        if (code == FJ_OK)
            code = add_query(url, name, content, err);
        if (code != FJ_OK) {
            fj__free(name);
            fj__free(content);
        }
    }
    return code;
}

static fj_code parse_scheme(fj_url *url, part *p, fj_error **err)
{
    part s = *p;
    size_t n = index_of(s, ':');
    bool ok = n < s.n && n != 0 && isalpha((unsigned char)s.at[0]);

    for (size_t i = 0; ok && i < n; i++)
        ok = isalnum((unsigned char)s.at[i]) || strchr("+-.", s.at[i]) != NULL;
    if (!ok)
        return fj_fail(err, FJ_BAD_URL, "the transport URL has no scheme, such as rabbit://");
    url->scheme = fj__strndup(s.at, n);
    if (url->scheme == NULL)
        return fj_fail(err, FJ_NOMEM, NULL);
    for (char *c = url->scheme; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    url->driver = fj__strndup(url->scheme, strcspn(url->scheme, "+"));
    skip(p, n + 1);
    return url->driver != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, NULL);
}

static fj_code parse(fj_url *url, const char *source, fj_error **err)
{
    part rest = { source, strlen(source) }, authority = { source, 0 };
    fj_code code = FJ_OK;

    for (size_t i = 0; i < rest.n; i++)
        if ((unsigned char)source[i] <= 0x20 || source[i] == 0x7f)
            return fj_fail(err, FJ_BAD_URL, "the transport URL has a blank or control character at %zu", i + 1);
    code = parse_scheme(url, &rest, err);
    if (code != FJ_OK)
        return code;
    if (rest.n >= 2 && rest.at[0] == '/' && rest.at[1] == '/') {
        skip(&rest, 2);
        authority = cut(&rest, strcspn(rest.at, "/?#"));
    }
    rest.n = index_of(rest, '#');
    part path = cut(&rest, index_of(rest, '?'));
    if (path.n != 0 && path.at[0] == '/')
        skip(&path, 1);
    code = parse_hosts(url, authority, err);
    if (code == FJ_OK)
        code = decode(path, false, &url->vhost, err);
    if (code == FJ_OK && rest.n != 0) {
        skip(&rest, 1);
        code = parse_query(url, rest, err);
    }
    return code;
}

fj_code fj_url_parse(const char *source, fj_url **ret, fj_error **err)
{
    fj_url *url = fj__zalloc(sizeof *url);

    if (url == NULL)
        return fj_fail(err, FJ_NOMEM, NULL);
    fj_code code = parse(url, source == NULL || source[0] == '\0' ? "rabbit://" : source, err);
    if (code != FJ_OK) {
        fj_url_free(url);
        return code;
    }
    *ret = url;
    return FJ_OK;
}

fj_url *fj_url_free(fj_url *url)
{
    if (url == NULL)
        return NULL;
    for (size_t i = 0; i < url->n_hosts; i++) {
        fj__free(url->hosts[i].name);
        fj__free(url->hosts[i].user);
        fj__secret_clear(&url->hosts[i].password);
    }
    for (size_t i = 0; i < url->n_query; i++) {
        fj__free(url->query[i].key);
        fj__free(url->query[i].value);
    }
    fj__free(url->hosts);
    fj__free(url->query);
    fj__free(url->scheme);
    fj__free(url->driver);
    fj__free(url->vhost);
    fj__free(url);
    return NULL;
}

fj_url *fj_url_copy(const fj_url *url)
{
    fj_url *copy = NULL;
    fj__secret whole = { NULL };

    /* what format writes parses back to the same, which the tests check over the whole table */
    if (url != NULL && fj_url_format(url, &whole.hidden) == FJ_OK &&
        fj_url_parse(fj__secret_text(&whole), &copy, NULL) != FJ_OK)
        copy = NULL;
    fj__secret_clear(&whole);
    return copy;
}

/* ---- what it says ---- */

const char *fj_url_scheme(const fj_url *url)
{
    return url->scheme;
}

const char *fj_url_driver(const fj_url *url)
{
    return url->driver;
}

const char *fj_url_vhost(const fj_url *url)
{
    return url->vhost[0] != '\0' ? url->vhost : "/";
}

size_t fj_url_hosts(const fj_url *url)
{
    return url->n_hosts;
}

const char *fj_url_host(const fj_url *url, size_t i)
{
    return i < url->n_hosts ? url->hosts[i].name : NULL;
}

unsigned fj_url_port(const fj_url *url, size_t i)
{
    return i < url->n_hosts ? url->hosts[i].port : 0;
}

const char *fj_url_user(const fj_url *url, size_t i)
{
    return i < url->n_hosts ? url->hosts[i].user : NULL;
}

const char *fj_url_password(const fj_url *url, size_t i)
{
    return i < url->n_hosts ? url->hosts[i].password.hidden : NULL;
}

bool fj_url_query(const fj_url *url, size_t i, const char **ret_key, const char **ret_value)
{
    if (i >= url->n_query)
        return false;
    *ret_key = url->query[i].key;
    *ret_value = url->query[i].value;
    return true;
}

/* ---- writing ---- */

static bool put_host(fj__buf *b, const struct host *h, bool show)
{
    bool v6 = strchr(h->name, ':') != NULL, ok = true;
    char port[16] = "";

    if (h->user != NULL)
        ok = quote(b, h->user, "", false);
    if (ok && h->password.hidden != NULL)
        ok = text(b, ":") && (show ? quote(b, fj__secret_text(&h->password), "", false) : text(b, "***"));
    if (ok && h->user != NULL)
        ok = text(b, "@");
    if (h->port != 0)
        (void)snprintf(port, sizeof port, ":%u", h->port);
    return ok && text(b, v6 ? "[" : "") && text(b, h->name) && text(b, v6 ? "]" : "") && text(b, port);
}

static fj_code write_url(const fj_url *url, bool show, char **ret)
{
    fj__buf b = { 0 };
    bool ok = text(&b, url->scheme) && text(&b, "://");

    for (size_t i = 0; ok && i < url->n_hosts; i++)
        ok = text(&b, i != 0 ? "," : "") && put_host(&b, &url->hosts[i], show);
    ok = ok && text(&b, "/") && quote(&b, url->vhost, "/", false);
    for (size_t i = 0; ok && i < url->n_query; i++)
        ok = text(&b, i != 0 ? "&" : "?") && quote(&b, url->query[i].key, "", true) && text(&b, "=") &&
             quote(&b, url->query[i].value, "", true);
    char *out = ok ? fj__strndup((const char *)fj__buf_data(&b), fj__buf_len(&b)) : NULL;
    if (b.bytes != NULL)
        explicit_bzero(b.bytes, b.end);
    fj__buf_fini(&b);
    if (out == NULL)
        return FJ_NOMEM;
    *ret = out;
    return FJ_OK;
}

fj_code fj_url_redacted(const fj_url *url, char **ret)
{
    return write_url(url, false, ret);
}

fj_code fj_url_format(const fj_url *url, char **ret)
{
    return write_url(url, true, ret);
}
