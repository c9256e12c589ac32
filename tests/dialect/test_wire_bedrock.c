#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "dialect/sequence.h"
#include "event_stream_recording.h"
#include "http/event_stream.h"
#include "support/bedrock_grammar.h"
#include "support/json_equal.h"

/*
 * Recorded traffic of Converse: requests come back as they were, streams and whole answers say what
 * was recorded of them, and what is encoded anew obeys the grammar and decodes to the same answer.
 */

static const struct dialect *const dialect = &bedrock_dialect;
static const struct llm_codec_settings settings = {.model = STR_INIT("m"),
                                                   .request_id = STR_INIT("req")};

struct checked {
    unsigned requests, streams, answers, errors;
};

/* --- requests --- */

/* Containers that say nothing, which are not written. */
static struct str without_empty(struct arena *arena, struct str body)
{
    static const char *const empties[] = {"\"system\": []", "\"system\":[]",
                                          "\"inferenceConfig\": {}", "\"inferenceConfig\":{}",
                                          "\"stopSequences\": []"};
    for (size_t i = 0; i < ARRAY_LEN(empties); i++) {
        struct str empty = str_c(empties[i]);
        ptrdiff_t at = str_find(body, empty);
        if (at < 0)
            continue;
        /* Null is the same as not there. */
        size_t value = (size_t)at + empty.len - 2;
        struct str parts[] = {str_head(body, value), STR("null"), str_skip(body, value + 2)};
        body = arena_concat(arena, parts, ARRAY_LEN(parts));
    }
    return body;
}

static void check_request(const struct recording *rec, struct str body)
{
    static const struct llm_quirks quirks;
    static const struct llm_traits traits;
    struct llm_target target = {.model = STR("m"), .quirks = &quirks, .traits = &traits};
    struct arena *arena = arena_new(4096);
    struct llm_request request;
    struct llm_scan scan;
    struct buf out = BUF_INIT, dropped = BUF_INIT, supplied = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    char where[1024] = "";
    if (dialect->scan(body, 128, arena, &scan) != 0 ||
        dialect->read_request(body, arena, &request) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    assert_int_equal(dialect->write_request(&request, &target, arena, &notes, &out), 0);
    if (!json_equal(without_empty(arena, body), buf_str(&out), where, sizeof(where)))
        fail_msg("%s: %s", rec->path, where);
    if (dropped.len > 0 || supplied.len > 0)
        fail_msg("%s: noted %.*s", rec->path, STR_ARG(buf_str(&dropped)));
    buf_fini(&out);
    buf_fini(&dropped);
    buf_fini(&supplied);
    arena_free(arena);
}

/* --- answers --- */

/* What a decoder's events come to, in strict order: they are folded and encoded. */
struct relay {
    struct llm_sink sink;
    struct sequence sequence;
    struct llm_fold fold;
    struct llm_encoder *encoder;
    struct bedrock_grammar grammar;
    struct arena *arena;
};

static int relay_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct relay *relay = CONTAINER_OF(sink, struct relay, sink);
    int r = llm_sink_put(&relay->fold.sink, event);
    return r == 0 ? dialect->encode(relay->encoder, event, &relay->grammar.frames) : r;
}

static void relay_init(struct relay *relay, const char *path)
{
    *relay = (struct relay){.sink = {relay_event}, .arena = arena_new(16384)};
    llm_fold_init(&relay->fold, relay->arena);
    sequence_init(&relay->sequence, relay->arena, &relay->sink, 1 << 20);
    relay->encoder = dialect->encoder_new(relay->arena, &settings);
    bedrock_grammar_init(&relay->grammar, path);
    assert_non_null(relay->encoder);
}

static void relay_fini(struct relay *relay)
{
    bedrock_grammar_fini(&relay->grammar);
    sequence_fini(&relay->sequence);
    arena_free(relay->arena);
}

/* The stream in parts of `step` bytes. */
static void decode_stream(struct str stream, size_t step, struct relay *relay, const char *path)
{
    struct llm_decoder *decoder = dialect->decoder_new(relay->arena, &settings);
    struct event_stream_splitter splitter;
    struct event_stream_event event;
    event_stream_splitter_init(&splitter, 16 << 20);
    while (stream.len > 0) {
        struct str part = str_head(stream, step);
        int r;
        stream = str_skip(stream, part.len);
        while ((r = event_stream_next(&splitter, &part, &event)) == 1) {
            if (dialect->decode(decoder, event.type, event.payload, &relay->sequence.sink) != 0)
                fail_msg("%s: %s", path, err_slot()->message);
        }
        assert_int_equal(r, 0);
    }
    assert_int_equal(event_stream_finish(&splitter), 0);
    if (dialect->decode_end(decoder, &relay->sequence.sink) != 0)
        fail_msg("%s: %s", path, err_slot()->message);
    event_stream_splitter_fini(&splitter);
}

static struct str whole_answer(struct relay *relay, struct buf *out)
{
    dialect->write_answer(&relay->fold.answer, &settings, out);
    return buf_str(out);
}

static bool has_block(const struct llm_answer *answer, enum llm_block_kind kind)
{
    const struct llm_block *b = answer->choices != NULL ? answer->choices->blocks : NULL;
    while (b != NULL && b->kind != kind)
        b = b->next;
    return b != NULL;
}

static const struct {
    const char *feature;
    enum llm_finish finish;
} finishes[] = {
    {"finish:end_turn", FINISH_STOP},
    {"finish:tool_use", FINISH_TOOL_CALLS},
    {"finish:max_tokens", FINISH_LENGTH},
    {"finish:guardrail_intervened", FINISH_CONTENT_FILTER},
};

/* What the features of a recording say about it. */
static void check_features(const struct recording *rec, const struct llm_answer *answer)
{
    if (recording_has(rec, "midstream_error")) {
        assert_true(answer->is_error);
        assert_int_equal(answer->error.kind, LLM_ERROR_RATE_LIMIT);
        return;
    }
    if (answer->is_error || answer->choices == NULL || !answer->is_done)
        fail_msg("%s: is no whole answer", rec->path);
    for (size_t i = 0; i < ARRAY_LEN(finishes); i++) {
        if (recording_has(rec, finishes[i].feature))
            assert_int_equal(answer->choices->finish, finishes[i].finish);
    }
    bool has_calls = has_block(answer, BLOCK_TOOL_CALL) || has_block(answer, BLOCK_OPAQUE);
    if (recording_has(rec, "tool_call") != has_calls ||
        recording_has(rec, "thinking") != has_block(answer, BLOCK_THINKING))
        fail_msg("%s: blocks are missing", rec->path);
    if (recording_has(rec, "cache_tokens"))
        assert_true(answer->usage.cache_read > 0);
    if (recording_has(rec, "cache_write_tokens"))
        assert_true(token_usage_cache_write(&answer->usage) > 0);
    assert_true(answer->usage.input >= 0 && answer->usage.output >= 0);
    assert_false(answer->usage.input_includes_cached);
}

/* Once more through the codec: the same answer. */
static void check_again(const struct recording *rec, struct relay *relay)
{
    struct buf first = BUF_INIT, second = BUF_INIT;
    struct relay again;
    char where[1024];
    relay_init(&again, rec->path);
    decode_stream(buf_str(&relay->grammar.stream), relay->grammar.stream.len, &again, rec->path);
    if (!json_equal(whole_answer(relay, &first), whole_answer(&again, &second), where,
                    sizeof(where)))
        fail_msg("%s: %s", rec->path, where);
    assert_int_equal(relay->fold.answer.is_error, again.fold.answer.is_error);
    relay_fini(&again);
    buf_fini(&first);
    buf_fini(&second);
}

static void check_stream(const struct recording *rec, struct str stream)
{
    static const size_t steps[] = {1, 7, 61, 4096};
    struct relay relay;
    relay_init(&relay, rec->path);
    decode_stream(stream, stream.len, &relay, rec->path);
    bedrock_grammar_end(&relay.grammar);
    check_features(rec, &relay.fold.answer);
    check_again(rec, &relay);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct relay cut;
        relay_init(&cut, rec->path);
        decode_stream(stream, steps[i], &cut, rec->path);
        assert_true(str_eq(buf_str(&cut.grammar.stream), buf_str(&relay.grammar.stream)));
        relay_fini(&cut);
    }
    relay_fini(&relay);
}

static void check_whole(const struct recording *rec)
{
    struct relay relay;
    struct json_value before, after;
    char where[1024];
    struct buf out = BUF_INIT;
    relay_init(&relay, rec->path);
    struct llm_decoder *decoder = dialect->decoder_new(relay.arena, &settings);
    if (dialect->decode_whole(decoder, rec->body, &relay.sequence.sink) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    bedrock_grammar_end(&relay.grammar);
    check_features(rec, &relay.fold.answer);
    check_again(rec, &relay);
    struct str again = whole_answer(&relay, &out);
    assert_true(json_find(rec->body, "stopReason", &before));
    assert_true(json_find(again, "stopReason", &after));
    assert_true(str_eq(before.text, after.text));
    assert_true(json_find(rec->body, "usage.totalTokens", &before));
    assert_true(json_find(again, "usage.totalTokens", &after));
    assert_true(str_eq(before.text, after.text));
    assert_true(json_find(rec->body, "output.message.content", &before));
    assert_true(json_find(again, "output.message.content", &after));
    /* "type": "tool_use" says nothing, and is in no SDK's model. */
    if (!recording_has(rec, "tool_call") &&
        !json_equal(before.text, after.text, where, sizeof(where)))
        fail_msg("%s: %s", rec->path, where);
    buf_fini(&out);
    relay_fini(&relay);
}

/* --- errors --- */

static void check_error(const struct recording *rec)
{
    struct llm_error error;
    assert_true(dialect->read_error(rec->status, rec->error_type, rec->body, &error));
    enum llm_error_kind kind = rec->status == 429   ? LLM_ERROR_RATE_LIMIT
                               : rec->status == 403 ? LLM_ERROR_AUTHENTICATION
                                                    : LLM_ERROR_INVALID_REQUEST;
    if (error.kind != kind || error.status != rec->status || text_is_empty(error.message))
        fail_msg("%s: %s", rec->path, llm_error_kind_names[error.kind]);
}

static void check(const struct recording *rec, void *ctx)
{
    struct checked *checked = ctx;
    struct buf stream = BUF_INIT;
    struct json_value inner;
    bool is_count = str_eq(rec->api, STR("bedrock.count-tokens"));
    if (is_count && json_find(rec->request_body, "input.converse", &inner))
        check_request(rec, inner.text);
    else if (rec->request_body.len > 0)
        check_request(rec, rec->request_body);
    checked->requests += rec->request_body.len > 0;
    if (is_count)
        return;
    if (rec->status != 200) {
        check_error(rec);
        checked->errors++;
    } else if (event_stream_recording(rec, &stream)) {
        check_stream(rec, buf_str(&stream));
        checked->streams++;
    } else {
        check_whole(rec);
        checked->answers++;
    }
    buf_fini(&stream);
}

static void test_recorded_traffic(void **state)
{
    static const char *const apis[] = {"bedrock.converse", "bedrock.converse-stream",
                                       "bedrock.count-tokens", NULL};
    struct checked checked = {0};
    (void)state;
    if (!recordings_are_here()) {
        print_message("no recorded traffic here (WEIR_WIRE_DIR): skipped\n");
        skip();
    }
    recordings_each(apis, check, &checked);
    print_message("%u requests, %u streams, %u whole answers, %u errors\n", checked.requests,
                  checked.streams, checked.answers, checked.errors);
    assert_true(checked.requests >= 30 && checked.streams >= 14 && checked.answers >= 15 &&
                checked.errors >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded_traffic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
