/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a rule acts.  Each rule has dice of its own for each connection and direction, seeded by the plan's seed and these
 * three: what one connection does changes nothing for another, however their frames interleave.
 */
#include "tools/chaos/rule.h"
#include <fnmatch.h>
#include <string.h>

/* Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (OOPSLA 2014), SplitMix64. */
uint64_t chaos_dice(uint64_t *dice)
{
    uint64_t z = *dice += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double chaos_dice_real(uint64_t *dice)
{
    return (double)(chaos_dice(dice) >> 11) * 0x1p-53;
}

uint64_t chaos_dice_below(uint64_t *dice, uint64_t n)
{
    return n > 0 ? chaos_dice(dice) % n : 0;
}

void chaos_count_begin(chaos_count *c, const chaos_rule *rule, uint64_t seed, uint64_t conn, int direction)
{
    if (c->rule == rule->id)
        return;
    *c = (chaos_count){ .rule = rule->id, .dice = seed };
    c->dice ^= chaos_dice(&(uint64_t){ rule->id });
    c->dice = chaos_dice(&c->dice) ^ conn << 1 ^ (uint64_t)direction;
    (void)chaos_dice(&c->dice);
}

bool chaos_rule_concerns(const chaos_rule *rule, uint64_t conn, int direction)
{
    return (rule->conn == 0 || (uint64_t)rule->conn == conn) &&
           (rule->direction == CHAOS_BOTH || rule->direction == direction);
}

static bool text_matches(const char *pattern, chaos_text text)
{
    char copy[256];

    if (text.bytes == NULL || text.n >= sizeof copy || memchr(text.bytes, 0, text.n) != NULL)
        return false;
    memcpy(copy, text.bytes, text.n);
    copy[text.n] = '\0';
    return fnmatch(pattern, copy, 0) == 0;
}

bool chaos_rule_matches(const chaos_rule *rule, const chaos_frame *frame)
{
    if (rule->kind >= 0 && (chaos_kind)rule->kind != frame->kind)
        return false;
    if (rule->method != NULL && frame->method != rule->method)
        return false;
    if (rule->class_id != 0 && (frame->method == NULL || frame->method->class_id != rule->class_id))
        return false;
    if (rule->channel >= 0 && rule->channel != frame->channel)
        return false;
    for (size_t i = 0; i < CHAOS_TEXTS; i++)
        if (rule->texts[i] != NULL && !text_matches(rule->texts[i], frame->texts[i]))
            return false;
    return true;
}

bool chaos_rule_fires(chaos_rule *rule, chaos_count *c)
{
    if (chaos_rule_spent(rule, c) || ++c->matched < (uint64_t)rule->nth)
        return false;
    if (rule->probability < 1 && chaos_dice_real(&c->dice) >= rule->probability)
        return false;
    c->fired++;
    rule->fired++;
    return true;
}
