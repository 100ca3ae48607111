/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect.h"

#include "alloc.h"
#include "native.h"

#include <pthread.h>
#include <string.h>

static const char *const kinds[] = { "loop", "connection", "queue", "call", "counters" };

/* A leaf: nothing is called with it held. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static fj__inspected *first, *last;
static unsigned long serials;
static unsigned forks;

static void before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

/* Who waited for an answer does not exist here. */
static void in_child(void)
{
    (void)pthread_cond_init(&answered, NULL);
    first = last = NULL;
    forks++;
    after_fork();
}

static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, after_fork, in_child);
}

static void enter(void)
{
    (void)pthread_once(&once, watch_forks);
    (void)fj__native.pthread_mutex_lock(&lock);
}

static void leave(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

void fj__inspect_add(fj__inspected *i, const char *kind, fj__inspect_fn fn, void *user)
{
    *i = (fj__inspected){ .kind = kind, .fn = fn, .user = user };
    enter();
    i->serial = ++serials;
    i->forks = forks;
    i->before = last;
    *(last != NULL ? &last->next : &first) = i;
    last = i;
    leave();
}

void fj__inspect_remove(fj__inspected *i)
{
    if (i->serial == 0)
        return;
    enter();
    if (i->forks == forks) {
        i->going = true;
        while (i->asked > 0)
            (void)fj__native.pthread_cond_wait(&answered, &lock);
        *(i->before != NULL ? &i->before->next : &first) = i->next;
        *(i->next != NULL ? &i->next->before : &last) = i->before;
    }
    i->serial = 0;
    leave();
}

/* The next of @kind from @i on that was there when @until was the last one's number. */
static fj__inspected *next_of(fj__inspected *i, const char *kind, unsigned long until)
{
    while (i != NULL && i->serial <= until && (i->going || strcmp(i->kind, kind) != 0))
        i = i->next;
    return i != NULL && i->serial <= until ? i : NULL;
}

/* Takes @what.  @return false when memory ran out */
static bool gather(json_t *all, json_t *what)
{
    if (what == NULL)
        return true;
    if (!json_is_array(what))
        return json_array_append_new(all, what) == 0;
    int rc = json_array_extend(all, what);
    json_decref(what);
    return rc == 0;
}

json_t *fj__inspect_all(const char *kind, fj_deadline by)
{
    json_t *all = json_array();
    bool whole = all != NULL;

    enter();
    unsigned long until = serials;
    for (fj__inspected *i = next_of(first, kind, until); whole && i != NULL;) {
        i->asked++; /* and so it stays in the list */
        leave();
        whole = gather(all, i->fn(i->user, by));
        enter();
        fj__inspected *next = next_of(i->next, kind, until);
        if (--i->asked == 0 && i->going)
            (void)fj__native.pthread_cond_broadcast(&answered);
        i = next;
    }
    leave();
    if (!whole) {
        json_decref(all);
        all = NULL;
    }
    return all;
}

static bool is_kind(const char *kind)
{
    for (size_t n = 0; n < fj__countof(kinds); n++) {
        if (strcmp(kinds[n], kind) == 0)
            return true;
    }
    enter();
    bool there = next_of(first, kind, serials) != NULL;
    leave();
    return there;
}

fj_code fj_inspect(const char *kind, fj_deadline by, json_t **ret, fj_error **err)
{
    if (!is_kind(kind))
        return fj_fail(err, FJ_NOT_FOUND, "nothing of the kind \"%s\" can be inspected", kind);
    json_t *all = fj__inspect_all(kind, by);
    if (all == NULL)
        return fj_fail(err, FJ_NOMEM, NULL);
    *ret = all;
    return FJ_OK;
}
