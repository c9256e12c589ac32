#include "base/err.h"
#include "dialect/cohere/codec.h"

/* Reads answers. Streamed: message-start, then tool-plan-delta, content-start ... content-end and
 * tool-call-start ... tool-call-end, citation-start among them, message-end and [DONE]. */

enum slot_kind { SLOT_PLAN, SLOT_CONTENT, SLOT_CALL };

/* A block under its index in the source. */
struct slot {
    struct slot *next;
    enum slot_kind kind;
    enum llm_block_kind block_kind;
    int64_t index;
    unsigned block;
    bool is_open;
    bool is_ending; /* its end has come; a citation may still come */
};

struct llm_decoder {
    struct arena *arena;
    const struct llm_codec_settings *settings;
    struct slot *slots; /* the last first */
    unsigned blocks, calls;
    bool has_started, is_finished, is_over;
};

struct llm_decoder *cohere_decoder_new(struct arena *arena,
                                       const struct llm_codec_settings *settings)
{
    struct llm_decoder *decoder = ARENA_NEW(arena, struct llm_decoder);
    if (decoder != NULL) {
        decoder->arena = arena;
        decoder->settings = settings;
    }
    return decoder;
}

/* --- events ---------------------------------------------------------------------------------- */

static int put_start(struct llm_decoder *d, struct text id, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_START);
    if (d->has_started)
        return 0;
    d->has_started = true;
    event.id = id;
    return llm_sink_put(sink, &event);
}

static int put_stop(struct slot *slot, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_STOP);
    if (!slot->is_open)
        return 0;
    slot->is_open = false;
    event.block = slot->block;
    return llm_sink_put(sink, &event);
}

static struct slot *find_slot(struct llm_decoder *d, enum slot_kind kind, int64_t index)
{
    struct slot *slot = d->slots;
    while (slot != NULL && !(slot->is_open && slot->kind == kind && slot->index == index))
        slot = slot->next;
    return slot;
}

/* Closes what nothing more can come for: a plan, and a text whose end has come. */
static int close_ending(struct llm_decoder *d, bool closes_all, struct llm_sink *sink)
{
    int r = 0;
    for (struct slot *slot = d->slots; slot != NULL && r == 0; slot = slot->next) {
        if (closes_all || slot->is_ending || slot->kind == SLOT_PLAN)
            r = put_stop(slot, sink);
    }
    return r;
}

/* `event` tells what is particular about the block. *out is NULL after an error only. */
static int open_slot(struct llm_decoder *d, enum slot_kind kind, int64_t index,
                     struct llm_event *event, struct llm_sink *sink, struct slot **out)
{
    struct slot *slot = ARENA_NEW(d->arena, struct slot);
    *out = NULL;
    if (slot == NULL)
        return cohere_no_memory();
    int r = put_start(d, TEXT_NONE, sink);
    if (r == 0)
        r = close_ending(d, false, sink);
    if (r < 0)
        return r;
    *slot = (struct slot){.next = d->slots,
                          .kind = kind,
                          .block_kind = event->block_kind,
                          .index = index,
                          .block = d->blocks++,
                          .is_open = true};
    d->slots = slot;
    *out = slot;
    event->block = slot->block;
    return llm_sink_put(sink, event);
}

static int put_text(const struct slot *slot, enum llm_delta_kind kind, struct text text,
                    struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    if (text_is_empty(text))
        return 0;
    event.block = slot->block;
    event.delta = kind;
    event.text = text;
    return llm_sink_put(sink, &event);
}

static int put_usage(struct json_value usage, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_USAGE);
    if (usage.kind != JSON_OBJECT)
        return 0;
    cohere_read_usage(usage.text, &event.usage);
    return llm_sink_put(sink, &event);
}

static int put_error(struct llm_decoder *d, const struct llm_error *error, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    d->is_over = true;
    event.error = *error;
    return llm_sink_put(sink, &event);
}

/* The answer was ended by other than the model. */
static int put_failure(struct llm_decoder *d, struct text reason, struct text words,
                       struct llm_sink *sink)
{
    bool is_timeout = text_eq(reason, STR("TIMEOUT"));
    struct llm_error error = LLM_ERROR_NONE;
    error.kind = is_timeout ? LLM_ERROR_TIMEOUT : LLM_ERROR_SERVER;
    error.code = reason;
    error.message = text_is_some(words) ? words
                    : is_timeout        ? TEXT_LIT("The provider took too long to answer")
                                        : TEXT_LIT("The provider could not finish its answer");
    return put_error(d, &error, sink);
}

/* What both forms end with. A failure ends the answer where it stands: what is open was cut, and is
 * not to look as if the model had ended it. */
static int put_end(struct llm_decoder *d, struct json_value reason, struct json_value usage,
                   struct json_value words, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_FINISH);
    event.raw_finish = text_of(reason);
    event.finish = cohere_finish_of(event.raw_finish);
    bool has_failed = event.finish == FINISH_COUNT;
    int r = put_start(d, TEXT_NONE, sink);
    if (r == 0 && !has_failed)
        r = close_ending(d, true, sink);
    if (r == 0)
        r = put_usage(usage, sink);
    if (r < 0)
        return r;
    if (has_failed)
        return put_failure(d, event.raw_finish, text_of(words), sink);
    d->is_finished = true;
    return llm_sink_put(sink, &event);
}

static int put_done(struct llm_decoder *d, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DONE);
    d->is_over = true;
    return llm_sink_put(sink, &event);
}

static int put_logprobs(const struct slot *slot, struct json_value value, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    struct buf tokens = BUF_INIT;
    bool has_any = cohere_read_logprobs(&tokens, value);
    int r = buf_ok(&tokens) ? 0 : cohere_no_memory();
    event.block = slot->block;
    event.delta = DELTA_LOGPROBS;
    event.raw = buf_str(&tokens);
    if (r == 0 && has_any)
        r = llm_sink_put(sink, &event);
    buf_fini(&tokens);
    return r;
}

static int put_citation(struct llm_decoder *d, const struct slot *slot, struct str object,
                        struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    struct llm_citation citation = cohere_read_citation(object, d->settings->request);
    event.block = slot->block;
    event.delta = DELTA_CITATION;
    event.citation = &citation;
    return llm_sink_put(sink, &event);
}

/* --- pieces of blocks ------------------------------------------------------------------------ */

/* {"type", "text" or "thinking"}: the whole of a block, or its beginning. */
static int open_content(struct llm_decoder *d, int64_t index, struct json_value content,
                        struct llm_sink *sink, struct slot **out)
{
    static const char *const names[] = {"type", "text", "thinking", NULL};
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    struct json_value values[3];
    *out = NULL;
    if (content.kind != JSON_OBJECT || !cohere_collect(content.text, names, values))
        return 0;
    struct str type = json_string_raw(values[0]);
    struct text text = text_of(values[1]);
    event.block_kind = BLOCK_TEXT;
    if (json_string_eq(type, STR("thinking")) ||
        (values[0].kind == JSON_NONE && values[2].kind == JSON_STRING)) {
        event.block_kind = BLOCK_THINKING;
        text = text_of(values[2]);
    } else if (values[0].kind == JSON_STRING && !json_string_eq(type, STR("text"))) {
        event.block_kind = BLOCK_OPAQUE;
        event.raw = content.text;
        event.maker = DIALECT_COHERE;
        text = TEXT_NONE;
    }
    int r = open_slot(d, SLOT_CONTENT, index, &event, sink, out);
    return r < 0 || *out == NULL ? r : put_text(*out, DELTA_TEXT, text, sink);
}

/* {"id", "type", "function"}, with all of the arguments or none. */
static int open_call(struct llm_decoder *d, int64_t index, struct json_value call,
                     struct llm_sink *sink, struct slot **out)
{
    static const char *const names[] = {"id", "function", NULL};
    static const char *const fields[] = {"name", "arguments", NULL};
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    struct json_value values[2], function[2];
    *out = NULL;
    if (call.kind != JSON_OBJECT || !cohere_collect(call.text, names, values) ||
        values[1].kind != JSON_OBJECT || !cohere_collect(values[1].text, fields, function))
        return 0;
    event.block_kind = BLOCK_TOOL_CALL;
    event.id = text_of(values[0]);
    event.name = text_of(function[0]);
    char made[80];
    if (text_is_empty(event.id)) {
        struct str request_id = str_head(d->settings->request_id, 48);
        int len = snprintf(made, sizeof(made), "call_%.*s_%u", STR_ARG(request_id), d->calls);
        event.id = text_plain(str_n(made, (size_t)len));
    }
    d->calls++;
    int r = open_slot(d, SLOT_CALL, index, &event, sink, out);
    return r < 0 || *out == NULL ? r : put_text(*out, DELTA_ARGUMENTS, text_of(function[1]), sink);
}

static int put_plan(struct llm_decoder *d, struct text text, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    struct slot *slot = find_slot(d, SLOT_PLAN, 0);
    int r = 0;
    if (text_is_empty(text))
        return 0;
    if (slot == NULL) {
        event.block_kind = BLOCK_THINKING;
        event.name = COHERE_TOOL_PLAN;
        r = open_slot(d, SLOT_PLAN, 0, &event, sink, &slot);
    }
    return r < 0 || slot == NULL ? r : put_text(slot, DELTA_TEXT, text, sink);
}

/* --- streams --------------------------------------------------------------------------------- */

struct streamed {
    int64_t index;
    struct json_value delta, logprobs;
    struct text id;
};

/* What is at `path` below the delta; JSON_NONE where there is nothing. */
static struct json_value below(const struct streamed *s, const char *path)
{
    struct json_value value = {JSON_NONE, STR_EMPTY};
    if (s->delta.kind == JSON_OBJECT)
        (void)json_find(s->delta.text, path, &value);
    return value;
}

static int on_message_start(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    return put_start(d, s->id, sink);
}

static int on_content_start(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    struct slot *slot;
    return open_content(d, s->index, below(s, "message.content"), sink, &slot);
}

static int on_content_delta(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    struct slot *slot = find_slot(d, SLOT_CONTENT, s->index);
    struct json_value content = below(s, "message.content");
    int r = 0;
    if (slot == NULL) {
        r = open_content(d, s->index, content, sink, &slot);
        if (r < 0 || slot == NULL)
            return r;
    } else if (content.kind == JSON_OBJECT) {
        const char *member = slot->block_kind == BLOCK_THINKING ? "thinking" : "text";
        struct json_value text = {JSON_NONE, STR_EMPTY};
        (void)json_find(content.text, member, &text);
        if (slot->block_kind != BLOCK_OPAQUE)
            r = put_text(slot, DELTA_TEXT, text_of(text), sink);
    }
    if (r == 0 && s->logprobs.kind == JSON_OBJECT && slot->block_kind == BLOCK_TEXT)
        r = put_logprobs(slot, s->logprobs, sink);
    return r;
}

static int on_content_end(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    struct slot *slot = find_slot(d, SLOT_CONTENT, s->index);
    if (slot == NULL)
        return 0;
    slot->is_ending = true;
    return slot->block_kind == BLOCK_TEXT ? 0 : put_stop(slot, sink);
}

static int on_plan(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    return put_plan(d, text_of(below(s, "message.tool_plan")), sink);
}

static int on_call_start(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    struct slot *slot;
    return open_call(d, s->index, below(s, "message.tool_calls"), sink, &slot);
}

static int on_call_delta(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    const struct slot *slot = find_slot(d, SLOT_CALL, s->index);
    struct text text = text_of(below(s, "message.tool_calls.function.arguments"));
    return slot == NULL ? 0 : put_text(slot, DELTA_ARGUMENTS, text, sink);
}

static int on_call_end(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    struct slot *slot = find_slot(d, SLOT_CALL, s->index);
    return slot == NULL ? 0 : put_stop(slot, sink);
}

/* It belongs to the text that its content_index says, or to the one that is open. */
static int on_citation(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    struct json_value citation = below(s, "message.citations"), place;
    const struct slot *slot = NULL;
    int64_t index = -1;
    if (citation.kind != JSON_OBJECT)
        return 0;
    if (json_find(citation.text, "content_index", &place) && json_number_i64(place, &index))
        slot = find_slot(d, SLOT_CONTENT, index);
    for (const struct slot *any = d->slots; any != NULL && slot == NULL; any = any->next)
        slot = any->is_open && any->block_kind == BLOCK_TEXT ? any : NULL;
    if (slot == NULL || slot->block_kind != BLOCK_TEXT)
        return 0;
    return put_citation(d, slot, citation.text, sink);
}

static int on_message_end(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink)
{
    return put_end(d, below(s, "finish_reason"), below(s, "usage"), below(s, "error"), sink);
}

static const struct {
    struct str type;
    int (*take)(struct llm_decoder *d, const struct streamed *s, struct llm_sink *sink);
} events[] = {
    {STR_INIT("content-delta"), on_content_delta}, {STR_INIT("tool-call-delta"), on_call_delta},
    {STR_INIT("tool-plan-delta"), on_plan},        {STR_INIT("message-start"), on_message_start},
    {STR_INIT("content-start"), on_content_start}, {STR_INIT("content-end"), on_content_end},
    {STR_INIT("tool-call-start"), on_call_start},  {STR_INIT("tool-call-end"), on_call_end},
    {STR_INIT("citation-start"), on_citation},     {STR_INIT("message-end"), on_message_end},
};

int cohere_decode(struct llm_decoder *d, struct str type, struct str data, struct llm_sink *sink)
{
    static const char *const names[] = {"type", "index", "delta", "id", "logprobs", NULL};
    struct json_value values[5];
    struct llm_error error;
    if (d->is_over || str_trim(data).len == 0)
        return 0;
    if (str_eq(str_trim(data), STR("[DONE]")))
        return d->is_finished ? put_done(d, sink) : 0;
    if (!cohere_collect(data, names, values))
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the provider sent an event that is no JSON");
    if (values[0].kind == JSON_STRING)
        type = json_string_raw(values[0]);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (!json_string_eq(type, events[i].type))
            continue;
        if (d->is_finished)
            return 0;
        struct streamed s = {.index = 0, values[2], values[4], text_of(values[3])};
        (void)json_number_i64(values[1], &s.index);
        return events[i].take(d, &s, sink);
    }
    /* An error that came after the head, in the form that it has in a body of its own. */
    if (values[0].kind == JSON_NONE && !d->is_finished &&
        cohere_read_error(0, STR_EMPTY, data, &error))
        return put_error(d, &error, sink);
    return 0;
}

int cohere_decode_end(struct llm_decoder *d, struct llm_sink *sink)
{
    if (d->is_over)
        return 0;
    if (d->is_finished)
        return put_done(d, sink);
    return err_set(ERR_RESET, FAULT_UPSTREAM, "the provider's stream ended before the answer did");
}

/* --- whole answers --------------------------------------------------------------------------- */

/* Those of the text at this place of the content; those that name none go to the first. */
static int put_citations(struct llm_decoder *d, const struct slot *slot, int64_t index,
                         bool is_first, struct json_value citations, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value citation, value;
    int r = 0;
    if (citations.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, citations.text);
    while (r == 0 && json_iter_array(&cursor, &citation) == 1) {
        int64_t place = -1;
        if (citation.kind != JSON_OBJECT || (json_find(citation.text, "type", &value) &&
                                             json_string_eq(json_string_raw(value), STR("PLAN"))))
            continue;
        if (json_find(citation.text, "content_index", &value))
            (void)json_number_i64(value, &place);
        if (place == index || (place < 0 && is_first))
            r = put_citation(d, slot, citation.text, sink);
    }
    return r;
}

enum { WHOLE_CONTENT, WHOLE_PLAN, WHOLE_CALLS, WHOLE_CITATIONS, WHOLE_MEMBERS };

static int put_content(struct llm_decoder *d, const struct json_value *message,
                       struct json_value logprobs, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value part;
    bool is_first = true;
    int r = 0;
    if (message[WHOLE_CONTENT].kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, message[WHOLE_CONTENT].text);
    for (int64_t i = 0; r == 0 && json_iter_array(&cursor, &part) == 1; i++) {
        struct slot *slot;
        r = open_content(d, i, part, sink, &slot);
        if (r < 0 || slot == NULL)
            continue;
        if (slot->block_kind == BLOCK_TEXT) {
            r = put_citations(d, slot, i, is_first, message[WHOLE_CITATIONS], sink);
            if (r == 0 && is_first && logprobs.kind == JSON_ARRAY)
                r = put_logprobs(slot, logprobs, sink);
            is_first = false;
        }
        if (r == 0)
            r = put_stop(slot, sink);
    }
    return r;
}

static int put_calls(struct llm_decoder *d, struct json_value calls, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value call;
    int r = 0;
    if (calls.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, calls.text);
    for (int64_t i = 0; r == 0 && json_iter_array(&cursor, &call) == 1; i++) {
        struct slot *slot;
        r = open_call(d, i, call, sink, &slot);
        if (r == 0 && slot != NULL)
            r = put_stop(slot, sink);
    }
    return r;
}

int cohere_decode_whole(struct llm_decoder *d, struct str body, struct llm_sink *sink)
{
    static const char *const names[] = {"message", "id",       "finish_reason",
                                        "usage",   "logprobs", NULL};
    static const char *const members[] = {"content", "tool_plan", "tool_calls", "citations", NULL};
    struct json_value values[5], message[WHOLE_MEMBERS];
    struct llm_error error;
    if (!cohere_collect(body, names, values))
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the provider's answer is no JSON object");
    if (values[0].kind != JSON_OBJECT) {
        if (cohere_read_error(0, STR_EMPTY, body, &error))
            return put_error(d, &error, sink);
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the provider's answer holds no message");
    }
    if (!cohere_collect(values[0].text, members, message))
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the provider's answer holds no message");
    int r = put_start(d, text_of(values[1]), sink);
    if (r == 0)
        r = put_plan(d, text_of(message[WHOLE_PLAN]), sink);
    if (r == 0)
        r = put_content(d, message, values[4], sink);
    if (r == 0)
        r = put_calls(d, message[WHOLE_CALLS], sink);
    if (r == 0)
        r = put_end(d, values[2], values[3], (struct json_value){JSON_NONE, STR_EMPTY}, sink);
    return r == 0 && !d->is_over ? put_done(d, sink) : r;
}
