#include "support/broken_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/err.h"
#include "support/validate.h"

static struct llm_codec_settings plain_codec(void)
{
    return (struct llm_codec_settings){.model = STR("m"),
                                       .request_id = STR("0190f0a1"),
                                       .now_s = 1700000000,
                                       .includes_usage = true};
}

enum stream_framing framing_of(const struct dialect *dialect)
{
    return dialect->id == DIALECT_BEDROCK ? FRAMING_EVENT_STREAM : FRAMING_SSE;
}

/* --- telling --- */

struct teller {
    struct llm_frames frames;
    struct frame_writer writer;
    struct told *told;
    const struct dialect *dialect;
    struct llm_encoder *encoder;
};

static struct buf *begin_event(struct llm_frames *frames, struct str type)
{
    struct teller *t = CONTAINER_OF(frames, struct teller, frames);
    return t->writer.frames.begin(&t->writer.frames, type);
}

static void end_event(struct llm_frames *frames)
{
    struct teller *t = CONTAINER_OF(frames, struct teller, frames);
    t->writer.frames.end(&t->writer.frames);
    assert_in_range(t->told->count, 0, TOLD_EVENTS_MAX - 1);
    t->told->ends[t->told->count++] = t->told->bytes.len;
}

static void put(struct teller *t, const struct llm_event *event)
{
    assert_int_equal(t->dialect->encode(t->encoder, event, &t->frames), 0);
}

static void put_pieces(struct teller *t, unsigned block, enum llm_delta_kind kind,
                       const char *words, size_t piece)
{
    struct str rest = str_c(words);
    while (rest.len > 0) {
        size_t n = MIN(piece, rest.len);
        while (n < rest.len && ((unsigned char)rest.ptr[n] & 0xc0) == 0x80)
            n++;
        struct llm_event event = llm_event_make(EVENT_DELTA);
        event.block = block;
        event.delta = kind;
        event.text = text_plain(str_head(rest, n));
        put(t, &event);
        rest = str_skip(rest, n);
    }
}

static void put_call(struct teller *t, unsigned block, struct str id, const char *name,
                     const char *arguments, size_t piece)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    event.block = block;
    event.block_kind = BLOCK_TOOL_CALL;
    event.id = text_plain(id);
    event.name = text_plain(str_c(name));
    put(t, &event);
    put_pieces(t, block, DELTA_ARGUMENTS, arguments, piece);
    event = llm_event_make(EVENT_BLOCK_STOP);
    event.block = block;
    put(t, &event);
}

static void put_block(struct teller *t, unsigned block, enum llm_block_kind kind,
                      const struct tale *tale)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    event.block = block;
    event.block_kind = kind;
    put(t, &event);
    put_pieces(t, block, DELTA_TEXT, kind == BLOCK_TEXT ? tale->text : tale->thinking, tale->piece);
    if (kind == BLOCK_THINKING) {
        event = llm_event_make(EVENT_DELTA);
        event.block = block;
        event.delta = DELTA_SIGNATURE;
        event.signature = (struct llm_signature){TEXT_LIT("c2ln"), t->dialect->id};
        if (t->dialect->id == DIALECT_ANTHROPIC || t->dialect->id == DIALECT_BEDROCK)
            put(t, &event);
    }
    event = llm_event_make(EVENT_BLOCK_STOP);
    event.block = block;
    put(t, &event);
}

static void put_usage(struct teller *t, int64_t input, int64_t output)
{
    struct llm_event event = llm_event_make(EVENT_USAGE);
    event.usage = TOKEN_USAGE_NONE;
    event.usage.input = input;
    event.usage.output = output;
    put(t, &event);
}

void tell(struct told *told, const struct dialect *dialect, const struct tale *tale)
{
    struct arena *arena = arena_new(4096);
    struct llm_codec_settings codec = plain_codec();
    struct teller t = {.frames = {begin_event, end_event}, .told = told, .dialect = dialect};
    struct llm_event event = llm_event_make(EVENT_START);
    unsigned block = 0;
    *told = (struct told){.bytes = BUF_INIT};
    frame_writer_init(&t.writer, framing_of(dialect), &told->bytes);
    t.encoder = dialect->encoder_new(arena, &codec);
    assert_non_null(t.encoder);
    event.id = text_plain(tale->id != NULL ? str_c(tale->id) : STR("resp_first"));
    event.model = TEXT_LIT("m");
    put(&t, &event);
    put_usage(&t, tale->input, -1);
    if (tale->thinking != NULL)
        put_block(&t, block++, BLOCK_THINKING, tale);
    if (tale->text != NULL)
        put_block(&t, block++, BLOCK_TEXT, tale);
    if (tale->call != NULL)
        put_call(&t, block++, STR("call_1"), tale->call, tale->arguments, tale->piece);
    if (tale->other_call != NULL)
        put_call(&t, block++, STR("call_2"), tale->other_call, tale->other_arguments, tale->piece);
    if (!tale->is_cut_after_text) {
        put_usage(&t, tale->input, tale->output);
        event = llm_event_make(EVENT_FINISH);
        event.finish = tale->call != NULL ? FINISH_TOOL_CALLS : FINISH_STOP;
        put(&t, &event);
        event = llm_event_make(EVENT_DONE);
        put(&t, &event);
    }
    frame_writer_fini(&t.writer);
    arena_free(arena);
    assert_true(buf_ok(&told->bytes));
}

void told_fini(struct told *told)
{
    buf_fini(&told->bytes);
}

/* --- going on --- */

static const char *const requests[DIALECT_COUNT] = {
    [DIALECT_OPENAI_CHAT] =
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Go.\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"parameters\":"
        "{\"type\":\"object\",\"properties\":{}}}}]%s}",
    [DIALECT_ANTHROPIC] =
        "{\"model\":\"m\",\"stream\":true,\"max_tokens\":99,\"messages\":[{\"role\":\"user\","
        "\"content\":\"Go.\"}],\"tools\":[{\"name\":\"look\",\"input_schema\":{\"type\":"
        "\"object\",\"properties\":{}}}]%s}",
    [DIALECT_GEMINI] =
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Go.\"}]}],\"tools\":["
        "{\"functionDeclarations\":[{\"name\":\"look\",\"parameters\":{\"type\":\"OBJECT\","
        "\"properties\":{\"q\":{\"type\":\"STRING\"}}}}]}]%s}",
    [DIALECT_BEDROCK] =
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"Go.\"}]}],\"toolConfig\":"
        "{\"tools\":[{\"toolSpec\":{\"name\":\"look\",\"inputSchema\":{\"json\":{\"type\":"
        "\"object\",\"properties\":{}}}}}]}%s}",
    [DIALECT_COHERE] =
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Go.\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"parameters\":"
        "{\"type\":\"object\",\"properties\":{}}}}]%s}",
    [DIALECT_OPENAI_RESPONSES] =
        "{\"model\":\"m\",\"stream\":true,\"input\":\"Go.\",\"tools\":[{\"type\":\"function\","
        "\"name\":\"look\",\"strict\":false,\"parameters\":{\"type\":\"object\","
        "\"properties\":{}}}]%s}",
};

struct str request_of(struct arena *arena, const struct dialect *client, const char *more_members)
{
    return arena_printf(arena, requests[client->id], more_members);
}

void broken_read(struct broken *b, const struct dialect *client, struct str sent)
{
    memset(b, 0, sizeof(*b));
    b->client = client;
    b->codec = plain_codec();
    b->arena = arena_new(4096);
    buf_add_str(&b->stream, sent);
    struct continuation_settings settings = {
        .client = client, .framing = framing_of(client), .codec = &b->codec};
    if (continuation_read(&b->c, &settings, sent) != 0)
        fail_msg("%s: %s", client->name, err_slot()->message);
}

int broken_ask(struct broken *b, const struct dialect *provider, bool takes_prefill,
               const char *more_members)
{
    bool has_path = b->client->id == DIALECT_GEMINI || b->client->id == DIALECT_BEDROCK;
    struct str body = request_of(b->arena, b->client, more_members);
    b->provider = provider;
    b->traits.max_output_tokens = 1000;
    b->traits.takes_prefill = takes_prefill ? TRI_YES : TRI_UNSET;
    if (b->quirks.prefill == PREFILL_NONE && takes_prefill)
        b->quirks.prefill = PREFILL_PREFIX;
    struct llm_target target = {.model = STR("n"),
                                .is_stream = true,
                                .wants_usage = true,
                                .quirks = &b->quirks,
                                .traits = &b->traits};
    int r = translation_init(&b->t, b->arena, b->client, provider, &b->codec, body,
                             has_path ? STR("m") : STR_EMPTY, true);
    if (r != 0)
        fail_msg("%s: %s", b->client->name, err_slot()->message);
    b->has_translation = true;
    r = continuation_request(&b->c, &b->t, provider, &target, &b->request);
    if (r != 0)
        return r;
    struct validator v;
    validator_init(&v, provider->id);
    if (!validate_request(&v, buf_str(&b->request)))
        fail_msg("%s: %s\n%.*s", provider->name, v.why, STR_ARG(buf_str(&b->request)));
    validator_fini(&v);
    return 0;
}

int broken_answer(struct broken *b, const struct told *answer)
{
    struct frame_splitter splitter;
    struct frame_writer writer;
    struct frame frame;
    struct str input = buf_str(&answer->bytes);
    int r = continuation_start(&b->c, &b->t);
    frame_splitter_init(&splitter, framing_of(b->provider), 1 << 20);
    frame_writer_init(&writer, framing_of(b->client), &b->stream);
    while (r == 0 && frame_next(&splitter, &input, &frame) == 1) {
        if (frame.has_data)
            r = translation_event(&b->t, frame.type, frame.data, &writer.frames);
    }
    if (r == 0)
        r = translation_end(&b->t, &writer.frames);
    frame_writer_fini(&writer);
    frame_splitter_fini(&splitter);
    return r;
}

void broken_fini(struct broken *b)
{
    if (b->has_translation)
        translation_fini(&b->t);
    continuation_fini(&b->c);
    buf_fini(&b->stream);
    buf_fini(&b->request);
    arena_free(b->arena);
}

/* --- reading back --- */

static struct str last_of(struct str bytes)
{
    return str_skip(bytes, bytes.len - MIN(bytes.len, 600u));
}

void read_back(struct arena *arena, const struct dialect *client, struct str bytes,
               struct llm_answer *answer, const char *label)
{
    struct llm_codec_settings codec = plain_codec();
    struct arena *decoder_arena = arena_new(4096);
    struct llm_decoder *decoder = client->decoder_new(decoder_arena, &codec);
    struct frame_splitter splitter;
    struct validator v;
    struct llm_fold fold;
    struct frame frame;
    struct str input = bytes;
    validator_init(&v, client->id);
    llm_fold_init(&fold, arena);
    frame_splitter_init(&splitter, framing_of(client), 1 << 20);
    while (frame_next(&splitter, &input, &frame) == 1) {
        if (!frame.has_data)
            continue;
        if (label != NULL && !validator_event(&v, frame.type, frame.data))
            fail_msg("%s: %s\n...%.*s", label, v.why, STR_ARG(last_of(bytes)));
        assert_int_equal(client->decode(decoder, frame.type, frame.data, &fold.sink), 0);
    }
    if (label != NULL && !validator_end(&v))
        fail_msg("%s: %s\n...%.*s", label, v.why, STR_ARG(last_of(bytes)));
    if (!fold.answer.is_done && !fold.answer.is_error &&
        client->decode_end(decoder, &fold.sink) != 0)
        fail_msg("%s: no end is seen\n...%.*s", label, STR_ARG(last_of(bytes)));
    *answer = fold.answer;
    frame_splitter_fini(&splitter);
    validator_fini(&v);
    arena_free(decoder_arena);
}

struct str text_of_kind(struct arena *arena, const struct llm_answer *answer,
                        enum llm_block_kind kind)
{
    struct buf all = BUF_INIT;
    const struct llm_block *b = answer->choices != NULL ? answer->choices->blocks : NULL;
    for (; b != NULL; b = b->next) {
        if (b->kind == kind)
            text_append_plain(&all, kind == BLOCK_TOOL_CALL ? b->arguments : b->text);
    }
    struct str copy = arena_dup(arena, buf_str(&all));
    buf_fini(&all);
    return copy;
}
