#include "http/websocket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

static const uint8_t key[WS_KEY_BYTES] = {0x37, 0xfa, 0x21, 0x3d};

/* What a reader gets: pieces of one frame put together again, whatever the cuts. */
struct reading {
    struct buf text;
    int error;
    unsigned close_code;
};

static void note(struct buf *out, const struct ws_piece *p)
{
    if (p->is_first)
        buf_printf(out, "[%d/%d%s%s%s %llu ", p->opcode, p->message, p->is_final ? " fin" : "",
                   p->has_rsv1 ? " rsv1" : "", p->is_compressed ? " z" : "",
                   (unsigned long long)p->frame_bytes);
    buf_add(out, p->bytes, p->len);
    if (p->is_last)
        BUF_LIT(out, "]");
}

/* One part, in memory that ends where the part ends. */
static void feed(struct ws_reader *r, struct str part, struct reading *got)
{
    char *copy = malloc(part.len > 0 ? part.len : 1);
    assert_non_null(copy);
    if (part.len > 0)
        memcpy(copy, part.ptr, part.len);
    char *at = copy;
    size_t len = part.len;
    struct ws_piece piece;
    int result;
    while ((result = ws_next(r, &at, &len, &piece)) == 1)
        note(&got->text, &piece);
    if (result == 0)
        assert_int_equal(len, 0);
    got->error = result;
    got->close_code = r->close_code;
    free(copy);
}

static void read_cut(const struct ws_reader_settings *settings, struct str stream, size_t cut,
                     struct reading *got)
{
    struct ws_reader r;
    *got = (struct reading){BUF_INIT, 0, 0};
    ws_reader_init(&r, settings);
    feed(&r, str_head(stream, cut), got);
    if (got->error == 0)
        feed(&r, str_skip(stream, cut), got);
}

/* At every cut the same is read: `expected`, and then the close code where one is given. */
static void check(const struct ws_reader_settings *settings, struct str stream,
                  const char *expected, unsigned close_code)
{
    for (size_t cut = 0; cut <= stream.len; cut++) {
        struct reading got;
        read_cut(settings, stream, cut, &got);
        buf_add_char(&got.text, '\0');
        assert_true(buf_ok(&got.text));
        assert_int_equal(got.close_code, close_code);
        assert_int_equal(got.error < 0, close_code != 0);
        /* A frame that turns out to be wrong may have begun, or not yet, with the cut. */
        if (close_code == 0)
            assert_string_equal(got.text.ptr, expected);
        else
            assert_true(str_starts(str_c(got.text.ptr), str_c(expected)));
        buf_fini(&got.text);
    }
}

static const struct ws_reader_settings of_client = {.role = WS_CLIENT};
static const struct ws_reader_settings of_server = {.role = WS_SERVER};

/* The examples of RFC 6455 section 5.7. */
static void reads_the_examples_of_the_rfc(void **state)
{
    (void)state;
    check(&of_client, STR("\x81\x05Hello"), "[1/1 fin 5 Hello]", 0);
    check(&of_server, STR("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "[1/1 fin 5 Hello]", 0);
    check(&of_client, STR("\x01\x03Hel\x80\x02lo"), "[1/1 3 Hel][0/1 fin 2 lo]", 0);
    check(&of_client, STR("\x89\x05Hello"), "[9/9 fin 5 Hello]", 0);
    check(&of_server, STR("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "[10/10 fin 5 Hello]",
          0);
}

static void control_frames_come_between_fragments(void **state)
{
    (void)state;
    check(&of_client,
          STR("\x01\x01"
              "a\x89\x01p\x00\x01"
              "b\x8a\x00\x80\x00\x82\x01z"),
          "[1/1 1 a][9/9 fin 1 p][0/1 1 b][10/10 fin 0 ][0/1 fin 0 ][2/2 fin 1 z]", 0);
}

static void nothing_is_read_after_a_close_frame(void **state)
{
    (void)state;
    check(&of_client,
          STR("\x88\x06\x03\xe8"
              "done\x81\x02no\xff\xff"),
          "[8/8 fin 6 \x03\xe8"
          "done]",
          0);
    check(&of_client, STR("\x88\x00"), "[8/8 fin 0 ]", 0);
}

static void what_breaks_the_protocol_is_refused(void **state)
{
    static const struct {
        struct str bytes;
        unsigned close_code;
    } cases[] = {
        {STR_INIT("\x83\x00"), 1002}, /* reserved opcodes */
        {STR_INIT("\x8b\x00"), 1002},
        {STR_INIT("\x8f\x00"), 1002},
        {STR_INIT("\xc1\x00"), 1002}, /* reserved bits */
        {STR_INIT("\xa1\x00"), 1002},
        {STR_INIT("\x91\x00"), 1002},
        {STR_INIT("\x09\x00"), 1002},                         /* a control frame in fragments */
        {STR_INIT("\x89\x7e\x00\x7e"), 1002},                 /* and one that is too long */
        {STR_INIT("\x80\x00"), 1002},                         /* continues nothing */
        {STR_INIT("\x01\x00\x81\x00"), 1002},                 /* a message inside a message */
        {STR_INIT("\x82\x7e\x00\x7d"), 1002},                 /* lengths that are not shortest */
        {STR_INIT("\x82\x7f\0\0\0\0\0\0\xff\xff"), 1002},     /* */
        {STR_INIT("\x82\x7f\x80\0\0\0\0\x01\0\0"), 1002},     /* a negative length */
        {STR_INIT("\x81\x85\x37\xfa\x21\x3d\x7f\x9f"), 1002}, /* a server must not mask */
        {STR_INIT("\x88\x01\x03"), 1002},                     /* half a close code */
        {STR_INIT("\x88\x02\x03\xed"), 1002},                 /* 1005 */
        {STR_INIT("\x88\x02\x03\xee"), 1002},                 /* 1006 */
        {STR_INIT("\x88\x02\x03\xf7"), 1002},                 /* 1015 */
        {STR_INIT("\x88\x02\x03\xe7"), 1002},                 /* 999 */
        {STR_INIT("\x88\x02\x07\xd0"), 1002},                 /* 2000 */
        {STR_INIT("\x88\x02\x13\x88"), 1002},                 /* 5000 */
        {STR_INIT("\x88\x03\x03\xe8\xff"), 1007},             /* a reason that is no text */
        {STR_INIT("\x81\x02\xc3("), 1007},
        {STR_INIT("\x81\x01\xc3"), 1007},             /* ends inside a character */
        {STR_INIT("\x81\x02\xc0\xaf"), 1007},         /* longer than need be */
        {STR_INIT("\x81\x03\xed\xa0\x80"), 1007},     /* a surrogate */
        {STR_INIT("\x81\x04\xf4\x90\x80\x80"), 1007}, /* beyond U+10FFFF */
        {STR_INIT("\x01\x01\xe2\x80\x01\x28"), 1007}, /* across fragments */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&of_client, cases[i].bytes, "", cases[i].close_code);
    check(&of_server, STR("\x81\x05Hello"), "", 1002); /* a client must mask */
}

static void broken_text_is_told_before_its_message_ends(void **state)
{
    struct reading got;
    (void)state;
    /* 100 bytes are announced; the third of them says enough. */
    read_cut(&of_client, STR("\x81\x64ok\xf5"), 5, &got);
    assert_int_equal(got.error, -ERR_PROTOCOL);
    assert_int_equal(got.close_code, 1007);
    buf_fini(&got.text);
}

static void characters_may_be_split_anywhere(void **state)
{
    (void)state;
    check(&of_client,
          STR("\x01\x05"
              "\xce\xba\xe1\xbd\xb9\x01"
              "\x00"),
          "", 1002);
    check(&of_client, STR("\x01\x03h\xe2\x82\x00\x02\xac\xf0\x80\x03\x9f\x98\x80"),
          "[1/1 3 h\xe2\x82][0/1 2 \xac\xf0][0/1 fin 3 \x9f\x98\x80]", 0);
}

static void compressed_messages_pass_where_that_was_agreed(void **state)
{
    const struct ws_reader_settings deflate = {.role = WS_CLIENT, .has_deflate = true};
    (void)state;
    check(&deflate, STR("\x41\x02\xf2\x48\x80\x02\xcd\x01\x81\x02ok"),
          "[1/1 rsv1 z 2 \xf2\x48][0/1 fin z 2 \xcd\x01][1/1 fin 2 ok]", 0);
    check(&deflate, STR("\x01\x00\xc0\x00"), "", 1002); /* only on the first frame */
    check(&deflate, STR("\xc9\x00"), "", 1002);
}

static void the_limit_counts_all_frames_of_a_message(void **state)
{
    const struct ws_reader_settings limited = {.role = WS_CLIENT, .message_max = 4};
    (void)state;
    check(&limited,
          STR("\x01\x02"
              "ab\x80\x02"
              "cd\x81\x04"
              "efgh"),
          "[1/1 2 ab][0/1 fin 2 cd][1/1 fin 4 efgh]", 0);
    check(&limited,
          STR("\x01\x02"
              "ab\x80\x03"
              "cde"),
          "[1/1 2 ab]", 1009);
    check(&limited, STR("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), "", 1009);
}

static void an_error_stays(void **state)
{
    struct ws_reader r;
    struct ws_piece piece;
    char bad[] = "\x83", good[] = "\x81\x00";
    char *at = bad;
    size_t len = 2;
    (void)state;
    ws_reader_init(&r, &of_client);
    assert_int_equal(ws_next(&r, &at, &len, &piece), -ERR_PROTOCOL);
    at = good;
    len = 2;
    assert_int_equal(ws_next(&r, &at, &len, &piece), -ERR_PROTOCOL);
    assert_int_equal(r.close_code, 1002);
}

/* What is written reads back as what was meant, at each form of the length. */
static void written_frames_read_back(void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (int is_client = 0; is_client < 2; is_client++) {
            struct buf out = BUF_INIT, payload = BUF_INIT;
            struct ws_reader r;
            struct ws_piece piece;
            for (size_t k = 0; k < sizes[i]; k++)
                buf_add_char(&payload, (char)('a' + k % 26));
            ws_add_frame(&out, WS_BINARY, buf_str(&payload), is_client ? key : NULL);
            ws_reader_init(&r, is_client ? &of_server : &of_client);
            char *at = out.ptr;
            size_t len = out.len;
            assert_int_equal(ws_next(&r, &at, &len, &piece), 1);
            assert_true(piece.is_first && piece.is_last && piece.is_final);
            assert_int_equal(piece.len, sizes[i]);
            assert_true(str_eq(str_n(piece.bytes, piece.len), buf_str(&payload)));
            assert_int_equal(len, 0);
            assert_true(ws_is_between_frames(&r));
            buf_fini(&out);
            buf_fini(&payload);
        }
    }
}

static void close_frames_are_written_and_read(void **state)
{
    struct buf out = BUF_INIT;
    struct str reason;
    struct ws_reader r;
    struct ws_piece piece;
    char long_reason[200];
    (void)state;
    /* The last character that fits lies across the limit. */
    memset(long_reason, 'x', sizeof(long_reason));
    memcpy(long_reason + WS_REASON_MAX - 1, "\xe2\x82\xac", 3);
    ws_add_close(&out, 1008, str_n(long_reason, sizeof(long_reason)), key);
    ws_reader_init(&r, &of_server);
    char *at = out.ptr;
    size_t len = out.len;
    assert_int_equal(ws_next(&r, &at, &len, &piece), 1);
    assert_int_equal(ws_close_read(str_n(piece.bytes, piece.len), &reason), 1008);
    assert_int_equal(reason.len, WS_REASON_MAX - 1);
    buf_clear(&out);
    ws_add_close(&out, WS_CLOSE_NONE, STR("unsaid"), NULL);
    assert_true(str_eq(buf_str(&out), STR("\x88\x00")));
    buf_fini(&out);
    assert_int_equal(ws_close_read(STR_EMPTY, &reason), WS_CLOSE_NONE);
    assert_int_equal(reason.len, 0);
}

static void masking_goes_on_at_any_offset(void **state)
{
    char whole[64], parts[64];
    (void)state;
    for (size_t i = 0; i < sizeof(whole); i++)
        whole[i] = parts[i] = (char)i;
    ws_mask(whole, sizeof(whole), key, 0);
    assert_int_equal((uint8_t)whole[5], 5 ^ key[1]);
    for (size_t cut = 0; cut <= sizeof(parts); cut++) {
        for (size_t i = 0; i < sizeof(parts); i++)
            parts[i] = (char)i;
        ws_mask(parts, cut, key, 0);
        ws_mask(parts + cut, sizeof(parts) - cut, key, cut);
        assert_memory_equal(whole, parts, sizeof(whole));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_examples_of_the_rfc),
        cmocka_unit_test(control_frames_come_between_fragments),
        cmocka_unit_test(nothing_is_read_after_a_close_frame),
        cmocka_unit_test(what_breaks_the_protocol_is_refused),
        cmocka_unit_test(broken_text_is_told_before_its_message_ends),
        cmocka_unit_test(characters_may_be_split_anywhere),
        cmocka_unit_test(compressed_messages_pass_where_that_was_agreed),
        cmocka_unit_test(the_limit_counts_all_frames_of_a_message),
        cmocka_unit_test(an_error_stays),
        cmocka_unit_test(written_frames_read_back),
        cmocka_unit_test(close_frames_are_written_and_read),
        cmocka_unit_test(masking_goes_on_at_any_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
