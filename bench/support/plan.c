/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEAD \
    "{\"oslo.version\":\"2.0\",\"oslo.message\":\"{\\\"method\\\":\\\"echo\\\",\\\"args\\\":{\\\"x\\\":\\\""
#define TAIL "\\\"}}\"}"
#define DIGITS 16

static const char *name = "bench";

void plan_check(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s: %s failed\n", name, what);
    exit(EXIT_FAILURE);
}

static void usage(const char *odd)
{
    (void)fprintf(
        stderr,
        "%s: not understood: %s\n"
        "usage: %s server|client|sink|source PORT-OR-URL [kind=call|cast|idle] [calls=N] [warm_up=N]\n"
        "       [at_once=N] [bytes=N] [rate=N] [executor=NAME] [caller=thread|tasks] [hold=1]\n",
        name, odd, name);
    exit(2);
}

static plan_kind kind_of(const char *value, const char *odd)
{
    static const char *const kinds[] = { "call", "cast", "idle" };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i], value) == 0)
            return (plan_kind)i;
    }
    usage(odd);
    return PLAN_CALL;
}

/* The value, when the word is NAME=VALUE of this name. */
static const char *named(const char *word, const char *key)
{
    size_t n = strlen(key);

    return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

static void read_word(plan *p, const char *word)
{
    const char *v;

    if ((v = named(word, "kind")) != NULL)
        p->kind = kind_of(v, word);
    else if ((v = named(word, "calls")) != NULL)
        p->calls = strtol(v, NULL, 10);
    else if ((v = named(word, "warm_up")) != NULL)
        p->warm_up = strtol(v, NULL, 10);
    else if ((v = named(word, "at_once")) != NULL)
        p->at_once = strtol(v, NULL, 10);
    else if ((v = named(word, "bytes")) != NULL)
        p->bytes = strtoul(v, NULL, 10);
    else if ((v = named(word, "rate")) != NULL)
        p->rate = strtod(v, NULL);
    else if ((v = named(word, "executor")) != NULL)
        p->executor = v;
    else if ((v = named(word, "caller")) != NULL)
        p->caller = v;
    else if ((v = named(word, "hold")) != NULL)
        p->hold = strcmp(v, "1") == 0;
    else
        usage(word);
}

plan plan_read(const char *program, int argc, char **argv)
{
    plan p = {
        .calls = 1000, .warm_up = 100, .at_once = 1, .bytes = 300, .executor = "coroutine", .caller = "thread"
    };

    name = program;
    if (argc < 3)
        usage("so few words");
    p.role = argv[1];
    p.where = argv[2];
    for (int i = 3; i < argc; i++)
        read_word(&p, argv[i]);
    if (p.at_once < 1 || p.at_once > PLAN_AT_ONCE_MAX || p.calls < 1 || p.warm_up < 0 || p.rate < 0 ||
        p.bytes < PLAN_BYTES_MIN)
        usage("a number out of its range");
    return p;
}

void plan_say(const plan *p, const char *word)
{
    char line[32];

    puts(word);
    (void)fflush(stdout);
    /* The end of the input is an answer, too: of who runs this by hand, or has gone. */
    if (p->hold && fgets(line, sizeof line, stdin) == NULL)
        return;
}

char *plan_body(const plan *p)
{
    static char *body;

    free(body);
    body = malloc(p->bytes);
    plan_check(body != NULL, "allocating a body");
    memset(body, 'x', p->bytes);
    memcpy(body, HEAD, strlen(HEAD));
    memcpy(body + p->bytes - strlen(TAIL), TAIL, strlen(TAIL));
    return body;
}

void plan_number(char *body, long number)
{
    char *at = body + strlen(HEAD) + DIGITS;

    for (int i = 0; i < DIGITS; i++, number /= 10)
        *--at = (char)('0' + number % 10);
}

long plan_number_of(const char *body, size_t n)
{
    size_t at = strlen(HEAD);
    long number = 0;

    if (n < at + DIGITS + strlen(TAIL) || memcmp(body, HEAD, at) != 0)
        return -1;
    for (size_t end = at + DIGITS; at < end; at++) {
        if (body[at] < '0' || body[at] > '9')
            return -1;
        number = number * 10 + (body[at] - '0');
    }
    return number;
}

double plan_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
