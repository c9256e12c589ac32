#include "http/websocket_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

static struct arena *arena;

static int make_arena(void **state)
{
    (void)state;
    arena = arena_new(4096);
    return arena == NULL;
}

static int free_arena(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

struct pair {
    const char *name, *value;
};

static struct http_headers headers_of(const struct pair *pairs)
{
    struct http_headers headers = {0};
    for (; pairs->name != NULL; pairs++)
        assert_true(http_headers_add(&headers, arena, str_c(pairs->name), str_c(pairs->value)));
    return headers;
}

#define HEADERS(...) headers_of((const struct pair[]){__VA_ARGS__, {NULL, NULL}})
#define UPGRADE                             \
    {"upgrade", "WebSocket"},               \
    {                                       \
        "connection", "keep-alive, Upgrade" \
    }
#define KEY                                             \
    {                                                   \
        "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==" \
    }
#define VERSION                       \
    {                                 \
        "sec-websocket-version", "13" \
    }

static void a_key_is_accepted_as_the_rfc_says(void **state)
{
    char out[WS_ACCEPT_LEN];
    (void)state;
    ws_accept(STR("dGhlIHNhbXBsZSBub25jZQ=="), out);
    assert_memory_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof(out));
}

static void a_request_is_read(void **state)
{
    struct ws_offer offer;
    unsigned status;
    struct str list, item;
    (void)state;
    struct http_headers headers =
        HEADERS(UPGRADE, KEY, VERSION, {"sec-websocket-protocol", "realtime, , a.b"},
                {"sec-websocket-protocol", "openai-beta.realtime-v1"},
                {"sec-websocket-extensions",
                 "x-webkit, permessage-deflate; client_max_window_bits, permessage-deflate"});
    assert_int_equal(ws_offer_read(&offer, arena, METHOD_GET, &headers, &status), 0);
    list = offer.protocols;
    assert_true(ws_protocol_next(&list, &item) && str_eq(item, STR("realtime")));
    assert_true(ws_protocol_next(&list, &item) && str_eq(item, STR("a.b")));
    assert_true(ws_protocol_next(&list, &item) && str_eq(item, STR("openai-beta.realtime-v1")));
    assert_false(ws_protocol_next(&list, &item));
    assert_true(str_eq(offer.extensions,
                       STR("permessage-deflate; client_max_window_bits, permessage-deflate")));
}

static void what_is_no_handshake_is_refused(void **state)
{
    struct ws_offer offer;
    unsigned status;
    (void)state;
    struct http_headers good = HEADERS(UPGRADE, KEY, VERSION);
    struct http_headers bad[] = {
        HEADERS({"upgrade", "h2c"}, {"connection", "Upgrade"}, KEY, VERSION),
        HEADERS({"upgrade", "websocket"}, {"connection", "keep-alive"}, KEY, VERSION),
        HEADERS(UPGRADE, VERSION),
        HEADERS(UPGRADE, KEY, KEY, VERSION),
        HEADERS(UPGRADE, VERSION, {"sec-websocket-key", "c2hvcnQ="}),
        HEADERS(UPGRADE, VERSION, {"sec-websocket-key", "dGhl\xffHNhbXBsZSBub25jZQ=="}),
        HEADERS(UPGRADE, KEY, VERSION, {"sec-websocket-protocol", "not one"}),
    };
    assert_int_equal(ws_offer_read(&offer, arena, METHOD_GET, &good, &status), 0);
    assert_int_equal(ws_offer_read(&offer, arena, METHOD_POST, &good, &status), -ERR_INVALID);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(ws_offer_read(&offer, arena, METHOD_GET, &bad[i], &status), -ERR_INVALID);
        assert_int_equal(status, 400);
    }
    struct http_headers old = HEADERS(UPGRADE, KEY, {"sec-websocket-version", "8"});
    assert_int_equal(ws_offer_read(&offer, arena, METHOD_GET, &old, &status), -ERR_INVALID);
    assert_int_equal(status, 426);
}

static void an_extended_connect_has_no_key(void **state)
{
    struct ws_offer offer;
    struct http_headers answer = {0};
    unsigned status;
    (void)state;
    struct http_headers request = HEADERS(VERSION, {"sec-websocket-protocol", "a"});
    assert_int_equal(ws_offer_read(&offer, arena, METHOD_CONNECT, &request, &status), 0);
    assert_true(str_eq(offer.protocols, STR("a")));
    assert_int_equal(ws_answer_write(&answer, arena, offer.key, STR("a"), STR_EMPTY), 0);
    assert_int_equal(answer.count, 1);
    assert_true(str_eq(answer.items[0].name, STR("Sec-WebSocket-Protocol")));
}

static void both_sides_understand_each_other(void **state)
{
    char key[WS_KEY_LEN], other[WS_KEY_LEN];
    struct ws_offer offer = {.protocols = STR("a, b"), .extensions = STR("permessage-deflate")};
    struct ws_offer seen;
    struct ws_agreement agreed;
    struct http_headers request = HEADERS(UPGRADE), answer = HEADERS(UPGRADE);
    unsigned status;
    (void)state;
    ws_make_key(key);
    ws_make_key(other);
    assert_memory_not_equal(key, other, sizeof(key));
    offer.key = str_n(key, sizeof(key));
    assert_int_equal(ws_offer_write(&request, arena, &offer), 0);
    assert_int_equal(ws_offer_read(&seen, arena, METHOD_GET, &request, &status), 0);
    assert_int_equal(ws_answer_write(&answer, arena, seen.key, STR("b"), seen.extensions), 0);
    assert_int_equal(ws_answer_read(&agreed, arena, &offer, &answer), 0);
    assert_true(str_eq(agreed.protocol, STR("b")));
    assert_true(agreed.has_deflate);
    offer.key = str_n(other, sizeof(other));
    assert_int_equal(ws_answer_read(&agreed, arena, &offer, &answer), -ERR_PROTOCOL);
}

static void an_answer_that_was_not_offered_is_refused(void **state)
{
    struct ws_offer plain = {.key = STR("dGhlIHNhbXBsZSBub25jZQ=="), .protocols = STR("a")};
    struct ws_offer compressed = plain;
    struct ws_agreement agreed;
    (void)state;
#define ACCEPT                                                 \
    {                                                          \
        "sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" \
    }
    struct http_headers good = HEADERS(UPGRADE, ACCEPT);
    struct http_headers protocol = HEADERS(UPGRADE, ACCEPT, {"sec-websocket-protocol", "b"});
    struct http_headers extension =
        HEADERS(UPGRADE, ACCEPT, {"sec-websocket-extensions", "permessage-deflate"});
    struct http_headers twice = HEADERS(
        UPGRADE, ACCEPT, {"sec-websocket-extensions", "permessage-deflate, permessage-deflate"});
    struct http_headers other = HEADERS(UPGRADE, ACCEPT, {"sec-websocket-extensions", "x-mux"});
    struct http_headers elsewhere = HEADERS({"upgrade", "h2c"}, {"connection", "upgrade"}, ACCEPT);
    compressed.extensions = STR("permessage-deflate");
    assert_int_equal(ws_answer_read(&agreed, arena, &plain, &good), 0);
    assert_int_equal(agreed.protocol.len, 0);
    assert_false(agreed.has_deflate);
    assert_int_equal(ws_answer_read(&agreed, arena, &plain, &protocol), -ERR_PROTOCOL);
    assert_int_equal(ws_answer_read(&agreed, arena, &plain, &extension), -ERR_PROTOCOL);
    assert_int_equal(ws_answer_read(&agreed, arena, &compressed, &extension), 0);
    assert_int_equal(ws_answer_read(&agreed, arena, &compressed, &twice), -ERR_PROTOCOL);
    assert_int_equal(ws_answer_read(&agreed, arena, &compressed, &other), -ERR_PROTOCOL);
    assert_int_equal(ws_answer_read(&agreed, arena, &plain, &elsewhere), -ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_accepted_as_the_rfc_says),
        cmocka_unit_test(a_request_is_read),
        cmocka_unit_test(what_is_no_handshake_is_refused),
        cmocka_unit_test(an_extended_connect_has_no_key),
        cmocka_unit_test(both_sides_understand_each_other),
        cmocka_unit_test(an_answer_that_was_not_offered_is_refused),
    };
    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
