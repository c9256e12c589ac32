/* The first byte says what the rest is: a request, a stream (an event a line), a whole answer or an
 * error body. Nothing may crash, and what is written is JSON. */
#include "dialect/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect *const dialect = &bedrock_dialect;
enum { DEPTH_MAX = JSON_DEPTH_DEFAULT };

static void check_json(const struct buf *out)
{
    struct json_scan scan;
    CHECK(buf_ok(out));
    CHECK(json_scan_object(buf_str(out), JSON_DEPTH_MAX, NULL, 0, &scan) == 0);
}

static void read_request(struct str body, enum dialect_id source, struct arena *arena)
{
    static const struct llm_quirks quirks;
    static const struct llm_traits traits;
    struct buf out = BUF_INIT, dropped = BUF_INIT, supplied = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    struct llm_target target = {.model = STR("m"), .quirks = &quirks, .traits = &traits};
    struct llm_request request;
    struct llm_scan scan;
    struct llm_fit fit;
    if (dialect->scan(body, DEPTH_MAX, arena, &scan) == 0) {
        dialect->fit(&scan, body, &target, true, arena, &fit);
        CHECK(fit.count == 0);
        if (dialect->read_request(body, arena, &request) == 0) {
            /* As if another dialect had told it, too. */
            request.source = source;
            CHECK(dialect->write_request(&request, &target, arena, &notes, &out) == 0);
            check_json(&out);
        }
    }
    buf_fini(&out);
    buf_fini(&dropped);
    buf_fini(&supplied);
}

struct relay {
    struct llm_sink sink;
    struct llm_frames frames;
    struct llm_fold fold;
    struct llm_encoder *encoder;
    struct buf event;
};

static int relay_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct relay *relay = CONTAINER_OF(sink, struct relay, sink);
    int r = llm_sink_put(&relay->fold.sink, event);
    return r == 0 ? dialect->encode(relay->encoder, event, &relay->frames) : r;
}

static struct buf *frame_begin(struct llm_frames *frames, struct str type)
{
    struct relay *relay = CONTAINER_OF(frames, struct relay, frames);
    (void)type;
    buf_clear(&relay->event);
    return &relay->event;
}

static void frame_end(struct llm_frames *frames)
{
    struct relay *relay = CONTAINER_OF(frames, struct relay, frames);
    check_json(&relay->event);
}

static void read_answer(struct str text, bool is_stream, struct arena *arena)
{
    static const struct llm_codec_settings settings = {
        .model = STR_INIT("m"), .request_id = STR_INIT("r"), .now_s = 1};
    struct relay relay = {.sink = {relay_event}, .frames = {frame_begin, frame_end}};
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    struct buf out = BUF_INIT;
    struct str line;
    struct json_scan scan;
    relay.encoder = dialect->encoder_new(arena, &settings);
    CHECK(decoder != NULL && relay.encoder != NULL);
    llm_fold_init(&relay.fold, arena);
    if (is_stream) {
        while (str_next(&text, '\n', &line)) {
            /* "type payload"; one that is no JSON never gets further than its decoder. */
            struct str type;
            str_cut(&line, ' ', &type);
            (void)dialect->decode(decoder, type, line, &relay.sink);
        }
    } else if (json_scan_object(text, DEPTH_MAX, NULL, 0, &scan) == 0) {
        (void)dialect->decode_whole(decoder, text, &relay.sink);
    }
    (void)dialect->decode_end(decoder, &relay.sink);
    if (relay.fold.answer.is_done) {
        dialect->write_answer(&relay.fold.answer, &settings, &out);
        check_json(&out);
    }
    buf_fini(&out);
    buf_fini(&relay.event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct arena *arena = arena_new(4096);
    struct str rest = str_n((const char *)data + 1, size - 1);
    struct llm_error error;
    struct buf out = BUF_INIT;
    CHECK(arena != NULL);
    switch (data[0] % 4) {
    case 0:
        read_request(rest, (enum dialect_id)(data[0] / 4 % DIALECT_COUNT), arena);
        break;
    case 1:
    case 2:
        read_answer(rest, data[0] % 4 == 1, arena);
        break;
    default:
        (void)dialect->read_error(0, str_head(rest, 20), rest, &error);
        dialect->write_error(&error, &out);
        check_json(&out);
        buf_fini(&out);
        break;
    }
    arena_free(arena);
    return 0;
}
