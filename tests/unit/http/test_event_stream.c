#include "http/event_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

enum { LIMIT = 1 << 20, FRAME_BYTES = 256 };

/* Frames of each kind of header, made by another implementation of the format. The first three are
 * those that AWS's SDKs test themselves with. */
static const struct vector {
    const char *hex;
    const char *name; /* of its header; NULL = none */
    enum event_stream_kind kind;
    int64_t number;
    struct str bytes;
    struct str payload;
} vectors[] = {
    {.hex = "000000100000000005c248eb7d98c8ff"},
    {.hex = "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936",
     .payload = STR_INIT("{'foo':'bar'}")},
    {"0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27"
     "666f6f273a27626172277d8d9c08b1",
     "content-type", EVENT_STREAM_STRING, 0, STR_INIT("application/json"),
     STR_INIT("{'foo':'bar'}")},
    {"00000023000000060a202f880474727565007b27666f6f273a27626172277de6124e93", "true",
     EVENT_STREAM_TRUE, 1, STR_INIT(""), STR_INIT("{'foo':'bar'}")},
    {"0000002400000007cf07c30e0566616c7365017b27666f6f273a27626172277de2093a1b", "false",
     EVENT_STREAM_FALSE, 0, STR_INIT(""), STR_INIT("{'foo':'bar'}")},
    {"0000002400000007cf07c30e046279746502ff7b27666f6f273a27626172277d68bb3cec", "byte",
     EVENT_STREAM_BYTE, -1, STR_INIT("\xff"), STR_INIT("{'foo':'bar'}")},
    {"0000002600000009527fbd690573686f727403fffe7b27666f6f273a27626172277daecde2cb", "short",
     EVENT_STREAM_SHORT, -2, STR_INIT("\xff\xfe"), STR_INIT("{'foo':'bar'}")},
    {"0000002600000009527fbd6903696e74040000a00c7b27666f6f273a27626172277dc07b5579", "int",
     EVENT_STREAM_INT, 40972, STR_INIT("\0\0\xa0\x0c"), STR_INIT("{'foo':'bar'}")},
    {"0000002b0000000e348bec7b046c6f6e670500000000028757b27b27666f6f273a27626172277dda0f1b70",
     "long", EVENT_STREAM_LONG, 42424242, STR_INIT("\0\0\0\0\x02\x87\x57\xb2"),
     STR_INIT("{'foo':'bar'}")},
    {"0000002a0000000d90e29471056279746573060004006162637b27666f6f273a27626172277d18fa87ec",
     "bytes", EVENT_STREAM_BYTES, 0, STR_INIT("\0abc"), STR_INIT("{'foo':'bar'}")},
    {"0000002d0000001041c424b806737472696e67070006736368c3b66e7b27666f6f273a27626172277d6a7031f7",
     "string", EVENT_STREAM_STRING, 0, STR_INIT("sch\xc3\xb6n"), STR_INIT("{'foo':'bar'}")},
    {"000000300000001340bd26310974696d657374616d70080000000000845fed7b27666f6f273a27626172277d4630"
     "1cd3",
     "timestamp", EVENT_STREAM_TIMESTAMP, 8675309, STR_INIT("\0\0\0\0\0\x84\x5f\xed"),
     STR_INIT("{'foo':'bar'}")},
    {"00000033000000167777a86e0475756964090102030405060708090a0b0c0d0e0f107b27666f6f273a27626172277"
     "d327f29c1",
     "uuid", EVENT_STREAM_UUID, 0, STR_INIT("\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20"),
     STR_INIT("{'foo':'bar'}")},
};

static struct str from_hex(const char *hex, uint8_t *frame)
{
    size_t len = strlen(hex) / 2;
    assert_true(len <= FRAME_BYTES);
    assert_true(str_from_hex(str_c(hex), frame, len));
    return str_n((const char *)frame, len);
}

static void test_reads_every_kind_of_header(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        uint8_t bytes[FRAME_BYTES];
        struct str frame = from_hex(v->hex, bytes), input = frame;
        struct event_stream_splitter s;
        struct event_stream_event e;
        struct event_stream_header header;
        event_stream_splitter_init(&s, LIMIT);
        assert_int_equal(event_stream_next(&s, &input, &e), 1);
        assert_int_equal(input.len, 0);
        assert_true(str_eq(e.raw, frame));
        assert_true(str_eq(e.payload, v->payload));
        if (v->name != NULL) {
            assert_int_equal(event_stream_header_next(&e.headers, &header), 1);
            assert_true(str_eq(header.name, str_c(v->name)));
            assert_int_equal(header.kind, v->kind);
            assert_true(header.number == v->number);
            assert_true(str_eq(header.bytes, v->bytes));
        }
        assert_int_equal(event_stream_header_next(&e.headers, &header), 0);
        assert_int_equal(event_stream_next(&s, &input, &e), 0);
        assert_int_equal(event_stream_finish(&s), 0);
        event_stream_splitter_fini(&s);
    }
}

/* --- cuts --- */

/* "event|contentBlockDelta|application/json|{...}\n" for each. */
static void note(struct buf *out, struct buf *raw, const struct event_stream_event *e)
{
    const struct str fields[] = {e->message_type, e->type, e->content_type, e->error_message,
                                 e->payload};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        buf_add_str(out, fields[i]);
        buf_add_char(out, i + 1 < ARRAY_LEN(fields) ? '|' : '\n');
    }
    buf_add_str(raw, e->raw);
}

/* The part in memory that ends where the part ends. */
static int feed(struct event_stream_splitter *s, struct str part, struct buf *out, struct buf *raw)
{
    char *copy = malloc(part.len > 0 ? part.len : 1);
    assert_non_null(copy);
    if (part.len > 0)
        memcpy(copy, part.ptr, part.len);
    struct str input = str_n(copy, part.len);
    struct event_stream_event e;
    int r;
    while ((r = event_stream_next(s, &input, &e)) == 1)
        note(out, raw, &e);
    if (r == 0)
        assert_int_equal(input.len, 0);
    free(copy);
    return r;
}

static void write_frame(struct buf *out, const char *message_type, const char *type,
                        const char *payload)
{
    size_t mark = event_stream_begin(out, str_c(message_type), str_c(type));
    buf_add_str(out, str_c(payload));
    event_stream_end(out, mark);
}

static const char stream_events[] =
    "event|messageStart|application/json||{\"role\":\"assistant\"}\n"
    "event|contentBlockDelta|application/json||{\"delta\":{\"text\":\"h\xc3\xa9\"}}\n"
    "exception|throttlingException|application/json||{\"message\":\"slower\"}\n"
    "error|InternalError||words|\n";

static void write_stream(struct buf *out)
{
    write_frame(out, "event", "messageStart", "{\"role\":\"assistant\"}");
    write_frame(out, "event", "contentBlockDelta", "{\"delta\":{\"text\":\"h\xc3\xa9\"}}");
    write_frame(out, "exception", "throttlingException", "{\"message\":\"slower\"}");
    size_t mark = event_stream_open(out);
    event_stream_add_string(out, STR(":error-code"), STR("InternalError"));
    event_stream_add_string(out, STR(":message-type"), STR("error"));
    event_stream_add_string(out, STR(":error-message"), STR("words"));
    event_stream_body(out, mark);
    event_stream_end(out, mark);
    assert_true(buf_ok(out));
}

static void assert_read(struct str stream, const size_t *cuts, size_t count)
{
    struct event_stream_splitter s;
    struct buf out = BUF_INIT, raw = BUF_INIT;
    size_t at = 0;
    event_stream_splitter_init(&s, LIMIT);
    for (size_t i = 0; i <= count; i++) {
        size_t end = i < count ? cuts[i] : stream.len;
        assert_int_equal(feed(&s, str_n(stream.ptr + at, end - at), &out, &raw), 0);
        at = end;
    }
    assert_int_equal(event_stream_pending(&s), 0);
    assert_int_equal(event_stream_finish(&s), 0);
    assert_true(str_eq(buf_str(&out), str_c(stream_events)));
    assert_true(str_eq(buf_str(&raw), stream));
    event_stream_splitter_fini(&s);
    buf_fini(&out);
    buf_fini(&raw);
}

static void test_reads_what_it_writes_cut_anywhere(void **state)
{
    (void)state;
    struct buf stream = BUF_INIT;
    write_stream(&stream);
    size_t every[1024] = {0}, n = stream.len;
    assert_true(n < ARRAY_LEN(every));
    for (size_t i = 0; i < n; i++)
        every[i] = i;
    assert_read(buf_str(&stream), every, 0);
    assert_read(buf_str(&stream), every, n);
    for (size_t a = 0; a < n; a++) {
        assert_read(buf_str(&stream), &every[a], 1);
        size_t two[2] = {a, a + (n - a) / 3};
        assert_read(buf_str(&stream), two, 2);
    }
    buf_fini(&stream);
}

static void test_an_end_inside_a_frame_is_told(void **state)
{
    (void)state;
    struct buf stream = BUF_INIT, out = BUF_INIT, raw = BUF_INIT;
    write_frame(&stream, "event", "messageStart", "{}");
    for (size_t len = 1; len < stream.len; len++) {
        struct event_stream_splitter s;
        event_stream_splitter_init(&s, LIMIT);
        assert_int_equal(feed(&s, str_n(stream.ptr, len), &out, &raw), 0);
        assert_int_equal(event_stream_pending(&s), len);
        assert_int_equal(event_stream_finish(&s), -ERR_RESET);
        assert_non_null(strstr(err_slot()->message, "inside a frame"));
        event_stream_splitter_fini(&s);
    }
    assert_int_equal(out.len, 0);
    buf_fini(&stream);
    buf_fini(&out);
    buf_fini(&raw);
}

/* --- what is wrong --- */

static void test_every_changed_bit_is_found(void **state)
{
    (void)state;
    struct buf frame = BUF_INIT, out = BUF_INIT, raw = BUF_INIT;
    write_frame(&frame, "event", "metadata", "{\"usage\":{\"inputTokens\":1}}");
    for (size_t bit = 0; bit < frame.len * 8; bit++) {
        for (size_t cut = 0; cut <= 8; cut += 8) {
            struct event_stream_splitter s;
            event_stream_splitter_init(&s, LIMIT);
            frame.ptr[bit / 8] ^= (char)(1 << bit % 8);
            int r = feed(&s, str_head(buf_str(&frame), cut), &out, &raw);
            assert_int_equal(r, 0);
            r = feed(&s, str_skip(buf_str(&frame), cut), &out, &raw);
            frame.ptr[bit / 8] ^= (char)(1 << bit % 8);
            assert_int_equal(r, -ERR_PROTOCOL);
            assert_non_null(strstr(err_slot()->message, "checksum"));
            /* It stays so. */
            assert_int_equal(feed(&s, buf_str(&frame), &out, &raw), -ERR_PROTOCOL);
            assert_int_equal(event_stream_finish(&s), -ERR_PROTOCOL);
            event_stream_splitter_fini(&s);
        }
    }
    assert_int_equal(out.len, 0);
    buf_fini(&frame);
    buf_fini(&out);
    buf_fini(&raw);
}

/* Right checksums over what is wrong. */
static const struct {
    struct str headers;
    const char *words;
} bad_headers[] = {
    {STR_INIT("\0"), "without a name"},     {STR_INIT("\5abc"), "is cut"},
    {STR_INIT("\3abc"), "is cut"},          {STR_INIT("\3abc\12"), "unknown kind"},
    {STR_INIT("\3abc\7"), "is cut"},        {STR_INIT("\3abc\7\0"), "is cut"},
    {STR_INIT("\3abc\7\0\3xy"), "is cut"},  {STR_INIT("\3abc\4\0\0\0"), "is cut"},
    {STR_INIT("\3abc\11\1\2\3"), "is cut"}, {STR_INIT("\3abc\0\3"), "is cut"},
};

static void test_wrong_headers_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_headers); i++) {
        struct buf frame = BUF_INIT;
        struct event_stream_splitter s;
        struct event_stream_event e;
        size_t mark = event_stream_open(&frame);
        buf_add_str(&frame, bad_headers[i].headers);
        event_stream_body(&frame, mark);
        event_stream_end(&frame, mark);
        event_stream_splitter_init(&s, LIMIT);
        struct str input = buf_str(&frame);
        assert_int_equal(event_stream_next(&s, &input, &e), -ERR_PROTOCOL);
        if (strstr(err_slot()->message, bad_headers[i].words) == NULL)
            fail_msg("header %zu: %s", i, err_slot()->message);
        event_stream_splitter_fini(&s);
        buf_fini(&frame);
    }
}

static const struct {
    const char *prelude; /* with a right checksum */
    int error;
    const char *words;
} bad_preludes[] = {
    {"0000000f00000000e77248b8", -ERR_PROTOCOL, "15 bytes"},
    {"000000100000000172c5787d", -ERR_PROTOCOL, "1 of them headers"},
    {"00100001000000003f9c6a17", -ERR_LIMIT, "larger than the limit"},
    {"ffffffff00000000ffffffff", -ERR_LIMIT, "larger than the limit"},
};

static void test_wrong_lengths_are_refused_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_preludes); i++) {
        uint8_t bytes[FRAME_BYTES];
        struct event_stream_splitter s;
        struct event_stream_event e;
        struct str input = from_hex(bad_preludes[i].prelude, bytes);
        event_stream_splitter_init(&s, LIMIT);
        int r = event_stream_next(&s, &input, &e);
        if (r != bad_preludes[i].error ||
            strstr(err_slot()->message, bad_preludes[i].words) == NULL)
            fail_msg("prelude %zu: %d %s", i, r, err_slot()->message);
        event_stream_splitter_fini(&s);
    }
}

static void test_the_largest_frame_passes(void **state)
{
    (void)state;
    struct buf frame = BUF_INIT;
    struct event_stream_splitter s;
    struct event_stream_event e;
    size_t mark = event_stream_begin(&frame, STR("event"), STR("chunk"));
    while (frame.len < LIMIT - 4)
        buf_add_char(&frame, 'x');
    event_stream_end(&frame, mark);
    event_stream_splitter_init(&s, LIMIT);
    struct str part = str_head(buf_str(&frame), LIMIT / 2);
    assert_int_equal(event_stream_next(&s, &part, &e), 0);
    part = str_skip(buf_str(&frame), LIMIT / 2);
    assert_int_equal(event_stream_next(&s, &part, &e), 1);
    assert_true(str_eq(e.raw, buf_str(&frame)));
    event_stream_splitter_fini(&s);
    buf_fini(&frame);
}

static void test_a_header_that_cannot_be_written_fails_the_buf(void **state)
{
    (void)state;
    static const char long_text[70000];
    const struct {
        struct str name, value;
    } rows[] = {{STR(""), STR("a")},
                {str_n(long_text, 256), STR("a")},
                {STR("a"), str_n(long_text, 65536)}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf frame = BUF_INIT;
        size_t mark = event_stream_open(&frame);
        event_stream_add_string(&frame, rows[i].name, rows[i].value);
        event_stream_body(&frame, mark);
        event_stream_end(&frame, mark);
        assert_false(buf_ok(&frame));
        buf_fini(&frame);
    }
}

/* botocore and the other SDKs take the headers in any order; AWS sends them in this one. */
static void test_writes_the_bytes_that_aws_writes(void **state)
{
    (void)state;
    static const struct str expected =
        STR_INIT("\0\0\0\x76\0\0\0\x52\x0b:event-type\7\0\x0cmessageStart"
                 "\x0d:content-type\7\0\x10"
                 "application/json\x0d:message-type\7\0\5event{\"role\":\"assistant\"}");
    struct buf frame = BUF_INIT;
    write_frame(&frame, "event", "messageStart", "{\"role\":\"assistant\"}");
    struct str got = buf_str(&frame);
    assert_int_equal(got.len, expected.len + 8);
    assert_memory_equal(got.ptr, expected.ptr, 8);
    assert_memory_equal(got.ptr + 12, expected.ptr + 8, expected.len - 8);
    buf_fini(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_every_kind_of_header),
        cmocka_unit_test(test_reads_what_it_writes_cut_anywhere),
        cmocka_unit_test(test_an_end_inside_a_frame_is_told),
        cmocka_unit_test(test_every_changed_bit_is_found),
        cmocka_unit_test(test_wrong_headers_are_refused),
        cmocka_unit_test(test_wrong_lengths_are_refused_at_once),
        cmocka_unit_test(test_the_largest_frame_passes),
        cmocka_unit_test(test_a_header_that_cannot_be_written_fails_the_buf),
        cmocka_unit_test(test_writes_the_bytes_that_aws_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
