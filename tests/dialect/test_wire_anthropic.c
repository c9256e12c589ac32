#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/anthropic/count.h"
#include "dialect/base64.h"
#include "dialect/dialect.h"
#include "dialect/sequence.h"
#include "event_stream_recording.h"
#include "http/event_stream.h"
#include "http/sse.h"
#include "recordings.h"
#include "support/json_equal.h"

/*
 * Recorded traffic of the Messages API at Anthropic, OpenRouter, Vertex and by Bedrock's Invoke:
 * requests come back as they were, answers decode to what their features say, and what is encoded
 * anew decodes to the same answer.
 */

static const char *const apis[] = {"anthropic.messages",
                                   "anthropic.count_tokens",
                                   "bedrock.invoke",
                                   "bedrock.invoke-stream",
                                   "vertex.rawPredict",
                                   "vertex.streamRawPredict",
                                   NULL};
static const struct dialect *const dialect = &anthropic_dialect;

struct checked {
    unsigned requests, streams, answers, errors;
};

/* --- requests --- */

static enum llm_variant variant_of(const struct recording *rec)
{
    if (str_starts(rec->api, STR("bedrock.")))
        return VARIANT_BEDROCK;
    return str_starts(rec->api, STR("vertex.")) ? VARIANT_VERTEX : VARIANT_NATIVE;
}

static void check_request(const struct recording *rec)
{
    static const struct llm_quirks quirks;
    static const struct llm_traits traits;
    struct arena *arena = arena_new(4096);
    struct llm_request request;
    struct llm_scan scan;
    struct buf out = BUF_INIT, dropped = BUF_INIT, supplied = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    char where[1024] = "";
    if (dialect->scan(rec->request_body, 128, arena, &scan) != 0 ||
        dialect->read_request(rec->request_body, arena, &request) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    assert_int_equal(scan.is_stream, request.is_stream);
    assert_true(str_eq(text_or(arena, request.model, STR_EMPTY), scan.model));
    bool is_count = str_eq(rec->api, STR("anthropic.count_tokens"));
    struct llm_target target = {.model = scan.model,
                                .is_stream = scan.is_stream,
                                .variant = variant_of(rec),
                                .quirks = &quirks,
                                .traits = &traits};
    assert_int_equal(is_count
                         ? anthropic_write_count_request(&request, &target, arena, &notes, &out)
                         : dialect->write_request(&request, &target, arena, &notes, &out),
                     0);
    if (is_count)
        buf_clear(&supplied);
    /* That it does not stream is what it does unless told otherwise. */
    struct json_value stream;
    if (json_find(rec->request_body, "stream", &stream) && stream.kind == JSON_FALSE) {
        out.len--;
        BUF_LIT(&out, ",\"stream\":false}");
    }
    if (!json_equal(rec->request_body, buf_str(&out), where, sizeof(where)))
        fail_msg("%s: %s", rec->path, where);
    if (dropped.len > 0 || supplied.len > 0)
        fail_msg("%s: noted %.*s", rec->path, STR_ARG(buf_str(&dropped)));
    buf_fini(&out);
    buf_fini(&dropped);
    buf_fini(&supplied);
    arena_free(arena);
}

/* --- answers as text, to be compared --- */

static struct str dump(struct arena *arena, const struct llm_answer *answer)
{
    struct buf out = BUF_INIT;
    const struct llm_choice *choice = answer->choices;
    for (const struct llm_block *b = choice != NULL ? choice->blocks : NULL; b != NULL;
         b = b->next) {
        buf_printf(&out, "%d%d [%.*s] %.*s %.*s %.*s %.*s %.*s\n", (int)b->kind, b->is_redacted,
                   STR_ARG(text_or(arena, b->text, STR_EMPTY)),
                   STR_ARG(text_or(arena, b->id, STR_EMPTY)),
                   STR_ARG(text_or(arena, b->name, STR_EMPTY)),
                   STR_ARG(text_or(arena, b->arguments, STR_EMPTY)),
                   STR_ARG(text_or(arena, b->signature.data, STR_EMPTY)), STR_ARG(b->raw));
        for (const struct llm_citation *c = b->citations; c != NULL; c = c->next)
            buf_printf(&out, "  of %lld: %.*s\n", (long long)c->document, STR_ARG(c->raw));
    }
    if (choice != NULL)
        buf_printf(&out, "finish %s\n", llm_finish_names[choice->finish]);
    const struct token_usage *u = &answer->usage;
    buf_printf(&out, "usage %lld %lld %lld %lld %lld\n", (long long)u->input, (long long)u->output,
               (long long)MAX(u->cache_read, 0), (long long)MAX(u->cache_write_5m, 0),
               (long long)MAX(u->cache_write_1h, 0));
    struct str text = arena_dup(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

static void expect_same(const char *path, const char *what, struct str a, struct str b)
{
    if (!str_eq(a, b))
        fail_msg("%s: %s differs:\n%.*s---\n%.*s", path, what, STR_ARG(a), STR_ARG(b));
}

/* --- decoding and encoding --- */

struct writer {
    struct llm_frames frames;
    struct buf event, stream;
};

static struct buf *frame_begin(struct llm_frames *frames, struct str type)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    if (type.len > 0)
        buf_printf(&w->stream, "event: %.*s\n", STR_ARG(type));
    buf_clear(&w->event);
    return &w->event;
}

static void frame_end(struct llm_frames *frames)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    struct json_scan scan;
    assert_true(buf_ok(&w->event));
    assert_int_equal(json_scan_object(buf_str(&w->event), 64, NULL, 0, &scan), 0);
    BUF_LIT(&w->stream, "data: ");
    buf_add_str(&w->stream, buf_str(&w->event));
    BUF_LIT(&w->stream, "\n\n");
}

/* A decoder's sink that folds and encodes, the latter behind a sequence. */
struct relay {
    struct llm_sink sink, to_encoder;
    struct llm_fold fold;
    struct sequence sequence;
    struct llm_encoder *encoder;
    struct writer writer;
    struct arena *arena;
};

static int relay_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct relay *relay = CONTAINER_OF(sink, struct relay, sink);
    int r = llm_sink_put(&relay->fold.sink, event);
    return r == 0 ? llm_sink_put(&relay->sequence.sink, event) : r;
}

static int encode_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct relay *relay = CONTAINER_OF(sink, struct relay, to_encoder);
    return dialect->encode(relay->encoder, event, &relay->writer.frames);
}

static void relay_init(struct relay *relay, const struct llm_codec_settings *settings)
{
    *relay = (struct relay){.sink = {relay_event},
                            .to_encoder = {encode_event},
                            .writer = {{frame_begin, frame_end}, BUF_INIT, BUF_INIT},
                            .arena = arena_new(16384)};
    llm_fold_init(&relay->fold, relay->arena);
    sequence_init(&relay->sequence, relay->arena, &relay->to_encoder, 1 << 20);
    relay->encoder = dialect->encoder_new(relay->arena, settings);
    assert_non_null(relay->encoder);
}

static void relay_fini(struct relay *relay)
{
    sequence_fini(&relay->sequence);
    buf_fini(&relay->writer.event);
    buf_fini(&relay->writer.stream);
    arena_free(relay->arena);
}

/* Returns what decode_end says. */
static int decode_stream(struct str stream, const struct llm_codec_settings *settings,
                         struct llm_sink *sink, struct arena *arena, const char *path)
{
    struct llm_decoder *decoder = dialect->decoder_new(arena, settings);
    struct sse_splitter splitter;
    struct sse_event event;
    sse_splitter_init(&splitter, 16 << 20);
    while (sse_next(&splitter, &stream, &event) == 1) {
        if (event.has_data && dialect->decode(decoder, event.type, event.data, sink) != 0)
            fail_msg("%s: %s", path, err_slot()->message);
    }
    sse_splitter_fini(&splitter);
    return dialect->decode_end(decoder, sink);
}

/* The last usage of the answer is the one that counts; what it does not tell, the first does. */
static int64_t told(struct str body, const char *name)
{
    struct buf key = BUF_INIT;
    int64_t n = -1;
    buf_printf(&key, "\"%s\":", name);
    for (ptrdiff_t at; (at = str_find(body, buf_str(&key))) >= 0;) {
        body = str_skip(body, (size_t)at + key.len);
        size_t len = 0;
        while (len < body.len &&
               (body.ptr[len] == ' ' || (body.ptr[len] >= '0' && body.ptr[len] <= '9')))
            len++;
        (void)str_to_i64(str_trim(str_head(body, len)), &n);
    }
    buf_fini(&key);
    return n;
}

static void check_usage(const struct recording *rec, struct str body, const struct token_usage *got)
{
    ptrdiff_t iterations = str_find(body, STR("\"iterations\""));
    if (iterations >= 0)
        return; /* the same names for each step of a longer answer */
    if (got->input != told(body, "input_tokens") || got->output != told(body, "output_tokens") ||
        MAX(got->cache_read, 0) != MAX(told(body, "cache_read_input_tokens"), 0) ||
        MAX(token_usage_cache_write(got), 0) != MAX(told(body, "cache_creation_input_tokens"), 0) ||
        got->input_includes_cached)
        fail_msg("%s: usage differs", rec->path);
}

static void check_features(const struct recording *rec, const struct llm_answer *answer)
{
    static const struct {
        const char *feature;
        enum llm_finish finish;
    } finishes[] = {
        {"finish:end_turn", FINISH_STOP},       {"finish:max_tokens", FINISH_LENGTH},
        {"finish:tool_use", FINISH_TOOL_CALLS}, {"finish:refusal", FINISH_REFUSAL},
        {"finish:pause_turn", FINISH_PAUSE},    {"finish:stop_sequence", FINISH_STOP_SEQUENCE}};
    bool has_call = false, has_citation = false, has_thinking = false;
    if (!answer->is_done || answer->choices == NULL)
        fail_msg("%s: is no whole answer", rec->path);
    for (const struct llm_block *b = answer->choices->blocks; b != NULL; b = b->next) {
        has_call = has_call || b->kind == BLOCK_TOOL_CALL;
        has_citation = has_citation || b->citations != NULL;
        has_thinking = has_thinking || b->kind == BLOCK_THINKING;
    }
    for (size_t i = 0; i < ARRAY_LEN(finishes); i++) {
        if (recording_has(rec, finishes[i].feature))
            assert_int_equal(answer->choices->finish, finishes[i].finish);
    }
    if (answer->choices->finish == FINISH_TOOL_CALLS && !has_call)
        fail_msg("%s: its call is lost", rec->path);
    if (recording_has(rec, "citations") && !has_citation)
        fail_msg("%s: its citations are lost", rec->path);
    if (recording_has(rec, "thinking") && !has_thinking)
        fail_msg("%s: its thinking is lost", rec->path);
}

/* The stream and the whole answer that are encoded decode to what was decoded. */
static void check_encoded(const struct recording *rec, struct relay *relay,
                          const struct llm_codec_settings *settings)
{
    struct str expected = dump(relay->arena, &relay->fold.answer);
    struct llm_fold again;
    struct buf whole = BUF_INIT;
    llm_fold_init(&again, relay->arena);
    assert_int_equal(decode_stream(buf_str(&relay->writer.stream), settings, &again.sink,
                                   relay->arena, rec->path),
                     0);
    expect_same(rec->path, "the stream anew", expected, dump(relay->arena, &again.answer));
    dialect->write_answer(&relay->fold.answer, settings, &whole);
    assert_true(buf_ok(&whole));
    llm_fold_init(&again, relay->arena);
    struct llm_decoder *decoder = dialect->decoder_new(relay->arena, settings);
    if (dialect->decode_whole(decoder, buf_str(&whole), &again.sink) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    expect_same(rec->path, "the answer anew", expected, dump(relay->arena, &again.answer));
    buf_fini(&whole);
}

/* Bedrock's frames as a stream of the events that are in them. */
static struct str stream_of(const struct recording *rec, struct arena *arena)
{
    struct buf bytes = BUF_INIT, out = BUF_INIT;
    struct event_stream_splitter splitter;
    struct event_stream_event event;
    if (!event_stream_recording(rec, &bytes))
        return rec->body;
    struct str input = buf_str(&bytes);
    event_stream_splitter_init(&splitter, 16 << 20);
    while (event_stream_next(&splitter, &input, &event) == 1) {
        struct json_value value;
        if (str_eq(event.message_type, STR("exception")))
            buf_printf(&out, "event: %.*s\n", STR_ARG(event.type));
        BUF_LIT(&out, "data: ");
        if (!json_find(event.payload, "bytes", &value))
            buf_add_str(&out, event.payload);
        else
            buf_add_str(&out, base64_decode(arena, json_string_raw(value)));
        BUF_LIT(&out, "\n\n");
    }
    event_stream_splitter_fini(&splitter);
    struct str stream = arena_dup(arena, buf_str(&out));
    buf_fini(&bytes);
    buf_fini(&out);
    return stream;
}

static void check_stream(const struct recording *rec, const struct llm_codec_settings *settings)
{
    struct relay relay;
    relay_init(&relay, settings);
    struct str stream = stream_of(rec, relay.arena);
    int r = decode_stream(stream, settings, &relay.sink, relay.arena, rec->path);
    if (recording_has(rec, "midstream_error")) {
        if (!relay.fold.answer.is_error || relay.fold.answer.is_done)
            fail_msg("%s: its error is lost", rec->path);
        assert_true(str_find(buf_str(&relay.writer.stream), STR("event: error\n")) >= 0);
        relay_fini(&relay);
        return;
    }
    if (recording_has(rec, "truncated")) {
        assert_int_equal(r, -ERR_RESET);
        assert_false(relay.fold.answer.is_done);
        relay_fini(&relay);
        return;
    }
    if (r != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    check_features(rec, &relay.fold.answer);
    check_usage(rec, stream, &relay.fold.answer.usage);
    check_encoded(rec, &relay, settings);

    /* Cut before its end it is no answer. */
    ptrdiff_t end = str_find(stream, STR("\"message_delta\""));
    assert_true(end > 0);
    struct relay cut;
    relay_init(&cut, settings);
    assert_int_equal(
        decode_stream(str_head(stream, (size_t)end), settings, &cut.sink, cut.arena, rec->path),
        -ERR_RESET);
    assert_false(cut.fold.answer.is_done);
    relay_fini(&cut);
    relay_fini(&relay);
}

static void check_whole(const struct recording *rec, const struct llm_codec_settings *settings)
{
    struct relay relay;
    relay_init(&relay, settings);
    struct llm_decoder *decoder = dialect->decoder_new(relay.arena, settings);
    if (dialect->decode_whole(decoder, rec->body, &relay.sink) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    assert_int_equal(dialect->decode_end(decoder, &relay.sink), 0);
    check_features(rec, &relay.fold.answer);
    check_usage(rec, rec->body, &relay.fold.answer.usage);
    check_encoded(rec, &relay, settings);
    relay_fini(&relay);
}

static void check_error(const struct recording *rec)
{
    static const struct {
        unsigned status;
        enum llm_error_kind kind;
    } kinds[] = {{400, LLM_ERROR_INVALID_REQUEST}, {401, LLM_ERROR_AUTHENTICATION},
                 {403, LLM_ERROR_PERMISSION},      {404, LLM_ERROR_NOT_FOUND},
                 {413, LLM_ERROR_TOO_LARGE},       {429, LLM_ERROR_RATE_LIMIT},
                 {500, LLM_ERROR_SERVER},          {529, LLM_ERROR_OVERLOADED}};
    struct llm_error error;
    if (!dialect->read_error(rec->status, rec->error_type, rec->body, &error))
        fail_msg("%s is not known as an error", rec->path);
    assert_int_equal(error.status, rec->status);
    assert_true(error.message.s.len > 5);
    enum llm_error_kind kind = LLM_ERROR_CONTEXT_LENGTH;
    for (size_t i = 0; i < ARRAY_LEN(kinds) && !recording_has(rec, "context_overflow"); i++) {
        if (kinds[i].status == rec->status)
            kind = kinds[i].kind;
    }
    if (error.kind != kind)
        fail_msg("%s: read as %s", rec->path, llm_error_kind_names[error.kind]);
}

/* Invoke speaks each model's own language. */
static bool is_messages(const struct recording *rec)
{
    struct json_value value;
    if (!str_starts(rec->api, STR("bedrock.")) && !str_starts(rec->api, STR("vertex.")))
        return true;
    return json_find(rec->request_body, "anthropic_version", &value) &&
           json_find(rec->request_body, "messages", &value);
}

/* The provider refused the body for what we refuse, too. */
static bool is_refused(const struct recording *rec)
{
    return str_find(rec->request_body, STR("\"image_url\"")) >= 0;
}

static void check(const struct recording *rec, void *ctx)
{
    struct checked *checked = ctx;
    if (!is_messages(rec))
        return;
    struct arena *arena = arena_new(4096);
    struct llm_request request;
    struct llm_codec_settings settings = {
        .model = STR("a-model"), .request_id = STR("42"), .now_s = 1700000000};
    if (rec->request_body.len > 0 && !is_refused(rec)) {
        check_request(rec);
        checked->requests++;
        assert_int_equal(dialect->read_request(rec->request_body, arena, &request), 0);
        settings.request = &request;
    }
    if (rec->status != 200) {
        check_error(rec);
        checked->errors++;
    } else if (str_eq(rec->api, STR("anthropic.count_tokens"))) {
        int64_t tokens = 0;
        assert_int_equal(anthropic_read_count(rec->body, &tokens), 0);
        assert_true(tokens > 0);
    } else if (!str_eq(rec->framing, STR("json"))) {
        check_stream(rec, &settings);
        checked->streams++;
    } else {
        check_whole(rec, &settings);
        checked->answers++;
    }
    arena_free(arena);
}

static void recorded_exchanges_come_through(void **state)
{
    (void)state;
    struct checked checked = {0};
    if (!recordings_are_here()) {
        print_message("no recorded traffic here (set WEIR_WIRE_DIR)\n");
        skip();
    }
    recordings_each(apis, check, &checked);
    print_message("%u requests, %u streams, %u answers, %u errors\n", checked.requests,
                  checked.streams, checked.answers, checked.errors);
    assert_true(checked.streams > 0 && checked.answers > 0 && checked.errors > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(recorded_exchanges_come_through)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
