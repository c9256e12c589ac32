#include "base/err.h"
#include "serving.h"

/* Requests that become a byte stream. */

#define UPGRADE                                                                              \
    "GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade" \
    "\r\n\r\n"
#define SWITCHED                                                                         \
    "HTTP/1.1 101 Switching Protocols\r\nDate: -\r\nX-Test: 1\r\nUpgrade: websocket\r\n" \
    "Connection: Upgrade\r\n\r\n"

struct seen {
    int upgraded, end;
    uint64_t bytes_in, bytes_out;
    bool is_done, is_abrupt;
};

/* Sends back what comes, up to a '.', or the end. */
static void handle_channel(struct http_request *r, void *ctx)
{
    struct seen *seen = ctx;
    struct channel *channel = ARENA_NEW(r->arena, struct channel);
    struct http_headers headers = {0};
    char bytes[64];
    ssize_t n = 0;
    http_headers_add(&headers, r->arena, STR("X-Test"), STR("1"));
    http_headers_add(&headers, r->arena, STR("Upgrade"), STR("other"));
    seen->upgraded = http_response_upgrade(r, &headers, channel);
    if (seen->upgraded < 0)
        return;
    do {
        n = channel_read(channel, bytes, sizeof(bytes), CLOCK_NEVER);
        if (n > 0)
            channel_write(channel, bytes, (size_t)n, NS_PER_SEC);
    } while (n > 0 && memchr(bytes, '.', (size_t)n) == NULL);
    seen->end = (int)n;
    if (!seen->is_abrupt)
        channel_finish(channel, CLOCK_NEVER);
    seen->bytes_in = channel->bytes_in;
    seen->bytes_out = channel->bytes_out;
    seen->is_done = true;
}

static void a_request_becomes_a_stream_of_bytes(void **state)
{
    struct seen seen = {0};
    (void)state;
    struct peer p = peer_open(handle_channel, &seen);
    peer_send_text(&p, UPGRADE);
    peer_expect(&p, SWITCHED);
    peer_send_text(&p, "ping");
    peer_expect(&p, "ping");
    peer_send_text(&p, GET "."); /* no request any more */
    peer_expect_and_close(&p, GET ".");
    assert_int_equal(seen.bytes_in, 5 + strlen(GET));
    assert_int_equal(seen.bytes_out, 5 + strlen(GET));
}

static void bytes_that_came_with_the_head_are_the_streams(void **state)
{
    struct seen seen = {0};
    (void)state;
    struct peer p = peer_open(handle_channel, &seen);
    peer_send_text(&p, UPGRADE "early");
    peer_expect(&p, SWITCHED "early");
    peer_send_text(&p, ".");
    peer_expect_and_close(&p, ".");
    assert_int_equal(seen.bytes_in, 6);
}

/* A hang-up is read as the end; what is still to be said goes out. */
static void a_client_that_ends_its_side_still_hears(void **state)
{
    struct seen seen = {0};
    (void)state;
    struct peer p = peer_open(handle_channel, &seen);
    peer_send_text(&p, UPGRADE);
    peer_expect(&p, SWITCHED);
    peer_send_text(&p, "last");
    peer_shut(&p);
    peer_expect_and_close(&p, "last");
    serving_turn_until(&seen.is_done);
    assert_int_equal(seen.end, -ERR_CLOSED);
}

static void a_stream_that_is_not_finished_is_seen_cut(void **state)
{
    struct seen seen = {.is_abrupt = true};
    (void)state;
    struct peer p = peer_open(handle_channel, &seen);
    peer_send_text(&p, UPGRADE ".");
    peer_wait_closed(&p);
    assert_true(p.is_reset);
    peer_reset(&p);
}

static void what_asks_for_no_upgrade_gets_none(void **state)
{
    static const char *const requests[] = {
        GET,
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ("POST / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Content-Length: 2\r\n\r\nhi"),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct seen seen = {0};
        struct peer p = peer_open(handle_channel, &seen);
        peer_send_text(&p, requests[i]);
        peer_wait_closed(&p);
        assert_int_equal(seen.upgraded, -ERR_INVALID);
        assert_true(str_starts(str_c(p.text), STR("HTTP/1.1 500 ")));
        peer_reset(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_becomes_a_stream_of_bytes, serving_begin,
                                        serving_end),
        cmocka_unit_test_setup_teardown(bytes_that_came_with_the_head_are_the_streams,
                                        serving_begin, serving_end),
        cmocka_unit_test_setup_teardown(a_client_that_ends_its_side_still_hears, serving_begin,
                                        serving_end),
        cmocka_unit_test_setup_teardown(a_stream_that_is_not_finished_is_seen_cut, serving_begin,
                                        serving_end),
        cmocka_unit_test_setup_teardown(what_asks_for_no_upgrade_gets_none, serving_begin,
                                        serving_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
