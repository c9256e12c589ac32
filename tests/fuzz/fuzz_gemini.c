/* The first byte says what the rest is: a request, one to be counted, a stream (one event a line),
 * a whole answer, an error. Nothing may crash, and what is written is valid JSON, events on one
 * line. */
#include "base/json.h"
#include "dialect/dialect.h"
#include "dialect/gemini/count.h"
#include "dialect/sequence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect *const dialect = &gemini_dialect;

static void expect_object(const struct buf *out)
{
    struct json_scan scan;
    CHECK(!buf_ok(out) || json_scan_object(buf_str(out), JSON_DEPTH_MAX, NULL, 0, &scan) == 0);
}

struct writer {
    struct llm_frames frames;
    struct llm_sink sink;
    struct llm_encoder *encoder;
    struct buf event;
};

static struct buf *begin(struct llm_frames *frames, struct str type)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    (void)type;
    buf_clear(&w->event);
    return &w->event;
}

static void end(struct llm_frames *frames)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    expect_object(&w->event);
    CHECK(!buf_ok(&w->event) || str_index(buf_str(&w->event), '\n') < 0);
}

static int encode(struct llm_sink *sink, const struct llm_event *event)
{
    struct writer *w = CONTAINER_OF(sink, struct writer, sink);
    return dialect->encode(w->encoder, event, &w->frames);
}

enum how { AS_OWN, AS_FOREIGN, AS_COUNT };

static void fuzz_request(struct arena *arena, struct str body, enum how how)
{
    static const struct llm_quirks quirks;
    const struct llm_traits traits = {.thinking =
                                          how == AS_FOREIGN ? THINKING_LEVEL : THINKING_BUDGET};
    struct buf out = BUF_INIT, dropped = BUF_INIT, supplied = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    struct llm_target target = {.model = STR("m"), .quirks = &quirks, .traits = &traits};
    struct llm_request request;
    struct llm_scan scan;
    bool counts = how == AS_COUNT;
    if (dialect->scan(body, 64, arena, &scan) == 0 &&
        (counts ? gemini_read_count_request(body, arena, &request)
                : dialect->read_request(body, arena, &request)) == 0) {
        /* As if it had been said in another dialect: then it is made to fit. */
        if (how == AS_FOREIGN)
            request.source = DIALECT_OPENAI_CHAT;
        int error = counts ? gemini_write_count_request(&request, &target, arena, &notes, &out)
                           : dialect->write_request(&request, &target, arena, &notes, &out);
        if (error == 0)
            expect_object(&out);
    }
    buf_fini(&out);
    buf_fini(&dropped);
    buf_fini(&supplied);
}

static void fuzz_answer(struct arena *arena, struct str input, bool is_whole)
{
    struct llm_codec_settings settings = {.model = STR("m"), .request_id = STR("1")};
    struct writer w = {{begin, end}, {encode}, dialect->encoder_new(arena, &settings), BUF_INIT};
    struct sequence sequence;
    struct arena *own = arena_new(1024);
    struct llm_decoder *decoder = dialect->decoder_new(own, &settings);
    struct llm_fold fold;
    struct str line;
    sequence_init(&sequence, arena, &w.sink, 1 << 20);
    llm_fold_init(&fold, arena);
    if (is_whole) {
        struct buf out = BUF_INIT;
        if (dialect->decode_whole(decoder, input, &fold.sink) == 0 && fold.answer.is_done) {
            dialect->write_answer(&fold.answer, &settings, &out);
            expect_object(&out);
            (void)llm_answer_replay(&fold.answer, &sequence.sink);
        }
        buf_fini(&out);
    }
    while (!is_whole && str_next(&input, '\n', &line))
        (void)dialect->decode(decoder, STR_EMPTY, line, &sequence.sink);
    if (!is_whole)
        (void)dialect->decode_end(decoder, &sequence.sink);
    sequence_fini(&sequence);
    buf_fini(&w.event);
    arena_free(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str input = str_n((const char *)data + 1, size - 1);
    struct arena *arena = arena_new(4096);
    struct llm_error error;
    struct buf out = BUF_INIT;
    switch (data[0] % 8) {
    case 0:
    case 1:
        fuzz_request(arena, input, AS_OWN);
        break;
    case 2:
        fuzz_request(arena, input, AS_FOREIGN);
        break;
    case 3:
        fuzz_request(arena, input, AS_COUNT);
        break;
    case 4:
    case 5:
        fuzz_answer(arena, input, false);
        break;
    case 6:
        fuzz_answer(arena, input, true);
        break;
    default:
        (void)dialect->read_error(400, STR_EMPTY, input, &error);
        dialect->write_error(&error, &out);
        expect_object(&out);
        break;
    }
    buf_fini(&out);
    arena_free(arena);
    return 0;
}
