/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the log as bytes.  Whatever a peer sends, a line stays one line and moves no cursor. */
#include "base/log_line.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h>

struct out {
    char *to;
    size_t size;
    size_t n;    /* how long it would be */
    size_t have; /* how much of it is there: less, once something did not fit */
};

/* All of it or nothing, and nothing after what did not fit; one byte is left for a NUL. */
static void put(struct out *o, const char *bytes, size_t n)
{
    if (o->have == o->n && o->have + n < o->size) {
        memcpy(o->to + o->have, bytes, n);
        o->have += n;
    }
    o->n += n;
}

static void put_text(struct out *o, const char *text)
{
    put(o, text, strlen(text));
}

/* ---- characters -------------------------------------------------------------------------------- */

/* The bytes of the UTF-8 character at @p at, 0 when it is none; RFC 3629: no surrogates, nothing longer than it must be. */
static size_t character(const unsigned char *at, size_t n, unsigned *ret)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t need = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    unsigned c = need == 1 ? at[0] : at[0] & (0xffu >> (need + 1));

    if ((at[0] >= 0x80 && at[0] < 0xc2) || at[0] > 0xf4 || need > n)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (at[i] & 0x3f);
    }
    if (c < least[need] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret = c;
    return need;
}

/* C0, DEL, C1, the separators of lines and paragraphs, and what turns the direction of writing, by which a line may be made to look
 * like another. */
static bool hostile(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static void escape(struct out *o, unsigned c, bool json)
{
    static const char letters[] = "abtnvfr";
    char text[8];

    if (c >= 7 && c <= 13 && !(json && (c == 7 || c == 11)))
        (void)snprintf(text, sizeof text, "\\%c", letters[c - 7]);
    else if (json || c > 0xff)
        (void)snprintf(text, sizeof text, "\\u%04x", c & 0xffff);
    else
        (void)snprintf(text, sizeof text, "\\x%02x", c & 0xff);
    put_text(o, text);
}

/* One character, or one byte that belongs to none.  @return how many bytes of the text it was */
static size_t put_one(struct out *o, const unsigned char *at, size_t n, bool json)
{
    unsigned c = 0;
    size_t step = character(at, n, &c);
    char text[8];

    if (step == 0) {
        (void)snprintf(text, sizeof text, json ? "\\\\x%02x" : "\\x%02x", at[0]);
        put_text(o, text);
        return 1;
    }
    if (hostile(c)) {
        escape(o, c, json);
    } else if (json && (c == '"' || c == '\\')) {
        char quoted[2] = { '\\', (char)c };
        put(o, quoted, 2);
    } else
        put(o, (const char *)at, step);
    return step;
}

static void put_escaped(struct out *o, const char *text, size_t n, bool json)
{
    for (size_t i = 0; i < n;)
        i += put_one(o, (const unsigned char *)text + i, n - i, json);
}

/* The text of a line: where there is no room for all of it and @p tail bytes more, it ends in "...". */
static void put_line(struct out *o, const fj__log_line *l, bool json, size_t tail)
{
    static const char more[] = "...";
    size_t keep = tail + sizeof more;
    struct out part = *o;

    if (o->have != o->n)
        return; /* it does not matter any more */
    part.size = o->size > keep ? o->size - keep : 0;
    for (size_t i = 0; i < l->text_n && part.have == part.n;)
        i += put_one(&part, (const unsigned char *)l->text + i, l->text_n - i, json);
    bool whole = part.have == part.n;
    o->have = part.have;
    o->n = whole ? part.n : part.have;
    if (!whole)
        put_text(o, more);
}

size_t fj__log_escape(char *out, size_t size, const char *text, size_t n)
{
    struct out o = { .to = out, .size = size };

    put_escaped(&o, text, n, false);
    if (size != 0)
        out[o.have] = '\0';
    return o.n;
}

/* ---- formats ----------------------------------------------------------------------------------- */

struct civil {
    int year, month, day, hour, minute, second; /* month and day from 1 */
};

static bool leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* As gmtime_r(), which takes a lock of libc that a child may find taken for ever after a fork.  Before 1970 there was no Fjord. */
static struct civil civil_of(int64_t seconds)
{
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t day = seconds > 0 ? seconds / 86400 : 0;
    int rest = seconds > 0 ? (int)(seconds % 86400) : 0, month = 0;
    struct civil c = { .year = 1970, .hour = rest / 3600, .minute = rest / 60 % 60, .second = rest % 60 };

    while (c.year < 9999 && day >= 365 + leap(c.year))
        day -= 365 + leap(c.year++);
    for (; month < 11 && day >= lengths[month] + (month == 1 && leap(c.year)); month++)
        day -= lengths[month] + (month == 1 && leap(c.year));
    c.month = month + 1;
    c.day = (int)(day % 31) + 1;
    return c;
}

/* As ISO 8601, in UTC. */
static void put_time(struct out *o, const struct timespec *when)
{
    struct civil c = civil_of(when->tv_sec);
    char text[96];

    (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", c.year, c.month, c.day, c.hour,
                   c.minute, c.second, when->tv_nsec / 1000000 % 1000);
    put_text(o, text);
}

/* "[req-1 msg-2 reboot] ": what is known of the request. */
static void put_request(struct out *o, const fj__log_line *l)
{
    const char *parts[] = { l->request, l->message, l->method };
    bool some = false;

    for (size_t i = 0; i < 3; i++) {
        if (parts[i][0] == '\0')
            continue;
        put_text(o, some ? " " : "[");
        put_escaped(o, parts[i], strlen(parts[i]), false);
        some = true;
    }
    if (some)
        put_text(o, "] ");
}

static void put_body(struct out *o, const fj__log_line *l)
{
    put_escaped(o, l->component, strlen(l->component), false);
    put_text(o, ": ");
    put_request(o, l);
    put_line(o, l, false, 1);
}

static void render_text(struct out *o, const fj__log_line *l)
{
    char level[16];

    put_time(o, &l->when);
    (void)snprintf(level, sizeof level, " %-7s ", fj_log_level_name(l->level));
    put_text(o, level);
    put_body(o, l);
}

static void put_json(struct out *o, const char *key, const char *text, size_t n)
{
    if (n == 0)
        return;
    put_text(o, ",\"");
    put_text(o, key);
    put_text(o, "\":\"");
    put_escaped(o, text, n, true);
    put_text(o, "\"");
}

static void put_json_number(struct out *o, const char *key, unsigned long n)
{
    char text[64];

    (void)snprintf(text, sizeof text, ",\"%s\":%lu", key, n);
    put_text(o, text);
}

static void render_json(struct out *o, const fj__log_line *l)
{
    put_text(o, "{\"time\":\"");
    put_time(o, &l->when);
    put_text(o, "\"");
    put_json(o, "level", fj_log_level_name(l->level), strlen(fj_log_level_name(l->level)));
    put_json(o, "component", l->component, strlen(l->component));
    put_json_number(o, "pid", (unsigned long)l->pid);
    put_json_number(o, "tid", (unsigned long)l->tid);
    put_json(o, "request_id", l->request, strlen(l->request));
    put_json(o, "message_id", l->message, strlen(l->message));
    put_json(o, "method", l->method, strlen(l->method));
    put_json(o, "file", l->file, strlen(l->file));
    if (l->file[0] != '\0')
        put_json_number(o, "line", l->line);
    put_text(o, ",\"text\":\"");
    put_line(o, l, true, 3);
    put_text(o, "\"}");
}

static int priority(fj_log_level level)
{
    static const int all[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG };

    return (size_t)level < sizeof all / sizeof all[0] ? all[level] : LOG_DEBUG;
}

/* What a local daemon reads on /dev/log: RFC 3164 without a host, with local time, as syslog(3) of libc writes it.  The month's
 * name is not asked of strftime(), which answers in the program's language. */
static void render_syslog(struct out *o, const fj__log_line *l, const char *ident, int facility)
{
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    struct civil t = civil_of((int64_t)l->when.tv_sec + l->offset);
    char head[96], pid[24];

    (void)snprintf(head, sizeof head, "<%d>%s %2d %02d:%02d:%02d ", facility | priority(l->level),
                   months[t.month - 1], t.day, t.hour, t.minute, t.second);
    put_text(o, head);
    put_escaped(o, ident, strlen(ident), false);
    (void)snprintf(pid, sizeof pid, "[%ld]: ", (long)l->pid);
    put_text(o, pid);
    put_text(o, fj_log_level_name(l->level));
    put_text(o, " ");
    put_body(o, l);
}

static void put_field(struct out *o, const char *key, const char *text, size_t n)
{
    if (n == 0)
        return;
    put_text(o, key);
    put_text(o, "=");
    put_escaped(o, text, n, false);
    put_text(o, "\n");
}

static void put_field_number(struct out *o, const char *key, long n)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%ld", n);
    put_field(o, key, text, strlen(text));
}

/* journald's native protocol, https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: a field a line, for no value has a newline once it is escaped. */
static void render_journal(struct out *o, const fj__log_line *l, const char *ident)
{
    put_field_number(o, "PRIORITY", priority(l->level));
    put_field(o, "SYSLOG_IDENTIFIER", ident, strlen(ident));
    put_field_number(o, "SYSLOG_PID", (long)l->pid);
    put_field_number(o, "TID", (long)l->tid);
    put_field(o, "CODE_FILE", l->file, strlen(l->file));
    if (l->file[0] != '\0')
        put_field_number(o, "CODE_LINE", (long)l->line);
    put_field(o, "CODE_FUNC", l->function, strlen(l->function));
    put_field(o, "FJORD_LEVEL", fj_log_level_name(l->level), strlen(fj_log_level_name(l->level)));
    put_field(o, "FJORD_COMPONENT", l->component, strlen(l->component));
    put_field(o, "FJORD_REQUEST_ID", l->request, strlen(l->request));
    put_field(o, "FJORD_MESSAGE_ID", l->message, strlen(l->message));
    put_field(o, "FJORD_METHOD", l->method, strlen(l->method));
    put_text(o, "MESSAGE=");
    put_line(o, l, false, 1);
}

size_t fj__log_render(char *out, size_t size, const fj__log_line *line, fj__log_format format,
                      const char *ident, int facility)
{
    struct out o = { .to = out, .size = size };

    switch (format) {
    case FJ__LOG_TEXT:
        render_text(&o, line);
        break;
    case FJ__LOG_JSON:
        render_json(&o, line);
        break;
    case FJ__LOG_SYSLOG:
        render_syslog(&o, line, ident, facility);
        break;
    case FJ__LOG_JOURNAL:
        render_journal(&o, line, ident);
        break;
    }
    put_text(&o, "\n");
    return o.have == o.n ? o.n : 0;
}
