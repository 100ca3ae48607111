/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as tables: a column each, as wide as what is in it. */
#include "tools/inspect.h"

#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 16, CELL = 96 };

typedef enum { TEXT, NUMBER, TIME, BYTES, COUNT /* of an array */ } format;

typedef struct {
    const char *head, *key; /* "latency/p50": in an object */
    format how;
} column;

typedef struct {
    const char *word;
    column columns[COLUMNS];
} table;

static const table tables[] = {
    { "tasks",
      { { "LOOP", "loop", TEXT },
        { "ID", "id", NUMBER },
        { "TASK", "name", TEXT },
        { "STATE", "state", TEXT },
        { "WAITS FOR", "waiting_for", TEXT },
        { "WAITED", "waited", TIME },
        { "AGE", "age", TIME },
        { "ENDS IN", "ends_in", TIME },
        { "STACK", "stack_bytes", BYTES },
        { "METHOD", "method", TEXT },
        { "REQUEST", "request_id", TEXT } } },
    { "timers", { { "LOOP", "loop", TEXT }, { "DUE IN", "due_in", TIME }, { "WHAT", "what", TEXT } } },
    { "loops",
      { { "LOOP", "name", TEXT },
        { "THREAD", "thread", TEXT },
        { "TID", "tid", NUMBER },
        { "EXECUTOR", "executor", TEXT },
        { "BLOCKED", "blocked", TIME },
        { "BY", "blocked_by", TEXT },
        { "TASKS", "tasks", NUMBER },
        { "READY", "ready", NUMBER },
        { "TIMERS", "timers", NUMBER },
        { "WATCHES", "watchers", COUNT },
        { "TURNS", "turns", NUMBER } } },
    { "connections",
      { { "TRANSPORT", "transport", TEXT },
        { "PURPOSE", "purpose", TEXT },
        { "STATE", "state", TEXT },
        { "SINCE", "since", TIME },
        { "PEER", "peer", TEXT },
        { "RECONNECTS", "reconnects", NUMBER },
        { "CHANNELS", "channels", COUNT },
        { "IN", "bytes_in", BYTES },
        { "OUT", "bytes_out", BYTES },
        { "WAITING", "output_waiting", BYTES },
        { "HEARTBEAT", "heartbeat", TIME },
        { "LAST SEEN", "last_seen", TIME },
        { "ERROR", "error", TEXT } } },
    { "channels",
      { { "CHANNEL", "number", NUMBER },
        { "ROLE", "role", TEXT },
        { "STATE", "state", TEXT },
        { "PREFETCH", "prefetch", NUMBER },
        { "CONSUMERS", "consumers", NUMBER },
        { "UNACKED", "unacked", NUMBER },
        { "UNCONFIRMED", "unconfirmed", NUMBER } } },
    { "queues",
      { { "QUEUE", "name", TEXT },
        { "TRANSPORT", "transport", TEXT },
        { "ROLE", "role", TEXT },
        { "WAITING", "waiting", NUMBER },
        { "IN HAND", "in_hand", NUMBER },
        { "CAPACITY", "capacity", NUMBER } } },
    { "calls",
      { { "SIDE", "side", TEXT },
        { "KIND", "kind", TEXT },
        { "METHOD", "method", TEXT },
        { "TARGET", "target", TEXT },
        { "SERVER", "server", TEXT },
        { "STATE", "state", TEXT },
        { "FLAVOUR", "flavour", TEXT },
        { "AGE", "age", TIME },
        { "RUNNING", "running", TIME },
        { "ENDS IN", "deadline_in", TIME },
        { "SENT", "sent", TEXT },
        { "ID", "id", TEXT } } },
    { "counters",
      { { "METHOD", "method", TEXT },
        { "SIDE", "side", TEXT },
        { "CALLS", "calls", NUMBER },
        { "CASTS", "casts", NUMBER },
        { "OK", "ok", NUMBER },
        { "FAILED", "failed", NUMBER },
        { "EXPECTED", "expected_failures", NUMBER },
        { "CANCELLED", "cancelled", NUMBER },
        { "TIMEOUTS", "timeouts", NUMBER },
        { "RUNNING", "in_flight", NUMBER },
        { "P50", "latency/p50", TIME },
        { "P99", "latency/p99", TIME },
        { "P99.9", "latency/p99.9", TIME },
        { "MAX", "latency/max", TIME },
        { "WAIT P99", "wait/p99", TIME } } },
};

/* ---- cells -------------------------------------------------------------------------------------- */

static void print_time(double s, char *to)
{
    const char *sign = s < 0 ? "-" : "";
    double a = s < 0 ? -s : s;
    long whole = (long)a;

    if (a < 1e-3)
        (void)snprintf(to, CELL, "%s%.0fus", sign, a * 1e6);
    else if (a < 1)
        (void)snprintf(to, CELL, a < 0.01 ? "%s%.1fms" : "%s%.0fms", sign, a * 1e3);
    else if (a < 60)
        (void)snprintf(to, CELL, "%s%.1fs", sign, a);
    else if (a < 3600)
        (void)snprintf(to, CELL, "%s%ldm%02lds", sign, whole / 60, whole % 60);
    else if (a < 86400)
        (void)snprintf(to, CELL, "%s%ldh%02ldm", sign, whole / 3600, whole / 60 % 60);
    else
        (void)snprintf(to, CELL, "%s%ldd%02ldh", sign, whole / 86400, whole / 3600 % 24);
}

static void print_bytes(double n, char *to)
{
    static const char units[] = " KMGT";
    size_t unit = 0;

    while (n >= 1024 && unit + 2 < sizeof units) {
        n /= 1024;
        unit++;
    }
    if (unit == 0)
        (void)snprintf(to, CELL, "%.0f", n);
    else
        (void)snprintf(to, CELL, n < 10 ? "%.1f%c" : "%.0f%c", n, units[unit]);
}

/* What a peer called its methods and tasks must not reach the terminal as more than letters. */
static void print_text(const char *text, char *to)
{
    size_t n = 0;

    for (; *text != '\0' && n + 1 < CELL; text++)
        to[n++] = (unsigned char)*text < ' ' || *text == 127 ? '?' : *text;
    while (*text != '\0' && n > 0 &&
           ((unsigned char)to[n - 1] & 0x80) != 0) /* no half of a character at the end */
        n--;
    to[n] = '\0';
}

static const json_t *value_of(const json_t *row, const char *key)
{
    char first[32];
    const char *slash = strchr(key, '/');

    if (slash == NULL)
        return json_object_get(row, key);
    (void)snprintf(first, sizeof first, "%.*s", (int)(slash - key), key);
    return json_object_get(json_object_get(row, first), slash + 1);
}

static void print_cell(const json_t *row, const column *c, char *to)
{
    const json_t *value = value_of(row, c->key);

    (void)snprintf(to, CELL, "-");
    if (c->how == COUNT && json_is_array(value))
        (void)snprintf(to, CELL, "%zu", json_array_size(value));
    else if (json_is_string(value))
        print_text(json_string_value(value), to);
    else if (json_is_number(value) && c->how == TIME)
        print_time(json_number_value(value), to);
    else if (json_is_number(value) && c->how == BYTES)
        print_bytes(json_number_value(value), to);
    else if (json_is_integer(value))
        (void)snprintf(to, CELL, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_number(value))
        (void)snprintf(to, CELL, "%g", json_number_value(value));
}

/* ---- tables ------------------------------------------------------------------------------------- */

static size_t columns_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void pad(size_t n)
{
    while (n-- > 0)
        putchar(' ');
}

static void print_row(const table *t, const size_t *width, char cells[COLUMNS][CELL], const char *indent)
{
    size_t gap = 0;

    fputs(indent, stdout);
    for (size_t i = 0; i < COLUMNS && t->columns[i].head != NULL; i++) {
        size_t spare = width[i] - columns_of(cells[i]);
        bool right = t->columns[i].how != TEXT;
        if (width[i] == 0)
            continue;
        pad(gap + (right ? spare : 0));
        fputs(cells[i], stdout);
        gap = 2 + (right ? 0 : spare);
    }
    putchar('\n');
}

/* A column that has nothing in any row is left out: its width is 0. */
static void measure(const table *t, const json_t *rows, size_t *width)
{
    char cell[CELL];

    for (size_t i = 0; i < COLUMNS && t->columns[i].head != NULL; i++) {
        width[i] = 0;
        for (size_t r = 0; r < json_array_size(rows); r++) {
            print_cell(json_array_get(rows, r), &t->columns[i], cell);
            if (strcmp(cell, "-") != 0 && columns_of(cell) > width[i])
                width[i] = columns_of(cell);
        }
        if (width[i] > 0 && width[i] < strlen(t->columns[i].head))
            width[i] = strlen(t->columns[i].head);
    }
}

static void print_trace(const json_t *frames)
{
    char cell[CELL];

    for (size_t i = 0; i < json_array_size(frames); i++) {
        const char *frame = json_string_value(json_array_get(frames, i));
        print_text(frame != NULL ? frame : "", cell);
        printf("        %s\n", cell);
    }
}

static void print_table(const char *word, const json_t *rows, const char *indent, bool stacks);

static void print_below(const table *t, const json_t *row, bool stacks)
{
    if (strcmp(t->word, "connections") == 0)
        print_table("channels", json_object_get(row, "channels"), "    ", false);
    if (stacks || json_is_number(json_object_get(row, "blocked")))
        print_trace(json_object_get(row, "backtrace"));
}

static const table *table_of(const char *word)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (strcmp(tables[i].word, word) == 0)
            return &tables[i];
    }
    return NULL;
}

static void print_table(const char *word, const json_t *rows, const char *indent, bool stacks)
{
    const table *t = table_of(word);
    size_t width[COLUMNS] = { 0 };
    char cells[COLUMNS][CELL];

    if (json_array_size(rows) == 0)
        return;
    measure(t, rows, width);
    for (size_t i = 0; i < COLUMNS && t->columns[i].head != NULL; i++)
        (void)snprintf(cells[i], CELL, "%s", width[i] > 0 ? t->columns[i].head : "");
    print_row(t, width, cells, indent);
    for (size_t r = 0; r < json_array_size(rows); r++) {
        const json_t *row = json_array_get(rows, r);
        for (size_t i = 0; i < COLUMNS && t->columns[i].head != NULL; i++) {
            print_cell(row, &t->columns[i], cells[i]);
            if (width[i] == 0)
                cells[i][0] = '\0';
        }
        print_row(t, width, cells, indent);
        print_below(t, row, stacks);
    }
}

/* ---- what is no table --------------------------------------------------------------------------- */

static void show_log(const json_t *answer)
{
    json_t *components = json_object_get(answer, "components");

    printf("level %s\n", json_string_value(json_object_get(answer, "level")));
    for (void *at = json_object_iter(components); at != NULL; at = json_object_iter_next(components, at))
        printf("  %s %s\n", json_object_iter_key(at), json_string_value(json_object_iter_value(at)));
}

static void show_profile(const json_t *answer)
{
    const json_t *stacks = json_object_get(answer, "stacks");

    for (size_t i = 0; i < json_array_size(stacks); i++) {
        const json_t *one = json_array_get(stacks, i);
        const char *text = json_string_value(json_object_get(one, "stack"));
        printf("%s %" JSON_INTEGER_FORMAT "\n", text != NULL ? text : "",
               json_integer_value(json_object_get(one, "samples")));
    }
    if (stacks == NULL)
        printf("profile %s, %" JSON_INTEGER_FORMAT " samples in %.1fs, %" JSON_INTEGER_FORMAT
               " a second of processor time\n",
               json_is_true(json_object_get(answer, "on")) ? "on" : "off",
               json_integer_value(json_object_get(answer, "samples")),
               json_number_value(json_object_get(answer, "seconds")),
               json_integer_value(json_object_get(answer, "hz")));
}

static void show_pairs(json_t *answer)
{
    char cell[CELL];

    for (void *at = json_object_iter(answer); at != NULL; at = json_object_iter_next(answer, at)) {
        const column c = { json_object_iter_key(at), json_object_iter_key(at), TEXT };
        print_cell(answer, &c, cell);
        printf("%-10s %s\n", c.key, cell);
    }
}

static void show_more(const char *word, const json_t *answer)
{
    char key[32];

    (void)snprintf(key, sizeof key, "%s_more", word);
    json_int_t more = json_integer_value(json_object_get(answer, key));
    if (more > 0)
        printf("and %" JSON_INTEGER_FORMAT " more\n", more);
    const json_t *blocked = json_object_get(answer, "blocked");
    if (json_array_size(blocked) > 0) {
        printf("these loops are blocked, and tell no %s:\n", word);
        print_table("loops", blocked, "", false);
    }
}

void inspect_show(const char *word, json_t *answer, bool stacks)
{
    if (table_of(word) == NULL) {
        if (strcmp(word, "log") == 0)
            show_log(answer);
        else if (strcmp(word, "profile") == 0)
            show_profile(answer);
        else
            show_pairs(answer);
        return;
    }
    const json_t *rows = json_object_get(answer, word);
    if (json_array_size(rows) == 0)
        printf("no %s\n", word);
    print_table(word, rows, "", stacks);
    show_more(word, answer);
}

/* ---- profiles ----------------------------------------------------------------------------------- */

static json_int_t next_most(json_t *methods, const char **ret)
{
    json_int_t most = 0;

    for (void *at = json_object_iter(methods); at != NULL; at = json_object_iter_next(methods, at)) {
        json_int_t n = json_integer_value(json_object_iter_value(at));
        if (n > most) {
            most = n;
            *ret = json_object_iter_key(at);
        }
    }
    return most;
}

void inspect_show_methods(const tool_opts *o, const json_t *profile)
{
    enum { TOP = 20 };
    json_t *left = json_deep_copy(json_object_get(profile, "methods"));
    json_int_t all = json_integer_value(json_object_get(profile, "samples")), n;
    const char *name = NULL;
    char cell[CELL];

    tool_note(o, "%" JSON_INTEGER_FORMAT " samples in %.1f seconds, %" JSON_INTEGER_FORMAT " lost", all,
              json_number_value(json_object_get(profile, "seconds")),
              json_integer_value(json_object_get(profile, "lost")));
    for (int i = 0; i < TOP && (n = next_most(left, &name)) > 0; i++) {
        print_text(name[0] != '\0' ? name : "(no method)", cell);
        tool_note(o, "%6.1f%%  %s", 100. * (double)n / (double)all, cell);
        (void)json_object_del(left, name);
    }
    json_decref(left);
}
