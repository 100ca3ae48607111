/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes of a peer against the engine.  The first byte chooses how they are cut into pieces and from where on they are
 * used: as they are from the start, or behind a sound handshake with two channels open.
 */
#include "transports/amqp/codec.h"
#include "transports/amqp/engine.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drain(fj__engine *e)
{
    static volatile uint64_t sum; /* what is lent must be readable */
    fj__event ev;

    while (fj__engine_next(e, &ev)) {
        for (size_t i = 0; ev.body != NULL && i < ev.body_len; i++)
            sum = sum + ev.body[i];
        if (ev.text != NULL)
            sum = sum + strlen(ev.text);
        for (size_t i = 0; i < ev.consumer_tag.len; i++)
            sum = sum + ((const uint8_t *)ev.consumer_tag.bytes)[i];
    }
    fj__engine_sent(e, fj__buf_len(fj__engine_output(e)), (fj_deadline){ 1 });
}

static void open_up(fj__engine *e)
{
    fj__buf b = { 0 };
    amqp_connection_start_t start = {
        0, 9, { 0, NULL }, amqp_cstring_bytes("PLAIN"), amqp_cstring_bytes("en_US")
    };
    amqp_connection_tune_t tune = { 10, 4096, 5 };
    amqp_connection_open_ok_t ok = { 0 };
    amqp_channel_open_t open = { 0 };

    if (fj__put_method(&b, 0, AMQP_CONNECTION_START_METHOD, &start, 4096) == FJ_OK &&
        fj__put_method(&b, 0, AMQP_CONNECTION_TUNE_METHOD, &tune, 4096) == FJ_OK &&
        fj__put_method(&b, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &ok, 4096) == FJ_OK)
        (void)fj__engine_feed(e, fj__buf_data(&b), fj__buf_len(&b), (fj_deadline){ 0 });
    fj__buf_fini(&b);
    drain(e);
    (void)fj__engine_method(e, 0, AMQP_CHANNEL_OPEN_METHOD, &open);
    (void)fj__engine_method(e, 1, AMQP_CHANNEL_OPEN_METHOD, &open);
    (void)fj__engine_method(e, 2, AMQP_CHANNEL_OPEN_METHOD, &open);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fj__engine_opts opts = { .vhost = "/",
                                          .user = "u",
                                          .password = "secret",
                                          .mechanism = "PLAIN",
                                          .connection_name = "fuzz",
                                          .channel_max = 10,
                                          .frame_max = 4096,
                                          .heartbeat = 5,
                                          .body_max = 10000,
                                          .handshake_ns = 1000000000 };
    fj__engine *e = NULL;

    if (size < 1 || fj__engine_new(&opts, &e, NULL) != FJ_OK)
        return 0;
    size_t piece = (data[0] >> 1) + 1u;
    (void)fj__engine_start(e, (fj_deadline){ 0 });
    if (data[0] & 1)
        open_up(e);
    for (size_t at = 1; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        (void)fj__engine_feed(e, data + at, n, (fj_deadline){ 0 });
        drain(e);
    }
    fj__engine_eof(e, "end");
    drain(e);
    fj__engine_free(e);
    (void)fj__table_check(data, size, NULL);
    (void)fj__properties_check(data, size);
    return 0;
}
