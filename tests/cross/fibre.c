/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fibres of another machine, run by an emulator: what of them is machine's own, with no library but libc.
 * Says what tests/unit/fibre_test.c says of this machine, in TAP's manner.
 */
#include "runtime/fibre.h"

#include <errno.h>
#include <fenv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 1000
#define NUMBERS 24

/* The library's needs jansson, which is not there for that machine. */
fj_code fj_fail(fj_error **err, fj_code code, const char *format, ...)
{
    va_list args;

    (void)err;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return code;
}

static int number, failures;

static void tell(bool ok, const char *what)
{
    printf("%s %d %s\n", ok ? "ok" : "not ok", ++number, what);
    (void)fflush(stdout);
    failures += !ok;
}

typedef struct {
    fj__fibre fibre;
    double seed, sum;
    int steps;
    bool ok;
} scene;

/* More values alive over each switch than there are registers, whole and broken. */
static void keeps_registers(void *arg)
{
    scene *s = arg;
    double d[NUMBERS];
    long n[NUMBERS];

    for (int i = 0; i < NUMBERS; i++) {
        d[i] = s->seed + i;
        n[i] = (long)s->seed * i;
    }
    for (s->steps = 0; s->steps < 3; s->steps++)
        fj__fibre_suspend();
    for (int i = 0; i < NUMBERS; i++)
        s->sum += d[i] + (double)n[i];
}

static double expected(double seed)
{
    double sum = 0;

    for (int i = 0; i < NUMBERS; i++)
        sum += seed + i + (double)((long)seed * i);
    return sum;
}

static void many_fibres_keep_their_registers(void)
{
    scene *all = calloc(MANY, sizeof *all);
    bool ok = all != NULL;

    for (int i = 0; ok && i < MANY; i++) {
        all[i].seed = i;
        ok = fj__fibre_init(&all[i].fibre, FJ__STACK_MIN, keeps_registers, &all[i], NULL) == FJ_OK;
    }
    for (int turn = 0; ok && turn < 4; turn++) {
        volatile double mine = turn; /* kept by the resumer */
        for (int i = 0; i < MANY; i++)
            ok = ok && fj__fibre_resume(&all[i].fibre) == (turn < 3) && mine == (double)turn;
    }
    for (int i = 0; ok && i < MANY; i++) {
        ok = all[i].steps == 3 && all[i].sum == expected(i);
        fj__fibre_fini(&all[i].fibre);
    }
    free(all);
    tell(ok, "many fibres keep their registers");
}

static void own_state(void *arg)
{
    scene *s = arg;

    s->ok = errno == 0 && fegetround() == FE_DOWNWARD;
    errno = ENOENT;
    (void)fesetround(FE_UPWARD);
    fj__fibre_suspend();
    s->ok = s->ok && errno == ENOENT && fegetround() == FE_UPWARD;
}

static void errno_and_rounding_are_its_own(void)
{
    scene s = { .ok = false };

    (void)fesetround(FE_DOWNWARD);
    bool ok = fj__fibre_init(&s.fibre, FJ__STACK_DEFAULT, own_state, &s, NULL) == FJ_OK;
    errno = EBUSY;
    ok = ok && fj__fibre_resume(&s.fibre) && errno == EBUSY && fegetround() == FE_DOWNWARD;
    ok = ok && !fj__fibre_resume(&s.fibre) && errno == EBUSY && fegetround() == FE_DOWNWARD && s.ok;
    (void)fesetround(FE_TONEAREST);
    fj__fibre_fini(&s.fibre);
    tell(ok, "errno and rounding are a fibre's own");
}

static void nested(void *arg)
{
    scene *outer = arg;
    scene inner = { .seed = 7 };

    if (fj__fibre_init(&inner.fibre, FJ__STACK_MIN, keeps_registers, &inner, NULL) != FJ_OK)
        return;
    while (fj__fibre_resume(&inner.fibre))
        fj__fibre_suspend();
    fj__fibre_fini(&inner.fibre);
    outer->ok = inner.sum == expected(7) && fj__fibre_current() == &outer->fibre;
}

static void a_fibre_resumes_another(void)
{
    scene s = { .ok = false };
    int turns = 1;

    bool ok = fj__fibre_init(&s.fibre, FJ__STACK_MIN, nested, &s, NULL) == FJ_OK;
    while (ok && fj__fibre_resume(&s.fibre))
        turns++;
    fj__fibre_fini(&s.fibre);
    tell(ok && s.ok && turns == 4 && fj__fibre_current() == NULL, "a fibre resumes another");
}

static int sink;

__attribute__((noinline)) static int deeper(int n)
{
    volatile char room[512];

    room[0] = (char)n;
    sink += room[0];
    return n < 1 << 20 ? deeper(n + 1) + room[0] : 0;
}

static void overflows(void *arg)
{
    sink = deeper(*(int *)arg);
}

static void an_overflow_is_told_and_ends_the_process(void)
{
    int ends[2], status = 0, zero = 0;
    char text[400] = "";

    bool ok = pipe(ends) == 0;
    pid_t child = fork();
    if (child == 0) {
        fj__fibre f;
        (void)dup2(ends[1], STDERR_FILENO);
        if (fj__fibre_init(&f, FJ__STACK_MIN, overflows, &zero, NULL) != FJ_OK)
            _exit(2);
        f.name = "deep";
        (void)fj__fibre_resume(&f);
        _exit(3);
    }
    (void)close(ends[1]);
    for (size_t used = 0; used < sizeof text - 1;) {
        ssize_t n = read(ends[0], text + used, sizeof text - 1 - used);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    ok = ok && waitpid(child, &status, 0) == child && WIFSIGNALED(status);
    (void)close(ends[0]);
    ok = ok && strstr(text, "task \"deep\" overflowed its stack of 16") != NULL;
    tell(ok, "an overflow is told by name and ends the process");
}

int main(void)
{
    many_fibres_keep_their_registers();
    errno_and_rounding_are_its_own();
    a_fibre_resumes_another();
    an_overflow_is_told_and_ends_the_process();
    printf("1..%d\n", number);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
