#include "http/websocket_inflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/err.h"
#include "base/mem.h"

/* Compresses as a sender does: one window, a flush after each message, its last 4 bytes left out.
 */
static struct str compress_message(z_stream *zlib, const char *text, char *out, size_t cap)
{
    if (text[0] == '\0')
        return str_n("", 1); /* RFC 7692 section 7.2.3.6 */
    zlib->next_in = (Bytef *)(uintptr_t)text;
    zlib->avail_in = (unsigned)strlen(text);
    zlib->next_out = (Bytef *)out;
    zlib->avail_out = (unsigned)cap;
    assert_int_equal(deflate(zlib, Z_SYNC_FLUSH), Z_OK);
    return str_n(out, cap - zlib->avail_out - 4);
}

static void messages_share_a_window_at_every_cut(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"type\":\"response.create\"}", "",
                                        "{\"type\":\"response.create\"}", "x", "xxxxxxxxxxxxxxxx"};
    for (size_t step = 1; step < 12; step++) {
        z_stream zlib = {0};
        char bytes[256];
        struct ws_inflater *z = ws_inflater_new();
        assert_int_equal(deflateInit2(&zlib, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
            struct str message = compress_message(&zlib, texts[i], bytes, sizeof(bytes));
            struct buf out = BUF_INIT;
            do {
                struct str piece = str_head(message, MIN(step, message.len));
                message = str_skip(message, piece.len);
                assert_int_equal(ws_inflate(z, piece, message.len == 0, 1000, &out), 0);
            } while (message.len > 0);
            assert_true(str_eq(buf_str(&out), str_c(texts[i])));
            buf_fini(&out);
        }
        deflateEnd(&zlib);
        ws_inflater_free(z);
    }
}

static void a_bomb_is_not_inflated(void **state)
{
    (void)state;
    static char zeros[1 << 20], bytes[8192];
    z_stream zlib = {0};
    struct ws_inflater *z = ws_inflater_new();
    struct buf out = BUF_INIT;
    memset(zeros, 'x', sizeof(zeros) - 1);
    assert_int_equal(deflateInit2(&zlib, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    struct str message = compress_message(&zlib, zeros, bytes, sizeof(bytes));
    assert_int_equal(ws_inflate(z, message, true, 10000, &out), -ERR_LIMIT);
    assert_true(out.cap < 64 * 1024);
    assert_int_equal(ws_inflate(z, STR("x"), true, 10000, &out), -ERR_LIMIT);
    buf_fini(&out);
    deflateEnd(&zlib);
    ws_inflater_free(z);
}

static void broken_data_and_no_memory_are_told(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    struct ws_inflater *z = ws_inflater_new();
    assert_int_equal(ws_inflate(z, STR("\xff\xff\xff\xff"), true, 1000, &out), -ERR_PROTOCOL);
    buf_fini(&out);
    ws_inflater_free(z);
    mem_fail_at(1);
    assert_null(ws_inflater_new());
    mem_fail_at(2);
    assert_null(ws_inflater_new());
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_share_a_window_at_every_cut),
        cmocka_unit_test(a_bomb_is_not_inflated),
        cmocka_unit_test(broken_data_and_no_memory_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
