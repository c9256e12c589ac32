#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "dialect/gemini/count.h"
#include "dialect/gemini/member.h"
#include "dialect/sequence.h"
#include "http/sse.h"
#include "recordings.h"
#include "support/json_equal.h"

/*
 * Recorded traffic of Gemini, of AI Studio and of Vertex: requests come back as they were, answers
 * decode to all that a full JSON parser finds in them, and what is encoded anew decodes to the
 * same.
 */

static const char *const apis[] = {"gemini.generateContent",
                                   "gemini.streamGenerateContent",
                                   "gemini.countTokens",
                                   "vertex.generateContent",
                                   "vertex.streamGenerateContent",
                                   "vertex.countTokens",
                                   NULL};
static const struct dialect *const dialect = &gemini_dialect;

struct checked {
    unsigned requests, streams, answers, errors, counts;
};

/* --- requests: what says the same in other words is brought to one form --- */

/* file_search_store_names -> fileSearchStoreNames */
static const char *camel(yyjson_mut_doc *doc, const char *key)
{
    char out[160];
    size_t len = 0;
    for (; *key != '\0' && len + 1 < sizeof(out); key++) {
        if (*key == '_' && key[1] >= 'a' && key[1] <= 'z') {
            key++;
            out[len++] = (char)(*key & ~0x20);
        } else {
            out[len++] = *key;
        }
    }
    out[len] = '\0';
    return yyjson_mut_get_str(yyjson_mut_strcpy(doc, out));
}

static yyjson_mut_val *normal(yyjson_mut_doc *doc, yyjson_val *value, const char *name);

/* base64 in either alphabet; levels in either case. */
static yyjson_mut_val *normal_text(yyjson_mut_doc *doc, yyjson_val *value, const char *name)
{
    yyjson_mut_val *copy = yyjson_mut_strncpy(doc, yyjson_get_str(value), yyjson_get_len(value));
    char *text = (char *)(uintptr_t)yyjson_mut_get_str(copy);
    size_t len = yyjson_get_len(value);
    for (size_t i = 0; i < len; i++) {
        if (strcmp(name, "data") == 0)
            text[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
        else if (strcmp(name, "thinkingLevel") == 0)
            text[i] = (char)(text[i] | 0x20);
        else if (strcmp(name, "role") == 0 && strcmp(text, "function") == 0)
            return yyjson_mut_str(doc, "user");
    }
    return copy;
}

static yyjson_mut_val *normal_object(yyjson_mut_doc *doc, yyjson_val *value, const char *name)
{
    yyjson_mut_val *object = yyjson_mut_obj(doc);
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach(value, i, max, k, v)
    {
        const char *key = camel(doc, yyjson_get_str(k));
        bool is_default = (strcmp(key, "thought") == 0 && yyjson_is_false(v)) || yyjson_is_null(v);
        if (is_default || (name[0] == '\0' && strcmp(key, "model") == 0))
            continue;
        yyjson_mut_val *member = normal(doc, v, key);
        if (strcmp(key, "parts") == 0 && yyjson_is_obj(v)) {
            yyjson_mut_val *list = yyjson_mut_arr(doc);
            yyjson_mut_arr_append(list, member);
            member = list;
        }
        yyjson_mut_obj_add(object, yyjson_mut_strcpy(doc, key), member);
    }
    if (strcmp(name, "contents") == 0 && yyjson_mut_obj_get(object, "role") == NULL)
        yyjson_mut_obj_add_str(doc, object, "role", "user");
    return object;
}

static yyjson_mut_val *normal(yyjson_mut_doc *doc, yyjson_val *value, const char *name)
{
    if (yyjson_is_str(value))
        return normal_text(doc, value, name);
    if (yyjson_is_obj(value))
        return normal_object(doc, value, name);
    if (!yyjson_is_arr(value))
        return yyjson_val_mut_copy(doc, value);
    yyjson_mut_val *list = yyjson_mut_arr(doc);
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(value, i, max, item) yyjson_mut_arr_append(list, normal(doc, item, name));
    return list;
}

static struct str normalised(struct arena *arena, struct str body)
{
    yyjson_doc *doc = yyjson_read(body.ptr, body.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_mut_doc *out = yyjson_mut_doc_new(NULL);
    size_t len = 0;
    assert_non_null(doc);
    yyjson_mut_doc_set_root(out, normal(out, yyjson_doc_get_root(doc), ""));
    char *text = yyjson_mut_write(out, 0, &len);
    assert_non_null(text);
    struct str copy = arena_dup(arena, str_n(text, len));
    free(text);
    yyjson_mut_doc_free(out);
    yyjson_doc_free(doc);
    return copy;
}

static const struct llm_quirks quirks;
static const struct llm_traits traits;

struct written {
    struct buf out, dropped, supplied;
};

static struct llm_notes notes_of(struct written *w)
{
    *w = (struct written){BUF_INIT, BUF_INIT, BUF_INIT};
    return (struct llm_notes){&w->dropped, &w->supplied};
}

static void written_fini(struct written *w)
{
    buf_fini(&w->out);
    buf_fini(&w->dropped);
    buf_fini(&w->supplied);
}

static void expect_equal(const struct recording *rec, struct arena *arena, struct str want,
                         struct written *w)
{
    char where[1024] = "";
    if (!json_equal(normalised(arena, want), normalised(arena, buf_str(&w->out)), where,
                    sizeof(where)))
        fail_msg("%s: %s", rec->path, where);
    if (w->dropped.len > 0 || w->supplied.len > 0)
        fail_msg("%s: noted %.*s %.*s", rec->path, STR_ARG(buf_str(&w->dropped)),
                 STR_ARG(buf_str(&w->supplied)));
}

static void check_request(const struct recording *rec, struct arena *arena)
{
    struct llm_request request;
    struct llm_scan scan;
    struct llm_fit fit;
    struct written w;
    struct llm_notes notes = notes_of(&w);
    struct llm_target target = {.model = STR("m"), .quirks = &quirks, .traits = &traits};
    if (dialect->scan(rec->request_body, 128, arena, &scan) != 0 ||
        dialect->read_request(rec->request_body, arena, &request) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    dialect->fit(&scan, rec->request_body, &target, true, arena, &fit);
    assert_false(fit.no_memory || fit.strips_usage);
    assert_int_equal(dialect->write_request(&request, &target, arena, &notes, &w.out), 0);
    expect_equal(rec, arena, rec->request_body, &w);
    written_fini(&w);
}

/* --- what a full JSON parser finds --- */

struct found {
    struct buf text, thoughts, signatures;
    unsigned calls, images, opaque, citations;
    int64_t input, output, reasoning, cached;
    bool has_usage, is_blocked, is_error, has_finish;
    char finish[40];
};

static const char *const opaque_names[] = {"executableCode", "codeExecutionResult", "toolCall",
                                           "toolResponse"};

static void find_part(struct found *f, yyjson_val *part)
{
    yyjson_val *text = yyjson_obj_get(part, "text");
    yyjson_val *signature = yyjson_obj_get(part, "thoughtSignature");
    bool is_thought = yyjson_get_bool(yyjson_obj_get(part, "thought"));
    buf_add_str(is_thought ? &f->thoughts : &f->text,
                str_n(yyjson_get_str(text), yyjson_get_len(text)));
    if (signature != NULL)
        buf_printf(&f->signatures, "%s\n", yyjson_get_str(signature));
    f->calls += yyjson_obj_get(part, "functionCall") != NULL;
    f->images += yyjson_obj_get(part, "inlineData") != NULL;
    for (size_t i = 0; i < ARRAY_LEN(opaque_names); i++)
        f->opaque += yyjson_obj_get(part, opaque_names[i]) != NULL;
}

static int64_t count_in(yyjson_val *usage, const char *name)
{
    return yyjson_get_sint(yyjson_obj_get(usage, name));
}

/* One chunk; of several candidates the first is looked at. */
static void find_in(struct found *f, yyjson_val *chunk)
{
    yyjson_val *candidate = yyjson_arr_get_first(yyjson_obj_get(chunk, "candidates"));
    yyjson_val *parts = yyjson_obj_get(yyjson_obj_get(candidate, "content"), "parts");
    yyjson_val *usage = yyjson_obj_get(chunk, "usageMetadata");
    yyjson_val *grounding = yyjson_obj_get(candidate, "groundingMetadata");
    yyjson_val *cited = yyjson_obj_get(candidate, "citationMetadata");
    yyjson_val *reason = yyjson_obj_get(candidate, "finishReason");
    size_t i, max;
    yyjson_val *part;
    yyjson_arr_foreach(parts, i, max, part) find_part(f, part);
    if (yyjson_obj_get(usage, "promptTokenCount") != NULL) {
        f->has_usage = true;
        f->input = count_in(usage, "promptTokenCount") + count_in(usage, "toolUsePromptTokenCount");
        f->reasoning = count_in(usage, "thoughtsTokenCount");
        f->output = count_in(usage, "candidatesTokenCount") + f->reasoning;
        f->cached = count_in(usage, "cachedContentTokenCount");
    }
    if (yyjson_arr_size(yyjson_obj_get(grounding, "groundingChunks")) > 0 || cited != NULL)
        f->citations++;
    if (reason != NULL) {
        f->has_finish = true;
        snprintf(f->finish, sizeof(f->finish), "%s",
                 yyjson_is_str(reason)          ? yyjson_get_str(reason)
                 : yyjson_get_sint(reason) == 1 ? "STOP"
                                                : "?");
    }
    f->is_blocked =
        f->is_blocked || yyjson_obj_get(yyjson_obj_get(chunk, "promptFeedback"), "blockReason");
    f->is_error = f->is_error || yyjson_obj_get(chunk, "error") != NULL;
}

static void find_in_text(struct found *f, struct str data)
{
    yyjson_doc *doc = yyjson_read(data.ptr, data.len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    size_t i, max;
    yyjson_val *item;
    if (yyjson_is_arr(root)) {
        yyjson_arr_foreach(root, i, max, item) find_in(f, item);
    } else if (root != NULL) {
        find_in(f, root);
    }
    yyjson_doc_free(doc);
}

static void found_fini(struct found *f)
{
    buf_fini(&f->text);
    buf_fini(&f->thoughts);
    buf_fini(&f->signatures);
}

/* --- what the decoder found --- */

static void add_text(struct buf *out, struct arena *arena, struct text text)
{
    buf_add_str(out, text_or(arena, text, STR_EMPTY));
}

static void fold_found(struct found *f, struct arena *arena, const struct llm_answer *answer)
{
    const struct llm_block *b = answer->choices != NULL ? answer->choices->blocks : NULL;
    for (; b != NULL; b = b->next) {
        if (b->kind == BLOCK_TEXT)
            add_text(&f->text, arena, b->text);
        else if (b->kind == BLOCK_THINKING)
            add_text(&f->thoughts, arena, b->text);
        f->calls += b->kind == BLOCK_TOOL_CALL;
        f->images += b->kind == BLOCK_IMAGE;
        f->opaque += b->kind == BLOCK_OPAQUE;
        f->citations += b->citations != NULL;
        struct json_value inside;
        if (b->kind == BLOCK_OPAQUE && gemini_find(b->raw, "thoughtSignature", &inside))
            buf_printf(&f->signatures, "%.*s\n", STR_ARG(json_string_raw(inside)));
        if (text_is_some(b->signature.data)) {
            assert_int_equal(b->signature.maker, DIALECT_GEMINI);
            add_text(&f->signatures, arena, b->signature.data);
            buf_add_char(&f->signatures, '\n');
        }
        if (b->kind == BLOCK_TOOL_CALL && text_is_empty(b->id))
            fail_msg("a call has no id");
    }
}

static enum llm_finish expected_finish(const struct found *f)
{
    static const struct {
        const char *word;
        enum llm_finish finish;
    } finishes[] = {{"STOP", FINISH_STOP},
                    {"MAX_TOKENS", FINISH_LENGTH},
                    {"SAFETY", FINISH_CONTENT_FILTER},
                    {"RECITATION", FINISH_CONTENT_FILTER}};
    if (f->is_blocked)
        return FINISH_CONTENT_FILTER;
    if (strcmp(f->finish, "STOP") == 0 && f->calls > 0)
        return FINISH_TOOL_CALLS;
    for (size_t i = 0; i < ARRAY_LEN(finishes); i++) {
        if (strcmp(f->finish, finishes[i].word) == 0)
            return finishes[i].finish;
    }
    return FINISH_OTHER;
}

static void expect_text(const char *path, const char *what, const struct buf *want,
                        const struct buf *got)
{
    if (!str_eq(buf_str(want), buf_str(got)))
        fail_msg("%s: %s is\n%.*s\nand not\n%.*s", path, what, STR_ARG(buf_str(got)),
                 STR_ARG(buf_str(want)));
}

static void expect_found(const struct recording *rec, struct arena *arena, struct found *want,
                         const struct llm_answer *answer)
{
    struct found got = {0};
    const struct token_usage *u = &answer->usage;
    fold_found(&got, arena, answer);
    expect_text(rec->path, "text", &want->text, &got.text);
    expect_text(rec->path, "thoughts", &want->thoughts, &got.thoughts);
    expect_text(rec->path, "signatures", &want->signatures, &got.signatures);
    if (got.calls != want->calls || got.images != want->images || got.opaque != want->opaque ||
        (got.citations == 0) != (want->citations == 0))
        fail_msg("%s: %u calls, %u images, %u opaque, %u cited", rec->path, got.calls, got.images,
                 got.opaque, got.citations);
    if (!want->is_error && answer->choices->finish != expected_finish(want))
        fail_msg("%s: finish %s for %s", rec->path, llm_finish_names[answer->choices->finish],
                 want->finish);
    if (want->has_usage && (u->input != want->input || MAX(u->output, 0) != want->output ||
                            MAX(u->reasoning, 0) != want->reasoning ||
                            MAX(u->cache_read, 0) != want->cached || !u->input_includes_cached))
        fail_msg("%s: usage %lld %lld %lld %lld", rec->path, (long long)u->input,
                 (long long)u->output, (long long)u->reasoning, (long long)u->cache_read);
    found_fini(&got);
}

/* --- answers as text, to be compared --- */

/* JSON that stood on several lines is on one in a stream. */
static void add_on_one_line(struct buf *out, struct str json)
{
    for (size_t i = 0; i < json.len; i++)
        buf_add_char(out, json.ptr[i] == '\n' || json.ptr[i] == '\r' ? ' ' : json.ptr[i]);
}

static struct str dump(struct arena *arena, const struct llm_answer *answer)
{
    struct buf out = BUF_INIT;
    for (const struct llm_choice *c = answer->choices; c != NULL; c = c->next) {
        for (const struct llm_block *b = c->blocks; b != NULL; b = b->next) {
            buf_printf(&out, "%u %d [", c->index, (int)b->kind);
            add_text(&out, arena, b->text);
            BUF_LIT(&out, "] ");
            add_text(&out, arena, b->id);
            add_text(&out, arena, b->name);
            add_on_one_line(&out, text_or(arena, b->arguments, STR_EMPTY));
            add_text(&out, arena, b->media.data);
            add_on_one_line(&out, b->raw);
            add_text(&out, arena, b->signature.data);
            BUF_LIT(&out, "\n");
            for (const struct llm_citation *s = b->citations; s != NULL; s = s->next) {
                add_text(&out, arena, s->url);
                buf_add_char(&out, '\n');
            }
        }
        buf_printf(&out, "finish %s\n", llm_finish_names[c->finish]);
    }
    const struct token_usage *u = &answer->usage;
    buf_printf(&out, "usage %lld %lld %lld %lld\n", (long long)u->input, (long long)u->output,
               (long long)MAX(u->reasoning, 0), (long long)MAX(u->cache_read, 0));
    struct str text = arena_dup(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

/* --- decoding and encoding --- */

struct writer {
    struct llm_frames frames;
    struct buf event, stream;
};

static struct buf *frame_begin(struct llm_frames *frames, struct str type)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    assert_int_equal(type.len, 0);
    buf_clear(&w->event);
    return &w->event;
}

static void frame_end(struct llm_frames *frames)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    struct json_scan scan;
    assert_true(buf_ok(&w->event));
    assert_true(str_index(buf_str(&w->event), '\n') < 0);
    assert_int_equal(json_scan_object(buf_str(&w->event), 64, NULL, 0, &scan), 0);
    BUF_LIT(&w->stream, "data: ");
    buf_add_str(&w->stream, buf_str(&w->event));
    BUF_LIT(&w->stream, "\r\n\r\n");
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

/* Returns what decode_end says. What stands behind the events as bare JSON is one more. */
static int decode_stream(struct str stream, struct llm_decoder *decoder, struct llm_sink *sink,
                         struct found *found)
{
    struct sse_splitter splitter;
    struct sse_event event;
    ptrdiff_t tail = str_find(stream, STR("\n{\"error\""));
    ptrdiff_t spread = str_find(stream, STR("\n{\n"));
    tail = tail < 0 ? spread : tail;
    struct str events = tail < 0 ? stream : str_head(stream, (size_t)tail + 1);
    struct str bare = tail < 0 ? STR_EMPTY : str_skip(stream, (size_t)tail + 1);
    sse_splitter_init(&splitter, 16 << 20);
    while (sse_next(&splitter, &events, &event) == 1 || sse_finish(&splitter, &event) == 1) {
        if (!event.has_data)
            continue;
        if (found != NULL)
            find_in_text(found, event.data);
        (void)dialect->decode(decoder, event.type, event.data, sink);
    }
    sse_splitter_fini(&splitter);
    if (bare.len > 0) {
        if (found != NULL)
            find_in_text(found, bare);
        assert_int_equal(dialect->decode(decoder, STR_EMPTY, bare, sink), 0);
    }
    return dialect->decode_end(decoder, sink);
}

static int decode_array(struct str stream, struct llm_decoder *decoder, struct llm_sink *sink,
                        struct found *found)
{
    struct json_cursor cursor;
    struct json_value item;
    json_cursor_init(&cursor, stream);
    while (json_iter_array(&cursor, &item) == 1) {
        find_in_text(found, item.text);
        assert_int_equal(dialect->decode(decoder, STR_EMPTY, item.text, sink), 0);
    }
    return dialect->decode_end(decoder, sink);
}

static void expect_same(const char *path, const char *what, struct str want, struct str got)
{
    size_t at = 0;
    if (str_eq(want, got))
        return;
    while (at < want.len && at < got.len && want.ptr[at] == got.ptr[at])
        at++;
    fail_msg("%s: %s differs at %zu:\n%.*s\n--- not\n%.*s", path, what, at,
             STR_ARG(str_head(str_skip(got, at), 300)), STR_ARG(str_head(str_skip(want, at), 300)));
}

/* The stream and the whole answer that are encoded decode to what was decoded. */
static void check_encoded(const struct recording *rec, struct relay *relay,
                          const struct llm_codec_settings *settings)
{
    struct str expected = dump(relay->arena, &relay->fold.answer);
    struct llm_fold again;
    struct buf whole = BUF_INIT;
    llm_fold_init(&again, relay->arena);
    struct llm_decoder *decoder = dialect->decoder_new(relay->arena, settings);
    assert_int_equal(decode_stream(buf_str(&relay->writer.stream), decoder, &again.sink, NULL), 0);
    struct str got = dump(relay->arena, &again.answer);
    expect_same(rec->path, "the stream anew", expected, got);
    dialect->write_answer(&relay->fold.answer, settings, &whole);
    assert_true(buf_ok(&whole));
    llm_fold_init(&again, relay->arena);
    decoder = dialect->decoder_new(relay->arena, settings);
    if (dialect->decode_whole(decoder, buf_str(&whole), &again.sink) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    got = dump(relay->arena, &again.answer);
    expect_same(rec->path, "the answer anew", expected, got);
    buf_fini(&whole);
}

static void check_answer(const struct recording *rec, const struct llm_codec_settings *settings)
{
    struct relay relay;
    struct found found = {0};
    int end = 0;
    relay_init(&relay, settings);
    struct llm_decoder *decoder = dialect->decoder_new(relay.arena, settings);
    if (str_eq(rec->framing, STR("sse"))) {
        end = decode_stream(rec->body, decoder, &relay.sink, &found);
    } else if (str_eq(rec->framing, STR("json-array"))) {
        end = decode_array(rec->body, decoder, &relay.sink, &found);
    } else {
        find_in_text(&found, rec->body);
        if (dialect->decode_whole(decoder, rec->body, &relay.sink) != 0)
            fail_msg("%s: %s", rec->path, err_slot()->message);
        end = dialect->decode_end(decoder, &relay.sink);
    }
    const struct llm_answer *answer = &relay.fold.answer;
    assert_int_equal(end, recording_has(rec, "truncated") ? -ERR_RESET : 0);
    assert_int_equal(answer->is_done,
                     !recording_has(rec, "truncated") && !recording_has(rec, "midstream_error"));
    assert_int_equal(answer->is_error, recording_has(rec, "midstream_error"));
    if (answer->is_done) {
        expect_found(rec, relay.arena, &found, answer);
        check_encoded(rec, &relay, settings);
    }
    found_fini(&found);
    relay_fini(&relay);
}

/* A stream that is cut before the event that has the last finish reason is no answer. */
static void check_cut(const struct recording *rec, const struct llm_codec_settings *settings)
{
    struct str head = rec->body;
    struct relay relay;
    ptrdiff_t first = str_find(head, STR("\"finishReason\""));
    if (!str_eq(rec->framing, STR("sse")) || first < 0)
        return;
    head.len = (size_t)first;
    ptrdiff_t end = str_rindex(head, '\n');
    head.len = end < 0 ? 0 : (size_t)end + 1;
    relay_init(&relay, settings);
    struct llm_decoder *decoder = dialect->decoder_new(relay.arena, settings);
    if (decode_stream(head, decoder, &relay.sink, NULL) != -ERR_RESET)
        fail_msg("%s: cut at %zu it is taken for whole", rec->path, head.len);
    assert_false(relay.fold.answer.is_done);
    relay_fini(&relay);
}

static void check_error(const struct recording *rec, struct arena *arena)
{
    struct llm_error error;
    struct buf out = BUF_INIT;
    struct llm_error again;
    if (!dialect->read_error(rec->status, STR_EMPTY, rec->body, &error))
        fail_msg("%s is not known as an error", rec->path);
    assert_int_equal(error.status, rec->status);
    assert_true(error.message.s.len > 10);
    enum llm_error_kind kind = llm_error_kind_of_status(rec->status);
    if (recording_has(rec, "context_overflow"))
        kind = LLM_ERROR_CONTEXT_LENGTH;
    else if (str_find(rec->body, STR("API_KEY_INVALID")) >= 0)
        kind = LLM_ERROR_AUTHENTICATION;
    if (error.kind != kind && error.kind != LLM_ERROR_QUOTA)
        fail_msg("%s: %s", rec->path, llm_error_kind_names[error.kind]);
    assert_int_equal(error.retry_after_ms, str_find(rec->body, STR("\"48s\"")) >= 0 ? 48000 : -1);
    dialect->write_error(&error, &out);
    assert_true(dialect->read_error(rec->status, STR_EMPTY, buf_str(&out), &again));
    assert_int_equal(again.kind, error.kind);
    assert_true(
        str_eq(text_or(arena, again.message, STR_EMPTY), text_or(arena, error.message, STR("?"))));
    buf_fini(&out);
}

static void check_count(const struct recording *rec, struct arena *arena)
{
    struct llm_request request;
    int64_t tokens = -1;
    struct written w;
    struct llm_notes notes = notes_of(&w);
    bool is_vertex = str_starts(rec->api, STR("vertex"));
    struct llm_target target = {.model = STR("m"),
                                .variant = is_vertex ? VARIANT_VERTEX : VARIANT_NATIVE,
                                .quirks = &quirks,
                                .traits = &traits};
    if (gemini_read_count_request(rec->request_body, arena, &request) != 0)
        fail_msg("%s: %s", rec->path, err_slot()->message);
    assert_non_null(request.messages);
    assert_int_equal(gemini_write_count_request(&request, &target, arena, &notes, &w.out), 0);
    struct json_scan scan;
    assert_int_equal(json_scan_object(buf_str(&w.out), 64, NULL, 0, &scan), 0);
    struct json_value inner;
    bool is_plain = json_find(buf_str(&w.out), "contents", &inner);
    bool is_wrapped = json_find(buf_str(&w.out), "generateContentRequest.contents", &inner);
    assert_true(is_plain != is_wrapped);
    if (is_vertex)
        assert_true(is_plain && json_find(buf_str(&w.out), "systemInstruction", &inner));
    if (rec->status == 200) {
        struct json_value total;
        int64_t want = -1;
        assert_int_equal(gemini_read_count(rec->body, &tokens), 0);
        assert_true(json_find(rec->body, "totalTokens", &total) && json_number_i64(total, &want));
        assert_int_equal(tokens, want);
    }
    written_fini(&w);
}

static void check(const struct recording *rec, void *ctx)
{
    struct checked *checked = ctx;
    struct arena *arena = arena_new(4096);
    struct llm_codec_settings settings = {
        .model = STR("a-model"), .request_id = STR("42"), .now_s = 1700000000};
    if (str_ends(rec->api, STR("countTokens"))) {
        check_count(rec, arena);
        checked->counts++;
    } else if (rec->request_body.len > 0) {
        check_request(rec, arena);
        checked->requests++;
    }
    if (rec->status != 200) {
        check_error(rec, arena);
        checked->errors++;
    } else if (!str_ends(rec->api, STR("countTokens"))) {
        check_answer(rec, &settings);
        check_cut(rec, &settings);
        if (str_eq(rec->framing, STR("json")))
            checked->answers++;
        else
            checked->streams++;
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
    print_message("%u requests, %u streams, %u answers, %u errors, %u counts\n", checked.requests,
                  checked.streams, checked.answers, checked.errors, checked.counts);
    assert_true(checked.streams > 0 && checked.answers > 0 && checked.errors > 0 &&
                checked.counts > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(recorded_exchanges_come_through)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
