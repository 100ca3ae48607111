/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: each mistake is told with its place. */
#include "tests/chaos/rig.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static char *quoted(const char *text)
{
    char *copy = strdup(text);

    for (char *c = copy; *c != '\0'; c++)
        if (*c == '\'')
            *c = '"';
    return copy;
}

/* What is said of a plan; "" of a good one. */
static void says(const char *plan, const char *want)
{
    char *text = quoted(plan);
    fj_error *err = NULL;
    chaos_plan read = { 0 };
    fj_code rc = chaos_plan_read(text, strlen(text), "p", &read, &err);

    if (*want == '\0')
        ck_assert_msg(rc == FJ_OK, "%s: %s", plan, fj_error_text(err));
    else {
        ck_assert_msg(rc == FJ_BAD_VALUE, "%s is accepted", plan);
        ck_assert_msg(strstr(fj_error_text(err), want) != NULL, "%s: %s, not %s", plan, fj_error_text(err),
                      want);
    }
    fj_error_free(err);
    chaos_plan_fini(&read);
    free(text);
}

static void of_rule(const char *when, const char *what, const char *want)
{
    char plan[512];

    (void)snprintf(plan, sizeof plan, "{'rules': [{'when': %s, 'do': %s}]}", when, what);
    says(plan, want);
}

#define ANY "{'frame': 'any'}"
#define DROP "{'action': 'drop'}"

START_TEST(a_plan_is_an_object_with_rules)
{
    says("{'rules': []}", "");
    says("{'seed': 7, 'comment': 'x', 'rules': []}", "");
    says("[]", "p: a plan is an object");
    says("{}", "p: rules: must be there, and an array");
    says("{'rules': {}}", "p: rules: must be there");
    says("{'rules': [], 'rule': 1}", "p: rule: there is no such key");
    says("{'seed': -1, 'rules': []}", "p: seed: must be an integer");
    says("{'seed': 'x', 'rules': []}", "p: seed: must be an integer");
}
END_TEST

START_TEST(bad_json_is_told_by_line_and_column)
{
    says("{'rules': [\n  {'when': }\n]}", "p:2:12: ");
    says("{'rules': [], 'rules': []}", "p:1:");
    says("", "p:1:0: ");
}
END_TEST

START_TEST(a_rule_has_a_when_and_a_do)
{
    says("{'rules': [1]}", "p: rules[0]: must be an object");
    says("{'rules': [{}]}", "p: rules[0].when: must be there, and an object");
    says("{'rules': [{'when': " ANY "}]}", "p: rules[0].do: must be there, and an object");
    says("{'rules': [{'when': " ANY ", 'do': " DROP ", 'then': 1}]}", "p: rules[0].then: there is no such key");
    says("{'rules': [{'when': " ANY ", 'do': " DROP ", 'name': ''}]}", "p: rules[0].name: must be a string");
    says("{'rules': [{'name': 'a', 'when': " ANY ", 'do': " DROP "}, {'name': 'a', 'when': " ANY ", 'do': " DROP
         "}]}",
         "p: rules[1].name: rules[0] has the name \"a\" already");
    says("{'rules': [{'when': " ANY ", 'do': " DROP "}, {'name': 'rule-1', 'when': " ANY ", 'do': " DROP "}]}",
         "p: rules[1].name: rules[0] has the name \"rule-1\" already");
}
END_TEST

START_TEST(when_names_one_kind_of_moment)
{
    of_rule("{}", DROP, "rules[0].when: must have one of frame, bytes, accept and seconds");
    of_rule("{'frame': 'any', 'bytes': 1}", DROP, "rules[0].when: must have one of");
    of_rule("{'frame': 'basic.nonsense'}", DROP, "rules[0].when.frame: must be \"any\"");
    of_rule("{'frame': 'nonsense.*'}", DROP, "rules[0].when.frame: must be");
    of_rule("{'frame': 3}", DROP, "rules[0].when.frame: must be");
    of_rule("{'accept': false}", "{'action': 'refuse'}", "rules[0].when.accept: must be true");
    of_rule("{'bytes': -1}", "{'action': 'reset'}", "rules[0].when.bytes: must be an integer from 0");
    of_rule("{'seconds': 'x'}", "{'action': 'reset'}", "rules[0].when.seconds: must be a number");
    of_rule("{'frame': 'any', 'direction': 'up'}", DROP,
            "rules[0].when.direction: must be \"c2s\", \"s2c\" or \"both\"");
    of_rule("{'frame': 'any', 'nth': 0}", DROP, "rules[0].when.nth: must be an integer from 1");
    of_rule("{'frame': 'any', 'nth': 1.5}", DROP, "rules[0].when.nth: must be an integer");
    of_rule("{'frame': 'any', 'probability': 1.1}", DROP,
            "rules[0].when.probability: must be a number from 0 to 1");
    of_rule("{'frame': 'any', 'channel': 65536}", DROP,
            "rules[0].when.channel: must be an integer from 0 to 65535");
    of_rule("{'frame': 'any', 'queue': 1}", DROP, "rules[0].when.queue: must be a string");
    of_rule("{'frame': 'any', 'per': 'day'}", DROP, "rules[0].when.per: must be \"connection\" or \"plan\"");
    of_rule("{'frame': 'any', 'nht': 1}", DROP, "rules[0].when.nht: there is no such key");
    of_rule("{'bytes': 1, 'queue': 'q'}", "{'action': 'reset'}",
            "rules[0].when.queue: has no meaning with bytes");
    of_rule("{'accept': true, 'direction': 'c2s'}", "{'action': 'refuse'}",
            "rules[0].when.direction: has no meaning with accept");
}
END_TEST

START_TEST(an_action_takes_what_it_understands_and_needs)
{
    of_rule(ANY, "{}", "rules[0].do.action: must be one of delay, ");
    of_rule(ANY, "{'action': 'explode'}", "rules[0].do.action: must be one of");
    of_rule(ANY, "{'action': 'refuse'}", "rules[0].do.action: refuse cannot act on what `when` names");
    of_rule("{'seconds': 1}", DROP, "rules[0].do.action: drop cannot act");
    of_rule("{'accept': true}", "{'action': 'reset'}", "rules[0].do.action: reset cannot act");
    of_rule(ANY, "{'action': 'delay'}", "rules[0].do: needs ms");
    of_rule(ANY, "{'action': 'delay', 'ms': -1}", "rules[0].do.ms: must be a number from 0");
    of_rule(ANY, "{'action': 'delay', 'ms': 1, 'rate': 3}", "rules[0].do.rate: has no meaning with delay");
    of_rule(ANY, "{'action': 'trickle'}", "rules[0].do: needs a rate above 0");
    of_rule(ANY, "{'action': 'throttle'}", "rules[0].do: needs rate or segment");
    of_rule(ANY, "{'action': 'garbage'}", "rules[0].do: needs either hex or size");
    of_rule(ANY, "{'action': 'garbage', 'hex': '00', 'size': 1}", "rules[0].do: needs either hex or size");
    of_rule(ANY, "{'action': 'garbage', 'hex': '0'}", "rules[0].do.hex: must be bytes in hexadecimal");
    of_rule(ANY, "{'action': 'garbage', 'hex': '0g'}", "rules[0].do.hex: must be bytes in hexadecimal");
    of_rule(ANY, "{'action': 'truncate'}", "rules[0].do: needs at");
    of_rule(ANY, "{'action': 'stall', 'at': 'noon'}", "rules[0].do.at: must be \"before\"");
    of_rule(ANY, "{'action': 'stall', 'at': -1}", "rules[0].do.at: must be \"before\"");
    of_rule("{'bytes': 5}", "{'action': 'stall', 'at': 1}",
            "rules[0].do.at: has a meaning within a frame only");
    of_rule("{'bytes': 5}", DROP, "rules[0].do: needs size");
    of_rule(ANY, "{'action': 'drop', 'size': 3}", "rules[0].do: needs size where bytes are dropped");
    of_rule(ANY, "{'action': 'reset', 'side': 'left'}",
            "rules[0].do.side: must be \"client\", \"server\" or \"both\"");
    of_rule(ANY, "{'action': 'corrupt', 'xor': 0}", "rules[0].do.xor: must be an integer from 1 to 255");
    of_rule(ANY, "{'action': 'duplicate', 'copies': 0}", "rules[0].do.copies: must be an integer from 1");
}
END_TEST

START_TEST(a_frame_to_inject_must_be_one)
{
    of_rule(ANY, "{'action': 'inject'}", "rules[0].do: needs either frame or hex");
    of_rule(ANY, "{'action': 'inject', 'frame': 'basic.x'}", "rules[0].do.frame: must be a method");
    of_rule(ANY, "{'action': 'inject', 'frame': 'basic.ack', 'args': []}",
            "rules[0].do.args: must be an object");
    of_rule(ANY, "{'action': 'inject', 'frame': 'basic.ack', 'args': {'tag': 1}}",
            "rules[0].do.args: tag: basic.ack has no such argument");
    of_rule(ANY, "{'action': 'inject', 'frame': 'heartbeat', 'args': {}}", "rules[0].do.args: must be");
    of_rule(ANY, "{'action': 'inject', 'frame': 'basic.ack', 'channel': 65536}",
            "rules[0].do.channel: must be an integer from 0 to 65535");
    of_rule(ANY, "{'action': 'inject', 'frame': 'heartbeat', 'side': 'both'}",
            "rules[0].do.side: a frame is injected");
    of_rule(ANY, "{'action': 'inject', 'frame': 'heartbeat'}", "");
    of_rule(ANY, "{'action': 'inject', 'hex': '08000000000000ce', 'side': 'server'}", "");
}
END_TEST

START_TEST(rules_without_a_name_are_counted)
{
    const char *text = "{\"rules\": [{\"when\": {\"frame\": \"any\"}, \"do\": {\"action\": \"drop\"}}]}";
    chaos_plan plan;

    ck_assert_int_eq(chaos_plan_read(text, strlen(text), "p", &plan, NULL), FJ_OK);
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_str_eq(plan.rules[0]->name, "rule-1");
    ck_assert_int_eq(plan.rules[0]->times, 1);
    chaos_plan_fini(&plan);
}
END_TEST

START_TEST(a_file_that_is_not_there_is_told_by_its_name)
{
    chaos_plan plan;
    fj_error *err = NULL;

    ck_assert_int_eq(chaos_plan_load("/nowhere/plan.json", &plan, &err), FJ_SYSTEM);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "/nowhere/plan.json: No such file"));
    fj_error_free(err);
    ck_assert_int_eq(chaos_plan_load("/", &plan, NULL), FJ_SYSTEM);
}
END_TEST

START_TEST(a_plan_survives_every_failure_of_memory)
{
    const char *text = "{\"rules\": [{\"name\": \"a\", \"when\": {\"frame\": \"basic.*\", \"queue\": \"q\"}, "
                       "\"do\": {\"action\": "
                       "\"inject\", \"frame\": \"basic.cancel\"}}, {\"when\": {\"bytes\": 1}, \"do\": "
                       "{\"action\": \"garbage\", "
                       "\"hex\": \"00\"}}]}";
    chaos_plan plan;
    fj_code rc = FJ_NOMEM;
    unsigned long n = 0;

    while (rc == FJ_NOMEM) {
        (void)fj__alloc_fail(++n, false);
        rc = chaos_plan_read(text, strlen(text), "p", &plan, NULL);
        (void)fj__alloc_fail(0, false);
        ck_assert(rc == FJ_OK || rc == FJ_NOMEM);
    }
    chaos_plan_fini(&plan);
    ck_assert_uint_gt(n, 5);
}
END_TEST

static void add(TCase *tests)
{
    ADD(tests, a_plan_is_an_object_with_rules);
    ADD(tests, bad_json_is_told_by_line_and_column);
    ADD(tests, a_rule_has_a_when_and_a_do);
    ADD(tests, when_names_one_kind_of_moment);
    ADD(tests, an_action_takes_what_it_understands_and_needs);
    ADD(tests, a_frame_to_inject_must_be_one);
    ADD(tests, rules_without_a_name_are_counted);
    ADD(tests, a_file_that_is_not_there_is_told_by_its_name);
    ADD(tests, a_plan_survives_every_failure_of_memory);
}

int main(void)
{
    return rig_main("plans of fjord-chaos", add);
}
