/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy: where it listens, whom it accepts, its rules. */
#include "tools/chaos/proxy.h"
#include "base/alloc.h"
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

enum { CONNECTIONS = 1000 };

/* ---- addresses ------------------------------------------------------------------------------------------------- */

/* Split "HOST:PORT" or "[V6]:PORT"; without a colon it is all port. */
static bool split(const char *text, char *host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;

    *ret_port = colon != NULL ? colon + 1 : text;
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    if (n >= size || **ret_port == '\0' || strspn(*ret_port, "0123456789") != strlen(*ret_port))
        return false;
    (void)snprintf(host, size, "%.*s", (int)n, text);
    return true;
}

static fj_code resolve(const char *text, chaos_address *to, size_t max, size_t *ret_n, fj_error **err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC }, *all = NULL;
    char host[256];
    const char *port;
    int rc;

    *ret_n = 0;
    if (!split(text, host, sizeof host, &port) || strlen(port) > 5 || strtoul(port, NULL, 10) > 65535)
        return fj_fail(err, FJ_BAD_VALUE, "%s: is no HOST:PORT", text);
    rc = getaddrinfo(*host != '\0' ? host : "127.0.0.1", port, &hints, &all);
    if (rc != 0)
        return fj_fail(err, FJ_BAD_VALUE, "%s: %s", text, gai_strerror(rc));
    for (struct addrinfo *a = all; a != NULL && *ret_n < max; a = a->ai_next)
        if (a->ai_addrlen <= sizeof to->address) {
            memcpy(&to[*ret_n].address, a->ai_addr, a->ai_addrlen);
            to[(*ret_n)++].n = a->ai_addrlen;
        }
    freeaddrinfo(all);
    return *ret_n > 0 ? FJ_OK : fj_fail(err, FJ_BAD_VALUE, "%s: has no address", text);
}

/* ---- accepting ------------------------------------------------------------------------------------------------- */

static void on_accept(fj_loop *loop, int fd, void *user);

static void watch_listener(chaos_proxy *p)
{
    bool want = p->listener >= 0 && p->again == NULL && p->conn_count < p->conn_max;

    if (want == p->accepting)
        return;
    if (!want)
        (void)fj_loop_remove_reader(p->loop, p->listener);
    else if (fj_loop_add_reader(p->loop, p->listener, on_accept, p, NULL) != FJ_OK)
        return;
    p->accepting = want;
}

void chaos_proxy_left(chaos_proxy *p)
{
    watch_listener(p);
}

static void on_again(fj_loop *loop, void *user)
{
    chaos_proxy *p = user;

    (void)loop;
    p->again = fj_handle_unref(p->again);
    watch_listener(p);
}

/* Descriptors or memory ran out: the listener stays readable, so it is left alone for a while. */
static void rest(chaos_proxy *p)
{
    if (fj_loop_call_later(p->loop, 0.1, on_again, p, "chaos", &p->again) == FJ_OK)
        watch_listener(p);
}

/* What the rules say of a new connection. */
typedef struct {
    bool refuse, ignore;
    int64_t delay;
} verdict;

static verdict judge(chaos_proxy *p, uint64_t id)
{
    verdict v = { false, false, 0 };

    for (size_t i = 0; i < p->rule_count; i++) {
        chaos_rule *rule = p->rules[i];
        if (rule == NULL || rule->trigger != CHAOS_ON_ACCEPT || !chaos_rule_concerns(rule, id, CHAOS_CLIENT))
            continue;
        chaos_count_begin(&rule->shared, rule, p->seed, 0, CHAOS_CLIENT);
        if (!chaos_rule_fires(rule, &rule->shared))
            continue;
        v.refuse |= rule->action == CHAOS_REFUSE;
        v.ignore |= rule->action == CHAOS_IGNORE;
        if (rule->action == CHAOS_DELAY) {
            double ms = rule->ms + rule->jitter * (2 * chaos_dice_real(&rule->shared.dice) - 1);
            v.delay += ms > 0 ? (int64_t)(ms * 1e6) : 0;
        }
        chaos_report(p, json_pack("{s:s, s:I, s:s, s:s}", "event", "action", "conn", (json_int_t)id, "rule",
                                  rule->name, "action", chaos_action_name(rule->action)));
    }
    return v;
}

static void on_accept(fj_loop *loop, int listener, void *user)
{
    chaos_proxy *p = user;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)loop;
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            rest(p);
        return;
    }
    p->accepted++;
    verdict v = judge(p, p->accepted);
    if (v.refuse) {
        p->refused++;
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
        (void)close(fd);
        return;
    }
    chaos_conn_open(p, p->accepted, fd, v.delay, v.ignore);
    watch_listener(p);
}

static int listen_at(const chaos_address *at)
{
    int fd = socket(at->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (bind(fd, (const struct sockaddr *)&at->address, at->n) == 0 && listen(fd, 1024) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static void stop_listening(chaos_proxy *p)
{
    if (p->listener < 0)
        return;
    if (p->accepting)
        (void)fj_loop_remove_reader(p->loop, p->listener);
    p->accepting = false;
    (void)close(p->listener);
    p->listener = -1;
}

fj_code chaos_proxy_listen(chaos_proxy *p, bool on, fj_error **err)
{
    char at[64];

    if (on && p->listener < 0) {
        p->listener = listen_at(&p->at);
        chaos_proxy_address(p, at, sizeof at);
        if (p->listener < 0)
            return fj_fail(err, FJ_SYSTEM, "%s: %s", at, strerror(errno));
        (void)getsockname(p->listener, (struct sockaddr *)&p->at.address, &p->at.n); /* the port, if it was 0 */
    } else if (!on)
        stop_listening(p);
    watch_listener(p);
    return FJ_OK;
}

void chaos_proxy_address(const chaos_proxy *p, char *ret, size_t size)
{
    chaos_address_text(&p->at.address, ret, size);
}

/* ---- rules ----------------------------------------------------------------------------------------------------- */

/* Rules of time may be due, and what was read may be of another kind now. */
static void pump_all(chaos_proxy *p)
{
    for (chaos_conn *c = p->first, *next; c != NULL; c = next) {
        next = c->next;
        chaos_conn_pump(c);
    }
}

static size_t slot_of(const chaos_proxy *p, const char *name)
{
    size_t i = 0;

    while (i < p->rule_count && (p->rules[i] == NULL || strcmp(p->rules[i]->name, name) != 0))
        i++;
    return i;
}

/* The first free slot. */
static size_t free_slot(chaos_proxy *p)
{
    size_t i = 0;

    while (i < p->rule_count && p->rules[i] != NULL)
        i++;
    return i;
}

fj_code chaos_proxy_add(chaos_proxy *p, chaos_rule *rule, fj_error **err)
{
    char *name = rule->name == NULL ? fj__format("rule-%llu", (unsigned long long)p->next_rule) : NULL;
    size_t slot = free_slot(p);
    chaos_rule **more;

    if (rule->name == NULL && (rule->name = name) == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    if (slot_of(p, rule->name) < p->rule_count)
        return fj_fail(err, FJ_STATE, "there is a rule %s already", rule->name);
    if (slot == CHAOS_RULES)
        return fj_fail(err, FJ_TOO_BIG, "there are %d rules already", CHAOS_RULES);
    more = fj__grow(p->rules, &p->rule_capacity, slot + 1, sizeof *more);
    if (more == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    p->rules = more;
    p->rules[slot] = rule;
    if (slot == p->rule_count)
        p->rule_count++;
    rule->id = p->next_rule++;
    pump_all(p);
    return FJ_OK;
}

bool chaos_proxy_remove(chaos_proxy *p, const char *name)
{
    size_t slot = slot_of(p, name);

    if (slot == p->rule_count)
        return false;
    p->rules[slot] = chaos_rule_free(p->rules[slot]);
    pump_all(p);
    return true;
}

/* ---- at run time ----------------------------------------------------------------------------------------------- */

void chaos_proxy_pause(chaos_proxy *p, bool on)
{
    p->paused = on;
    pump_all(p);
}

size_t chaos_proxy_kill(chaos_proxy *p, uint64_t id, bool reset)
{
    size_t n = 0;

    for (chaos_conn *c = p->first, *next; c != NULL; c = next) {
        next = c->next;
        if (id != 0 && c->id != id)
            continue;
        n++;
        c->held_until = 0;
        if (reset || c->connecting || c->ignored)
            chaos_conn_end(c, CHAOS_BOTH, "killed");
        else
            chaos_pipe_do(&c->pipes[0], &(chaos_op){ .kind = CHAOS_OP_CLOSE });
        chaos_conn_pump(c);
    }
    return n;
}

static json_t *pipe_state(const chaos_pipe *p)
{
    const char *state = p->ended             ? "ended"
                        : p->discard         ? "discards"
                        : p->blocked         ? "blocked"
                        : chaos_pipe_idle(p) ? "idle"
                                             : "waits";

    return json_pack("{s:I, s:I, s:I, s:b, s:s}", "bytes", (json_int_t)p->received, "frames",
                     (json_int_t)p->scan.frames, "queued",
                     (json_int_t)fj__buf_len(&p->out) + (json_int_t)fj__buf_len(&p->in), "raw",
                     (int)p->scan.raw, "state", state);
}

json_t *chaos_proxy_list(const chaos_proxy *p)
{
    json_t *list = json_array();

    for (const chaos_conn *c = p->first; list != NULL && c != NULL; c = c->next)
        (void)json_array_append_new(
            list, json_pack("{s:I, s:s, s:f, s:s, s:o, s:o}", "conn", (json_int_t)c->id, "peer", c->peer, "age",
                            (double)(fj_now().ns - c->began) * 1e-9, "state",
                            c->ignored           ? "ignored"
                            : c->connecting      ? "connecting"
                            : chaos_conn_held(c) ? "held"
                                                 : "open",
                            "c2s", pipe_state(&c->pipes[0]), "s2c", pipe_state(&c->pipes[1])));
    return list;
}

json_t *chaos_proxy_rules(const chaos_proxy *p)
{
    json_t *list = json_array();

    for (size_t i = 0; list != NULL && i < p->rule_count; i++)
        if (p->rules[i] != NULL)
            (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "rule", p->rules[i]->name, "action",
                                                        chaos_action_name(p->rules[i]->action), "fired",
                                                        (json_int_t)p->rules[i]->fired));
    return list;
}

json_t *chaos_proxy_stats(const chaos_proxy *p)
{
    return json_pack("{s:I, s:f, s:I, s:I, s:I, s:b, s:b, s:{s:I, s:I}, s:{s:I, s:I}, s:o}", "seed",
                     (json_int_t)p->seed, "seconds", (double)(fj_now().ns - p->began) * 1e-9, "connections",
                     (json_int_t)p->conn_count, "accepted", (json_int_t)p->accepted, "refused",
                     (json_int_t)p->refused, "listening", (int)(p->listener >= 0), "paused", (int)p->paused,
                     "c2s", "bytes", (json_int_t)p->bytes[0], "frames", (json_int_t)p->frame_count[0], "s2c",
                     "bytes", (json_int_t)p->bytes[1], "frames", (json_int_t)p->frame_count[1], "rules",
                     chaos_proxy_rules(p));
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

fj_code chaos_proxy_new(fj_loop *loop, const chaos_options *o, chaos_proxy **ret, fj_error **err)
{
    chaos_proxy *p = fj__zalloc(sizeof *p);
    size_t n;
    fj_code rc;

    if (p == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    *p = (chaos_proxy){ .loop = loop,
                        .listener = -1,
                        .frames = o->frames,
                        .seed = o->seed,
                        .log = o->log,
                        .next_rule = 1,
                        .conn_max = o->connections > 0 ? o->connections : CONNECTIONS,
                        .began = fj_now().ns };
    p->scratch = fj__alloc(CHAOS_SCRATCH);
    rc = p->scratch != NULL ? resolve(o->listen, &p->at, 1, &n, err) : fj_fail(err, FJ_NOMEM, "out of memory");
    if (rc == FJ_OK)
        rc = resolve(o->to, p->targets, CHAOS_TARGETS, &p->target_count, err);
    if (rc == FJ_OK)
        rc = chaos_proxy_listen(p, true, err);
    if (rc == FJ_OK)
        *ret = p;
    else
        chaos_proxy_free(p);
    return rc;
}

chaos_proxy *chaos_proxy_free(chaos_proxy *p)
{
    if (p == NULL)
        return NULL;
    stop_listening(p);
    while (p->first != NULL) {
        chaos_conn_end(p->first, -1, "the proxy ends");
        chaos_conn_free(p->first);
    }
    if (p->again != NULL)
        fj_handle_cancel(p->again);
    fj_handle_unref(p->again);
    for (size_t i = 0; i < p->rule_count; i++)
        chaos_rule_free(p->rules[i]);
    fj__free(p->rules);
    fj__free(p->scratch);
    fj__free(p);
    return NULL;
}
