#include "base/err.h"
#include "calling.h"

/* Calls that become a byte stream. */

#define SWITCHED \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

/* Switches with what upstream.ctx says after the head, and sends back in capitals what comes. */
static void script_switch(struct served *served)
{
    char c;
    if (!upstream_read(served))
        return;
    upstream_send(served, STR(SWITCHED));
    upstream_send(served, str_c(served->upstream->ctx));
    while (io_read(&served->io, &c, 1, in_ms(PATIENCE_MS)) == 1) {
        c = (char)(c - 'a' + 'A');
        upstream_send(served, str_n(&c, 1));
    }
}

static void read_exactly(struct channel *channel, const char *expected)
{
    struct buf got = BUF_INIT;
    char bytes[16];
    while (got.len < strlen(expected)) {
        ssize_t n = channel_read(channel, bytes, sizeof(bytes), in_ms(PATIENCE_MS));
        assert_true(n > 0);
        buf_add(&got, bytes, (size_t)n);
    }
    assert_true(str_eq(buf_str(&got), str_c(expected)));
    buf_fini(&got);
}

static struct http_call_request upgrade_request(void)
{
    struct http_call_request request = get_request();
    request.upgrade = STR("websocket");
    return request;
}

static void switch_protocols(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_switch, .ctx = "early"};
    struct http_origin origin = upstream_in_process(&up);
    struct http_call_request request = upgrade_request();
    struct arena *arena = arena_new(4096);
    struct http_call call;
    struct channel channel;
    assert_int_equal(http_call_start(&call, arena, &origin, &request, &patient), 0);
    assert_int_equal(http_call_head(&call), 0);
    assert_int_equal(call.head.status, 101);
    assert_true(
        str_find(buf_str(&up.log), STR("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")) > 0);
    http_call_upgrade(&call, &channel);
    read_exactly(&channel, "early");
    assert_int_equal(channel_write(&channel, "abc", 3, 0), 0);
    read_exactly(&channel, "ABC");
    assert_int_equal(channel_finish(&channel, in_ms(PATIENCE_MS)), 0);
    char c;
    assert_int_equal(channel_read(&channel, &c, 1, in_ms(PATIENCE_MS)), -ERR_CLOSED);
    assert_int_equal(channel.bytes_in, 8);
    assert_int_equal(channel.bytes_out, 3);
    http_call_finish(&call);
    arena_free(arena);
    part_from(&up);
    assert_int_equal(atomic_load(&http_pool_stats()->idle), 0);
}

static void a_call_becomes_a_stream_of_bytes(void **state)
{
    (void)state;
    run_client(switch_protocols, NULL, NULL);
}

static void be_refused(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_ok};
    struct http_origin origin = upstream_in_process(&up);
    struct http_call_request request = upgrade_request();
    struct outcome o;
    call_with(&o, &origin, &request, &patient);
    expect_body(&o, 200, "hi");
    assert_true(o.went_back);
    outcome_fini(&o);
    part_from(&up);
}

static void another_answer_is_an_answer(void **state)
{
    (void)state;
    run_client(be_refused, NULL, NULL);
}

static void switch_unasked(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_switch, .ctx = ""};
    struct http_origin origin = upstream_in_process(&up);
    struct outcome o;
    call_get(&o, &origin);
    assert_int_equal(o.result, -ERR_PROTOCOL);
    outcome_fini(&o);
    part_from(&up);
}

static void an_upgrade_nobody_asked_for_is_an_error(void **state)
{
    (void)state;
    run_client(switch_unasked, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_becomes_a_stream_of_bytes),
        cmocka_unit_test(another_answer_is_an_answer),
        cmocka_unit_test(an_upgrade_nobody_asked_for_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
