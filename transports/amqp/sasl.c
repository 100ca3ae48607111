/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/sasl.h"

#include <string.h>

static const char *const mechanisms[] = { "AMQPLAIN", "PLAIN", "EXTERNAL" };

bool fj__sasl_known(const char *mechanism)
{
    for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
        if (strcmp(mechanism, mechanisms[i]) == 0)
            return true;
    }
    return false;
}

bool fj__sasl_offered(const char *mechanism, amqp_bytes_t list)
{
    const char *at = list.bytes;
    size_t left = list.len, want = strlen(mechanism);

    while (left > 0) {
        const char *space = memchr(at, ' ', left);
        size_t word = space != NULL ? (size_t)(space - at) : left;

        if (word == want && memcmp(at, mechanism, want) == 0)
            return true;
        if (space == NULL)
            break;
        at += word + 1;
        left -= word + 1;
    }
    return false;
}

/* One entry of the AMQPLAIN table: short name, 'S', long string. */
static uint8_t *put_entry(uint8_t *to, const char *name, const char *value)
{
    size_t name_len = strlen(name), n = strlen(value);

    *to++ = (uint8_t)name_len;
    memcpy(to, name, name_len);
    to += name_len;
    *to++ = 'S';
    *to++ = (uint8_t)(n >> 24);
    *to++ = (uint8_t)(n >> 16);
    *to++ = (uint8_t)(n >> 8);
    *to++ = (uint8_t)n;
    memcpy(to, value, n);
    return to + n;
}

/* The table without its length: RabbitMQ takes it so, and so does every other client send it. */
static uint8_t *put_amqplain(uint8_t *to, const char *user, const char *password)
{
    return put_entry(put_entry(to, "LOGIN", user), "PASSWORD", password);
}

static uint8_t *put_plain(uint8_t *to, const char *user, const char *password)
{
    size_t n = strlen(user), m = strlen(password);

    *to++ = '\0'; /* no authorization identity */
    memcpy(to, user, n);
    to += n;
    *to++ = '\0';
    memcpy(to, password, m);
    return to + m;
}

fj_code fj__sasl_response(const char *mechanism, const char *user, const fj__secret *password, fj__buf *out)
{
    const char *secret = fj__secret_text(password);
    /* One reservation for all: a buffer that grew would leave a copy of the password behind. */
    uint8_t *begin = fj__buf_reserve(out, strlen(user) + strlen(secret) + 32), *end = begin;

    if (begin == NULL)
        return FJ_NOMEM;
    if (strcmp(mechanism, "AMQPLAIN") == 0)
        end = put_amqplain(begin, user, secret);
    else if (strcmp(mechanism, "PLAIN") == 0)
        end = put_plain(begin, user, secret);
    else if (strcmp(mechanism, "EXTERNAL") != 0) /* its response is empty: the certificate says it all */
        return FJ_BAD_CONFIG;
    fj__buf_commit(out, (size_t)(end - begin));
    return FJ_OK;
}

void fj__sasl_wipe(fj__buf *b)
{
    if (b->bytes != NULL)
        explicit_bzero(b->bytes, b->capacity);
    fj__buf_fini(b);
}
