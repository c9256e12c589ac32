#include "base/err.h"
#include "dialect/openai_responses/codec.h"

/*
 * Answers, streamed and whole, as neutral events. An item is known by its output_index (Copilot's
 * ids change from event to event); at most one block of an item is open at a time. What a stream
 * leaves out - part events, argument deltas, items before the end - is taken from the event that
 * closes it.
 */

enum item_kind { ITEM_MESSAGE, ITEM_REASONING, ITEM_CALL, ITEM_CUSTOM, ITEM_OTHER };

struct item {
    struct item *next;
    int64_t index;
    enum item_kind kind;
    bool is_open; /* a block of it */
    bool is_begun;
    enum llm_block_kind block_kind;
    unsigned block;
    int64_t part;  /* of the open block */
    int64_t ended; /* parts of a message that have been given whole */
    bool has_text; /* the open block got some */
    bool has_logprobs;
    unsigned annotations;
    int64_t thought; /* part of the reasoning that was last seen; -1 = none */
    bool is_shown;   /* the reasoning's text is itself, not its summary */
};

struct llm_decoder {
    struct arena *arena;
    /* For one event. Not the arena above: a sink may keep things there while an event is put. */
    struct arena *scratch;
    const struct llm_codec_settings *settings;
    struct item *items, *free;
    unsigned blocks;
    unsigned calls;
    int64_t items_seen; /* output_index that comes next */
    bool has_started, has_ended;
    bool has_call, has_refusal;
};

static void free_scratch(void *arg)
{
    struct llm_decoder *d = arg;
    arena_free(d->scratch);
}

struct llm_decoder *responses_decoder_new(struct arena *arena,
                                          const struct llm_codec_settings *settings)
{
    struct llm_decoder *d = ARENA_NEW(arena, struct llm_decoder);
    if (d == NULL)
        return NULL;
    d->arena = arena;
    d->settings = settings;
    d->scratch = arena_new(1024);
    if (d->scratch == NULL)
        return NULL;
    if (!arena_defer(arena, free_scratch, d)) {
        arena_free(d->scratch);
        return NULL;
    }
    return d;
}

/* --- members of one event --- */

struct fields {
    struct json_value type, response, item, part, delta, text, arguments, refusal, annotation,
        logprobs, error;
    struct str event; /* its type, wherever that was told */
    int64_t output_index, content_index, summary_index;
};

static const struct {
    struct str name;
    size_t offset;
} value_fields[] = {
    {STR_INIT("type"), offsetof(struct fields, type)},
    {STR_INIT("delta"), offsetof(struct fields, delta)},
    {STR_INIT("response"), offsetof(struct fields, response)},
    {STR_INIT("item"), offsetof(struct fields, item)},
    {STR_INIT("part"), offsetof(struct fields, part)},
    {STR_INIT("text"), offsetof(struct fields, text)},
    {STR_INIT("arguments"), offsetof(struct fields, arguments)},
    {STR_INIT("refusal"), offsetof(struct fields, refusal)},
    {STR_INIT("annotation"), offsetof(struct fields, annotation)},
    {STR_INIT("logprobs"), offsetof(struct fields, logprobs)},
    {STR_INIT("error"), offsetof(struct fields, error)},
};
static const struct {
    struct str name;
    size_t offset;
} index_fields[] = {
    {STR_INIT("output_index"), offsetof(struct fields, output_index)},
    {STR_INIT("content_index"), offsetof(struct fields, content_index)},
    {STR_INIT("summary_index"), offsetof(struct fields, summary_index)},
};

static void *field_at(struct fields *fields, size_t offset)
{
    return (char *)fields + offset;
}

static int read_fields(struct str data, struct fields *fields)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    int more;
    *fields = (struct fields){.output_index = -1};
    json_cursor_init(&cursor, data);
    while ((more = json_iter_object(&cursor, &key, &value)) == 1) {
        for (size_t i = 0; i < ARRAY_LEN(value_fields); i++) {
            if (str_eq(key, value_fields[i].name))
                *(struct json_value *)field_at(fields, value_fields[i].offset) = value;
        }
        for (size_t i = 0; value.kind == JSON_NUMBER && i < ARRAY_LEN(index_fields); i++) {
            if (str_eq(key, index_fields[i].name))
                (void)json_number_i64(value, field_at(fields, index_fields[i].offset));
        }
    }
    return more;
}

static struct json_value member(struct str object, const char *name)
{
    struct json_value value;
    return json_find(object, name, &value) ? value : (struct json_value){JSON_NONE, STR_EMPTY};
}

/* --- items --- */

static const struct {
    const char *type;
    enum item_kind kind;
} item_kinds[] = {{"message", ITEM_MESSAGE},
                  {"reasoning", ITEM_REASONING},
                  {"function_call", ITEM_CALL},
                  {"custom_tool_call", ITEM_CUSTOM}};

/* A custom tool that the request does not have is the provider's own (xAI's searches). */
static enum item_kind kind_of(const struct llm_decoder *d, struct str object)
{
    struct str type = json_string_raw(member(object, "type"));
    for (size_t i = 0; i < ARRAY_LEN(item_kinds); i++) {
        if (!str_eq(type, str_c(item_kinds[i].type)))
            continue;
        struct text name = text_of(member(object, "name"));
        if (item_kinds[i].kind == ITEM_CUSTOM &&
            responses_custom_tool(d->settings->request, name) == NULL)
            return ITEM_OTHER;
        return item_kinds[i].kind;
    }
    return ITEM_OTHER;
}

static struct item *find_item(const struct llm_decoder *d, int64_t index)
{
    for (struct item *item = d->items; item != NULL; item = item->next) {
        if (item->index == index || index < 0)
            return item;
    }
    return NULL;
}

static struct item *add_item(struct llm_decoder *d, int64_t index, enum item_kind kind)
{
    struct item *item = d->free;
    if (item != NULL)
        d->free = item->next;
    else
        item = ARENA_NEW(d->arena, struct item);
    if (item == NULL)
        return NULL;
    *item = (struct item){.next = d->items, .index = index, .kind = kind, .thought = -1};
    d->items = item;
    d->items_seen = MAX(d->items_seen, index + 1);
    return item;
}

static void drop_item(struct llm_decoder *d, struct item *item)
{
    struct item **link = &d->items;
    while (*link != item)
        link = &(*link)->next;
    *link = item->next;
    item->next = d->free;
    d->free = item;
}

/* --- blocks --- */

static int put_stop(struct item *item, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_STOP);
    if (!item->is_open)
        return 0;
    item->is_open = false;
    event.block = item->block;
    return llm_sink_put(sink, &event);
}

static int put_start(struct llm_decoder *d, struct item *item, struct llm_event *event,
                     struct llm_sink *sink)
{
    int r = put_stop(item, sink);
    if (r < 0)
        return r;
    event->kind = EVENT_BLOCK_START;
    event->block = item->block = d->blocks++;
    item->block_kind = event->block_kind;
    item->is_open = item->is_begun = true;
    item->has_text = item->has_logprobs = false;
    item->annotations = 0;
    return llm_sink_put(sink, event);
}

static int put_delta(struct item *item, enum llm_delta_kind kind, struct text text,
                     struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    if (text_is_empty(text) || !item->is_open)
        return 0;
    event.block = item->block;
    event.delta = kind;
    event.text = text;
    item->has_text = true;
    return llm_sink_put(sink, &event);
}

/* Opens part `part` of a message as a block of that kind, unless it is open. */
static int open_part(struct llm_decoder *d, struct item *item, int64_t part,
                     enum llm_block_kind kind, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    if (item->is_open && item->part == part && item->block_kind == kind)
        return 0;
    event.block_kind = kind;
    item->part = part;
    item->ended = MAX(item->ended, part);
    d->has_refusal = d->has_refusal || kind == BLOCK_REFUSAL;
    return put_start(d, item, &event, sink);
}

static int put_logprobs(struct item *item, struct json_value list, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    struct json_cursor cursor;
    struct json_value first;
    if (list.kind != JSON_ARRAY || !item->is_open)
        return 0;
    json_cursor_init(&cursor, list.text);
    if (json_iter_array(&cursor, &first) != 1)
        return 0;
    item->has_logprobs = true;
    event.block = item->block;
    event.delta = DELTA_LOGPROBS;
    event.raw = list.text;
    return llm_sink_put(sink, &event);
}

static int put_annotation(struct item *item, struct json_value annotation, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    if (annotation.kind != JSON_OBJECT || !item->is_open)
        return 0;
    struct llm_citation citation = responses_read_annotation(annotation.text);
    item->annotations++;
    event.block = item->block;
    event.delta = DELTA_CITATION;
    event.citation = &citation;
    return llm_sink_put(sink, &event);
}

/* What a whole part tells that its deltas have not. */
static int finish_part(struct llm_decoder *d, struct item *item, int64_t index, struct str part,
                       struct llm_sink *sink)
{
    bool is_refusal = str_eq(json_string_raw(member(part, "type")), STR("refusal"));
    struct json_value list = member(part, "annotations"), annotation;
    struct json_cursor cursor;
    unsigned seen = 0;
    if (index < item->ended)
        return 0;
    int r = open_part(d, item, index, is_refusal ? BLOCK_REFUSAL : BLOCK_TEXT, sink);
    if (r == 0 && !item->has_text)
        r = put_delta(item, DELTA_TEXT, text_of(member(part, is_refusal ? "refusal" : "text")),
                      sink);
    if (r == 0 && !item->has_logprobs)
        r = put_logprobs(item, member(part, "logprobs"), sink);
    if (list.kind == JSON_ARRAY) {
        unsigned told = item->annotations;
        json_cursor_init(&cursor, list.text);
        while (r == 0 && json_iter_array(&cursor, &annotation) == 1) {
            if (seen++ >= told)
                r = put_annotation(item, annotation, sink);
        }
    }
    if (r == 0)
        r = put_stop(item, sink);
    item->ended = index + 1;
    return r;
}

static int finish_message(struct llm_decoder *d, struct item *item, struct str object,
                          struct llm_sink *sink)
{
    struct json_value content = member(object, "content"), part;
    struct json_cursor cursor;
    int64_t index = 0;
    int r = 0;
    if (content.kind == JSON_ARRAY) {
        json_cursor_init(&cursor, content.text);
        for (; r == 0 && json_iter_array(&cursor, &part) == 1; index++)
            r = finish_part(d, item, index, part.text, sink);
    }
    return r == 0 ? put_stop(item, sink) : r;
}

static int begin_reasoning(struct llm_decoder *d, struct item *item, struct text id,
                           struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    event.block_kind = BLOCK_THINKING;
    event.id = id;
    return put_start(d, item, &event, sink);
}

/* Parts of one thought are paragraphs of one text. */
static int put_thought(struct llm_decoder *d, struct item *item, int64_t part, struct text text,
                       struct llm_sink *sink)
{
    int r = item->is_begun ? 0 : begin_reasoning(d, item, TEXT_NONE, sink);
    if (text_is_empty(text))
        return r;
    if (r == 0 && item->thought >= 0 && item->thought != part)
        r = put_delta(item, DELTA_TEXT, text_plain(STR("\n\n")), sink);
    item->thought = part;
    return r == 0 ? put_delta(item, DELTA_TEXT, text, sink) : r;
}

static int put_thoughts(struct llm_decoder *d, struct item *item, struct json_value list,
                        struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value part;
    int64_t index = 0;
    int r = 0;
    if (list.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, list.text);
    for (; r == 0 && json_iter_array(&cursor, &part) == 1; index++)
        r = put_thought(d, item, index, text_of(member(part.text, "text")), sink);
    return r;
}

static int finish_reasoning(struct llm_decoder *d, struct item *item, struct str object,
                            struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    struct text id = text_of(member(object, "id"));
    int r = item->is_begun ? 0 : begin_reasoning(d, item, id, sink);
    if (r == 0 && item->thought < 0)
        r = put_thoughts(d, item, member(object, "summary"), sink);
    if (r == 0 && item->thought < 0) {
        r = put_thoughts(d, item, member(object, "content"), sink);
        item->is_shown = item->thought >= 0;
    }
    if (r < 0)
        return r;
    struct text encrypted = text_of(member(object, "encrypted_content"));
    /* An id alone is of use only where the item is kept at the provider. */
    if (text_is_empty(encrypted) && !item->is_shown)
        return put_stop(item, sink);
    struct arena_mark mark = arena_mark(d->scratch);
    event.block = item->block;
    event.delta = DELTA_SIGNATURE;
    event.signature.maker = DIALECT_OPENAI_RESPONSES;
    event.signature.data = responses_signature_join(d->scratch, encrypted, id);
    if (text_is_some(event.signature.data))
        r = llm_sink_put(sink, &event);
    arena_rewind(d->scratch, mark);
    return r == 0 ? put_stop(item, sink) : r;
}

static int begin_call(struct llm_decoder *d, struct item *item, struct str object,
                      struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    struct arena_mark mark = arena_mark(d->scratch);
    event.block_kind = BLOCK_TOOL_CALL;
    event.id = text_of(member(object, "call_id"));
    event.name = text_of(member(object, "name"));
    if (text_is_empty(event.id))
        event.id = text_of(member(object, "id"));
    if (text_is_empty(event.id))
        event.id = text_plain(
            arena_printf(d->scratch, "call_%.*s_%u", STR_ARG(d->settings->request_id), d->calls));
    d->calls++;
    d->has_call = true;
    int r = put_start(d, item, &event, sink);
    arena_rewind(d->scratch, mark);
    return r;
}

static int finish_call(struct llm_decoder *d, struct item *item, struct str object,
                       struct llm_sink *sink)
{
    int r = item->is_begun ? 0 : begin_call(d, item, object, sink);
    if (r == 0 && item->kind == ITEM_CUSTOM) {
        struct arena_mark mark = arena_mark(d->scratch);
        struct text input = text_of(member(object, "input"));
        r = put_delta(item, DELTA_ARGUMENTS, responses_custom_arguments(d->scratch, input), sink);
        arena_rewind(d->scratch, mark);
    } else if (r == 0 && !item->has_text) {
        r = put_delta(item, DELTA_ARGUMENTS, text_of(member(object, "arguments")), sink);
    }
    return r == 0 ? put_stop(item, sink) : r;
}

static int put_opaque(struct llm_decoder *d, struct item *item, struct str object,
                      struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    event.block_kind = BLOCK_OPAQUE;
    event.raw = object;
    event.maker = DIALECT_OPENAI_RESPONSES;
    int r = put_start(d, item, &event, sink);
    return r == 0 ? put_stop(item, sink) : r;
}

static int finish_item(struct llm_decoder *d, struct item *item, struct str object,
                       struct llm_sink *sink)
{
    int r = 0;
    switch (item->kind) {
    case ITEM_MESSAGE:
        r = finish_message(d, item, object, sink);
        break;
    case ITEM_REASONING:
        r = finish_reasoning(d, item, object, sink);
        break;
    case ITEM_CALL:
    case ITEM_CUSTOM:
        r = finish_call(d, item, object, sink);
        break;
    case ITEM_OTHER:
        r = put_opaque(d, item, object, sink);
        break;
    }
    drop_item(d, item);
    return r;
}

/* --- the response object --- */

static int put_start_of(struct llm_decoder *d, struct str response, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_START);
    if (d->has_started)
        return 0;
    d->has_started = true;
    event.id = text_of(member(response, "id"));
    event.model = text_of(member(response, "model"));
    event.service_tier = text_of(member(response, "service_tier"));
    if (!json_number_i64(member(response, "created_at"), &event.created_s))
        event.created_s = -1;
    return llm_sink_put(sink, &event);
}

static int put_error(struct llm_decoder *d, const struct llm_error *error, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    event.error = *error;
    d->has_ended = true;
    return llm_sink_put(sink, &event);
}

static int put_usage(struct str response, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_USAGE);
    struct json_value usage = member(response, "usage");
    if (usage.kind != JSON_OBJECT)
        return 0;
    responses_usage_read(usage.text, &event.usage);
    event.model = text_of(member(response, "model"));
    event.service_tier = text_of(member(response, "service_tier"));
    return llm_sink_put(sink, &event);
}

static enum llm_finish finish_of(const struct llm_decoder *d, struct text status,
                                 struct text reason)
{
    if (text_eq(status, STR("completed")))
        return d->has_call ? FINISH_TOOL_CALLS : d->has_refusal ? FINISH_REFUSAL : FINISH_STOP;
    if (text_eq(reason, STR("max_output_tokens")) || text_eq(reason, STR("max_tokens")))
        return FINISH_LENGTH;
    if (text_eq(reason, STR("content_filter")))
        return FINISH_CONTENT_FILTER;
    if (text_eq(reason, STR("model_context_window_exceeded")))
        return FINISH_CONTEXT;
    return FINISH_OTHER;
}

/* Items that no event has told of, and what is still open. */
static int put_rest(struct llm_decoder *d, struct str response, struct llm_sink *sink)
{
    struct json_value output = member(response, "output"), value;
    struct json_cursor cursor;
    int64_t index = 0, seen = d->items_seen;
    int r = 0;
    if (output.kind == JSON_ARRAY) {
        json_cursor_init(&cursor, output.text);
        for (; r == 0 && json_iter_array(&cursor, &value) == 1; index++) {
            struct item *item = find_item(d, index);
            if (value.kind != JSON_OBJECT)
                continue;
            if (item == NULL && index >= seen) {
                item = add_item(d, index, kind_of(d, value.text));
                if (item == NULL)
                    return responses_no_memory();
            }
            if (item != NULL)
                r = finish_item(d, item, value.text, sink);
        }
    }
    while (r == 0 && d->items != NULL) {
        r = put_stop(d->items, sink);
        drop_item(d, d->items);
    }
    return r;
}

static int put_failure(struct llm_decoder *d, struct str response, struct text status,
                       struct llm_sink *sink)
{
    struct llm_error error = LLM_ERROR_NONE;
    struct json_value value = member(response, "error");
    responses_error_value(value, &error);
    if (!text_is_some(error.message))
        error.message = text_eq(status, STR("cancelled"))
                            ? text_plain(STR("the response was cancelled at the provider"))
                            : text_plain(STR("the provider's response failed"));
    return put_error(d, &error, sink);
}

static int put_end(struct llm_decoder *d, struct str response, struct text status,
                   struct llm_sink *sink)
{
    struct llm_event finish = llm_event_make(EVENT_FINISH), done = llm_event_make(EVENT_DONE);
    struct json_value error = member(response, "error");
    struct text reason = text_of(member(response, "incomplete_details.reason"));
    int r = put_start_of(d, response, sink);
    if (r < 0)
        return r;
    if (text_eq(status, STR("failed")) || text_eq(status, STR("cancelled")) ||
        error.kind == JSON_OBJECT) {
        r = put_usage(response, sink);
        return r == 0 ? put_failure(d, response, status, sink) : r;
    }
    r = put_rest(d, response, sink);
    if (r == 0)
        r = put_usage(response, sink);
    finish.finish = finish_of(d, status, reason);
    finish.raw_finish = text_is_some(reason) ? reason : status;
    if (r == 0)
        r = llm_sink_put(sink, &finish);
    d->has_ended = true;
    return r == 0 ? llm_sink_put(sink, &done) : r;
}

/* --- events of a stream --- */

typedef int event_reader(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink);

static int on_created(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    return put_start_of(d, f->response.text, sink);
}

static int on_item_added(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    int64_t index = f->output_index >= 0 ? f->output_index : d->items_seen;
    if (f->item.kind != JSON_OBJECT || find_item(d, index) != NULL)
        return 0;
    struct item *item = add_item(d, index, kind_of(d, f->item.text));
    if (item == NULL)
        return responses_no_memory();
    if (item->kind == ITEM_REASONING)
        return begin_reasoning(d, item, text_of(member(f->item.text, "id")), sink);
    if (item->kind == ITEM_CALL || item->kind == ITEM_CUSTOM)
        return begin_call(d, item, f->item.text, sink);
    return 0;
}

/* The item of an event; one that was never announced is taken to be of `kind`. */
static struct item *item_of(struct llm_decoder *d, const struct fields *f, enum item_kind kind)
{
    struct item *item = find_item(d, f->output_index);
    if (item == NULL && f->output_index >= d->items_seen)
        item = add_item(d, f->output_index, kind);
    return item != NULL && item->kind == kind ? item : NULL;
}

static int on_item_done(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = find_item(d, f->output_index);
    if (f->item.kind != JSON_OBJECT)
        return 0;
    if (item == NULL && (f->output_index < 0 || f->output_index >= d->items_seen))
        item = add_item(d, MAX(f->output_index, d->items_seen), kind_of(d, f->item.text));
    return item != NULL ? finish_item(d, item, f->item.text, sink) : 0;
}

static int on_part_added(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = item_of(d, f, ITEM_MESSAGE);
    struct str type = json_string_raw(member(f->part.text, "type"));
    if (item == NULL)
        return 0;
    if (str_eq(type, STR("output_text")))
        return open_part(d, item, f->content_index, BLOCK_TEXT, sink);
    return str_eq(type, STR("refusal")) ? open_part(d, item, f->content_index, BLOCK_REFUSAL, sink)
                                        : 0;
}

static int on_part_done(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = item_of(d, f, ITEM_MESSAGE);
    return item != NULL && f->part.kind == JSON_OBJECT
               ? finish_part(d, item, f->content_index, f->part.text, sink)
               : 0;
}

static int on_text(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = item_of(d, f, ITEM_MESSAGE);
    if (item == NULL)
        return 0;
    int r = open_part(d, item, f->content_index, BLOCK_TEXT, sink);
    if (r == 0)
        r = put_delta(item, DELTA_TEXT, text_of(f->delta), sink);
    return r == 0 ? put_logprobs(item, f->logprobs, sink) : r;
}

static int on_refusal(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = item_of(d, f, ITEM_MESSAGE);
    if (item == NULL)
        return 0;
    int r = open_part(d, item, f->content_index, BLOCK_REFUSAL, sink);
    return r == 0 ? put_delta(item, DELTA_TEXT, text_of(f->delta), sink) : r;
}

static int on_annotation(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = item_of(d, f, ITEM_MESSAGE);
    return item != NULL ? put_annotation(item, f->annotation, sink) : 0;
}

static int on_summary(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = item_of(d, f, ITEM_REASONING);
    return item != NULL ? put_thought(d, item, f->summary_index, text_of(f->delta), sink) : 0;
}

static int on_thought(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = item_of(d, f, ITEM_REASONING);
    if (item == NULL)
        return 0;
    item->is_shown = true;
    return put_thought(d, item, f->content_index, text_of(f->delta), sink);
}

static int on_arguments(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = find_item(d, f->output_index);
    return item != NULL && item->kind == ITEM_CALL
               ? put_delta(item, DELTA_ARGUMENTS, text_of(f->delta), sink)
               : 0;
}

static int on_arguments_done(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct item *item = find_item(d, f->output_index);
    return item != NULL && item->kind == ITEM_CALL && !item->has_text
               ? put_delta(item, DELTA_ARGUMENTS, text_of(f->arguments), sink)
               : 0;
}

static int on_end(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    static const struct str prefix = STR_INIT("response.");
    struct text status = text_of(member(f->response.text, "status"));
    /* The event's own name counts: some providers leave the status at "in_progress". */
    if (!text_is_some(status) || text_eq(status, STR("in_progress")))
        status = text_plain(str_skip(f->event, prefix.len));
    return put_end(d, f->response.text, status, sink);
}

static int on_ping(struct llm_decoder *d, const struct fields *f, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_PING);
    (void)d;
    (void)f;
    return llm_sink_put(sink, &event);
}

static const struct {
    struct str type;
    event_reader *read;
} event_readers[] = {
    {STR_INIT("response.output_text.delta"), on_text},
    {STR_INIT("response.function_call_arguments.delta"), on_arguments},
    {STR_INIT("response.reasoning_summary_text.delta"), on_summary},
    {STR_INIT("response.reasoning_text.delta"), on_thought},
    {STR_INIT("response.refusal.delta"), on_refusal},
    {STR_INIT("response.output_text.annotation.added"), on_annotation},
    {STR_INIT("response.content_part.added"), on_part_added},
    {STR_INIT("response.content_part.done"), on_part_done},
    {STR_INIT("response.function_call_arguments.done"), on_arguments_done},
    {STR_INIT("response.output_item.added"), on_item_added},
    {STR_INIT("response.output_item.done"), on_item_done},
    {STR_INIT("response.created"), on_created},
    {STR_INIT("response.in_progress"), on_created},
    {STR_INIT("response.queued"), on_created},
    {STR_INIT("response.completed"), on_end},
    {STR_INIT("response.incomplete"), on_end},
    {STR_INIT("response.failed"), on_end},
    {STR_INIT("response.cancelled"), on_end},
    {STR_INIT("ping"), on_ping},
    {STR_INIT("keepalive"), on_ping},
};

static int on_error(struct llm_decoder *d, const struct fields *f, struct str data,
                    struct llm_sink *sink)
{
    struct llm_error error = LLM_ERROR_NONE;
    struct json_value flat = {JSON_OBJECT, data};
    bool is_inside = f->error.kind == JSON_OBJECT || f->error.kind == JSON_STRING;
    responses_error_value(is_inside ? f->error : flat, &error);
    return put_error(d, &error, sink);
}

int responses_decode(struct llm_decoder *d, struct str type, struct str data, struct llm_sink *sink)
{
    struct fields fields;
    if (d->has_ended || data.len == 0 || str_eq(data, STR("[DONE]")))
        return 0;
    if (read_fields(data, &fields) < 0)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "an event of the provider is not JSON");
    if (fields.type.kind == JSON_STRING)
        type = json_string_raw(fields.type);
    fields.event = type;
    for (size_t i = 0; i < ARRAY_LEN(event_readers); i++) {
        if (str_eq(type, event_readers[i].type))
            return event_readers[i].read(d, &fields, sink);
    }
    bool is_bare_error = fields.type.kind == JSON_NONE && fields.error.kind == JSON_OBJECT;
    if (str_eq(type, STR("error")) || is_bare_error)
        return on_error(d, &fields, data, sink);
    return 0; /* the progress of built-in tools, done events of what deltas told */
}

int responses_decode_end(struct llm_decoder *d, struct llm_sink *sink)
{
    (void)sink;
    if (d->has_ended)
        return 0;
    return err_set(ERR_RESET, FAULT_UPSTREAM, "the provider's stream ended before its answer did");
}

int responses_decode_whole(struct llm_decoder *d, struct str body, struct llm_sink *sink)
{
    struct json_value output = member(body, "output");
    struct text status = text_of(member(body, "status"));
    struct json_scan scan;
    struct llm_error failure;
    if (json_scan_object(body, JSON_DEPTH_DEFAULT, NULL, 0, &scan) != 0)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the provider's answer is not a JSON object");
    if (output.kind != JSON_ARRAY && responses_read_error(0, STR_EMPTY, body, &failure))
        return put_error(d, &failure, sink);
    /* Providers that leave the status out have answered all the same. */
    if (!text_is_some(status))
        status = text_plain(STR("completed"));
    return put_end(d, body, status, sink);
}
