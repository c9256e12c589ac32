#include "http/event_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "event_stream_recording.h"

/*
 * Recorded AWS event streams: whatever the places where the network cuts them, the frames are the
 * same; and written again from what was read, they are the same bytes.
 */

enum { LIMIT = 16 * 1024 * 1024, CUT_EVERYWHERE_BYTES = 24 * 1024 };

struct totals {
    unsigned streams, cut_streams, frames;
};

/* The frame as the writer would write it: compared with what came. */
static void assert_written_alike(const struct event_stream_event *e, const char *path)
{
    if (e->headers.len == 0)
        return;
    struct buf frame = BUF_INIT;
    size_t mark = event_stream_begin(&frame, e->message_type, e->type);
    buf_add_str(&frame, e->payload);
    event_stream_end(&frame, mark);
    if (!str_eq(buf_str(&frame), e->raw))
        fail_msg("%s: a frame of type %.*s is written otherwise", path, STR_ARG(e->type));
    buf_fini(&frame);
}

/* Number of frames; *end is what came last. */
static unsigned read_in_two(struct str stream, size_t cut, int *end)
{
    struct event_stream_splitter s;
    struct event_stream_event e;
    unsigned count = 0;
    size_t at = 0;
    struct str parts[] = {str_head(stream, cut), str_skip(stream, cut)};
    event_stream_splitter_init(&s, LIMIT);
    for (int i = 0; i < 2; i++) {
        while ((*end = event_stream_next(&s, &parts[i], &e)) == 1) {
            assert_true(e.raw.len <= stream.len - at);
            assert_memory_equal(stream.ptr + at, e.raw.ptr, e.raw.len);
            at += e.raw.len;
            count++;
        }
        assert_int_equal(*end, 0);
    }
    *end = event_stream_finish(&s);
    if (*end == 0)
        assert_int_equal(at, stream.len);
    event_stream_splitter_fini(&s);
    return count;
}

static void read_recording(const struct recording *recording, void *ctx)
{
    struct totals *totals = ctx;
    struct buf stream = BUF_INIT;
    if (!event_stream_recording(recording, &stream))
        return;
    struct event_stream_splitter s;
    struct event_stream_event e;
    struct str input = buf_str(&stream);
    unsigned count = 0;
    int r;
    event_stream_splitter_init(&s, LIMIT);
    while ((r = event_stream_next(&s, &input, &e)) == 1) {
        assert_written_alike(&e, recording->path);
        count++;
    }
    if (r < 0)
        fail_msg("%s: %s", recording->path, err_slot()->message);
    bool is_cut = event_stream_finish(&s) == -ERR_RESET;
    event_stream_splitter_fini(&s);
    if (is_cut != recording_has(recording, "truncated"))
        fail_msg("%s: cut: %d", recording->path, is_cut);
    for (size_t cut = 0; cut <= MIN(stream.len, CUT_EVERYWHERE_BYTES); cut++) {
        int end;
        assert_int_equal(read_in_two(buf_str(&stream), cut, &end), count);
        assert_int_equal(end, is_cut ? -ERR_RESET : 0);
    }
    totals->streams++;
    totals->cut_streams += is_cut;
    totals->frames += count;
    buf_fini(&stream);
}

static void test_recorded_streams(void **state)
{
    (void)state;
    static const char *const apis[] = {"bedrock.*-stream", NULL};
    if (!recordings_are_here()) {
        print_message("no recorded traffic here (WEIR_WIRE_DIR): skipped\n");
        skip();
    }
    struct totals totals = {0};
    recordings_each(apis, read_recording, &totals);
    print_message("%u streams (%u of them cut), %u frames\n", totals.streams, totals.cut_streams,
                  totals.frames);
    assert_true(totals.streams >= 20 && totals.frames > 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded_streams)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
