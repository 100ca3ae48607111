/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/profile_sample.h"

#include "base/alloc.h"
#include "runtime/fibre.h"
#include "runtime/local.h"
#include "runtime/loop_look.h"
#include "runtime/symbols.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { FREE, WRITING, FULL, TRIES = 8 };

static _Atomic(fj__samples *) to;
static atomic_uint handling;

/* ---- in the handler ----------------------------------------------------------------------------- */

static void copy(char *into, const char *text)
{
    size_t i = 0;

    for (; text != NULL && text[i] != '\0' && i + 1 < FJ__SAMPLE_NAME; i++)
        into[i] = text[i];
    into[i] = '\0';
}

static void *interrupted_at(const ucontext_t *context, const char **ret_sp)
{
#if defined(__x86_64__)
    *ret_sp = (const char *)context->uc_mcontext.gregs[REG_RSP];
    return (void *)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    *ret_sp = (const char *)context->uc_mcontext.sp;
    return (void *)context->uc_mcontext.pc;
#else
    (void)context;
    *ret_sp = NULL;
    return NULL;
#endif
}

/* In the middle of a switch the fibre and the stack may not be each other's, and an unwinder is better not let loose. */
static bool between_stacks(const char *sp)
{
    const fj__fibre *f = fj__fibre_current();

    return f != NULL && sp != NULL && (sp < f->stack.base || sp > f->stack.base + f->stack.size);
}

/* The frames of the handler itself, and the kernel's, are left out. */
static void take_frames(fj__sample *s, const ucontext_t *context)
{
    const char *sp = NULL;
    void *pc = interrupted_at(context, &sp);
    int from = 0;

    s->frames[0] = pc;
    s->n = 1;
    if (pc != NULL && between_stacks(sp))
        return;
    s->n = fj__trace_take(s->frames, FJ__TRACE_FRAMES);
    while (from < s->n && s->frames[from] != pc)
        from++;
    if (from == s->n)
        from = s->n > 2 ? 2 : 0; /* of a machine that is not known */
    s->n -= from;
    memmove(s->frames, s->frames + from, (size_t)s->n * sizeof s->frames[0]);
}

static fj__sample_place *place_in(fj__samples *samples)
{
    for (int i = 0; i < TRIES; i++) {
        fj__sample_place *p = &samples->places[atomic_fetch_add(&samples->next, 1) % FJ__SAMPLES];
        unsigned free_ = FREE;
        if (atomic_compare_exchange_strong(&p->state, &free_, WRITING))
            return p;
    }
    return NULL;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)number, (void)info;
    (void)atomic_fetch_add(&handling, 1);
    fj__samples *samples = atomic_load(&to);
    fj__sample_place *p = samples != NULL ? place_in(samples) : NULL;
    if (p != NULL) {
        const fj_task *task = fj_task_current();
        p->sample.tid = (pid_t)syscall(SYS_gettid);
        copy(p->sample.task, task != NULL ? fj_task_name(task) : NULL);
        copy(p->sample.method, fj__look_about(*fj__local(FJ__LOCAL_REQUEST)).method);
        take_frames(&p->sample, context);
        atomic_store(&p->state, FULL);
    } else if (samples != NULL) {
        (void)atomic_fetch_add(&samples->lost, 1);
    }
    (void)atomic_fetch_sub(&handling, 1);
    errno = saved;
}

/* ---- outside ------------------------------------------------------------------------------------ */

fj_code fj__samples_handle(fj_error **err)
{
    struct sigaction now,
        action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };

    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGPROF, NULL, &now) != 0)
        return fj_fail(err, FJ_SYSTEM, "SIGPROF: %s", strerror(errno));
    if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_signal)
        return FJ_OK;
    if ((now.sa_flags & SA_SIGINFO) != 0 || (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN))
        return fj_fail(err, FJ_STATE, "the program has its own use for SIGPROF");
    fj__trace_prepare();
    if (sigaction(SIGPROF, &action, NULL) != 0)
        return fj_fail(err, FJ_SYSTEM, "SIGPROF: %s", strerror(errno));
    return FJ_OK;
}

void fj__samples_to(fj__samples *samples)
{
    atomic_store(&to, samples);
    while (atomic_load(&handling) != 0)
        (void)sched_yield();
}

void fj__samples_forget(void)
{
    atomic_store(&to, NULL);
    atomic_store(&handling, 0);
}

static bool same(const fj__sample *a, const fj__sample *b)
{
    return a->n == b->n && (a->method[0] != '\0' || a->task[0] != '\0' || a->tid == b->tid) &&
           strcmp(a->method, b->method) == 0 && strcmp(a->task, b->task) == 0 &&
           memcmp(a->frames, b->frames, (size_t)a->n * sizeof a->frames[0]) == 0;
}

struct stack {
    struct stack *next; /* in its bucket */
    unsigned long count;
    fj__sample sample; /* up to its last frame */
};

enum { BUCKETS = 4096 };

struct fj__stacks {
    struct stack *buckets[BUCKETS];
    unsigned long samples, lost;
    size_t n;
};

fj__stacks *fj__stacks_new(void)
{
    return fj__zalloc(sizeof(fj__stacks));
}

void fj__stacks_free(fj__stacks *s)
{
    for (size_t i = 0; s != NULL && i < BUCKETS; i++) {
        while (s->buckets[i] != NULL) {
            struct stack *gone = s->buckets[i];
            s->buckets[i] = gone->next;
            fj__free(gone);
        }
    }
    fj__free(s);
}

static size_t bucket_of(const fj__sample *s)
{
    uintptr_t hash = 0;

    for (int i = 0; i < s->n; i++)
        hash = hash * 31 + (uintptr_t)s->frames[i];
    for (const char *c = s->method; *c != '\0'; c++)
        hash = hash * 31 + (uintptr_t)(unsigned char)*c;
    return (hash ^ (hash >> 16)) % BUCKETS;
}

static void count(fj__stacks *s, const fj__sample *sample)
{
    struct stack **bucket = &s->buckets[bucket_of(sample)], *at = *bucket;

    while (at != NULL && !same(&at->sample, sample))
        at = at->next;
    if (at == NULL && s->n < FJ__STACKS_MAX) {
        at = fj__zalloc(sizeof *at);
        if (at != NULL) {
            at->sample = *sample;
            at->next = *bucket;
            *bucket = at;
            s->n++;
        }
    }
    if (at == NULL) {
        s->lost++;
        return;
    }
    at->count++;
    s->samples++;
}

void fj__stacks_take(fj__stacks *s, fj__samples *from)
{
    for (size_t i = 0; i < FJ__SAMPLES; i++) {
        fj__sample_place *p = &from->places[i];
        if (atomic_load(&p->state) != FULL)
            continue;
        count(s, &p->sample);
        atomic_store(&p->state, FREE);
    }
    s->lost += atomic_exchange(&from->lost, 0);
}

/* ---- as JSON ------------------------------------------------------------------------------------ */

static void put(char *text, size_t size, size_t *at, const char *part)
{
    for (; *part != '\0' && *at + 1 < size; part++)
        text[(*at)++] = *part == ';' || *part == '\n' ? ':' : *part;
    text[*at] = '\0';
}

/* Of one that has ended by its number. */
static int name_thread(pid_t tid, char *text, size_t size)
{
    char path[64], comm[32] = "";

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)tid);
    FILE *f = fopen(path, "re");
    if (f != NULL && fgets(comm, sizeof comm, f) != NULL)
        comm[strcspn(comm, "\n")] = '\0';
    if (f != NULL)
        (void)fclose(f);
    return comm[0] != '\0' ? snprintf(text, size, "thread %s", comm)
                           : snprintf(text, size, "thread %d", (int)tid);
}

/* "method add;main;run;add_numbers": what it was for, then the calls from the outermost. */
static json_t *folded(const struct stack *s, fj__symbols *names)
{
    static const char between[] = ";";
    char text[8192], name[200];
    size_t at = 0;
    const fj__sample *p = &s->sample;

    if (p->method[0] != '\0')
        (void)snprintf(name, sizeof name, "method %s", p->method);
    else if (p->task[0] != '\0')
        (void)snprintf(name, sizeof name, "task %s", p->task);
    else
        (void)name_thread(p->tid, name, sizeof name);
    put(text, sizeof text, &at, name);
    for (int i = p->n - 1; i >= 0; i--) {
        fj__symbols_text(names, p->frames[i], i > 0, false, name, sizeof name);
        if (at + 1 < sizeof text)
            text[at++] = between[0];
        put(text, sizeof text, &at, name);
    }
    text[at] = '\0';
    return json_pack("{s:s, s:I}", "stack", text, "samples", (json_int_t)s->count);
}

static void add_to(json_t *counts, const char *name, unsigned long n)
{
    const json_t *was = json_object_get(counts, name);

    (void)json_object_set_new(counts, name, json_integer(json_integer_value(was) + (json_int_t)n));
}

static int most_first(const void *a, const void *b)
{
    const struct stack *const *s = a, *const *t = b;

    return (*s)->count < (*t)->count ? 1 : -((*s)->count > (*t)->count);
}

/* Gives; NULL: no memory. */
static struct stack **in_order(const fj__stacks *s)
{
    struct stack **all = fj__alloc((s->n + 1) * sizeof(struct stack *));
    size_t n = 0;

    for (size_t i = 0; all != NULL && i < BUCKETS; i++) {
        for (struct stack *at = s->buckets[i]; at != NULL; at = at->next)
            all[n++] = at;
    }
    if (all != NULL && n > 1)
        qsort(all, n, sizeof(struct stack *), most_first);
    return all;
}

void fj__stacks_json(const fj__stacks *s, bool whole, json_t *ret)
{
    (void)json_object_set_new(ret, "samples", json_integer(s != NULL ? (json_int_t)s->samples : 0));
    (void)json_object_set_new(ret, "lost", json_integer(s != NULL ? (json_int_t)s->lost : 0));
    struct stack **all = whole && s != NULL ? in_order(s) : NULL;
    if (!whole)
        return;
    json_t *stacks = json_array(), *methods = json_object();
    fj__symbols *names = fj__symbols_new();
    for (size_t i = 0; all != NULL && i < s->n; i++) {
        const fj__sample *p = &all[i]->sample;
        (void)json_array_append_new(stacks, folded(all[i], names));
        add_to(methods, p->method[0] != '\0' ? p->method : "", all[i]->count);
    }
    fj__symbols_free(names);
    fj__free(all);
    (void)json_object_set_new(ret, "stacks", stacks);
    (void)json_object_set_new(ret, "methods", methods);
}
