#include "base/err.h"
#include "dialect/bedrock/citation.h"
#include "dialect/bedrock/content.h"
#include "dialect/bedrock/error.h"
#include "dialect/bedrock/format.h"
#include "dialect/bedrock/response.h"
#include "dialect/bedrock/usage.h"
#include "dialect/bedrock/write.h"
#include "dialect/signature.h"

/*
 * Frames of ConverseStream. Only calls (and what the provider's own tools do) have a
 * contentBlockStart; the frame that says why the model stopped comes before that with the usage. Of
 * several choices the first alone has a form.
 */
struct bedrock_encoder {
    struct arena *arena;
    struct token_usage usage;
    struct text service_tier;
    struct buf media; /* an image is one delta */
    unsigned index;
    enum llm_block_kind kind; /* of the open block */
    bool is_open;
    bool is_redacted;
    bool has_arguments;
    bool has_other; /* another's block is open that has no neutral form */
};

static void give_back(void *arg)
{
    buf_fini(&((struct bedrock_encoder *)arg)->media);
}

struct llm_encoder *bedrock_encoder_new(struct arena *arena,
                                        const struct llm_codec_settings *settings)
{
    struct bedrock_encoder *e = ARENA_NEW(arena, struct bedrock_encoder);
    (void)settings;
    if (e == NULL || !arena_defer(arena, give_back, e))
        return NULL;
    e->arena = arena;
    e->usage = TOKEN_USAGE_NONE;
    return (struct llm_encoder *)(void *)e;
}

/* --- frames --- */

/* {"contentBlockIndex":0,"delta":{ */
static struct buf *begin_delta(struct bedrock_encoder *e, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("contentBlockDelta"));
    BUF_LIT(out, "{\"contentBlockIndex\":");
    buf_add_u64(out, e->index);
    BUF_LIT(out, ",\"delta\":{");
    return out;
}

static void end_delta(struct buf *out, struct llm_frames *frames)
{
    BUF_LIT(out, "}}");
    frames->end(frames);
}

static void write_stop(struct bedrock_encoder *e, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("contentBlockStop"));
    BUF_LIT(out, "{\"contentBlockIndex\":");
    buf_add_u64(out, e->index++);
    BUF_LIT(out, "}");
    frames->end(frames);
}

static struct buf *begin_start(struct bedrock_encoder *e, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("contentBlockStart"));
    BUF_LIT(out, "{\"contentBlockIndex\":");
    buf_add_u64(out, e->index);
    BUF_LIT(out, ",\"start\":{");
    return out;
}

static void write_arguments(struct bedrock_encoder *e, struct text piece, struct llm_frames *frames)
{
    struct buf *out = begin_delta(e, frames);
    BUF_LIT(out, "\"toolUse\":{\"input\":");
    text_write(out, piece);
    BUF_LIT(out, "}");
    end_delta(out, frames);
}

static void write_signature(struct bedrock_encoder *e, const struct llm_signature *signature,
                            enum signature_place place, struct llm_frames *frames)
{
    struct buf *out = begin_delta(e, frames);
    BUF_LIT(out, "\"reasoningContent\":{");
    if (e->is_redacted && place == SIGNATURE_OF_THINKING) {
        bedrock_key(out, "redactedContent");
        bedrock_write_redacted(out, e->arena, signature);
    } else {
        bedrock_key(out, "signature");
        text_write(out, signature_mark(e->arena, signature, place, DIALECT_BEDROCK));
    }
    BUF_LIT(out, "}");
    end_delta(out, frames);
}

/* --- what the provider's own tools do: a block of Converse, in frames --- */

static void write_members(struct buf *out, struct str object, const char *but)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    BUF_LIT(out, "{");
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (json_string_eq(key, str_c(but)))
            continue;
        if (out->len > 0 && out->ptr[out->len - 1] != '{')
            buf_add_char(out, ',');
        text_write(out, (struct text){key, true});
        buf_add_char(out, ':');
        buf_add_str(out, value.text);
    }
    BUF_LIT(out, "}");
}

static void write_builtin(struct bedrock_encoder *e, struct str raw, struct llm_frames *frames)
{
    struct str key;
    struct json_value block, rest;
    if (!bedrock_first_member((struct json_value){JSON_OBJECT, raw}, &key, &block) ||
        block.kind != JSON_OBJECT)
        return;
    bool is_call = json_string_eq(key, STR("toolUse"));
    if (!is_call && !json_string_eq(key, STR("toolResult")))
        return;
    const char *last = is_call ? "input" : "content";
    struct buf *out = begin_start(e, frames);
    bedrock_key(out, is_call ? "toolUse" : "toolResult");
    write_members(out, block.text, last);
    BUF_LIT(out, "}}");
    frames->end(frames);
    bool has_rest = json_find(block.text, last, &rest);
    if (has_rest && is_call) {
        write_arguments(e, text_plain(rest.text), frames);
    } else if (has_rest && rest.kind == JSON_ARRAY) {
        out = begin_delta(e, frames);
        BUF_LIT(out, "\"toolResult\":");
        buf_add_str(out, rest.text);
        end_delta(out, frames);
    }
    write_stop(e, frames);
}

/* --- blocks --- */

static void start_block(struct bedrock_encoder *e, const struct llm_event *event,
                        struct llm_frames *frames)
{
    struct buf *out;
    e->kind = event->block_kind;
    e->is_redacted = event->is_redacted;
    e->has_arguments = false;
    switch (event->block_kind) {
    case BLOCK_TOOL_CALL:
        if (text_is_some(event->signature.data)) {
            write_signature(e, &event->signature, SIGNATURE_OF_CALL, frames);
            write_stop(e, frames);
        }
        out = begin_start(e, frames);
        BUF_LIT(out, "\"toolUse\":{\"toolUseId\":");
        text_write(out, event->id);
        bedrock_key(out, "name");
        text_write(out, event->name);
        BUF_LIT(out, "}}}");
        frames->end(frames);
        break;
    case BLOCK_IMAGE:
        buf_clear(&e->media);
        out = begin_start(e, frames);
        BUF_LIT(out, "\"image\":{\"format\":");
        buf_add_json(out, bedrock_format_of_type(e->arena, BLOCK_IMAGE, event->media_type,
                                                 TEXT_LIT("x.png")));
        BUF_LIT(out, "}}}");
        frames->end(frames);
        break;
    case BLOCK_OPAQUE:
        if (event->maker == DIALECT_BEDROCK)
            write_builtin(e, event->raw, frames);
        return;
    case BLOCK_AUDIO:
    case BLOCK_VIDEO:
    case BLOCK_DOCUMENT:
    case BLOCK_TOOL_RESULT:
        /* A stream has no form for them. */
        return;
    case BLOCK_TEXT:
    case BLOCK_THINKING:
    case BLOCK_REFUSAL:
        break;
    }
    e->is_open = true;
    if (e->kind == BLOCK_THINKING && text_is_some(event->signature.data))
        write_signature(e, &event->signature, SIGNATURE_OF_THINKING, frames);
}

static void write_text_delta(struct bedrock_encoder *e, struct text text, struct llm_frames *frames)
{
    struct buf *out;
    if (text_is_empty(text))
        return;
    out = begin_delta(e, frames);
    if (e->kind == BLOCK_THINKING) {
        BUF_LIT(out, "\"reasoningContent\":{\"text\":");
        text_write(out, text);
        BUF_LIT(out, "}");
    } else {
        bedrock_key(out, "text");
        text_write(out, text);
    }
    end_delta(out, frames);
}

static void write_delta(struct bedrock_encoder *e, const struct llm_event *event,
                        struct llm_frames *frames)
{
    struct buf *out;
    if (!e->is_open)
        return;
    switch (event->delta) {
    case DELTA_TEXT:
        write_text_delta(e, event->text, frames);
        break;
    case DELTA_ARGUMENTS:
        if (text_is_empty(event->text))
            break;
        e->has_arguments = true;
        write_arguments(e, event->text, frames);
        break;
    case DELTA_SIGNATURE:
        if (e->kind == BLOCK_THINKING)
            write_signature(e, &event->signature, SIGNATURE_OF_THINKING, frames);
        break;
    case DELTA_CITATION:
        out = begin_delta(e, frames);
        bedrock_key(out, "citation");
        bedrock_citation_write(out, event->citation);
        end_delta(out, frames);
        break;
    case DELTA_MEDIA:
        text_append_plain(&e->media, event->text);
        break;
    case DELTA_LOGPROBS:
        break;
    }
}

static void stop_block(struct bedrock_encoder *e, struct llm_frames *frames)
{
    if (!e->is_open)
        return;
    e->is_open = false;
    /* A call without arguments has an empty object of them, which readers parse. */
    if (e->kind == BLOCK_TOOL_CALL && !e->has_arguments)
        write_arguments(e, TEXT_LIT("{}"), frames);
    if (e->kind == BLOCK_IMAGE) {
        struct buf *out = begin_delta(e, frames);
        BUF_LIT(out, "\"image\":{\"source\":{\"bytes\":");
        buf_add_json(out, buf_str(&e->media));
        BUF_LIT(out, "}}");
        end_delta(out, frames);
    }
    write_stop(e, frames);
}

/* --- beginning and end --- */

static void write_finish(const struct llm_event *event, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("messageStop"));
    buf_printf(out, "{\"stopReason\":\"%s\"",
               bedrock_stop_reason(event->finish, event->raw_finish));
    if (text_is_some(event->stop_sequence)) {
        BUF_LIT(out, ",\"additionalModelResponseFields\":{\"stop_sequence\":");
        text_write(out, event->stop_sequence);
        BUF_LIT(out, "}");
    }
    BUF_LIT(out, "}");
    frames->end(frames);
}

/* What ends an answer: usage, and how long it took, which only a clock knows. */
static void write_end(struct buf *out, const struct token_usage *usage, struct text service_tier)
{
    bedrock_key(out, "usage");
    bedrock_usage_write(out, usage);
    BUF_LIT(out, ",\"metrics\":{\"latencyMs\":0}");
    static const char *const tiers[] = {"default", "priority", "flex", "reserved"};
    for (size_t i = 0; i < ARRAY_LEN(tiers); i++) {
        if (text_eq(service_tier, str_c(tiers[i])))
            buf_printf(out, ",\"serviceTier\":{\"type\":\"%s\"}", tiers[i]);
    }
}

static void write_start(struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("messageStart"));
    BUF_LIT(out, "{\"role\":\"assistant\"}");
    frames->end(frames);
}

static void write_metadata(const struct token_usage *usage, struct text service_tier,
                           struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("metadata"));
    BUF_LIT(out, "{");
    write_end(out, usage, service_tier);
    BUF_LIT(out, "}");
    frames->end(frames);
}

void bedrock_write_last(const struct token_usage *usage, struct llm_frames *frames)
{
    write_metadata(usage, TEXT_NONE, frames);
}

static void write_error(const struct llm_error *error, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, str_c(bedrock_stream_error_type(error)));
    bedrock_stream_error_write(error, out);
    frames->end(frames);
}

int bedrock_encode(struct llm_encoder *encoder, const struct llm_event *event,
                   struct llm_frames *frames)
{
    struct bedrock_encoder *e = (struct bedrock_encoder *)(void *)encoder;
    if (event->choice > 0)
        return 0;
    if (text_is_some(event->service_tier))
        e->service_tier = text_dup(e->arena, event->service_tier);
    switch (event->kind) {
    case EVENT_START:
        write_start(frames);
        break;
    case EVENT_BLOCK_START:
        start_block(e, event, frames);
        break;
    case EVENT_DELTA:
        write_delta(e, event, frames);
        break;
    case EVENT_BLOCK_STOP:
        stop_block(e, frames);
        break;
    case EVENT_USAGE:
        token_usage_merge(&e->usage, &event->usage);
        break;
    case EVENT_FINISH:
        write_finish(event, frames);
        break;
    case EVENT_DONE:
        write_metadata(&e->usage, e->service_tier, frames);
        break;
    case EVENT_ERROR:
        write_error(&event->error, frames);
        break;
    case EVENT_PING:
        break;
    }
    return buf_ok(&e->media) ? 0 : bedrock_no_memory();
}

int bedrock_encoder_follow(struct llm_encoder *encoder, struct str type, struct str data)
{
    struct bedrock_encoder *e = (struct bedrock_encoder *)(void *)encoder;
    struct json_value value;
    int64_t index;
    bool is_stop = str_eq(type, STR("contentBlockStop"));
    if (json_find(data, "contentBlockIndex", &value) && json_number_i64(value, &index) &&
        index >= 0 && index < INT32_MAX)
        e->index = (unsigned)index + is_stop;
    if (str_eq(type, STR("contentBlockStart")))
        e->has_other = !e->is_open;
    else if (is_stop)
        e->has_other = false;
    return e->has_other;
}

/* --- a whole answer --- */

void bedrock_answer_write(const struct llm_answer *answer,
                          const struct llm_codec_settings *settings, struct buf *out)
{
    const struct llm_choice *choice = answer->choices;
    struct arena *scratch = arena_new(4096);
    (void)settings;
    if (scratch == NULL) {
        out->failed = true;
        return;
    }
    BUF_LIT(out, "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":");
    bedrock_write_content(out, scratch, choice != NULL ? choice->blocks : NULL);
    BUF_LIT(out, "}},\"stopReason\":\"");
    enum llm_finish finish = choice != NULL ? choice->finish : FINISH_OTHER;
    struct text raw_finish = choice != NULL ? choice->raw_finish : TEXT_NONE;
    buf_add_str(out, str_c(bedrock_stop_reason(finish, raw_finish)));
    BUF_LIT(out, "\"");
    if (choice != NULL && text_is_some(choice->stop_sequence)) {
        BUF_LIT(out, ",\"additionalModelResponseFields\":{\"stop_sequence\":");
        text_write(out, choice->stop_sequence);
        BUF_LIT(out, "}");
    }
    write_end(out, &answer->usage, answer->service_tier);
    BUF_LIT(out, "}");
    arena_free(scratch);
}
