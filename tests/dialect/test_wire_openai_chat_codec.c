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
#include "support/json_equal.h"
#include "support/validate.h"

/*
 * Recorded traffic of every provider of OpenAI's chat dialect: requests come back as they were,
 * answers tell what a JSON parser finds in them, and what is encoded anew is legal and decodes to
 * the same answer.
 */

static const char *const apis[] = {"openai.chat",
                                   "azure.chat",
                                   "groq.chat",
                                   "mistral.chat",
                                   "openrouter.chat",
                                   "deepseek.chat",
                                   "xai.chat",
                                   "zai.chat",
                                   "together.chat",
                                   "cerebras.chat",
                                   "huggingface.chat",
                                   "perplexity.chat",
                                   "vllm.chat",
                                   "llamacpp.chat",
                                   "moonshot.chat",
                                   "alibaba.chat",
                                   "ollama.chat",
                                   "vercel-gateway.chat",
                                   "github-copilot.chat",
                                   NULL};
static const struct dialect *const dialect = &openai_chat_dialect;

struct checked {
    unsigned requests, streams, answers, errors;
};

/* --- requests --- */

/* Without a "stream" that is false, which says nothing. */
static struct str without_stream(struct arena *arena, struct str body)
{
    static const struct json_want want[] = {{{STR_INIT("stream")}}};
    struct json_scan scan;
    struct iovec parts[3];
    assert_int_equal(json_scan_object(body, 128, want, 1, &scan), 0);
    if (scan.found[0].kind != JSON_FALSE)
        return body;
    struct json_edit edit = json_edit_remove(body, &scan.found[0]);
    int n = json_splice_iov(body, &edit, 1, parts, ARRAY_LEN(parts));
    struct str pieces[3] = {STR_EMPTY, STR_EMPTY, STR_EMPTY};
    for (int i = 0; i < n; i++)
        pieces[i] = str_n(parts[i].iov_base, parts[i].iov_len);
    return arena_concat(arena, pieces, 3);
}

/* Two ways to say one thing, of which one is written. */
static bool is_same_meaning(const char *where)
{
    static const char *const known[] = {
        ".content: [] is not null",                  /* Mistral's clients */
        ".tool_choice: \"any\" is not \"required\"", /* the same */
        ".tools: [] is not (nothing)",
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strstr(where, known[i]) != NULL)
            return true;
    }
    return false;
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
    if (!json_find(rec->request_body, "model", &model)) {
        /* Azure has it in the path, as a deployment's name; a gateway is told in the body. */
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
    target.is_stream = scan.is_stream;
    assert_int_equal(dialect->write_request(&request, &target, arena, &notes, &out), 0);
    if (!json_equal(without_stream(arena, rec->request_body), buf_str(&out), where,
                    sizeof(where)) &&
        !is_same_meaning(where))
        fail_msg("%s: %s", rec->path, where);
    if (dropped.len > 0 || supplied.len > 0)
        fail_msg("%s: noted %.*s", rec->path, STR_ARG(buf_str(&dropped)));
    buf_fini(&out);
    buf_fini(&dropped);
    buf_fini(&supplied);
    arena_free(arena);
}

/* --- answers as text, to be compared --- */

static void dump_text(struct buf *out, struct arena *arena, const char *name, struct text text)
{
    if (!text_is_empty(text))
        buf_printf(out, "%s %.*s\n", name, STR_ARG(text_or(arena, text, STR("?"))));
}

static void dump_kind(struct buf *out, struct arena *arena, const struct llm_choice *choice,
                      enum llm_block_kind kind)
{
    for (const struct llm_block *b = choice->blocks; b != NULL; b = b->next) {
        if (b->kind != kind)
            continue;
        if (kind == BLOCK_TOOL_CALL || kind == BLOCK_AUDIO || kind == BLOCK_IMAGE)
            buf_printf(out, "%d\n", (int)kind);
        buf_add_str(out, text_or(arena, b->text, STR_EMPTY));
        for (const struct llm_citation *c = b->citations; c != NULL; c = c->next)
            dump_text(out, arena, "citation", c->url);
        dump_text(out, arena, "id", b->id);
        dump_text(out, arena, "name", b->name);
        dump_text(out, arena, "arguments", b->arguments);
        dump_text(out, arena, "signature", b->signature.data);
        dump_text(out, arena, "data", b->media.data);
    }
}

/* By kind, since a whole message keeps no order among them. */
static struct str dump(struct arena *arena, const struct llm_answer *answer)
{
    struct buf out = BUF_INIT;
    for (const struct llm_choice *c = answer->choices; c != NULL; c = c->next) {
        for (unsigned kind = 0; kind <= BLOCK_OPAQUE; kind++)
            dump_kind(&out, arena, c, (enum llm_block_kind)kind);
        buf_printf(&out, "\nfinish %s logprobs %.*s\n", llm_finish_names[c->finish],
                   STR_ARG(c->logprobs));
    }
    buf_printf(&out, "usage %lld %lld %lld %lld\n", (long long)MAX(answer->usage.input, 0),
               (long long)MAX(answer->usage.output, 0), (long long)MAX(answer->usage.reasoning, 0),
               (long long)MAX(answer->usage.cache_read, 0));
    if (answer->is_error)
        dump_text(&out, arena, "error", answer->error.message);
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
    struct llm_frames frames;
    struct sequence sequence;
    struct llm_fold fold;
    struct llm_encoder *encoder;
    struct validator validator;
    struct arena *arena;
    struct buf event, stream;
    const char *path;
};

static struct buf *begin(struct llm_frames *frames, struct str type)
{
    struct relay *relay = CONTAINER_OF(frames, struct relay, frames);
    assert_int_equal(type.len, 0);
    buf_clear(&relay->event);
    return &relay->event;
}

static void end(struct llm_frames *frames)
{
    struct relay *relay = CONTAINER_OF(frames, struct relay, frames);
    if (!validator_event(&relay->validator, STR_EMPTY, buf_str(&relay->event)))
        fail_msg("%s: %s in %.*s", relay->path, relay->validator.why,
                 STR_ARG(buf_str(&relay->event)));
    BUF_LIT(&relay->stream, "data: ");
    buf_add_str(&relay->stream, buf_str(&relay->event));
    BUF_LIT(&relay->stream, "\n\n");
}

static int relay_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct relay *relay = CONTAINER_OF(sink, struct relay, sink);
    int r = llm_sink_put(&relay->fold.sink, event);
    return r == 0 ? dialect->encode(relay->encoder, event, &relay->frames) : r;
}

static void relay_init(struct relay *relay, const struct llm_codec_settings *settings,
                       const char *path)
{
    *relay = (struct relay){.sink = {relay_event},
                            .frames = {begin, end},
                            .arena = arena_new(16384),
                            .event = BUF_INIT,
                            .stream = BUF_INIT,
                            .path = path};
    llm_fold_init(&relay->fold, relay->arena);
    sequence_init(&relay->sequence, relay->arena, &relay->sink, 1 << 20);
    relay->encoder = dialect->encoder_new(relay->arena, settings);
    validator_init(&relay->validator, DIALECT_OPENAI_CHAT);
    assert_non_null(relay->encoder);
}

static void relay_fini(struct relay *relay)
{
    validator_fini(&relay->validator);
    sequence_fini(&relay->sequence);
    buf_fini(&relay->event);
    buf_fini(&relay->stream);
    arena_free(relay->arena);
}

/* What decode_end says. */
static int decode_stream(struct str stream, const struct llm_codec_settings *settings,
                         struct llm_sink *sink, const char *path)
{
    struct arena *arena = arena_new(4096);
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
        int r = event.has_data ? dialect->decode(decoder, event.type, event.data, sink) : 0;
        yyjson_doc *doc = yyjson_read(event.data.ptr, event.data.len, 0);
        bool is_json = doc != NULL;
        yyjson_doc_free(doc);
        if (r != 0 && (is_json || r != -ERR_INVALID))
            fail_msg("%s: %s", path, err_slot()->message);
    }
    int r = dialect->decode_end(decoder, sink);
    sse_splitter_fini(&splitter);
    arena_free(arena);
    return r;
}

static int64_t int_at(yyjson_val *object, const char *outer, const char *name)
{
    if (outer != NULL)
        object = yyjson_obj_get(object, outer);
    yyjson_val *value = yyjson_obj_get(object, name);
    return yyjson_is_int(value) ? yyjson_get_sint(value) : -1;
}

static void check_whole_document(const struct recording *rec, const struct llm_answer *answer)
{
    yyjson_doc *doc = yyjson_read(rec->body.ptr, rec->body.len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *usage = yyjson_obj_get(root, "usage");
    if (yyjson_is_obj(usage)) {
        int64_t output = int_at(usage, NULL, "completion_tokens");
        int64_t reasoning = int_at(usage, "completion_tokens_details", "reasoning_tokens");
        bool is_beside = int_at(usage, NULL, "total_tokens") ==
                         int_at(usage, NULL, "prompt_tokens") + output + MAX(reasoning, 0);
        if (is_beside && reasoning > 0)
            output += reasoning;
        if (answer->usage.input != int_at(usage, NULL, "prompt_tokens") ||
            answer->usage.output != output || answer->usage.reasoning < reasoning)
            fail_msg("%s: usage differs", rec->path);
    }
    yyjson_val *choice, *choices = yyjson_obj_get(root, "choices");
    size_t i, max;
    unsigned got = 0;
    for (const struct llm_choice *c = answer->choices; c != NULL; c = c->next)
        got++;
    yyjson_arr_foreach(choices, i, max, choice)
    {
        yyjson_val *message = yyjson_obj_get(choice, "message");
        yyjson_val *content = yyjson_obj_get(message, "content");
        if (!yyjson_is_str(content) || yyjson_get_len(content) == 0 || i > 0)
            continue;
        const struct llm_block *b = answer->choices->blocks;
        while (b != NULL && b->kind != BLOCK_TEXT)
            b = b->next;
        if (b == NULL || !text_eq(b->text, str_n(yyjson_get_str(content), yyjson_get_len(content))))
            fail_msg("%s: its text is another one", rec->path);
    }
    if (got != max)
        fail_msg("%s: %u choices of %zu", rec->path, got, max);
    yyjson_doc_free(doc);
}

static bool has_block(const struct llm_answer *answer, enum llm_block_kind kind)
{
    for (const struct llm_choice *c = answer->choices; c != NULL; c = c->next) {
        for (const struct llm_block *b = c->blocks; b != NULL; b = b->next) {
            if (b->kind == kind)
                return true;
        }
    }
    return false;
}

static void check_features(const struct recording *rec, const struct llm_answer *answer)
{
    if (recording_has(rec, "midstream_error")) {
        assert_true(answer->is_error);
        return;
    }
    if (answer->is_error || answer->choices == NULL || !answer->is_done)
        fail_msg("%s: is no whole answer", rec->path);
    enum llm_finish finish = answer->choices->finish;
    bool has_call = recording_has(rec, "tool_call") || recording_has(rec, "custom_tool");
    if ((has_call && !has_block(answer, BLOCK_TOOL_CALL)) ||
        (recording_has(rec, "finish:tool_calls") && finish != FINISH_TOOL_CALLS) ||
        (recording_has(rec, "finish:length") && finish != FINISH_LENGTH) ||
        (recording_has(rec, "finish:content_filter") && finish != FINISH_CONTENT_FILTER) ||
        (recording_has(rec, "refusal") && !has_block(answer, BLOCK_REFUSAL)))
        fail_msg("%s: finish %s", rec->path, llm_finish_names[finish]);
    if (recording_has(rec, "usage_in_stream") && answer->usage.input < 0)
        fail_msg("%s: its usage is lost", rec->path);
    if (recording_has(rec, "thinking") && !has_block(answer, BLOCK_THINKING))
        fail_msg("%s: its reasoning is lost", rec->path);
    if (recording_has(rec, "audio_output") && !has_block(answer, BLOCK_AUDIO))
        fail_msg("%s: its audio is lost", rec->path);
}

/* What was encoded is whole and says the same, streamed and not. */
static void check_encoded(struct relay *relay, const struct llm_codec_settings *settings,
                          struct str expected)
{
    struct llm_fold again;
    struct buf whole = BUF_INIT;
    if (!validator_end(&relay->validator))
        fail_msg("%s: %s", relay->path, relay->validator.why);
    llm_fold_init(&again, relay->arena);
    assert_int_equal(decode_stream(buf_str(&relay->stream), settings, &again.sink, relay->path), 0);
    expect_same(relay->path, "the stream encoded anew", expected,
                dump(relay->arena, &again.answer));
    if (!relay->fold.answer.is_error) {
        struct arena *arena = arena_new(4096);
        dialect->write_answer(&relay->fold.answer, settings, &whole);
        if (!validate_answer(&relay->validator, buf_str(&whole)))
            fail_msg("%s: %s", relay->path, relay->validator.why);
        llm_fold_init(&again, relay->arena);
        assert_int_equal(dialect->decode_whole(dialect->decoder_new(arena, settings),
                                               buf_str(&whole), &again.sink),
                         0);
        expect_same(relay->path, "the whole answer written anew", expected,
                    dump(relay->arena, &again.answer));
        arena_free(arena);
    }
    buf_fini(&whole);
}

static void check_answer(const struct recording *rec, const struct llm_codec_settings *settings)
{
    struct relay relay;
    relay_init(&relay, settings, rec->path);
    if (str_eq(rec->framing, STR("sse"))) {
        int r = decode_stream(rec->body, settings, &relay.sequence.sink, rec->path);
        if (recording_has(rec, "truncated")) {
            assert_int_equal(r, -ERR_RESET);
            relay_fini(&relay);
            return;
        }
        if (r != 0)
            fail_msg("%s: %s", rec->path, err_slot()->message);
    } else {
        struct arena *arena = arena_new(4096);
        struct llm_decoder *decoder = dialect->decoder_new(arena, settings);
        if (dialect->decode_whole(decoder, rec->body, &relay.sequence.sink) != 0)
            fail_msg("%s: %s", rec->path, err_slot()->message);
        assert_int_equal(dialect->decode_end(decoder, &relay.sequence.sink), 0);
        arena_free(arena);
        check_whole_document(rec, &relay.fold.answer);
    }
    check_features(rec, &relay.fold.answer);
    check_encoded(&relay, settings, dump(relay.arena, &relay.fold.answer));
    relay_fini(&relay);
}

static void check_error(const struct recording *rec)
{
    struct llm_error error;
    struct validator validator;
    struct buf out = BUF_INIT;
    if (!dialect->read_error(rec->status, STR_EMPTY, rec->body, &error))
        fail_msg("%s is not known as an error", rec->path);
    assert_int_equal(error.status, rec->status);
    if (error.message.s.len < 8)
        fail_msg("%s: no message", rec->path);
    bool is_right = rec->status != 401 || error.kind == LLM_ERROR_AUTHENTICATION;
    is_right = is_right && (rec->status != 404 || error.kind == LLM_ERROR_NOT_FOUND);
    is_right = is_right && (rec->status != 402 || error.kind == LLM_ERROR_QUOTA);
    is_right = is_right && (rec->status != 429 || error.kind == LLM_ERROR_QUOTA ||
                            error.kind == LLM_ERROR_RATE_LIMIT);
    is_right = is_right &&
               (!recording_has(rec, "context_overflow") || error.kind == LLM_ERROR_CONTEXT_LENGTH);
    if (!is_right)
        fail_msg("%s: is taken for %s", rec->path, llm_error_kind_names[error.kind]);
    validator_init(&validator, DIALECT_OPENAI_CHAT);
    dialect->write_error(&error, &out);
    if (!validate_error(&validator, buf_str(&out)))
        fail_msg("%s: %s", rec->path, validator.why);
    validator_fini(&validator);
    buf_fini(&out);
}

static void check(const struct recording *rec, void *ctx)
{
    struct checked *checked = ctx;
    struct arena *arena = arena_new(4096);
    struct llm_request request;
    struct llm_codec_settings settings = {.model = STR("a-model"),
                                          .request_id = STR("42"),
                                          .now_s = 1700000000,
                                          .includes_usage = true};
    bool is_native = str_find(rec->body, STR("\"done\":true")) >= 0; /* Ollama's own form */
    if (rec->request_body.len > 0 && !is_native) {
        check_request(rec);
        checked->requests++;
        assert_int_equal(dialect->read_request(rec->request_body, arena, &request), 0);
        settings.request = &request;
    }
    if (rec->status != 200) {
        check_error(rec);
        checked->errors++;
    } else if (!is_native &&
               (str_eq(rec->framing, STR("sse")) || str_eq(rec->framing, STR("json")))) {
        check_answer(rec, &settings);
        if (str_eq(rec->framing, STR("sse")))
            checked->streams++;
        else
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
