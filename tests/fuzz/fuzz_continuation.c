/*
 * A stream that broke off and is gone on with. The first byte says which dialect the client speaks
 * and how the journal stands in the input, the second which one the next provider speaks and
 * whether it takes a prefix. Then events, one a line, the type before a blank: up to an empty line
 * those that the client was sent, after it what the next provider says. Nothing may crash, what is
 * written is whole events, and nothing follows where nothing may. The seeds are what the dialects'
 * own encoders write.
 */
#include "base/err.h"
#include "base/json.h"
#include "dialect/dialect.h"
#include "stream/continuation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the client asked, by dialect. */
static const char *const requests[DIALECT_COUNT] = {
    [DIALECT_OPENAI_CHAT] =
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Go.\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\"}}]}",
    [DIALECT_OPENAI_RESPONSES] = "{\"model\":\"m\",\"stream\":true,\"input\":\"Go.\",\"tools\":"
                                 "[{\"type\":\"function\",\"name\":\"look\",\"parameters\":{}}]}",
    [DIALECT_ANTHROPIC] =
        "{\"model\":\"m\",\"stream\":true,\"max_tokens\":99,\"messages\":[{\"role\":\"user\","
        "\"content\":\"Go.\"}],\"tools\":[{\"name\":\"look\",\"input_schema\":{}}]}",
    [DIALECT_GEMINI] = "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Go.\"}]}],"
                       "\"tools\":[{\"functionDeclarations\":[{\"name\":\"look\"}]}]}",
    [DIALECT_BEDROCK] =
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"Go.\"}]}],\"toolConfig\":"
        "{\"tools\":[{\"toolSpec\":{\"name\":\"look\",\"inputSchema\":{\"json\":{}}}}]}}",
    [DIALECT_COHERE] =
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Go.\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\"}}]}",
};

struct reader {
    struct llm_frames frames;
    struct buf event;
    unsigned count;
};

static struct buf *begin(struct llm_frames *frames, struct str type)
{
    struct reader *r = CONTAINER_OF(frames, struct reader, frames);
    (void)type;
    buf_clear(&r->event);
    return &r->event;
}

static void end(struct llm_frames *frames)
{
    struct reader *r = CONTAINER_OF(frames, struct reader, frames);
    struct json_scan scan;
    struct str event = buf_str(&r->event);
    r->count++;
    CHECK(!buf_ok(&r->event) || str_eq(event, STR("[DONE]")) ||
          json_scan_object(event, JSON_DEPTH_MAX, NULL, 0, &scan) == 0);
}

static struct str next_event(struct str *input, struct str *type)
{
    struct str line = STR_EMPTY;
    str_next(input, '\n', &line);
    str_cut(&line, ' ', type);
    return line;
}

static enum stream_framing framing_of(const struct dialect *client, bool is_array)
{
    if (client->id == DIALECT_BEDROCK)
        return FRAMING_EVENT_STREAM;
    return client->id == DIALECT_GEMINI && is_array ? FRAMING_JSON_ARRAY : FRAMING_SSE;
}

/* The bytes that the client was sent. */
static void write_journal(struct buf *journal, enum stream_framing framing, struct str *input)
{
    struct frame_writer writer;
    struct str type;
    frame_writer_init(&writer, framing, journal);
    for (;;) {
        struct str data = next_event(input, &type);
        if (data.len == 0)
            break;
        frame_write(&writer, type, data);
    }
    frame_writer_fini(&writer);
}

static void go_on(struct continuation *c, struct translation *t, struct reader *reader,
                  struct str input)
{
    struct llm_error error = LLM_ERROR_NONE;
    struct str type;
    int r = continuation_start(c, t);
    while (r == 0 && input.len > 0) {
        struct str data = next_event(&input, &type);
        r = translation_event(t, type, data, &reader->frames);
        r = r == -ERR_INVALID ? 0 : r;
    }
    if (r == 0)
        r = translation_end(t, &reader->frames);
    if (r < 0)
        (void)translation_fail(t, &error, &reader->frames);
    unsigned count = reader->count;
    (void)translation_fail(t, &error, &reader->frames);
    CHECK(reader->count == count); /* the end was said */
}

static void ask(struct continuation *c, struct arena *arena, const struct dialect *client,
                const struct dialect *provider, bool takes_prefix,
                const struct llm_codec_settings *codec, struct reader *reader, struct str input)
{
    const struct llm_quirks quirks = {.prefill = takes_prefix ? PREFILL_PREFIX : PREFILL_NONE};
    const struct llm_traits traits = {.takes_prefill = takes_prefix ? TRI_YES : TRI_UNSET,
                                      .max_output_tokens = 1000};
    struct llm_target target = {.model = STR("n"),
                                .is_stream = true,
                                .wants_usage = true,
                                .quirks = &quirks,
                                .traits = &traits};
    struct llm_error error = LLM_ERROR_NONE;
    struct buf out = BUF_INIT;
    struct translation t;
    if (translation_init(&t, arena, client, provider, codec, str_c(requests[client->id]), STR("m"),
                         true) < 0)
        return;
    if (continuation_request(c, &t, provider, &target, &out) == 0) {
        struct json_scan scan;
        CHECK(json_scan_object(buf_str(&out), JSON_DEPTH_MAX, NULL, 0, &scan) == 0);
        go_on(c, &t, reader, input);
    } else {
        (void)continuation_fail(c, &error, &reader->frames);
    }
    translation_fini(&t);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct dialect *client = dialect_of((enum dialect_id)(data[0] % DIALECT_COUNT));
    const struct dialect *provider = dialect_of((enum dialect_id)(data[1] % DIALECT_COUNT));
    enum stream_framing framing = framing_of(client, data[0] & 0x40);
    struct str input = str_n((const char *)data + 2, size - 2);
    struct llm_codec_settings codec = {
        .model = STR("m"), .request_id = STR("1"), .includes_usage = true};
    struct continuation_settings settings = {.client = client, .framing = framing, .codec = &codec};
    struct reader reader = {{begin, end}, BUF_INIT, 0};
    struct llm_error error = LLM_ERROR_NONE;
    struct arena *arena = arena_new(4096);
    struct buf journal = BUF_INIT;
    struct continuation c;
    if (data[0] & 0x80)
        buf_add_str(&journal, input); /* as it stands: what the framing makes of it */
    else
        write_journal(&journal, framing, &input);
    if (continuation_read(&c, &settings, buf_str(&journal)) == 0) {
        if (c.verdict == CONTINUATION_COMPLETE)
            (void)continuation_complete(&c, &reader.frames);
        else if (c.verdict == CONTINUATION_OVER || c.verdict == CONTINUATION_CANNOT)
            (void)continuation_fail(&c, &error, &reader.frames);
        else
            ask(&c, arena, client, provider, data[1] & 0x80, &codec, &reader, input);
        CHECK(c.verdict != CONTINUATION_OVER || reader.count == 0);
    }
    continuation_fini(&c);
    buf_fini(&reader.event);
    buf_fini(&journal);
    arena_free(arena);
    return 0;
}
