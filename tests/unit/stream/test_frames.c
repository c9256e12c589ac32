/* Framings of streams: what one writes another reads, wherever the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stream/frames.h"

static const struct {
    const char *type;
    const char *data;
} events[] = {
    {"message_start", "{\"type\":\"message_start\",\"text\":\"Gr\xc3\xbc\xc3\x9f\x65\"}"},
    {"x", "{\"type\":\"x\"}"},
    {"message_stop", "{\"type\":\"message_stop\",\"n\":[1,2]}"},
};

static void write_all(struct buf *out, enum stream_framing framing)
{
    struct frame_writer w;
    frame_writer_init(&w, framing, out);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        struct buf *to = w.frames.begin(&w.frames, str_c(events[i].type));
        buf_add_str(to, str_c(events[i].data));
        w.frames.end(&w.frames);
    }
    frame_write_end(&w);
    frame_writer_fini(&w);
    assert_true(buf_ok(out));
}

/* Fed in two pieces, cut at `cut`. */
static void read_all(struct str bytes, enum stream_framing framing, size_t cut)
{
    struct frame_splitter s;
    struct frame frame;
    size_t seen = 0;
    struct str pieces[] = {str_head(bytes, cut), str_skip(bytes, cut)};
    frame_splitter_init(&s, framing, 1 << 20);
    for (int i = 0; i < 2; i++) {
        while (frame_next(&s, &pieces[i], &frame) == 1) {
            assert_true(frame.has_data);
            assert_true(seen < ARRAY_LEN(events));
            assert_true(str_eq(frame.type, str_c(events[seen].type)));
            assert_true(str_eq(frame.data, str_c(events[seen].data)));
            seen++;
        }
    }
    assert_int_equal(frame_finish(&s, &frame), 0);
    assert_int_equal(seen, ARRAY_LEN(events));
    frame_splitter_fini(&s);
}

static void test_what_is_written_is_read_wherever_it_is_cut(void **state)
{
    (void)state;
    static const enum stream_framing framings[] = {FRAMING_SSE, FRAMING_EVENT_STREAM,
                                                   FRAMING_INVOKE_STREAM};
    for (size_t i = 0; i < ARRAY_LEN(framings); i++) {
        struct buf out = BUF_INIT;
        write_all(&out, framings[i]);
        for (size_t cut = 0; cut <= out.len; cut++)
            read_all(buf_str(&out), framings[i], cut);
        buf_fini(&out);
    }
}

static void test_an_array_is_one_json_text(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    struct json_cursor cursor;
    struct json_value value;
    write_all(&out, FRAMING_JSON_ARRAY);
    json_cursor_init(&cursor, buf_str(&out));
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        assert_int_equal(json_iter_array(&cursor, &value), 1);
        assert_true(str_eq(value.text, str_c(events[i].data)));
    }
    assert_int_equal(json_iter_array(&cursor, &value), 0);
    buf_fini(&out);
}

static void test_an_empty_array_is_closed(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    struct frame_writer w;
    frame_writer_init(&w, FRAMING_JSON_ARRAY, &out);
    assert_false(frame_write_heartbeat(&w));
    frame_write_end(&w);
    assert_true(str_eq(buf_str(&out), STR("[]")));
    buf_fini(&out);
    frame_writer_fini(&w);
}

static void test_a_type_can_be_kept(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    struct frame_writer w;
    frame_writer_init(&w, FRAMING_SSE, &out);
    w.keep_type = STR("response.completed");
    for (int i = 0; i < 2; i++) {
        buf_add_str(w.frames.begin(&w.frames, i == 0 ? STR("other") : STR("response.completed")),
                    i == 0 ? STR("{}") : STR("{\"a\":1}"));
        w.frames.end(&w.frames);
    }
    assert_true(str_eq(buf_str(&w.kept), STR("{\"a\":1}")));
    frame_writer_fini(&w);
    buf_fini(&out);
}

static void test_bytes_that_are_no_base64_are_an_error(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    struct frame_splitter s;
    struct frame frame;
    size_t mark = event_stream_begin(&out, STR("event"), STR("chunk"));
    BUF_LIT(&out, "{\"bytes\":\"!!!!\"}");
    event_stream_end(&out, mark);
    struct str bytes = buf_str(&out);
    frame_splitter_init(&s, FRAMING_INVOKE_STREAM, 1 << 20);
    assert_true(frame_next(&s, &bytes, &frame) < 0);
    frame_splitter_fini(&s);
    buf_fini(&out);
}

/* An array has no names of events: data alone comes back. */
static void test_an_array_is_read_back_wherever_it_is_cut(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    write_all(&out, FRAMING_JSON_ARRAY);
    for (size_t cut = 0; cut <= out.len; cut++) {
        struct frame_splitter s;
        struct frame frame;
        size_t seen = 0;
        struct str pieces[] = {str_head(buf_str(&out), cut), str_skip(buf_str(&out), cut)};
        frame_splitter_init(&s, FRAMING_JSON_ARRAY, 1 << 20);
        for (int i = 0; i < 2; i++) {
            while (frame_next(&s, &pieces[i], &frame) == 1)
                assert_true(str_eq(frame.data, str_c(events[seen++].data)));
        }
        assert_int_equal(frame_finish(&s, &frame), 0);
        assert_int_equal(seen, ARRAY_LEN(events));
        frame_splitter_fini(&s);
    }
    struct frame_splitter s;
    struct frame frame;
    struct str half = str_head(buf_str(&out), 20);
    frame_splitter_init(&s, FRAMING_JSON_ARRAY, 1 << 20);
    assert_int_equal(frame_next(&s, &half, &frame), 0);
    assert_true(frame_finish(&s, &frame) < 0);
    frame_splitter_fini(&s);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_array_is_read_back_wherever_it_is_cut),
        cmocka_unit_test(test_what_is_written_is_read_wherever_it_is_cut),
        cmocka_unit_test(test_an_array_is_one_json_text),
        cmocka_unit_test(test_an_empty_array_is_closed),
        cmocka_unit_test(test_a_type_can_be_kept),
        cmocka_unit_test(test_bytes_that_are_no_base64_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
