/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/message.h"

enum { SEQ, CARGO, CLIENT_TS, SERVER_TS, RETURN_TS, FIELDS };

json_t *bench_message_new(json_int_t seq, const char *cargo, size_t length, double client_ts)
{
    json_t *made = json_array();

    if (made != NULL && json_array_append_new(made, json_integer(seq)) == 0 &&
        json_array_append_new(made, json_stringn_nocheck(cargo, length)) == 0 &&
        json_array_append_new(made, json_real(client_ts)) == 0 &&
        json_array_append_new(made, json_integer(0)) == 0 && json_array_append_new(made, json_integer(0)) == 0)
        return made;
    json_decref(made);
    return NULL;
}

/* Characters, as Python counts them: UTF-8's bytes but those that go on with one. */
static uint64_t characters(const json_t *text)
{
    const char *bytes = json_string_value(text);
    uint64_t n = 0;

    for (size_t i = 0; i < json_string_length(text); i++)
        n += ((unsigned char)bytes[i] & 0xc0) != 0x80 ? 1 : 0;
    return n;
}

bool bench_message_read(const json_t *message, bench_message *ret)
{
    const json_t *seq = json_array_get(message, SEQ), *cargo = json_array_get(message, CARGO),
                 *client_ts = json_array_get(message, CLIENT_TS);

    if (json_array_size(message) != FIELDS || !json_is_integer(seq) || !json_is_string(cargo) ||
        !json_is_number(client_ts))
        return false;
    *ret = (bench_message){ json_integer_value(seq), characters(cargo), json_number_value(client_ts) };
    return true;
}

json_t *bench_message_answer(json_t *message, double server_ts)
{
    json_t *made = json_copy(message);

    if (made != NULL && json_array_set_new(made, SERVER_TS, json_real(server_ts)) == 0)
        return made;
    json_decref(made);
    return NULL;
}
