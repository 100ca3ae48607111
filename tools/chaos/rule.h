/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_CHAOS_RULE_H
#define FJORD_TOOLS_CHAOS_RULE_H
/* A rule: when it acts, and what it does then.  docs/chaos.md describes the text of plans, plan.c has its table. */
#include "tools/chaos/frame.h"

/** A direction is the index of the side that sends; a side is the index of its socket. */
enum { CHAOS_CLIENT, CHAOS_SERVER, CHAOS_BOTH };

typedef enum { CHAOS_ON_FRAME = 1, CHAOS_ON_BYTES = 2, CHAOS_ON_ACCEPT = 4, CHAOS_ON_TIME = 8 } chaos_trigger;

typedef enum {
    CHAOS_DELAY,
    CHAOS_TRICKLE,
    CHAOS_SPLIT,
    CHAOS_THROTTLE,
    CHAOS_STALL,
    CHAOS_HOLD,
    CHAOS_DISCARD,
    CHAOS_HALF_CLOSE,
    CHAOS_CLOSE,
    CHAOS_RESET,
    CHAOS_GARBAGE,
    CHAOS_INJECT,
    CHAOS_DROP,
    CHAOS_DUPLICATE,
    CHAOS_REORDER,
    CHAOS_TRUNCATE,
    CHAOS_CORRUPT,
    CHAOS_REFUSE,
    CHAOS_IGNORE,
    CHAOS_ACTIONS
} chaos_action;

/** A place within a frame, or within the bytes that a byte rule met. */
typedef struct {
    enum { CHAOS_AT_OFFSET, CHAOS_AT_END, CHAOS_AT_MIDDLE, CHAOS_AT_RANDOM } kind;
    size_t offset;
} chaos_at;

/** How often a rule matched, and its dice: one for each connection and direction, or one for all. */
typedef struct {
    uint64_t rule, matched, fired, dice;
} chaos_count;

typedef struct {
    uint64_t id; /* from 1, in the order of the rules; the dice know it */
    char *name;  /* owned */
    chaos_trigger trigger;
    chaos_action action;

    /* When. */
    int direction;              /* CHAOS_CLIENT or CHAOS_SERVER sends, or CHAOS_BOTH */
    int kind;                   /* a chaos_kind, or -1: any frame */
    uint16_t class_id;          /* of methods; 0: any */
    const chaos_method *method; /* or NULL */
    int64_t channel;            /* -1: any */
    int64_t conn;               /* 0: any */
    char *texts[CHAOS_TEXTS];   /* owned; shell patterns, or NULL */
    int64_t bytes;              /* after so many */
    double seconds;             /* of a connection's life: ON_TIME */
    double after, before;       /* of a connection's life: only between these */
    int64_t nth, times;         /* times 0: always */
    double probability;
    bool per_plan; /* counted over all connections */

    /* What. */
    double ms, jitter, gap;
    double duration; /* seconds; below 0: for ever */
    int64_t rate, segment, copies, count, xor_mask, size;
    chaos_at at;
    int side;      /* -1: the receiver's, of half-close */
    uint8_t *data; /* owned: the garbage, or the frame to inject */
    size_t data_n;
    bool message;     /* the frame's whole message */
    bool own_channel; /* the frame to inject goes on the channel of the frame met */

    uint64_t fired;     /* for the statistics */
    chaos_count shared; /* of per_plan and accept rules */
} chaos_rule;

/** Read a rule.  @param value  lends   @param where  of the plan, as "rules[2]"   @param ret  gives
 *  @errors BAD_VALUE (the text begins with the place), NOMEM */
FJ_MUST_USE fj_code chaos_rule_read(const json_t *value, const char *where, chaos_rule **ret, fj_error **err);
/** Read what the fields alone do not tell of `do` (rule_do.c), and refuse what lacks something. */
FJ_MUST_USE fj_code chaos_rule_complete(const json_t *what, const char *where, chaos_rule *rule,
                                        fj_error **err);
chaos_rule *chaos_rule_free(chaos_rule *rule);
const char *chaos_action_name(chaos_action action);
const char *chaos_side_name(int side);
const char *chaos_direction_name(int direction);

typedef struct {
    uint64_t seed;
    bool has_seed;
    chaos_rule **rules; /* owned */
    size_t count;
} chaos_plan;

/** Read a plan's text.  @param name  for errors   @param ret  gives; chaos_plan_fini()
 *  @errors BAD_VALUE, NOMEM, and for the file SYSTEM */
FJ_MUST_USE fj_code chaos_plan_read(const char *text, size_t n, const char *name, chaos_plan *ret,
                                    fj_error **err);
FJ_MUST_USE fj_code chaos_plan_load(const char *path, chaos_plan *ret, fj_error **err);
void chaos_plan_fini(chaos_plan *plan);

/* ---- when a rule acts (match.c) -------------------------------------------------------------------------------- */

/** The next number of @p dice. */
uint64_t chaos_dice(uint64_t *dice);
/** In [0, 1). */
double chaos_dice_real(uint64_t *dice);
/** In [0, @p n); 0 for 0. */
uint64_t chaos_dice_below(uint64_t *dice, uint64_t n);

/** Begin counting, unless this has counted for the rule already. */
void chaos_count_begin(chaos_count *c, const chaos_rule *rule, uint64_t seed, uint64_t conn, int direction);
/** Whether the rule may act on this connection in this direction at all, at this second of its life. */
bool chaos_rule_concerns(const chaos_rule *rule, uint64_t conn, int direction);
bool chaos_rule_matches(const chaos_rule *rule, const chaos_frame *frame);
/** Whether it has acted as often as it is to. */
static inline bool chaos_rule_spent(const chaos_rule *rule, const chaos_count *c)
{
    return rule->times > 0 && c->fired >= (uint64_t)rule->times;
}
/** A match more.  @return whether the rule acts on it */
bool chaos_rule_fires(chaos_rule *rule, chaos_count *c);

#endif
