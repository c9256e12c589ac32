#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "event_stream_recording.h"
#include "http/event_stream.h"
#include "http/sse.h"
#include "recordings.h"
#include "translated.h"

/*
 * Recorded traffic of all six dialects, translated into the other five: what comes out is legal
 * there, says the same, and does not depend on where the network cut the bytes.
 */

static const struct {
    enum dialect_id id;
    const char *apis[20];
} recorded[] = {
    {DIALECT_OPENAI_CHAT,
     {"openai.chat", "azure.chat", "groq.chat", "mistral.chat", "openrouter.chat", "deepseek.chat",
      "xai.chat", "zai.chat", "together.chat", "cerebras.chat", "huggingface.chat",
      "perplexity.chat", "vllm.chat", "llamacpp.chat", "moonshot.chat", "alibaba.chat",
      "vercel-gateway.chat", "github-copilot.chat", NULL}},
    {DIALECT_ANTHROPIC, {"anthropic.messages", NULL}},
    {DIALECT_GEMINI,
     {"gemini.generateContent", "gemini.streamGenerateContent", "vertex.generateContent",
      "vertex.streamGenerateContent", NULL}},
    {DIALECT_BEDROCK, {"bedrock.converse", "bedrock.converse-stream", NULL}},
    {DIALECT_COHERE, {"cohere.chat", NULL}},
    {DIALECT_OPENAI_RESPONSES,
     {"openai.responses", "azure.responses", "xai.responses", "deepseek.responses",
      "github-copilot.responses", "bedrock-mantle.responses", NULL}},
};

enum { LIMIT = 16 * 1024 * 1024 };

struct run {
    enum dialect_id id; /* of the recordings */
    unsigned count, refused, faults;
};

static void fault(struct run *run, const struct recording *rec, enum dialect_id other,
                  const char *format, ...) PRINTF_LIKE(4, 5);
static void fault(struct run *run, const struct recording *rec, enum dialect_id other,
                  const char *format, ...)
{
    char words[900];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    run->faults++;
    print_error("%s, %s and %s: %s\n", strrchr(rec->path, '/') + 1, dialect_names[run->id],
                dialect_names[other], words);
}

/* --- what an answer says, whatever blocks it is in --- */

static void content_of(const struct llm_answer *answer, struct buf *out)
{
    struct arena *arena = arena_new(4096);
    const struct llm_choice *choice = answer->choices;
    struct buf calls = BUF_INIT;
    for (const struct llm_block *b = choice != NULL ? choice->blocks : NULL; b != NULL;
         b = b->next) {
        if (b->kind == BLOCK_TEXT || b->kind == BLOCK_REFUSAL)
            buf_add_str(out, text_or(arena, b->text, STR_EMPTY));
        if (b->kind == BLOCK_TOOL_CALL)
            buf_printf(&calls, "\ncall %.*s", STR_ARG(text_or(arena, b->name, STR_EMPTY)));
    }
    buf_add_str(out, buf_str(&calls));
    buf_fini(&calls);
    arena_free(arena);
}

static void expect_same_content(struct run *run, const struct recording *rec,
                                enum dialect_id client, const struct llm_answer *said,
                                const struct llm_answer *heard)
{
    struct buf before = BUF_INIT, after = BUF_INIT;
    content_of(said, &before);
    content_of(heard, &after);
    if (!str_eq(buf_str(&before), buf_str(&after)))
        fault(run, rec, client, "said\n%.300s\nheard\n%.300s", before.len > 0 ? before.ptr : "",
              after.len > 0 ? after.ptr : "");
    buf_fini(&before);
    buf_fini(&after);
}

/* --- a translation that a recorded answer goes through --- */

static void begin(struct translated *t, struct run *run, enum dialect_id client, bool is_stream)
{
    translated_init(t, "recorded", client, run->id);
    struct str asked = matrix_dialect(client)->asks[ASK_TEXT];
    assert_int_equal(translated_request(t, asked, is_stream), 0);
    buf_clear(&t->body);
}

/* Reads without ending the test: false when it cannot be read. */
static bool reads_whole(struct arena *arena, const struct dialect *d, struct str body,
                        struct llm_answer *answer)
{
    struct arena *own = arena_new(4096);
    struct llm_codec_settings settings = {.model = STR("m"), .request_id = STR("r")};
    struct llm_fold fold;
    llm_fold_init(&fold, arena);
    int r = d->decode_whole(d->decoder_new(own, &settings), body, &fold.sink);
    *answer = fold.answer;
    arena_free(own);
    return r == 0;
}

static void check_whole(struct run *run, const struct recording *rec, enum dialect_id client)
{
    struct llm_answer said, heard;
    struct translated t;
    struct validator v;
    bool is_error = false;
    begin(&t, run, client, false);
    validator_init(&v, client);
    int r = translation_whole(&t.translation, rec->body, &t.body, &is_error);
    if (r < 0)
        fault(run, rec, client, "cannot be translated: %s", err_slot()->message);
    else if (is_error)
        (void)is_error; /* an error in a 200: the gateway makes one of it */
    else if (!validate_answer(&v, buf_str(&t.body)))
        fault(run, rec, client, "%s: %.500s", v.why, t.body.ptr);
    else if (!reads_whole(t.arena, t.provider, rec->body, &said) ||
             !reads_whole(t.arena, t.client, buf_str(&t.body), &heard))
        fault(run, rec, client, "cannot be read again");
    else
        expect_same_content(run, rec, client, &said, &heard);
    validator_fini(&v);
    translated_fini(&t);
}

/* --- streams --- */

/* Takes the events of a stream that comes in pieces. */
typedef int take_fn(void *ctx, struct str type, struct str data);

static int feed_sse(struct str stream, size_t piece, take_fn *take, void *ctx)
{
    struct sse_splitter s;
    struct sse_event e;
    int r = 0;
    sse_splitter_init(&s, LIMIT);
    while (r == 0 && stream.len > 0) {
        struct str part = str_head(stream, piece);
        stream = str_skip(stream, part.len);
        while (r == 0 && sse_next(&s, &part, &e) == 1)
            r = e.has_data ? take(ctx, e.type, e.data) : 0;
    }
    if (r == 0 && sse_finish(&s, &e) == 1 && e.has_data)
        r = take(ctx, e.type, e.data);
    sse_splitter_fini(&s);
    return r;
}

static int feed_aws(struct str stream, size_t piece, take_fn *take, void *ctx)
{
    struct event_stream_splitter s;
    struct event_stream_event e;
    int r = 0;
    event_stream_splitter_init(&s, LIMIT);
    while (r == 0 && stream.len > 0) {
        struct str part = str_head(stream, piece);
        stream = str_skip(stream, part.len);
        while (r == 0 && event_stream_next(&s, &part, &e) == 1)
            r = take(ctx, e.type, e.payload);
    }
    event_stream_splitter_fini(&s);
    return r;
}

static int feed_array(struct str stream, take_fn *take, void *ctx)
{
    struct json_cursor cursor;
    struct json_value value;
    int r = 0;
    json_cursor_init(&cursor, stream);
    while (r == 0 && json_iter_array(&cursor, &value) == 1)
        r = take(ctx, STR_EMPTY, value.text);
    return r;
}

static int feed(const struct recording *rec, size_t piece, take_fn *take, void *ctx)
{
    struct buf frames = BUF_INIT;
    int r = 0;
    if (event_stream_recording(rec, &frames))
        r = feed_aws(buf_str(&frames), piece, take, ctx);
    else if (str_eq(rec->framing, STR("json-array")))
        r = feed_array(rec->body, take, ctx);
    else
        r = feed_sse(rec->body, piece, take, ctx);
    buf_fini(&frames);
    return r;
}

struct streaming {
    struct translated *t;
    unsigned lost; /* events that cannot be read */
};

static int take_translated(void *ctx, struct str type, struct str data)
{
    struct streaming *s = ctx;
    int r = translation_event(&s->t->translation, type, data, &s->t->frames->frames);
    if (r != -ERR_INVALID)
        return r;
    s->lost++;
    return 0;
}

/* The whole stream; 0, -ERR_RESET (it was cut: the client's last words were written), or a fault.
 */
static int translate_stream(struct translated *t, const struct recording *rec, size_t piece,
                            unsigned *lost)
{
    struct streaming s = {t, 0};
    int r = feed(rec, piece, take_translated, &s);
    if (r == 0)
        r = translation_end(&t->translation, &t->frames->frames);
    *lost = s.lost;
    if (r == -ERR_RESET) {
        struct llm_error error = LLM_ERROR_NONE;
        error.message = TEXT_LIT("The stream broke off.");
        assert_int_equal(translation_fail(&t->translation, &error, &t->frames->frames), 0);
    }
    return r;
}

struct hearing {
    const struct dialect *dialect;
    struct llm_decoder *decoder;
    struct llm_fold fold;
};

static int take_plain(void *ctx, struct str type, struct str data)
{
    struct hearing *h = ctx;
    int r = h->dialect->decode(h->decoder, type, data, &h->fold.sink);
    return r == -ERR_INVALID ? 0 : r;
}

static void hear(struct hearing *h, const struct dialect *d, struct arena *arena, struct arena *own,
                 const struct llm_codec_settings *settings)
{
    h->dialect = d;
    h->decoder = d->decoder_new(own, settings);
    llm_fold_init(&h->fold, arena);
}

static bool is_legal_stream(struct validator *v, const struct frame_log *frames)
{
    for (unsigned i = 0; i < frames->count; i++) {
        struct matrix_event event = frame_log_at(frames, i);
        if (!validator_event(v, event.type, event.data))
            return false;
    }
    return validator_end(v);
}

static void check_stream_content(struct run *run, const struct recording *rec, struct translated *t)
{
    struct llm_codec_settings settings = {.model = STR("m"), .request_id = STR("r")};
    struct arena *said_arena = arena_new(4096), *heard_arena = arena_new(4096);
    struct hearing said, heard;
    hear(&said, t->provider, t->arena, said_arena, &settings);
    hear(&heard, t->client, t->arena, heard_arena, &settings);
    if (feed(rec, SIZE_MAX, take_plain, &said) != 0)
        fault(run, rec, t->client->id, "cannot be read");
    (void)t->provider->decode_end(said.decoder, &said.fold.sink);
    for (unsigned i = 0; i < t->frames->count; i++) {
        struct matrix_event event = frame_log_at(t->frames, i);
        if (t->client->decode(heard.decoder, event.type, event.data, &heard.fold.sink) != 0)
            fault(run, rec, t->client->id, "cannot be read again: %.*s", STR_ARG(event.data));
    }
    if (!t->translation.is_error && t->translation.is_done) {
        if (t->client->decode_end(heard.decoder, &heard.fold.sink) != 0)
            fault(run, rec, t->client->id, "has no end");
        expect_same_content(run, rec, t->client->id, &said.fold.answer, &heard.fold.answer);
    }
    arena_free(said_arena);
    arena_free(heard_arena);
}

static void check_stream(struct run *run, const struct recording *rec, enum dialect_id client)
{
    static const size_t pieces[] = {1, 7, 1460};
    struct translated t;
    struct validator v;
    unsigned lost = 0;
    begin(&t, run, client, true);
    validator_init(&v, client);
    int r = translate_stream(&t, rec, SIZE_MAX, &lost);
    bool may_be_cut = recording_has(rec, "truncated") || recording_has(rec, "spliced") ||
                      recording_has(rec, "midstream_error");
    if (lost > 0 && !recording_has(rec, "sse_raw_json_tail") &&
        !recording_has(rec, "sse_non_json_data") && !recording_has(rec, "truncated"))
        fault(run, rec, client, "%u events were lost: %s", lost, err_slot()->message);
    if (r != 0 && !(r == -ERR_RESET && may_be_cut))
        fault(run, rec, client, "ends with %d: %s", r, err_slot()->message);
    else if (t.frames->count == 0 || !is_legal_stream(&v, t.frames))
        fault(run, rec, client, "%s", t.frames->count == 0 ? "nothing is written" : v.why);
    else
        check_stream_content(run, rec, &t);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct translated cut;
        begin(&cut, run, client, true);
        (void)translate_stream(&cut, rec, pieces[i], &lost);
        if (!str_eq(buf_str(&cut.frames->data), buf_str(&t.frames->data)))
            fault(run, rec, client, "pieces of %zu bytes change it", pieces[i]);
        translated_fini(&cut);
    }
    validator_fini(&v);
    translated_fini(&t);
}

static void check_answer(const struct recording *rec, void *ctx)
{
    struct run *run = ctx;
    if (rec->status != 200)
        return;
    bool is_whole = str_eq(rec->framing, STR("json"));
    run->count++;
    for (unsigned client = 0; client < DIALECT_COUNT; client++) {
        if (client == run->id)
            continue;
        if (is_whole)
            check_whole(run, rec, (enum dialect_id)client);
        else
            check_stream(run, rec, (enum dialect_id)client);
    }
}

/* --- requests --- */

static void check_request(const struct recording *rec, void *ctx)
{
    struct run *run = ctx;
    if (rec->request_body.len == 0)
        return;
    run->count++;
    for (unsigned provider = 0; provider < DIALECT_COUNT; provider++) {
        struct translated t;
        struct validator v;
        struct str model = matrix_dialect(run->id)->model_in_path ? STR("m") : STR_EMPTY;
        if (provider == run->id)
            continue;
        translated_init(&t, "recorded", run->id, (enum dialect_id)provider);
        validator_init(&v, (enum dialect_id)provider);
        int r = translation_init(&t.translation, t.arena, t.client, t.provider, &t.settings,
                                 rec->request_body, model, false);
        if (r == 0)
            r = translation_write_request(&t.translation, t.provider, &t.target, &t.body);
        /* What a provider refused a client may have said wrong; a prompt that is stored at one
         * provider is nothing to the others. */
        bool is_stored = str_find(rec->request_body, STR("\"prompt\":{")) >= 0;
        if (r == -ERR_INVALID && (rec->status >= 400 || is_stored))
            run->refused++;
        else if (r < 0)
            fault(run, rec, t.provider->id, "is refused: %s", err_slot()->message);
        else if (rec->status < 400 && !validate_request(&v, buf_str(&t.body)))
            fault(run, rec, t.provider->id, "%s: %.500s", v.why, t.body.ptr);
        validator_fini(&v);
        translated_fini(&t);
    }
}

/* --- errors --- */

static void check_error(const struct recording *rec, void *ctx)
{
    struct run *run = ctx;
    struct llm_error said, heard;
    if (rec->status < 400 || !str_eq(rec->framing, STR("json")) || rec->body.len == 0)
        return;
    run->count++;
    (void)dialect_of(run->id)->read_error(rec->status, rec->error_type, rec->body, &said);
    for (unsigned client = 0; client < DIALECT_COUNT; client++) {
        struct buf body = BUF_INIT;
        struct validator v;
        validator_init(&v, (enum dialect_id)client);
        dialect_of((enum dialect_id)client)->write_error(&said, &body);
        if (!validate_error(&v, buf_str(&body)))
            fault(run, rec, (enum dialect_id)client, "%s: %.*s", v.why, STR_ARG(buf_str(&body)));
        (void)dialect_of((enum dialect_id)client)
            ->read_error(said.status != 0 ? said.status : rec->status, STR_EMPTY, buf_str(&body),
                         &heard);
        if (text_is_some(said.message) && !text_is_some(heard.message))
            fault(run, rec, (enum dialect_id)client, "the words are lost: %.*s",
                  STR_ARG(buf_str(&body)));
        validator_fini(&v);
        buf_fini(&body);
    }
}

static void for_all(recording_fn *check, const char *what)
{
    unsigned count = 0, faults = 0;
    if (!recordings_are_here()) {
        print_message("no recorded traffic here (set WEIR_WIRE_DIR)\n");
        skip();
    }
    for (size_t i = 0; i < ARRAY_LEN(recorded); i++) {
        struct run run = {.id = recorded[i].id};
        recordings_each(recorded[i].apis, check, &run);
        assert_true(run.count > 0);
        count += run.count;
        faults += run.faults;
    }
    print_message("%u recorded %s\n", count, what);
    if (faults > 0)
        fail_msg("%u faults", faults);
}

static void answers_are_legal_in_all_dialects_and_say_the_same(void **state)
{
    (void)state;
    for_all(check_answer, "answers");
}

static void requests_are_legal_in_all_dialects(void **state)
{
    (void)state;
    for_all(check_request, "requests");
}

static void errors_keep_their_words_in_all_dialects(void **state)
{
    (void)state;
    for_all(check_error, "errors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_legal_in_all_dialects_and_say_the_same),
        cmocka_unit_test(requests_are_legal_in_all_dialects),
        cmocka_unit_test(errors_keep_their_words_in_all_dialects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
