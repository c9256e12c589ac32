/*
 * The chat completions dialect. The first byte chooses what is read: a request, a stream (an event
 * a line), a whole answer, or an error. What is written of it must be JSON.
 */
#include "base/err.h"
#include "dialect/dialect.h"
#include "dialect/sequence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect *const dialect = &openai_chat_dialect;

static void need_json(struct str text)
{
    struct json_scan scan;
    CHECK(json_scan_object(text, JSON_DEPTH_MAX, NULL, 0, &scan) == 0);
}

/* --- requests --- */

static void read_request(struct str body, struct arena *arena)
{
    static const struct llm_quirks quirks;
    static const struct llm_traits traits;
    struct llm_target target = {.model = STR("m"), .quirks = &quirks, .traits = &traits};
    struct buf out = BUF_INIT, dropped = BUF_INIT, supplied = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    struct llm_request request;
    struct llm_scan scan;
    if (dialect->scan(body, 64, arena, &scan) == 0 &&
        dialect->read_request(body, arena, &request) == 0) {
        /* As if a client of another dialect had said the same, every other time. */
        if (body.len % 2 == 1)
            request.source = DIALECT_ANTHROPIC;
        if (dialect->write_request(&request, &target, arena, &notes, &out) == 0)
            need_json(buf_str(&out));
    }
    buf_fini(&out);
    buf_fini(&dropped);
    buf_fini(&supplied);
}

/* --- answers --- */

struct relay {
    struct llm_sink sink;
    struct llm_frames frames;
    struct llm_fold fold;
    struct sequence sequence;
    struct llm_encoder *encoder;
    struct buf event;
};

static struct buf *begin(struct llm_frames *frames, struct str type)
{
    struct relay *relay = CONTAINER_OF(frames, struct relay, frames);
    (void)type;
    buf_clear(&relay->event);
    return &relay->event;
}

static void end(struct llm_frames *frames)
{
    struct relay *relay = CONTAINER_OF(frames, struct relay, frames);
    if (!str_eq(buf_str(&relay->event), STR("[DONE]")))
        need_json(buf_str(&relay->event));
    CHECK(str_index(buf_str(&relay->event), '\n') < 0);
}

static int put(struct llm_sink *sink, const struct llm_event *event)
{
    struct relay *relay = CONTAINER_OF(sink, struct relay, sink);
    int r = llm_sink_put(&relay->fold.sink, event);
    return r == 0 ? dialect->encode(relay->encoder, event, &relay->frames) : r;
}

static void read_answer(struct str body, bool is_stream, struct arena *arena)
{
    struct llm_codec_settings settings = {
        .model = STR("m"), .request_id = STR("1"), .includes_usage = true};
    struct relay relay = {.sink = {put}, .frames = {begin, end}, .event = BUF_INIT};
    struct arena *decoder_arena = arena_new(4096), *encoder_arena = arena_new(4096);
    CHECK(decoder_arena != NULL && encoder_arena != NULL);
    struct llm_decoder *decoder = dialect->decoder_new(decoder_arena, &settings);
    struct buf out = BUF_INIT;
    struct str line;
    relay.encoder = dialect->encoder_new(encoder_arena, &settings);
    llm_fold_init(&relay.fold, arena);
    sequence_init(&relay.sequence, arena, &relay.sink, 1 << 20);
    CHECK(decoder != NULL && relay.encoder != NULL);
    int r = 0;
    while (is_stream && r == 0 && str_next(&body, '\n', &line)) {
        r = dialect->decode(decoder, STR_EMPTY, line, &relay.sequence.sink);
        r = r == -ERR_INVALID ? 0 : r;
    }
    if (!is_stream)
        r = dialect->decode_whole(decoder, body, &relay.sequence.sink);
    if (r == 0)
        r = dialect->decode_end(decoder, &relay.sequence.sink);
    if (r == 0 && relay.fold.answer.is_done) {
        dialect->write_answer(&relay.fold.answer, &settings, &out);
        need_json(buf_str(&out));
    }
    sequence_fini(&relay.sequence);
    arena_free(decoder_arena);
    arena_free(encoder_arena);
    buf_fini(&relay.event);
    buf_fini(&out);
}

static void read_error(struct str body)
{
    struct llm_error error;
    struct buf out = BUF_INIT;
    dialect->read_error(400 + (unsigned)(body.len % 130), STR_EMPTY, body, &error);
    dialect->write_error(&error, &out);
    need_json(buf_str(&out));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct arena *arena = arena_new(4096);
    struct str body = str_n((const char *)data + 1, size - 1);
    CHECK(arena != NULL);
    switch (data[0] % 4) {
    case 0:
        read_request(body, arena);
        break;
    case 1:
        read_answer(body, true, arena);
        break;
    case 2:
        read_answer(body, false, arena);
        break;
    default:
        read_error(body);
        break;
    }
    arena_free(arena);
    return 0;
}
