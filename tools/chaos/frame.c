/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: where they end, and what they say.  Nothing here trusts a length. */
#include "tools/chaos/frame.h"
#include "base/alloc.h"
#include <string.h>

enum { HEAD = 7, END = 0xCE };
enum { TYPE_METHOD = 1, TYPE_HEADER = 2, TYPE_BODY = 3, TYPE_HEARTBEAT = 8 };

const char *const chaos_text_names[CHAOS_TEXTS] = {
    [CHAOS_QUEUE] = "queue",
    [CHAOS_EXCHANGE] = "exchange",
    [CHAOS_ROUTING_KEY] = "routing_key",
    [CHAOS_CONSUMER_TAG] = "consumer_tag",
    [CHAOS_REPLY_TO] = "reply_to",
};

long chaos_frame_length(const uint8_t *bytes, size_t n, bool first)
{
    if (n == 0)
        return 0;
    if (bytes[0] == 'A')
        return !first || memcmp(bytes, "AMQP", n < 4 ? n : 4) != 0 ? -1 : n < 4 ? 0 : 8;
    if (bytes[0] != TYPE_METHOD && bytes[0] != TYPE_HEADER && bytes[0] != TYPE_BODY &&
        bytes[0] != TYPE_HEARTBEAT)
        return -1;
    if (n < HEAD)
        return 0;
    uint32_t size = (uint32_t)bytes[3] << 24 | (uint32_t)bytes[4] << 16 | (uint32_t)bytes[5] << 8 | bytes[6];
    return size > CHAOS_FRAME_MAX - HEAD - 1 ? -1 : (long)size + HEAD + 1;
}

size_t chaos_scan_feed(chaos_scan *s, const uint8_t *bytes, size_t n)
{
    size_t used = 0;

    while (used < n && !s->raw) {
        if (s->left == 0) {
            s->head[s->have++] = bytes[used++];
            long length = chaos_frame_length(s->head, s->have, !s->begun);
            s->raw = length < 0;
            s->left = length > 0 ? (size_t)length - s->have : 0;
            continue;
        }
        size_t take = s->left < n - used ? s->left : n - used;
        used += take;
        s->left -= take;
        if (s->left == 0) {
            s->raw = s->head[0] != 'A' && bytes[used - 1] != END;
            s->have = 0;
            s->begun = true;
            s->frames++;
            return used;
        }
    }
    return s->raw ? n : used;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *at;
    size_t left;
} reader;

/* Skip @p n bytes.  @return where they begin, or NULL when there are not so many: then nothing more can be read */
static const uint8_t *take(reader *r, size_t n)
{
    const uint8_t *at = r->at;

    if (n > r->left) {
        r->left = 0;
        return NULL;
    }
    r->at += n;
    r->left -= n;
    return at;
}

static uint64_t number(reader *r, size_t bytes)
{
    const uint8_t *b = take(r, bytes);
    uint64_t value = 0;

    for (size_t i = 0; b != NULL && i < bytes; i++)
        value = value << 8 | b[i];
    return value;
}

static chaos_text text(reader *r, size_t length_bytes)
{
    size_t n = r->left >= length_bytes ? (size_t)number(r, length_bytes) : SIZE_MAX;
    const uint8_t *bytes = take(r, n);

    return bytes != NULL ? (chaos_text){ bytes, n } : (chaos_text){ NULL, 0 };
}

static void keep_named(chaos_frame *f, const char *name, size_t n, chaos_text value)
{
    for (size_t i = 0; i < CHAOS_TEXTS; i++)
        if (strlen(chaos_text_names[i]) == n && memcmp(chaos_text_names[i], name, n) == 0)
            f->texts[i] = value;
}

static void read_arguments(chaos_frame *f, reader *r)
{
    unsigned bit = 0;

    for (const char *at = f->method->args; *at != '\0'; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (*at != 'b')
            bit = 0;
        else if (bit++ % 8 == 0)
            (void)take(r, 1);
        if (*at == 's')
            keep_named(f, at + 2, n - 2, text(r, 1));
        else if (*at == 'S' || *at == 't')
            (void)text(r, 4);
        else if (*at != 'b')
            (void)take(r, *at == 'o' ? 1 : *at == 'h' ? 2 : *at == 'l' ? 4 : 8);
        at += n;
    }
}

/* The properties come in the order of their flags: content_type, content_encoding, headers, delivery_mode, priority,
 * correlation_id, reply_to, and more that nobody asks for. */
static chaos_text read_reply_to(reader *r)
{
    enum { REPLY_TO = 6 };
    static const char types[] = "sstoos";
    unsigned flags = (unsigned)number(r, 2);

    if ((flags & 1u << (15 - REPLY_TO)) == 0)
        return (chaos_text){ NULL, 0 };
    for (unsigned i = 0; i < REPLY_TO; i++)
        if ((flags & 1u << (15 - i)) != 0) {
            if (types[i] == 'o')
                (void)take(r, 1);
            else
                (void)text(r, types[i] == 's' ? 1 : 4);
        }
    return text(r, 1);
}

/* ---- contents -------------------------------------------------------------------------------------------------- */

/* So many contents may be under way at once; of more, the frames of the oldest have no texts. */
enum { CONTENTS = 32 };
static const size_t kept[CHAOS_CONTENT_TEXTS] = { CHAOS_EXCHANGE, CHAOS_ROUTING_KEY, CHAOS_REPLY_TO };

struct chaos_contents {
    chaos_content all[CONTENTS];
    unsigned next;
};

chaos_contents *chaos_contents_new(void)
{
    return fj__zalloc(sizeof(chaos_contents));
}

chaos_contents *chaos_contents_free(chaos_contents *c)
{
    for (size_t i = 0; c != NULL && i < CONTENTS; i++)
        fj__buf_fini(&c->all[i].whole);
    fj__free(c);
    return NULL;
}

bool chaos_contents_marked(const chaos_contents *c)
{
    for (size_t i = 0; c != NULL && i < CONTENTS; i++)
        if (c->all[i].used && (c->all[i].drop || c->all[i].copies > 0))
            return true;
    return false;
}

static chaos_content *content_on(chaos_contents *c, uint16_t channel)
{
    for (size_t i = 0; i < CONTENTS; i++)
        if (c->all[i].used && c->all[i].channel == channel)
            return &c->all[i];
    return NULL;
}

static void keep(chaos_content *c, size_t slot, chaos_text t)
{
    c->texts[slot].there = t.bytes != NULL && t.n <= sizeof c->texts[slot].bytes;
    c->texts[slot].n = c->texts[slot].there ? (uint8_t)t.n : 0;
    if (c->texts[slot].n > 0)
        memcpy(c->texts[slot].bytes, t.bytes, t.n);
}

static void begin_content(chaos_contents *all, chaos_frame *f)
{
    chaos_content *c = content_on(all, f->channel);

    for (size_t i = 0; c == NULL && i < CONTENTS; i++)
        if (!all->all[i].used)
            c = &all->all[i];
    if (c == NULL)
        c = &all->all[all->next++ % CONTENTS];
    fj__buf_fini(&c->whole);
    *c = (chaos_content){ .used = true, .channel = f->channel, .method = f->method };
    for (size_t i = 0; i < CHAOS_CONTENT_TEXTS; i++)
        keep(c, i, f->texts[kept[i]]);
    f->content = c;
}

static void go_on_with_content(chaos_contents *all, chaos_frame *f, reader *r)
{
    chaos_content *c = content_on(all, f->channel);

    if (c == NULL)
        return;
    if (f->kind == CHAOS_HEADER) {
        (void)take(r, 4);
        c->left = number(r, 8);
        keep(c, CHAOS_CONTENT_TEXTS - 1, read_reply_to(r));
    } else {
        c->left -= r->left < c->left ? r->left : c->left;
    }
    f->content = c;
    f->method = c->method;
    for (size_t i = 0; i < CHAOS_CONTENT_TEXTS; i++)
        if (c->texts[i].there)
            f->texts[kept[i]] = (chaos_text){ c->texts[i].bytes, c->texts[i].n };
    c->last = c->left == 0;
    c->used = !c->last;
}

void chaos_frame_decode(chaos_contents *c, const uint8_t *bytes, size_t n, chaos_frame *ret)
{
    static const chaos_kind kinds[] = {
        [TYPE_METHOD] = CHAOS_METHOD,
        [TYPE_HEADER] = CHAOS_HEADER,
        [TYPE_BODY] = CHAOS_BODY,
        [TYPE_HEARTBEAT] = CHAOS_HEARTBEAT,
    };
    reader r = { bytes + HEAD, n > HEAD ? n - HEAD - 1 : 0 };

    *ret = (chaos_frame){ .kind = CHAOS_PROTOCOL };
    if (bytes[0] == 'A')
        return;
    ret->kind = kinds[bytes[0]];
    ret->channel = (uint16_t)(bytes[1] << 8 | bytes[2]);
    if (ret->kind == CHAOS_METHOD && r.left >= 4) {
        uint16_t class_id = (uint16_t)number(&r, 2);
        ret->method = chaos_method_of(class_id, (uint16_t)number(&r, 2));
        if (ret->method != NULL)
            read_arguments(ret, &r);
        if (ret->method != NULL && chaos_method_has_content(ret->method))
            begin_content(c, ret);
    } else if (ret->kind == CHAOS_HEADER || ret->kind == CHAOS_BODY) {
        go_on_with_content(c, ret, &r);
    }
}

const char *chaos_kind_name(chaos_kind kind)
{
    static const char *const names[] = { "protocol", "method", "header", "body", "heartbeat", "bytes" };

    return names[kind];
}

const char *chaos_frame_name(const chaos_frame *frame)
{
    return frame->kind == CHAOS_METHOD && frame->method != NULL ? frame->method->name
                                                                : chaos_kind_name(frame->kind);
}
