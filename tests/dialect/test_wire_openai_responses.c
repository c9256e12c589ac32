#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "dialect/sequence.h"
#include "http/sse.h"
#include "recordings.h"
#include "responses_grammar.h"
#include "support/json_equal.h"

/*
 * Recorded traffic of every provider with a Responses API: requests come back as they were, streams
 * tell what the whole answer at their end tells, and what is encoded anew obeys the grammar and
 * decodes to the same answer.
 */

static const char *const apis[] = {"*.responses", NULL};
static const struct dialect *const dialect = &openai_responses_dialect;

struct checked {
    unsigned requests, streams, answers, errors;
};

/* --- requests --- */

/* Without "stream": the target says whether it streams. */
static struct str without_stream(struct arena *arena, struct str body)
{
    static const struct json_want want[] = {{{STR_INIT("stream")}}};
    struct json_scan scan;
    struct iovec parts[3];
    assert_int_equal(json_scan_object(body, 128, want, 1, &scan), 0);
    if (scan.found[0].kind == JSON_NONE)
        return body;
    struct json_edit edit = json_edit_remove(body, &scan.found[0]);
    int n = json_splice_iov(body, &edit, 1, parts, ARRAY_LEN(parts));
    struct str pieces[3] = {STR_EMPTY, STR_EMPTY, STR_EMPTY};
    for (int i = 0; i < n; i++)
        pieces[i] = str_n(parts[i].iov_base, parts[i].iov_len);
    return arena_concat(arena, pieces, 3);
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
    struct json_value model;
    if (!json_find(rec->request_body, "model", &model) || model.kind != JSON_STRING) {
        /* A stored prompt may know it; a gateway does not. */
        assert_int_equal(dialect->scan(rec->request_body, 128, arena, &scan), -ERR_INVALID);
        arena_free(arena);
        return;
    }
    if (dialect->scan(rec->request_body, 128, arena, &scan) != 0 ||
        dialect->read_request(rec->request_body, arena, &request) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    assert_int_equal(scan.is_stream, request.is_stream);
    assert_true(text_eq(request.model, scan.model));
    struct llm_target target = {.model = scan.model, .quirks = &quirks, .traits = &traits};
    assert_int_equal(dialect->write_request(&request, &target, arena, &notes, &out), 0);
    if (!json_equal(without_stream(arena, rec->request_body), buf_str(&out), where, sizeof(where)))
        fail_msg("%s: %s", rec->path, where);
    if (dropped.len > 0 || supplied.len > 0)
        fail_msg("%s: noted %.*s", rec->path, STR_ARG(buf_str(&dropped)));
    buf_fini(&out);
    buf_fini(&dropped);
    buf_fini(&supplied);
    arena_free(arena);
}

/* --- answers as text, to be compared --- */

static void dump_block(struct buf *out, struct arena *arena, const struct llm_block *b)
{
    unsigned citations = 0;
    for (const struct llm_citation *c = b->citations; c != NULL; c = c->next)
        citations++;
    buf_printf(out, "%d [%.*s] (%u) ", (int)b->kind, STR_ARG(text_or(arena, b->text, STR_EMPTY)),
               citations);
    if (b->kind == BLOCK_TOOL_CALL)
        buf_printf(out, "%.*s %.*s %.*s", STR_ARG(text_or(arena, b->id, STR_EMPTY)),
                   STR_ARG(text_or(arena, b->name, STR_EMPTY)),
                   STR_ARG(text_or(arena, b->arguments, STR_EMPTY)));
    if (b->kind == BLOCK_OPAQUE) {
        struct json_value id;
        if (json_find(b->raw, "id", &id))
            buf_add_str(out, id.text);
    }
    buf_add_char(out, '\n');
}

static struct str dump(struct arena *arena, const struct llm_answer *answer)
{
    struct buf out = BUF_INIT;
    const struct llm_choice *choice = answer->choices;
    for (const struct llm_block *b = choice != NULL ? choice->blocks : NULL; b != NULL; b = b->next)
        dump_block(&out, arena, b);
    if (choice != NULL)
        buf_printf(&out, "finish %s\n", llm_finish_names[choice->finish]);
    buf_printf(&out, "usage %lld %lld %lld %lld %lld\n", (long long)answer->usage.input,
               (long long)answer->usage.output, (long long)MAX(answer->usage.reasoning, 0),
               (long long)MAX(answer->usage.cache_read, 0),
               (long long)MAX(token_usage_cache_write(&answer->usage), 0));
    if (answer->is_error)
        buf_printf(&out, "error %d %.*s\n", (int)answer->error.kind,
                   STR_ARG(text_or(arena, answer->error.message, STR_EMPTY)));
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

/* What a decoder's events come to, in strict order: they are folded and encoded. */
struct relay {
    struct llm_sink sink;
    struct sequence sequence;
    struct llm_fold fold;
    struct llm_encoder *encoder;
    struct grammar grammar;
    struct arena *arena;
    const char *path;
};

static int relay_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct relay *relay = CONTAINER_OF(sink, struct relay, sink);
    int r = llm_sink_put(&relay->fold.sink, event);
    return r == 0 ? dialect->encode(relay->encoder, event, &relay->grammar.frames) : r;
}

static void relay_init(struct relay *relay, const struct llm_codec_settings *settings,
                       const char *path)
{
    *relay = (struct relay){.sink = {relay_event}, .arena = arena_new(16384), .path = path};
    llm_fold_init(&relay->fold, relay->arena);
    sequence_init(&relay->sequence, relay->arena, &relay->sink, 1 << 20);
    relay->encoder = dialect->encoder_new(relay->arena, settings);
    grammar_init(&relay->grammar, path);
    assert_non_null(relay->encoder);
}

static void relay_fini(struct relay *relay)
{
    grammar_fini(&relay->grammar);
    sequence_fini(&relay->sequence);
    arena_free(relay->arena);
}

static void decode_stream(struct str stream, const struct llm_codec_settings *settings,
                          struct llm_sink *sink, struct arena *arena, const char *path)
{
    struct llm_decoder *decoder = dialect->decoder_new(arena, settings);
    struct sse_splitter splitter;
    struct sse_event event;
    bool is_last = false;
    sse_splitter_init(&splitter, 16 << 20);
    for (;;) {
        int got = is_last ? 0 : sse_next(&splitter, &stream, &event);
        if (got == 0 && !is_last) {
            is_last = true;
            got = sse_finish(&splitter, &event);
        }
        if (got != 1)
            break;
        if (event.has_data && dialect->decode(decoder, event.type, event.data, sink) != 0)
            fail_msg("%s: %s", path, err_slot()->message);
    }
    if (dialect->decode_end(decoder, sink) != 0)
        fail_msg("%s: %s", path, err_slot()->message);
    sse_splitter_fini(&splitter);
}

static int64_t int_at(yyjson_val *object, const char *outer, const char *name)
{
    if (outer != NULL)
        object = yyjson_obj_get(object, outer);
    yyjson_val *value = yyjson_obj_get(object, name);
    return yyjson_is_int(value) ? yyjson_get_sint(value) : -1;
}

static void check_usage(const struct recording *rec, struct str response,
                        const struct llm_answer *answer)
{
    yyjson_doc *doc = yyjson_read(response.ptr, response.len, 0);
    yyjson_val *usage = yyjson_obj_get(yyjson_doc_get_root(doc), "usage");
    if (yyjson_is_obj(usage)) {
        const struct token_usage *got = &answer->usage;
        if (got->input != int_at(usage, NULL, "input_tokens") ||
            got->output != int_at(usage, NULL, "output_tokens") ||
            got->cache_read != int_at(usage, "input_tokens_details", "cached_tokens") ||
            got->cache_write_5m != int_at(usage, "input_tokens_details", "cache_write_tokens") ||
            got->reasoning != int_at(usage, "output_tokens_details", "reasoning_tokens") ||
            !got->input_includes_cached)
            fail_msg("%s: usage differs", rec->path);
    }
    yyjson_doc_free(doc);
}

static bool has_block(const struct llm_answer *answer, enum llm_block_kind kind)
{
    const struct llm_block *b = answer->choices != NULL ? answer->choices->blocks : NULL;
    while (b != NULL && b->kind != kind)
        b = b->next;
    return b != NULL;
}

/* What the features of a recording say about it. */
static void check_features(const struct recording *rec, const struct llm_answer *answer)
{
    if (recording_has(rec, "midstream_error")) {
        assert_true(answer->is_error);
        return;
    }
    if (answer->is_error || answer->choices == NULL || !answer->is_done)
        fail_msg("%s: is no whole answer", rec->path);
    enum llm_finish finish = answer->choices->finish;
    bool is_cut = finish == FINISH_LENGTH;
    if (recording_has(rec, "tool_call") != has_block(answer, BLOCK_TOOL_CALL) ||
        (recording_has(rec, "tool_call") && finish != FINISH_TOOL_CALLS && !is_cut))
        fail_msg("%s: finish %s", rec->path, llm_finish_names[finish]);
    if (recording_has(rec, "refusal") !=
        (has_block(answer, BLOCK_REFUSAL) && finish == FINISH_REFUSAL))
        fail_msg("%s: finish %s", rec->path, llm_finish_names[finish]);
    if (recording_has(rec, "encrypted_reasoning") && !has_block(answer, BLOCK_THINKING) &&
        str_find(rec->body, STR("\"encrypted_content\"")) >= 0)
        fail_msg("%s: its reasoning is lost", rec->path);
    if (recording_has(rec, "logprobs") && answer->choices->logprobs.len == 0)
        fail_msg("%s: its logprobs are lost", rec->path);
}

/* What was encoded decodes to the same; the last event's object is what a whole answer is. */
static void check_encoded(struct relay *relay, const struct llm_codec_settings *settings,
                          struct str expected)
{
    struct llm_fold again;
    struct buf whole = BUF_INIT;
    char where[1024] = "";
    llm_fold_init(&again, relay->arena);
    grammar_end(&relay->grammar);
    decode_stream(buf_str(&relay->grammar.stream), settings, &again.sink, relay->arena,
                  relay->path);
    expect_same(relay->path, "what is decoded from what was encoded", expected,
                dump(relay->arena, &again.answer));
    if (!relay->fold.answer.is_error) {
        dialect->write_answer(&relay->fold.answer, settings, &whole);
        assert_true(buf_ok(&whole));
        if (!json_equal(relay->grammar.final, buf_str(&whole), where, sizeof(where)))
            fail_msg("%s: %s", relay->path, where);
    }
    buf_fini(&whole);
}

static void check_whole(const struct recording *rec, struct str body,
                        const struct llm_codec_settings *settings, struct str expected)
{
    struct relay relay;
    relay_init(&relay, settings, rec->path);
    struct llm_decoder *decoder = dialect->decoder_new(relay.arena, settings);
    if (dialect->decode_whole(decoder, body, &relay.sequence.sink) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    assert_int_equal(dialect->decode_end(decoder, &relay.sequence.sink), 0);
    struct str got = dump(relay.arena, &relay.fold.answer);
    if (expected.ptr != NULL)
        expect_same(rec->path, "stream and whole answer", expected, got);
    check_features(rec, &relay.fold.answer);
    check_usage(rec, body, &relay.fold.answer);
    check_encoded(&relay, settings, got);
    relay_fini(&relay);
}

/* The response object of the last event. */
static struct str last_response(struct str stream)
{
    struct str last = STR_EMPTY, line;
    while (str_cut(&stream, '\n', &line) || line.len > 0) {
        struct json_value response;
        if (str_starts(line, STR("data:")) && json_find(str_skip(line, 5), "response", &response))
            last = response.text;
        if (stream.len == 0)
            break;
    }
    return last;
}

static void check_stream(const struct recording *rec, const struct llm_codec_settings *settings)
{
    struct relay relay;
    relay_init(&relay, settings, rec->path);
    decode_stream(rec->body, settings, &relay.sequence.sink, relay.arena, rec->path);
    struct str got = dump(relay.arena, &relay.fold.answer);
    check_features(rec, &relay.fold.answer);
    check_encoded(&relay, settings, got);
    check_whole(rec, last_response(rec->body), settings, got);
    relay_fini(&relay);
}

static const struct {
    const char *file;
    enum llm_error_kind kind;
} errors[] = {
    {"openai.responses/ai-2fd54f2764", LLM_ERROR_QUOTA},
    {"openai.responses/openai-cua-sample-app-3fff2d6e82", LLM_ERROR_SERVER},
    {"openai.responses/pydantic-ai-f289a61fc3", LLM_ERROR_INVALID_REQUEST},
    {"openai.responses/ruby_llm-13c24150f2", LLM_ERROR_CONTEXT_LENGTH},
    {"openai.responses/ruby_llm-28c38799b5", LLM_ERROR_AUTHENTICATION},
    {"xai.responses/ruby_llm-eeca85f5fb", LLM_ERROR_AUTHENTICATION},
};

static void check_error(const struct recording *rec)
{
    struct llm_error error;
    if (!dialect->read_error(rec->status, STR_EMPTY, rec->body, &error))
        fail_msg("%s is not known as an error", rec->path);
    assert_int_equal(error.status, rec->status);
    assert_true(error.message.s.len > 10);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        if (strstr(rec->path, errors[i].file) != NULL && error.kind != errors[i].kind)
            fail_msg("%s: is taken for %s", rec->path, llm_error_kind_names[error.kind]);
    }
}

static void check(const struct recording *rec, void *ctx)
{
    struct checked *checked = ctx;
    struct arena *arena = arena_new(4096);
    struct llm_request request;
    struct llm_codec_settings settings = {
        .model = STR("a-model"), .request_id = STR("42"), .now_s = 1700000000};
    if (rec->request_body.len > 0) {
        check_request(rec);
        checked->requests++;
        assert_int_equal(dialect->read_request(rec->request_body, arena, &request), 0);
        settings.request = &request;
    }
    if (rec->status != 200) {
        check_error(rec);
        checked->errors++;
    } else if (str_eq(rec->framing, STR("sse"))) {
        check_stream(rec, &settings);
        checked->streams++;
    } else {
        check_whole(rec, rec->body, &settings, STR_EMPTY);
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
