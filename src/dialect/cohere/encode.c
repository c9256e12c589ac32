#include "dialect/cohere/codec.h"

/* Writes answers, streamed and whole. Signatures have no place here, nor have choices but the
 * first. */

enum open_kind { OPEN_NONE, OPEN_PENDING, OPEN_CONTENT, OPEN_PLAN, OPEN_CALL };

struct llm_encoder {
    const struct llm_codec_settings *settings;
    struct token_usage usage;
    enum llm_finish finish;
    enum open_kind open;
    enum llm_block_kind kind; /* of the open block */
    unsigned contents, calls, citations;
    bool has_started, is_over;
    bool has_told_end; /* message-end was sent */
};

struct llm_encoder *cohere_encoder_new(struct arena *arena,
                                       const struct llm_codec_settings *settings)
{
    struct llm_encoder *encoder = ARENA_NEW(arena, struct llm_encoder);
    if (encoder != NULL) {
        encoder->settings = settings;
        encoder->usage = TOKEN_USAGE_NONE;
        encoder->finish = FINISH_STOP;
    }
    return encoder;
}

/* {"type":"...": to be ended by finish(). */
static struct buf *begin(struct llm_frames *frames, const char *type)
{
    struct buf *out = frames->begin(frames, str_c(type));
    BUF_LIT(out, "{\"type\":\"");
    buf_add_str(out, str_c(type));
    buf_add_char(out, '"');
    return out;
}

static struct buf *begin_at(struct llm_frames *frames, const char *type, unsigned index)
{
    struct buf *out = begin(frames, type);
    BUF_LIT(out, ",\"index\":");
    buf_add_u64(out, index);
    return out;
}

static void finish(struct llm_frames *frames, struct buf *out)
{
    buf_add_char(out, '}');
    frames->end(frames);
}

static void write_id(struct buf *out, struct text id, const struct llm_codec_settings *settings)
{
    text_write(out, text_is_empty(id) ? text_plain(settings->request_id) : id);
}

static void start_message(struct llm_encoder *e, struct text id, struct llm_frames *frames)
{
    if (e->has_started)
        return;
    e->has_started = true;
    struct buf *out = begin(frames, "message-start");
    cohere_member(out, "id");
    write_id(out, id, e->settings);
    BUF_LIT(out,
            ",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\","
            "\"tool_calls\":[],\"citations\":[]}}");
    finish(frames, out);
}

static const char *content_type(enum llm_block_kind kind)
{
    return kind == BLOCK_THINKING ? "thinking" : "text";
}

static void start_content(struct llm_encoder *e, struct llm_frames *frames)
{
    const char *type = content_type(e->kind);
    struct buf *out = begin_at(frames, "content-start", e->contents);
    buf_printf(out, ",\"delta\":{\"message\":{\"content\":{\"type\":\"%s\",\"%s\":\"\"}}}", type,
               type);
    finish(frames, out);
    e->open = OPEN_CONTENT;
}

static void start_block(struct llm_encoder *e, const struct llm_event *event,
                        struct llm_frames *frames)
{
    e->kind = event->block_kind;
    switch (event->block_kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        start_content(e, frames);
        break;
    case BLOCK_THINKING:
        /* One that is nothing but a signature is never begun. */
        e->open = cohere_is_marked(event->name, COHERE_TOOL_PLAN) ? OPEN_PLAN : OPEN_PENDING;
        break;
    case BLOCK_TOOL_CALL: {
        struct buf *out = begin_at(frames, "tool-call-start", e->calls);
        BUF_LIT(out, ",\"delta\":{\"message\":{\"tool_calls\":");
        cohere_write_call(out, event->id, event->name, TEXT_LIT(""));
        BUF_LIT(out, "}}");
        finish(frames, out);
        e->open = OPEN_CALL;
        break;
    }
    default:
        e->open = OPEN_NONE;
        break;
    }
}

static void write_text(struct llm_encoder *e, struct text text, struct llm_frames *frames)
{
    struct buf *out;
    if (e->open == OPEN_PENDING)
        start_content(e, frames);
    if (e->open == OPEN_PLAN) {
        out = begin(frames, "tool-plan-delta");
        BUF_LIT(out, ",\"delta\":{\"message\":{\"tool_plan\":");
        text_write(out, text);
        BUF_LIT(out, "}}");
        finish(frames, out);
    } else if (e->open == OPEN_CONTENT) {
        out = begin_at(frames, "content-delta", e->contents);
        BUF_LIT(out, ",\"delta\":{\"message\":{\"content\":{\"");
        buf_add_str(out, str_c(content_type(e->kind)));
        BUF_LIT(out, "\":");
        text_write(out, text);
        BUF_LIT(out, "}}}");
        finish(frames, out);
    }
}

static void write_arguments(struct llm_encoder *e, struct text text, struct llm_frames *frames)
{
    if (e->open != OPEN_CALL)
        return;
    struct buf *out = begin_at(frames, "tool-call-delta", e->calls);
    BUF_LIT(out, ",\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":");
    text_write(out, text);
    BUF_LIT(out, "}}}}");
    finish(frames, out);
}

static void write_citation(struct llm_encoder *e, const struct llm_citation *citation,
                           struct llm_frames *frames)
{
    if (e->open != OPEN_CONTENT)
        return;
    struct buf *out = begin_at(frames, "citation-start", e->citations);
    BUF_LIT(out, ",\"delta\":{\"message\":{\"citations\":");
    cohere_write_citation(out, citation, TEXT_NONE, (int)e->contents, e->settings->request);
    BUF_LIT(out, "}}");
    finish(frames, out);
    out = begin_at(frames, "citation-end", e->citations);
    finish(frames, out);
    e->citations++;
}

/* One event for each: they stand beside a delta, which is empty since the text has gone already. */
static void write_logprobs(struct llm_encoder *e, struct str raw, struct llm_frames *frames)
{
    struct cohere_logprobs logprobs;
    struct buf item = BUF_INIT;
    if (e->open != OPEN_CONTENT)
        return;
    cohere_logprobs_init(&logprobs, raw);
    while (cohere_logprobs_next(&logprobs, &item)) {
        struct buf *out = begin_at(frames, "content-delta", e->contents);
        BUF_LIT(out, ",\"delta\":{\"message\":{\"content\":{\"text\":\"\"}}},\"logprobs\":");
        buf_add_str(out, buf_ok(&item) ? buf_str(&item) : STR("null"));
        finish(frames, out);
        buf_clear(&item);
    }
    buf_fini(&item);
}

static void write_delta(struct llm_encoder *e, const struct llm_event *event,
                        struct llm_frames *frames)
{
    switch (event->delta) {
    case DELTA_TEXT:
        write_text(e, event->text, frames);
        break;
    case DELTA_ARGUMENTS:
        write_arguments(e, event->text, frames);
        break;
    case DELTA_CITATION:
        write_citation(e, event->citation, frames);
        break;
    case DELTA_LOGPROBS:
        write_logprobs(e, event->raw, frames);
        break;
    default:
        break;
    }
}

static void stop_block(struct llm_encoder *e, struct llm_frames *frames)
{
    if (e->open == OPEN_CONTENT)
        finish(frames, begin_at(frames, "content-end", e->contents++));
    else if (e->open == OPEN_CALL)
        finish(frames, begin_at(frames, "tool-call-end", e->calls++));
    e->open = OPEN_NONE;
}

static bool has_usage(const struct token_usage *usage)
{
    return usage->input >= 0 || usage->output >= 0;
}

void cohere_write_last(const struct token_usage *usage, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR_EMPTY);
    (void)usage;
    BUF_LIT(out, "[DONE]");
    frames->end(frames);
}

/* `words` is what went wrong, or none. */
static void end_message(struct llm_encoder *e, const char *reason, struct text words,
                        struct llm_frames *frames)
{
    if (!e->has_told_end) {
        struct buf *out = begin(frames, "message-end");
        BUF_LIT(out, ",\"delta\":{");
        if (text_is_some(words))
            cohere_member_text(out, "error", words);
        cohere_member_text(out, "finish_reason", text_plain(str_c(reason)));
        if (has_usage(&e->usage)) {
            cohere_member(out, "usage");
            cohere_write_usage(out, &e->usage);
        }
        buf_add_char(out, '}');
        finish(frames, out);
    }
    cohere_write_last(&e->usage, frames);
    e->is_over = true;
}

int cohere_encode(struct llm_encoder *e, const struct llm_event *event, struct llm_frames *frames)
{
    if (e->is_over || event->kind == EVENT_PING)
        return 0;
    if (event->kind == EVENT_USAGE) {
        token_usage_merge(&e->usage, &event->usage);
        return 0;
    }
    start_message(e, event->kind == EVENT_START ? event->id : TEXT_NONE, frames);
    if (event->choice > 0)
        return 0;
    switch (event->kind) {
    case EVENT_BLOCK_START:
        start_block(e, event, frames);
        break;
    case EVENT_DELTA:
        write_delta(e, event, frames);
        break;
    case EVENT_BLOCK_STOP:
        stop_block(e, frames);
        break;
    case EVENT_FINISH:
        e->finish = event->finish;
        break;
    case EVENT_DONE:
        end_message(e, cohere_finish_name(e->finish),
                    e->finish == FINISH_CONTENT_FILTER
                        ? TEXT_LIT("The answer was stopped by a content filter")
                        : TEXT_NONE,
                    frames);
        break;
    case EVENT_ERROR: /* what is open was cut: it gets no end of its own */
        end_message(e, event->error.kind == LLM_ERROR_TIMEOUT ? "TIMEOUT" : "ERROR",
                    event->error.message, frames);
        break;
    default:
        break;
    }
    return 0;
}

int cohere_encoder_follow(struct llm_encoder *e, struct str type, struct str data)
{
    static const struct {
        const char *type;
        size_t offset;
        unsigned more; /* the next one's */
    } counted[] = {
        {"content-start", offsetof(struct llm_encoder, contents), 0},
        {"content-end", offsetof(struct llm_encoder, contents), 1},
        {"tool-call-start", offsetof(struct llm_encoder, calls), 0},
        {"tool-call-end", offsetof(struct llm_encoder, calls), 1},
        {"citation-start", offsetof(struct llm_encoder, citations), 1},
    };
    struct json_value value;
    int64_t index;
    if (json_find(data, "type", &value))
        type = json_string_raw(value);
    if (str_eq(type, STR("message-end")))
        e->has_told_end = true;
    if (!json_find(data, "index", &value) || !json_number_i64(value, &index) || index < 0 ||
        index >= INT32_MAX)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(counted); i++) {
        if (str_eq(type, str_c(counted[i].type)))
            *(unsigned *)(void *)((char *)e + counted[i].offset) =
                (unsigned)index + counted[i].more;
    }
    /* The decoder keeps a block open beyond its end, for what may come late. */
    if (str_eq(type, STR("content-start")) && e->open == OPEN_PENDING)
        e->open = OPEN_CONTENT;
    else if (str_eq(type, STR("content-end")) && e->open == OPEN_CONTENT)
        e->open = OPEN_PENDING;
    else if (str_eq(type, STR("tool-call-end")) && e->open == OPEN_CALL)
        e->open = OPEN_NONE;
    return 0;
}

int cohere_encoder_pass(struct llm_encoder *e, struct str type, struct str data)
{
    (void)type;
    (void)data;
    e->has_started = true; /* its first event is the start */
    return 0;
}

/* --- whole answers --------------------------------------------------------------------------- */

static bool is_content(const struct llm_block *block)
{
    return block->kind == BLOCK_TEXT || block->kind == BLOCK_REFUSAL ||
           (block->kind == BLOCK_THINKING && !text_is_empty(block->text) &&
            !cohere_is_marked(block->name, COHERE_TOOL_PLAN));
}

static void write_content(struct buf *out, const struct llm_block *blocks)
{
    bool has_any = false;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (!is_content(b))
            continue;
        if (!has_any) {
            cohere_member(out, "content");
            buf_add_char(out, '[');
        }
        has_any = true;
        cohere_element(out);
        buf_printf(out, "{\"type\":\"%s\",\"%s\":", content_type(b->kind), content_type(b->kind));
        text_write(out, b->text);
        buf_add_char(out, '}');
    }
    if (has_any)
        buf_add_char(out, ']');
}

static void write_calls(struct buf *out, const struct llm_block *blocks)
{
    bool has_any = false;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind != BLOCK_TOOL_CALL)
            continue;
        if (!has_any) {
            cohere_member(out, "tool_calls");
            buf_add_char(out, '[');
        }
        has_any = true;
        cohere_element(out);
        cohere_write_call(out, b->id, b->name, b->arguments);
    }
    if (has_any)
        buf_add_char(out, ']');
}

static void write_citations(struct buf *out, const struct llm_block *blocks,
                            const struct llm_request *request)
{
    bool has_any = false;
    int content = 0;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        for (const struct llm_citation *c = b->citations; c != NULL; c = c->next) {
            if (!has_any) {
                cohere_member(out, "citations");
                buf_add_char(out, '[');
            }
            has_any = true;
            cohere_element(out);
            cohere_write_citation(out, c, b->text, content, request);
        }
        content += is_content(b);
    }
    if (has_any)
        buf_add_char(out, ']');
}

static void write_message(struct buf *out, const struct llm_block *blocks,
                          const struct llm_request *request)
{
    BUF_LIT(out, "{\"role\":\"assistant\"");
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind == BLOCK_THINKING && cohere_is_marked(b->name, COHERE_TOOL_PLAN))
            cohere_member_text(out, "tool_plan", b->text);
    }
    write_content(out, blocks);
    write_calls(out, blocks);
    write_citations(out, blocks, request);
    buf_add_char(out, '}');
}

void cohere_write_answer(const struct llm_answer *answer, const struct llm_codec_settings *settings,
                         struct buf *out)
{
    const struct llm_choice *choice = answer->choices;
    struct cohere_logprobs logprobs;
    BUF_LIT(out, "{\"id\":");
    write_id(out, answer->id, settings);
    cohere_member(out, "message");
    write_message(out, choice != NULL ? choice->blocks : NULL, settings->request);
    enum llm_finish reason = choice != NULL ? choice->finish : FINISH_STOP;
    cohere_member_text(out, "finish_reason", text_plain(str_c(cohere_finish_name(reason))));
    if (has_usage(&answer->usage)) {
        cohere_member(out, "usage");
        cohere_write_usage(out, &answer->usage);
    }
    if (choice != NULL && choice->logprobs.len > 0) {
        cohere_member(out, "logprobs");
        buf_add_char(out, '[');
        cohere_logprobs_init(&logprobs, choice->logprobs);
        do {
            cohere_element(out);
        } while (cohere_logprobs_next(&logprobs, out));
        if (out->len > 0 && out->ptr[out->len - 1] == ',')
            out->len--;
        buf_add_char(out, ']');
    }
    buf_add_char(out, '}');
}
