#include "base/err.h"
#include "dialect/openai_responses/encoder.h"
#include "dialect/signature.h"

/*
 * Neutral events as the events of a streamed response, and whole answers by the same way: what the
 * events have built up is the response object at the end. Runs of text and refusals are parts of
 * one message; each thought and call is an item. Only choice 0 is told: this API has no others.
 */

static void fini(void *arg)
{
    struct llm_encoder *e = arg;
    buf_fini(&e->output);
    buf_fini(&e->parts);
    buf_fini(&e->text);
    buf_fini(&e->annotations);
    buf_fini(&e->logprobs);
    buf_fini(&e->signature);
    buf_fini(&e->summaries);
}

struct llm_encoder *responses_encoder_new(struct arena *arena,
                                          const struct llm_codec_settings *settings)
{
    struct llm_encoder *e = ARENA_NEW(arena, struct llm_encoder);
    struct str parts[] = {STR("resp_"), settings->request_id};
    if (e == NULL || !arena_defer(arena, fini, e))
        return NULL;
    e->arena = arena;
    e->settings = settings;
    e->id = arena_concat(arena, parts, ARRAY_LEN(parts));
    e->model = text_plain(settings->model);
    e->created_s = settings->now_s;
    e->usage = TOKEN_USAGE_NONE;
    return e->id.ptr == NULL ? NULL : e;
}

/* --- one event --- */

static struct buf *begin(struct llm_encoder *e, const char *type)
{
    e->event = e->frames->begin(e->frames, str_c(type));
    e->event_start = e->event->len;
    BUF_LIT(e->event, "{\"type\":\"");
    buf_add_str(e->event, str_c(type));
    BUF_LIT(e->event, "\",\"sequence_number\":");
    buf_add_u64(e->event, e->sequence++);
    return e->event;
}

static void blank(struct buf *buf, size_t from, char c)
{
    char *at = buf->ptr + from;
    while ((at = memchr(at, c, (size_t)(buf->ptr + buf->len - at))) != NULL)
        *at = ' ';
}

/* JSON that was taken over as it stood may have line breaks between its tokens. */
static void end(struct llm_encoder *e)
{
    buf_add_char(e->event, '}');
    if (buf_ok(e->event)) {
        blank(e->event, e->event_start, '\n');
        blank(e->event, e->event_start, '\r');
    }
    e->frames->end(e->frames);
}

static struct str make_id(struct llm_encoder *e, const char *prefix)
{
    return arena_printf(e->arena, "%s_%.*s_%u", prefix, STR_ARG(e->settings->request_id), e->ids++);
}

/* ,"item_id":"...","output_index":N */
static void add_place(struct llm_encoder *e, struct str item_id, unsigned index)
{
    BUF_LIT(e->event, ",\"item_id\":");
    buf_add_json(e->event, item_id);
    BUF_LIT(e->event, ",\"output_index\":");
    buf_add_u64(e->event, index);
}

static void add_part_place(struct llm_encoder *e, const char *name, unsigned part)
{
    buf_printf(e->event, ",\"%s\":%u", name, part);
}

/* A string whose inside is written already. */
static void add_string(struct buf *out, const struct buf *inside)
{
    buf_add_char(out, '"');
    buf_add_str(out, buf_str(inside));
    buf_add_char(out, '"');
}

static void write_object(struct llm_encoder *e, struct buf *out, const char *status,
                         const char *reason)
{
    bool is_final = strcmp(status, "in_progress") != 0;
    struct responses_object object = {
        .id = e->id,
        .model = e->model,
        .service_tier = e->service_tier,
        .created_s = e->created_s,
        .status = status,
        .incomplete_reason = reason,
        .error = e->has_failed ? &e->error : NULL,
        .output = is_final ? buf_str(&e->output) : STR_EMPTY,
        .usage = is_final ? &e->usage : NULL,
        .request = e->settings->request,
    };
    responses_write_object(out, &object);
}

static void put_response(struct llm_encoder *e, const char *type, const char *status,
                         const char *reason)
{
    struct buf *out = begin(e, type);
    BUF_LIT(out, ",\"response\":");
    write_object(e, out, status, reason);
    end(e);
}

static void start(struct llm_encoder *e)
{
    if (e->has_started)
        return;
    e->has_started = true;
    put_response(e, "response.created", "in_progress", NULL);
    put_response(e, "response.in_progress", "in_progress", NULL);
}

/* --- items --- */

typedef void item_writer(struct llm_encoder *e, struct buf *out, bool is_done);

static void put_item(struct llm_encoder *e, const char *type, unsigned index, item_writer *write,
                     bool is_done)
{
    struct buf *out = begin(e, type);
    BUF_LIT(out, ",\"output_index\":");
    buf_add_u64(out, index);
    BUF_LIT(out, ",\"item\":");
    write(e, out, is_done);
    end(e);
}

static unsigned begin_item(struct llm_encoder *e, item_writer *write)
{
    unsigned index = e->items++;
    put_item(e, "response.output_item.added", index, write, false);
    return index;
}

static void end_item(struct llm_encoder *e, unsigned index, item_writer *write)
{
    put_item(e, "response.output_item.done", index, write, true);
    if (e->output.len > 0)
        buf_add_char(&e->output, ',');
    write(e, &e->output, true);
}

static bool is_incomplete(const struct llm_encoder *e)
{
    return e->has_finished && (e->finish == FINISH_LENGTH || e->finish == FINISH_CONTEXT ||
                               e->finish == FINISH_CONTENT_FILTER);
}

static void write_message(struct llm_encoder *e, struct buf *out, bool is_done)
{
    const char *status = !is_done ? "in_progress" : is_incomplete(e) ? "incomplete" : "completed";
    BUF_LIT(out, "{\"id\":");
    buf_add_json(out, e->message_id);
    buf_printf(out, ",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\",\"content\":[",
               status);
    if (is_done)
        buf_add_str(out, buf_str(&e->parts));
    BUF_LIT(out, "]}");
}

static void write_reasoning(struct llm_encoder *e, struct buf *out, bool is_done)
{
    BUF_LIT(out, "{\"id\":");
    buf_add_json(out, e->item_id);
    BUF_LIT(out, ",\"type\":\"reasoning\",\"summary\":[");
    if (is_done)
        buf_add_str(out, buf_str(&e->summaries));
    if (is_done && e->has_part) {
        if (e->summaries.len > 0)
            buf_add_char(out, ',');
        BUF_LIT(out, "{\"type\":\"summary_text\",\"text\":");
        add_string(out, &e->text);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
    if (is_done && e->signature.len > 0) {
        BUF_LIT(out, ",\"encrypted_content\":");
        buf_add_str(out, buf_str(&e->signature));
    }
    buf_add_char(out, '}');
}

static void write_call(struct llm_encoder *e, struct buf *out, bool is_done)
{
    struct responses_list members = {out, false};
    const char *value = e->is_custom ? "input" : "arguments";
    buf_add_char(out, '{');
    responses_member_text(&members, "id", text_plain(e->item_id));
    responses_member_text(
        &members, "type",
        text_plain(e->is_custom ? STR("custom_tool_call") : STR("function_call")));
    responses_member_text(&members, "status",
                          text_plain(is_done ? STR("completed") : STR("in_progress")));
    responses_member(&members, value);
    if (is_done)
        add_string(out, &e->text);
    else
        BUF_LIT(out, "\"\"");
    responses_member_text(&members, "call_id", e->call_id);
    responses_member_text(&members, "name", e->name);
    buf_add_char(out, '}');
}

static void write_image(struct llm_encoder *e, struct buf *out, bool is_done)
{
    BUF_LIT(out, "{\"id\":");
    buf_add_json(out, e->item_id);
    buf_printf(out, ",\"type\":\"image_generation_call\",\"status\":\"%s\",\"result\":",
               is_done ? "completed" : "in_progress");
    if (is_done)
        add_string(out, &e->text);
    else
        BUF_LIT(out, "null");
    buf_add_char(out, '}');
}

static void close_message(struct llm_encoder *e)
{
    if (!e->is_in_message)
        return;
    e->is_in_message = false;
    end_item(e, e->message_index, write_message);
}

/* --- parts of a message --- */

static void write_part(const struct llm_encoder *e, struct buf *out, bool is_done)
{
    if (e->kind == BLOCK_REFUSAL) {
        BUF_LIT(out, "{\"type\":\"refusal\",\"refusal\":");
        add_string(out, &e->text);
        buf_add_char(out, '}');
        return;
    }
    BUF_LIT(out, "{\"type\":\"output_text\",\"annotations\":[");
    if (is_done)
        buf_add_str(out, buf_str(&e->annotations));
    BUF_LIT(out, "],\"logprobs\":[");
    if (is_done)
        buf_add_str(out, buf_str(&e->logprobs));
    BUF_LIT(out, "],\"text\":");
    add_string(out, &e->text);
    buf_add_char(out, '}');
}

static void put_part(struct llm_encoder *e, const char *type, bool is_done)
{
    struct buf *out = begin(e, type);
    add_place(e, e->message_id, e->message_index);
    add_part_place(e, "content_index", e->part_count);
    BUF_LIT(out, ",\"part\":");
    write_part(e, out, is_done);
    end(e);
}

static void begin_part(struct llm_encoder *e)
{
    if (!e->is_in_message) {
        buf_clear(&e->parts);
        e->part_count = 0;
        e->message_id = make_id(e, "msg");
        e->is_in_message = true;
        e->message_index = begin_item(e, write_message);
    }
    e->has_refusal = e->has_refusal || e->kind == BLOCK_REFUSAL;
    put_part(e, "response.content_part.added", false);
}

static void end_part(struct llm_encoder *e)
{
    bool is_refusal = e->kind == BLOCK_REFUSAL;
    if (e->ends_told == 0) {
        struct buf *out =
            begin(e, is_refusal ? "response.refusal.done" : "response.output_text.done");
        add_place(e, e->message_id, e->message_index);
        add_part_place(e, "content_index", e->part_count);
        buf_add_str(out, is_refusal ? STR(",\"refusal\":") : STR(",\"text\":"));
        add_string(out, &e->text);
        if (!is_refusal) {
            BUF_LIT(out, ",\"logprobs\":[");
            buf_add_str(out, buf_str(&e->logprobs));
            buf_add_char(out, ']');
        }
        end(e);
    }
    put_part(e, "response.content_part.done", true);
    if (e->parts.len > 0)
        buf_add_char(&e->parts, ',');
    write_part(e, &e->parts, true);
    e->part_count++;
}

/* --- blocks --- */

/* The signature of a call, which has no place of its own here, in an item before it. */
static void put_carrier(struct llm_encoder *e, const struct llm_signature *signature)
{
    struct text marked =
        signature_mark(e->arena, signature, SIGNATURE_OF_CALL, DIALECT_OPENAI_RESPONSES);
    e->has_part = false;
    e->item_id = make_id(e, "rs");
    text_write(&e->signature, marked);
    unsigned index = begin_item(e, write_reasoning);
    end_item(e, index, write_reasoning);
    buf_clear(&e->signature);
}

static void put_opaque(struct llm_encoder *e, const struct llm_event *event)
{
    static const char *const types[] = {"response.output_item.added", "response.output_item.done"};
    if (event->maker != DIALECT_OPENAI_RESPONSES)
        return;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct buf *out = begin(e, types[i]);
        BUF_LIT(out, ",\"output_index\":");
        buf_add_u64(out, e->items);
        BUF_LIT(out, ",\"item\":");
        buf_add_str(out, event->raw);
        end(e);
    }
    e->items++;
    if (e->output.len > 0)
        buf_add_char(&e->output, ',');
    buf_add_str(&e->output, event->raw);
}

static void begin_call(struct llm_encoder *e, const struct llm_event *event)
{
    if (text_is_some(event->signature.data))
        put_carrier(e, &event->signature);
    e->item_id = make_id(e, "fc");
    e->call_id = text_dup(e->arena, event->id);
    e->name = text_dup(e->arena, event->name);
    if (text_is_empty(e->call_id))
        e->call_id = text_plain(make_id(e, "call"));
    e->is_custom = responses_custom_tool(e->settings->request, event->name) != NULL;
    e->index = begin_item(e, write_call);
}

static void put_image_progress(struct llm_encoder *e, const char *type)
{
    begin(e, type);
    add_place(e, e->item_id, e->index);
    end(e);
}

static void begin_block(struct llm_encoder *e, const struct llm_event *event)
{
    e->kind = event->block_kind;
    e->is_open = true;
    e->is_redacted = event->is_redacted;
    e->has_part = e->is_custom = false;
    e->annotation_count = e->ends_told = e->summary_index = 0;
    buf_clear(&e->summaries);
    buf_clear(&e->text);
    buf_clear(&e->annotations);
    buf_clear(&e->logprobs);
    buf_clear(&e->signature);
    if (e->kind == BLOCK_TEXT || e->kind == BLOCK_REFUSAL) {
        begin_part(e);
        return;
    }
    close_message(e);
    if (e->kind == BLOCK_THINKING) {
        e->item_id = text_is_empty(event->id)
                         ? make_id(e, "rs")
                         : arena_dup(e->arena, text_or(e->arena, event->id, STR("rs")));
        e->index = begin_item(e, write_reasoning);
    } else if (e->kind == BLOCK_TOOL_CALL) {
        begin_call(e, event);
    } else if (e->kind == BLOCK_IMAGE) {
        e->item_id = make_id(e, "ig");
        e->index = begin_item(e, write_image);
        put_image_progress(e, "response.image_generation_call.in_progress");
    } else if (e->kind == BLOCK_OPAQUE) {
        put_opaque(e, event);
    }
}

static void end_reasoning(struct llm_encoder *e)
{
    if (e->has_part && e->ends_told == 0) {
        struct buf *out = begin(e, "response.reasoning_summary_text.done");
        add_place(e, e->item_id, e->index);
        add_part_place(e, "summary_index", e->summary_index);
        BUF_LIT(out, ",\"text\":");
        add_string(out, &e->text);
        end(e);
    }
    if (e->has_part) {
        struct buf *out = begin(e, "response.reasoning_summary_part.done");
        add_place(e, e->item_id, e->index);
        add_part_place(e, "summary_index", e->summary_index);
        BUF_LIT(out, ",\"part\":{\"type\":\"summary_text\",\"text\":");
        add_string(out, &e->text);
        buf_add_char(out, '}');
        end(e);
    }
    end_item(e, e->index, write_reasoning);
}

/* The free text is known when the arguments are whole: what is no such object is given as it is. */
static void settle_input(struct llm_encoder *e)
{
    struct arena_mark mark = arena_mark(e->arena);
    struct text arguments = {buf_str(&e->text), true};
    struct str plain = arena_dup(e->arena, text_or(e->arena, arguments, STR_EMPTY));
    struct text input = responses_custom_input(e->arena, text_plain(plain));
    buf_clear(&e->text);
    text_write_inside(&e->text, text_is_some(input) ? input : text_plain(plain));
    arena_rewind(e->arena, mark);
    struct buf *out = begin(e, "response.custom_tool_call_input.delta");
    add_place(e, e->item_id, e->index);
    BUF_LIT(out, ",\"delta\":");
    add_string(out, &e->text);
    end(e);
}

static void put_call_end(struct llm_encoder *e)
{
    struct buf *out = begin(e, e->is_custom ? "response.custom_tool_call_input.done"
                                            : "response.function_call_arguments.done");
    add_place(e, e->item_id, e->index);
    if (e->is_custom) {
        BUF_LIT(out, ",\"input\":");
    } else {
        BUF_LIT(out, ",\"name\":");
        text_write(out, e->name);
        BUF_LIT(out, ",\"arguments\":");
    }
    add_string(out, &e->text);
    end(e);
}

static void end_call(struct llm_encoder *e)
{
    if (e->ends_told == 0) {
        if (e->is_custom)
            settle_input(e);
        else if (e->text.len == 0)
            BUF_LIT(&e->text, "{}");
        put_call_end(e);
    }
    end_item(e, e->index, write_call);
}

static void end_block(struct llm_encoder *e)
{
    if (!e->is_open)
        return;
    e->is_open = false;
    if (e->kind == BLOCK_TEXT || e->kind == BLOCK_REFUSAL) {
        end_part(e);
    } else if (e->kind == BLOCK_THINKING) {
        end_reasoning(e);
    } else if (e->kind == BLOCK_TOOL_CALL) {
        end_call(e);
    } else if (e->kind == BLOCK_IMAGE) {
        put_image_progress(e, "response.image_generation_call.completed");
        end_item(e, e->index, write_image);
    }
}

/* --- deltas --- */

static void put_text(struct llm_encoder *e, const char *type, struct text text)
{
    bool is_part = e->kind == BLOCK_TEXT || e->kind == BLOCK_REFUSAL;
    struct buf *out = begin(e, type);
    add_place(e, is_part ? e->message_id : e->item_id, is_part ? e->message_index : e->index);
    if (is_part)
        add_part_place(e, "content_index", e->part_count);
    else if (e->kind == BLOCK_THINKING)
        add_part_place(e, "summary_index", 0);
    BUF_LIT(out, ",\"delta\":");
    text_write(out, text);
    if (e->kind == BLOCK_TEXT)
        BUF_LIT(out, ",\"logprobs\":[]");
    end(e);
}

static void on_text(struct llm_encoder *e, struct text text)
{
    if (e->ends_told > 0 && (e->kind == BLOCK_TEXT || e->kind == BLOCK_REFUSAL)) {
        /* Another has told its end already: it goes on in a part of its own. */
        struct llm_event again = llm_event_make(EVENT_BLOCK_START);
        again.block_kind = e->kind;
        end_block(e);
        begin_block(e, &again);
    }
    if (e->kind == BLOCK_THINKING && !e->has_part) {
        e->has_part = true;
        struct buf *out = begin(e, "response.reasoning_summary_part.added");
        add_place(e, e->item_id, e->index);
        BUF_LIT(out, ",\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":\"\"}");
        end(e);
    }
    text_write_inside(&e->text, text);
    if (e->kind == BLOCK_TEXT)
        put_text(e, "response.output_text.delta", text);
    else if (e->kind == BLOCK_REFUSAL)
        put_text(e, "response.refusal.delta", text);
    else if (e->kind == BLOCK_THINKING)
        put_text(e, "response.reasoning_summary_text.delta", text);
}

static void on_arguments(struct llm_encoder *e, struct text text)
{
    if (e->kind != BLOCK_TOOL_CALL)
        return;
    text_write_inside(&e->text, text);
    if (!e->is_custom)
        put_text(e, "response.function_call_arguments.delta", text);
}

static void on_signature(struct llm_encoder *e, const struct llm_signature *signature)
{
    struct arena_mark mark = arena_mark(e->arena);
    struct llm_signature shown = *signature;
    struct text id, data;
    if (signature->maker == DIALECT_OPENAI_RESPONSES) {
        responses_signature_split(signature->data, &data, &id);
    } else {
        if (e->is_redacted)
            shown.data = responses_redact(e->arena, signature->data);
        data = signature_mark(e->arena, &shown, SIGNATURE_OF_THINKING, DIALECT_OPENAI_RESPONSES);
    }
    buf_clear(&e->signature);
    if (!text_is_empty(data))
        text_write(&e->signature, data);
    arena_rewind(e->arena, mark);
}

static void on_citation(struct llm_encoder *e, const struct llm_citation *citation)
{
    struct buf one = BUF_INIT;
    int64_t length = responses_count_characters(buf_str(&e->text));
    if (e->kind == BLOCK_TEXT && responses_write_annotation(&one, citation, length)) {
        struct buf *out = begin(e, "response.output_text.annotation.added");
        add_place(e, e->message_id, e->message_index);
        add_part_place(e, "content_index", e->part_count);
        add_part_place(e, "annotation_index", e->annotation_count++);
        BUF_LIT(out, ",\"annotation\":");
        buf_add_str(out, buf_str(&one));
        out->failed = out->failed || one.failed;
        end(e);
        if (e->annotations.len > 0)
            buf_add_char(&e->annotations, ',');
        buf_add_str(&e->annotations, buf_str(&one));
    }
    buf_fini(&one);
}

static void on_logprobs(struct llm_encoder *e, struct str list)
{
    struct json_cursor cursor;
    struct json_value token;
    if (e->kind != BLOCK_TEXT)
        return;
    struct buf *out = begin(e, "response.output_text.delta");
    add_place(e, e->message_id, e->message_index);
    add_part_place(e, "content_index", e->part_count);
    BUF_LIT(out, ",\"delta\":\"\",\"logprobs\":");
    buf_add_str(out, list);
    end(e);
    json_cursor_init(&cursor, list);
    while (json_iter_array(&cursor, &token) == 1) {
        if (e->logprobs.len > 0)
            buf_add_char(&e->logprobs, ',');
        buf_add_str(&e->logprobs, token.text);
    }
}

static void on_delta(struct llm_encoder *e, const struct llm_event *event)
{
    if (!e->is_open)
        return;
    switch (event->delta) {
    case DELTA_TEXT:
        on_text(e, event->text);
        break;
    case DELTA_ARGUMENTS:
        on_arguments(e, event->text);
        break;
    case DELTA_SIGNATURE:
        on_signature(e, &event->signature);
        break;
    case DELTA_CITATION:
        on_citation(e, event->citation);
        break;
    case DELTA_LOGPROBS:
        on_logprobs(e, event->raw);
        break;
    case DELTA_MEDIA:
        text_write_inside(&e->text, event->text);
        break;
    }
}

/* --- the whole --- */

/* Why the answer is incomplete; NULL when it is not. */
static const char *incomplete_reason(const struct llm_encoder *e)
{
    if (e->finish == FINISH_LENGTH || e->finish == FINISH_CONTEXT)
        return "max_output_tokens";
    /* A refusal that was not put into words is only to be seen by this. */
    if (e->finish == FINISH_CONTENT_FILTER || (e->finish == FINISH_REFUSAL && !e->has_refusal))
        return "content_filter";
    return NULL;
}

static const char *final_status(const struct llm_encoder *e)
{
    return e->has_failed ? "failed" : incomplete_reason(e) != NULL ? "incomplete" : "completed";
}

static void on_start(struct llm_encoder *e, const struct llm_event *event)
{
    if (e->has_started)
        return;
    if (!text_is_empty(event->model))
        e->model = text_dup(e->arena, event->model);
    if (text_is_some(event->service_tier))
        e->service_tier = text_dup(e->arena, event->service_tier);
    if (event->created_s > 0)
        e->created_s = event->created_s;
    start(e);
}

static void on_done(struct llm_encoder *e)
{
    const char *reason = incomplete_reason(e);
    close_message(e);
    put_response(e, reason != NULL ? "response.incomplete" : "response.completed", final_status(e),
                 reason);
    e->has_ended = true;
}

static void on_error(struct llm_encoder *e, const struct llm_error *error)
{
    start(e);
    e->has_failed = true;
    e->error = *error;
    struct buf *out = begin(e, "error");
    BUF_LIT(out, ",\"code\":");
    text_write(out, responses_error_code(error));
    BUF_LIT(out, ",\"message\":");
    text_write(out, error->message);
    BUF_LIT(out, ",\"param\":");
    if (text_is_empty(error->param))
        BUF_LIT(out, "null");
    else
        text_write(out, error->param);
    end(e);
    put_response(e, "response.failed", "failed", NULL);
    e->error = LLM_ERROR_NONE; /* its texts go with the event */
    e->has_ended = true;
}

static void encode(struct llm_encoder *e, const struct llm_event *event)
{
    switch (event->kind) {
    case EVENT_START:
        on_start(e, event);
        break;
    case EVENT_BLOCK_START:
        start(e);
        end_block(e);
        begin_block(e, event);
        break;
    case EVENT_DELTA:
        on_delta(e, event);
        break;
    case EVENT_BLOCK_STOP:
        end_block(e);
        break;
    case EVENT_USAGE:
        token_usage_merge(&e->usage, &event->usage);
        if (text_is_some(event->service_tier))
            e->service_tier = text_dup(e->arena, event->service_tier);
        break;
    case EVENT_FINISH:
        start(e);
        end_block(e);
        e->finish = event->finish;
        e->has_finished = true;
        close_message(e);
        break;
    case EVENT_DONE:
        start(e);
        end_block(e);
        on_done(e);
        break;
    case EVENT_ERROR:
        on_error(e, &event->error);
        break;
    case EVENT_PING: /* this API has none; the frames keep the connection alive */
        break;
    }
}

int responses_encode(struct llm_encoder *e, const struct llm_event *event,
                     struct llm_frames *frames)
{
    e->frames = frames;
    if (e->has_ended || event->choice != 0)
        return 0;
    encode(e, event);
    bool is_whole = buf_ok(&e->output) && buf_ok(&e->parts) && buf_ok(&e->text) &&
                    buf_ok(&e->annotations) && buf_ok(&e->logprobs) && buf_ok(&e->signature) &&
                    buf_ok(&e->summaries);
    return is_whole ? 0 : responses_no_memory();
}

/* --- whole answers: the events go nowhere, what they build up is the answer --- */

struct whole {
    struct llm_sink sink;
    struct llm_frames frames;
    struct buf event;
    struct llm_encoder *encoder;
};

static struct buf *whole_begin(struct llm_frames *frames, struct str type)
{
    struct whole *whole = CONTAINER_OF(frames, struct whole, frames);
    (void)type;
    buf_clear(&whole->event);
    return &whole->event;
}

static void whole_end(struct llm_frames *frames)
{
    (void)frames;
}

static int whole_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct whole *whole = CONTAINER_OF(sink, struct whole, sink);
    return responses_encode(whole->encoder, event, &whole->frames);
}

void responses_write_answer(const struct llm_answer *answer,
                            const struct llm_codec_settings *settings, struct buf *out)
{
    struct whole whole = {.sink = {whole_event}, .frames = {whole_begin, whole_end}};
    struct arena *arena = arena_new(4096);
    whole.encoder = arena != NULL ? responses_encoder_new(arena, settings) : NULL;
    if (whole.encoder == NULL || llm_answer_replay(answer, &whole.sink) < 0) {
        out->failed = true;
    } else {
        struct llm_encoder *e = whole.encoder;
        if (answer->is_error)
            e->error = answer->error;
        write_object(e, out, final_status(e), e->has_failed ? NULL : incomplete_reason(e));
    }
    arena_free(arena);
    buf_fini(&whole.event);
}
