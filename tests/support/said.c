/* SPDX-License-Identifier: Apache-2.0 */
#include "said.h"

#include <fjord/log.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[65536];
static const char *awaited;
static void (*then_do)(void);

static void on_log(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    if (level > FJ_LOG_WARNING)
        return;
    (void)pthread_mutex_lock(&lock);
    size_t n = strlen(lines);
    (void)snprintf(lines + n, sizeof lines - n, "%s %s: %s\n", fj_log_level_name(level), component, text);
    void (*then)(void) = awaited != NULL && strstr(text, awaited) != NULL ? then_do : NULL;
    (void)pthread_mutex_unlock(&lock);
    if (then != NULL)
        then();
}

void said_then(const char *text, void (*then)(void))
{
    (void)pthread_mutex_lock(&lock);
    awaited = text;
    then_do = then;
    (void)pthread_mutex_unlock(&lock);
}

void said_begin(void)
{
    (void)pthread_mutex_lock(&lock);
    awaited = NULL;
    lines[0] = '\0';
    (void)pthread_mutex_unlock(&lock);
    fj_log_set(on_log, NULL);
}

static bool within(const char *text, const char *line, size_t n)
{
    return text == NULL || memmem(line, n, text, strlen(text)) != NULL;
}

unsigned said(const char *a, const char *b)
{
    unsigned found = 0;

    (void)pthread_mutex_lock(&lock);
    for (const char *at = lines, *end; (end = strchr(at, '\n')) != NULL; at = end + 1)
        found += within(a, at, (size_t)(end - at)) && within(b, at, (size_t)(end - at));
    (void)pthread_mutex_unlock(&lock);
    return found;
}

unsigned said_lines(void)
{
    return said(NULL, NULL);
}

const char *said_text(void)
{
    return lines;
}
