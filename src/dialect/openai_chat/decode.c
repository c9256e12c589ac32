#include "base/err.h"
#include "dialect/openai_chat/codec.h"
#include "dialect/openai_chat/error.h"

/*
 * Answers, streamed and whole: a message is read as a delta that has everything in it. Blocks of
 * text, thinking and refusal end when another kind begins; calls stay open to the end, since their
 * pieces may be interleaved and may come after the finish. FINISH is put at the end, since a finish
 * may be told twice.
 */

enum { CHOICES_MAX = 128, CALLS_MAX = 1024 };
enum { NO_BLOCK = -1 };

struct call {
    struct call *next;
    struct text id; /* copied */
    int64_t index;  /* as told; -1 = not told */
    unsigned block;
    bool is_legacy;
};

struct choice {
    struct choice *next;
    unsigned index;
    unsigned blocks; /* begun so far */
    int open;        /* the open block that is no call, or NO_BLOCK */
    enum llm_block_kind kind;
    struct call *calls, *last_call;
    unsigned call_count;
    bool has_finish, has_refusal, has_details_text;
    enum llm_finish finish;
    char raw_finish[48];
};

/* The members of an object of which many are asked for: walked once, not once for each. */
enum { MEMBERS_MAX = 16 };
struct members {
    struct str object;
    bool is_all; /* false: there are more than these */
    unsigned count;
    struct {
        struct str key;
        struct json_value value;
    } list[MEMBERS_MAX];
};

struct llm_decoder {
    const struct llm_codec_settings *settings;
    struct arena *arena;
    struct choice *choices;
    struct members chunk, choice, delta; /* of the event at hand: too large for a task's stack */
    unsigned made_ids;
    bool has_started, has_id, is_over, is_whole;
};

struct llm_decoder *chat_decoder_new(struct arena *arena, const struct llm_codec_settings *settings)
{
    struct llm_decoder *d = ARENA_NEW(arena, struct llm_decoder);
    if (d != NULL) {
        d->settings = settings;
        d->arena = arena;
    }
    return d;
}

static struct json_value member(struct str object, const char *path)
{
    struct json_value value;
    return json_find(object, path, &value) ? value : (struct json_value){JSON_NONE, STR_EMPTY};
}

static void read_members(struct members *members, struct str object)
{
    struct json_cursor cursor;
    members->object = object;
    members->count = 0;
    members->is_all = true;
    json_cursor_init(&cursor, object);
    while (members->is_all && json_iter_object(&cursor, &members->list[members->count].key,
                                               &members->list[members->count].value) == 1)
        members->is_all = ++members->count < MEMBERS_MAX;
}

static struct json_value of(const struct members *members, const char *name)
{
    for (unsigned i = 0; i < members->count; i++)
        if (json_string_eq(members->list[i].key, str_c(name)))
            return members->list[i].value;
    return members->is_all ? (struct json_value){JSON_NONE, STR_EMPTY}
                           : member(members->object, name);
}

/* --- blocks --- */

static int put_at(struct llm_sink *sink, enum llm_event_kind kind, const struct choice *c,
                  unsigned block)
{
    struct llm_event event = llm_event_make(kind);
    event.choice = c->index;
    event.block = block;
    return llm_sink_put(sink, &event);
}

static int close_block(struct choice *c, struct llm_sink *sink)
{
    if (c->open == NO_BLOCK)
        return 0;
    unsigned block = (unsigned)c->open;
    c->open = NO_BLOCK;
    return put_at(sink, EVENT_BLOCK_STOP, c, block);
}

static int open_block(struct choice *c, enum llm_block_kind kind, bool is_redacted,
                      struct text media_type, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    if (c->open != NO_BLOCK && c->kind == kind && !is_redacted)
        return 0;
    int r = close_block(c, sink);
    if (r < 0)
        return r;
    event.choice = c->index;
    event.block = c->blocks;
    event.block_kind = kind;
    event.is_redacted = is_redacted;
    event.media_type = media_type;
    c->open = (int)c->blocks++;
    c->kind = kind;
    return llm_sink_put(sink, &event);
}

static int put_delta(struct choice *c, struct llm_event *event, struct llm_sink *sink)
{
    event->choice = c->index;
    event->block = (unsigned)c->open;
    return llm_sink_put(sink, event);
}

static int put_text(struct choice *c, enum llm_block_kind kind, struct text text,
                    struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    if (text_is_empty(text))
        return 0;
    int r = open_block(c, kind, false, TEXT_NONE, sink);
    if (r < 0)
        return r;
    event.delta = DELTA_TEXT;
    event.text = text;
    return put_delta(c, &event, sink);
}

/* --- reasoning --- */

static int put_signature(struct llm_decoder *d, struct choice *c, struct str type,
                         struct str detail, struct text data, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    struct text format = {json_string_raw(member(detail, "format")), true};
    struct text id = {json_string_raw(member(detail, "id")), true};
    struct arena_mark mark = arena_mark(d->arena);
    bool is_redacted = str_eq(type, STR("encrypted"));
    int r = open_block(c, BLOCK_THINKING, is_redacted, TEXT_NONE, sink);
    event.delta = DELTA_SIGNATURE;
    event.signature.maker = DIALECT_OPENAI_CHAT;
    event.signature.data = chat_signature_pack(d->arena, type, format, id, data);
    if (r == 0 && !text_is_some(event.signature.data))
        r = chat_no_memory();
    if (r == 0)
        r = put_delta(c, &event, sink);
    arena_rewind(d->arena, mark);
    return r == 0 ? close_block(c, sink) : r;
}

static int read_details(struct llm_decoder *d, struct choice *c, struct str details,
                        struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value item;
    int r = 0;
    json_cursor_init(&cursor, details);
    while (r == 0 && json_iter_array(&cursor, &item) == 1) {
        struct str type = json_string_raw(member(item.text, "type"));
        if (str_eq(type, STR("reasoning.encrypted"))) {
            struct text data = text_of(member(item.text, "data"));
            if (!text_is_empty(data))
                r = put_signature(d, c, STR("encrypted"), item.text, data, sink);
            continue;
        }
        bool is_summary = str_eq(type, STR("reasoning.summary"));
        struct text text = text_of(member(item.text, is_summary ? "summary" : "text"));
        struct text signature = text_of(member(item.text, "signature"));
        c->has_details_text = c->has_details_text || !text_is_empty(text);
        r = put_text(c, BLOCK_THINKING, text, sink);
        if (r == 0 && !text_is_empty(signature))
            r = put_signature(d, c, is_summary ? STR("summary") : STR("text"), item.text, signature,
                              sink);
    }
    return r;
}

static int read_reasoning(struct llm_decoder *d, struct choice *c, const struct members *delta,
                          struct llm_sink *sink)
{
    struct json_value details = of(delta, "reasoning_details");
    struct text text = text_of(of(delta, "reasoning_content"));
    struct json_cursor cursor;
    struct json_value item;
    bool has_text = false;
    if (text_is_empty(text))
        text = text_of(of(delta, "reasoning"));
    if (details.kind != JSON_ARRAY)
        return put_text(c, BLOCK_THINKING, text, sink);
    json_cursor_init(&cursor, details.text);
    while (json_iter_array(&cursor, &item) == 1)
        has_text = has_text || !text_is_empty(text_of(member(item.text, "text"))) ||
                   !text_is_empty(text_of(member(item.text, "summary")));
    int r = has_text ? 0 : put_text(c, BLOCK_THINKING, text, sink);
    return r == 0 ? read_details(d, c, details.text, sink) : r;
}

/* --- content --- */

static int read_thinking_part(struct choice *c, struct json_value value, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value item;
    int r = 0;
    if (value.kind == JSON_STRING)
        return put_text(c, BLOCK_THINKING, text_of(value), sink);
    if (value.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, value.text);
    while (r == 0 && json_iter_array(&cursor, &item) == 1)
        r = put_text(c, BLOCK_THINKING, text_of(member(item.text, "text")), sink);
    return r;
}

static int put_image(struct choice *c, struct text url, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    ptrdiff_t comma = str_index(url.s, ',');
    ptrdiff_t semicolon = str_index(url.s, ';');
    if (!str_starts(url.s, STR("data:")) || comma < 0 || semicolon < 5 || semicolon > comma)
        return 0; /* a link to a picture has no place in an answer */
    struct text type = {str_skip(str_head(url.s, (size_t)semicolon), 5), url.is_escaped};
    int r = close_block(c, sink);
    if (r == 0)
        r = open_block(c, BLOCK_IMAGE, false, type, sink);
    event.delta = DELTA_MEDIA;
    event.text = (struct text){str_skip(url.s, (size_t)comma + 1), url.is_escaped};
    if (r == 0)
        r = put_delta(c, &event, sink);
    return r == 0 ? close_block(c, sink) : r;
}

static int read_content(struct choice *c, struct json_value content, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value part;
    int r = 0;
    if (content.kind == JSON_STRING)
        return put_text(c, BLOCK_TEXT, text_of(content), sink);
    if (content.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, content.text);
    while (r == 0 && json_iter_array(&cursor, &part) == 1) {
        struct str type = json_string_raw(member(part.text, "type"));
        if (str_eq(type, STR("thinking")))
            r = read_thinking_part(c, member(part.text, "thinking"), sink);
        else if (str_eq(type, STR("text")))
            r = put_text(c, BLOCK_TEXT, text_of(member(part.text, "text")), sink);
        else if (str_eq(type, STR("refusal")))
            r = put_text(c, BLOCK_REFUSAL, text_of(member(part.text, "refusal")), sink);
        else if (str_eq(type, STR("image_url")))
            r = put_image(c, text_of(member(part.text, "image_url.url")), sink);
    }
    return r;
}

static int read_images(struct choice *c, struct json_value images, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value item;
    int r = 0;
    if (images.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, images.text);
    while (r == 0 && json_iter_array(&cursor, &item) == 1)
        r = put_image(c, text_of(member(item.text, "image_url.url")), sink);
    return r;
}

static int read_audio(struct choice *c, struct json_value audio, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    if (audio.kind != JSON_OBJECT)
        return 0;
    struct text data = text_of(member(audio.text, "data"));
    int r = put_text(c, BLOCK_TEXT, text_of(member(audio.text, "transcript")), sink);
    if (r < 0 || text_is_empty(data))
        return r;
    r = open_block(c, BLOCK_AUDIO, false, TEXT_NONE, sink);
    event.delta = DELTA_MEDIA;
    event.text = data;
    return r == 0 ? put_delta(c, &event, sink) : r;
}

static int put_citation(struct choice *c, struct str source, struct str raw, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    struct llm_citation citation = {
        .start = -1, .end = -1, .document = -1, .raw = raw, .maker = DIALECT_OPENAI_CHAT};
    citation.url = text_of(member(source, "url"));
    citation.title = text_of(member(source, "title"));
    citation.cited_text = text_of(member(source, "content"));
    (void)json_number_i64(member(source, "start_index"), &citation.start);
    (void)json_number_i64(member(source, "end_index"), &citation.end);
    if (!text_is_some(citation.url))
        return 0;
    int r = open_block(c, BLOCK_TEXT, false, TEXT_NONE, sink);
    event.delta = DELTA_CITATION;
    event.citation = &citation;
    return r == 0 ? put_delta(c, &event, sink) : r;
}

/* Annotations, or Perplexity's search results. */
static int read_citations(struct choice *c, struct json_value list, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value item;
    int r = 0;
    if (list.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, list.text);
    while (r == 0 && json_iter_array(&cursor, &item) == 1) {
        struct json_value inner = member(item.text, "url_citation");
        if (item.kind == JSON_OBJECT)
            r = put_citation(c, inner.kind == JSON_OBJECT ? inner.text : item.text, item.text,
                             sink);
    }
    return r;
}

/* --- calls --- */

static struct call *find_call(struct choice *c, int64_t index, struct text id, bool is_legacy)
{
    for (struct call *call = c->calls; call != NULL; call = call->next) {
        bool same_id = text_is_empty(id) || str_eq(call->id.s, id.s);
        if (is_legacy || call->is_legacy) {
            if (is_legacy && call->is_legacy)
                return call;
        } else if (index >= 0 ? call->index == index && same_id
                              : !text_is_empty(id) && str_eq(call->id.s, id.s)) {
            return call;
        }
    }
    /* Neither place nor id: it goes on with the last one. */
    return index < 0 && text_is_empty(id) && !is_legacy ? c->last_call : NULL;
}

static int begin_call(struct llm_decoder *d, struct choice *c, int64_t index, struct text id,
                      struct text name, bool is_legacy, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    if (c->call_count == CALLS_MAX)
        return err_set(ERR_LIMIT, FAULT_UPSTREAM, "an answer has more than %d tool calls",
                       CALLS_MAX);
    struct call *call = ARENA_NEW(d->arena, struct call);
    if (call == NULL)
        return chat_no_memory();
    call->id = text_is_empty(id)
                   ? text_plain(arena_printf(d->arena, "call_%.*s_%u",
                                             STR_ARG(d->settings->request_id), d->made_ids++))
                   : text_dup(d->arena, id);
    if (!text_is_some(call->id))
        return chat_no_memory();
    call->index = index;
    call->is_legacy = is_legacy;
    call->block = c->blocks++;
    if (c->last_call != NULL)
        c->last_call->next = call;
    else
        c->calls = call;
    c->last_call = call;
    c->call_count++;
    event.choice = c->index;
    event.block = call->block;
    event.block_kind = BLOCK_TOOL_CALL;
    event.id = call->id;
    event.name = name;
    return llm_sink_put(sink, &event);
}

static int put_arguments(struct choice *c, const struct call *call, struct text text,
                         struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    if (text_is_empty(text))
        return 0;
    event.choice = c->index;
    event.block = call->block;
    event.delta = DELTA_ARGUMENTS;
    event.text = text;
    return llm_sink_put(sink, &event);
}

static int read_function(struct llm_decoder *d, struct choice *c, struct str function,
                         int64_t index, struct text id, bool is_legacy, struct llm_sink *sink)
{
    struct text name = text_of(member(function, "name"));
    struct json_value arguments = member(function, "arguments");
    struct call *call = find_call(c, index, id, is_legacy);
    int r = close_block(c, sink);
    if (r == 0 && call == NULL) {
        r = begin_call(d, c, index, id, name, is_legacy, sink);
        call = c->last_call;
    }
    if (r < 0 || call == NULL)
        return r;
    return put_arguments(
        c, call, arguments.kind == JSON_OBJECT ? text_plain(arguments.text) : text_of(arguments),
        sink);
}

/* Free text instead of arguments: {"input": "..."}; only told whole. */
static int read_custom(struct llm_decoder *d, struct choice *c, struct str custom, int64_t index,
                       struct text id, struct llm_sink *sink)
{
    struct json_value input = member(custom, "input");
    int r = close_block(c, sink);
    if (r == 0)
        r = begin_call(d, c, index, id, text_of(member(custom, "name")), false, sink);
    struct arena_mark mark = arena_mark(d->arena);
    struct str parts[] = {STR("{\"input\":"), input.kind == JSON_STRING ? input.text : STR("\"\""),
                          STR("}")};
    struct str arguments = arena_concat(d->arena, parts, ARRAY_LEN(parts));
    if (r == 0 && arguments.ptr == NULL)
        r = chat_no_memory();
    if (r == 0)
        r = put_arguments(c, c->last_call, text_plain(arguments), sink);
    arena_rewind(d->arena, mark);
    return r;
}

static int read_calls(struct llm_decoder *d, struct choice *c, struct json_value calls,
                      struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value item;
    int r = 0;
    if (calls.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, calls.text);
    while (r == 0 && json_iter_array(&cursor, &item) == 1) {
        int64_t index = -1;
        struct text id = text_of(member(item.text, "id"));
        struct json_value custom = member(item.text, "custom");
        (void)json_number_i64(member(item.text, "index"), &index);
        if (text_eq(id, STR("null"))) /* Mistral */
            id = TEXT_NONE;
        r = custom.kind == JSON_OBJECT
                ? read_custom(d, c, custom.text, index, id, sink)
                : read_function(d, c, member(item.text, "function").text, index, id, false, sink);
    }
    return r;
}

/* --- choices --- */

static struct choice *choice_at(struct llm_decoder *d, int64_t index)
{
    struct choice **link = &d->choices;
    if (index < 0 || index >= CHOICES_MAX)
        index = 0;
    while (*link != NULL && (*link)->index != (unsigned)index)
        link = &(*link)->next;
    if (*link == NULL) {
        *link = ARENA_NEW(d->arena, struct choice);
        if (*link != NULL) {
            (*link)->index = (unsigned)index;
            (*link)->open = NO_BLOCK;
        }
    }
    return *link;
}

static int read_delta(struct llm_decoder *d, struct choice *c, struct str object,
                      struct llm_sink *sink)
{
    const struct members *delta = &d->delta;
    read_members(&d->delta, object);
    struct json_value function = of(delta, "function_call");
    struct text refusal = text_of(of(delta, "refusal"));
    int r = read_reasoning(d, c, delta, sink);
    if (r == 0)
        r = read_content(c, of(delta, "content"), sink);
    if (r == 0)
        r = read_citations(c, of(delta, "annotations"), sink);
    if (r == 0)
        r = read_images(c, of(delta, "images"), sink);
    if (r == 0)
        r = read_audio(c, of(delta, "audio"), sink);
    if (r == 0 && !text_is_empty(refusal)) {
        c->has_refusal = true;
        r = put_text(c, BLOCK_REFUSAL, refusal, sink);
    }
    if (r == 0)
        r = read_calls(d, c, of(delta, "tool_calls"), sink);
    if (r == 0 && function.kind == JSON_OBJECT)
        r = read_function(d, c, function.text, -1, TEXT_NONE, true, sink);
    return r;
}

static int read_logprobs(struct choice *c, struct json_value logprobs, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    struct json_value tokens = {JSON_NONE, STR_EMPTY};
    if (logprobs.kind == JSON_OBJECT)
        tokens = member(logprobs.text, "content");
    if (tokens.kind != JSON_ARRAY || tokens.text.len <= 2)
        return 0;
    int r = c->open == NO_BLOCK ? open_block(c, BLOCK_TEXT, false, TEXT_NONE, sink) : 0;
    event.delta = DELTA_LOGPROBS;
    event.raw = tokens.text;
    return r == 0 ? put_delta(c, &event, sink) : r;
}

static const struct {
    const char *name;
    enum llm_finish finish;
} finishes[] = {
    {"stop", FINISH_STOP},
    {"length", FINISH_LENGTH},
    {"model_length", FINISH_CONTEXT}, /* Mistral */
    {"tool_calls", FINISH_TOOL_CALLS},
    {"function_call", FINISH_TOOL_CALLS},
    {"content_filter", FINISH_CONTENT_FILTER},
    {"sensitive", FINISH_CONTENT_FILTER}, /* Z.ai */
    {"eos", FINISH_STOP},                 /* Together */
    {"end_turn", FINISH_STOP},
};

static void read_finish(struct choice *c, struct json_value value)
{
    struct str name = json_string_raw(value);
    if (name.len == 0)
        return;
    c->has_finish = true;
    c->finish = FINISH_OTHER;
    for (size_t i = 0; i < ARRAY_LEN(finishes); i++) {
        if (str_eq(name, str_c(finishes[i].name)))
            c->finish = finishes[i].finish;
    }
    name = str_head(name, MIN(name.len, sizeof(c->raw_finish) - 1));
    memcpy(c->raw_finish, name.ptr, name.len);
    c->raw_finish[name.len] = '\0';
}

static int read_choice(struct llm_decoder *d, struct str text, struct llm_sink *sink)
{
    const struct members *object = &d->choice;
    read_members(&d->choice, text);
    int64_t index = 0;
    struct json_value delta = of(object, d->is_whole ? "message" : "delta");
    (void)json_number_i64(of(object, "index"), &index);
    struct choice *c = choice_at(d, index);
    if (c == NULL)
        return chat_no_memory();
    if (delta.kind != JSON_OBJECT) /* a whole answer as one event, or the other way round */
        delta = of(object, d->is_whole ? "delta" : "message");
    int r = delta.kind == JSON_OBJECT ? read_delta(d, c, delta.text, sink)
                                      : put_text(c, BLOCK_TEXT, text_of(of(object, "text")), sink);
    if (r == 0)
        r = read_logprobs(c, of(object, "logprobs"), sink);
    read_finish(c, of(object, "finish_reason"));
    return r;
}

/* --- events --- */

static int put_error(struct llm_decoder *d, struct str document, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    d->is_over = true;
    if (!chat_read_error(0, STR_EMPTY, document, &event.error)) {
        event.error = LLM_ERROR_NONE;
        event.error.message = TEXT_LIT("The provider ended the answer with an error");
    }
    return llm_sink_put(sink, &event);
}

static int start(struct llm_decoder *d, const struct members *chunk, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_START);
    event.id = text_of(of(chunk, "id"));
    event.model = text_of(of(chunk, "model"));
    event.service_tier = text_of(of(chunk, "service_tier"));
    /* Azure's first chunk is without an id. */
    if (d->has_started && (d->has_id || text_is_empty(event.id)))
        return 0;
    d->has_started = true;
    d->has_id = !text_is_empty(event.id);
    if (!d->has_id)
        event.id = TEXT_NONE;
    if (text_is_empty(event.model))
        event.model = TEXT_NONE;
    (void)json_number_i64(of(chunk, "created"), &event.created_s);
    return llm_sink_put(sink, &event);
}

static int read_usage(struct llm_decoder *d, const struct members *chunk, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_USAGE);
    struct json_value usage = of(chunk, "usage");
    (void)d;
    if (usage.kind != JSON_OBJECT)
        usage = member(of(chunk, "x_groq").text, "usage");
    if (usage.kind != JSON_OBJECT)
        return 0;
    chat_usage_read(usage.text, &event.usage);
    return llm_sink_put(sink, &event);
}

/* What stands instead of an answer, or in the middle of one. */
static bool is_error(struct str chunk, struct str first_choice)
{
    struct openai_error error;
    struct str finish = json_string_raw(member(first_choice, "finish_reason"));
    return openai_error_read(chunk, &error) || member(first_choice, "error").kind == JSON_OBJECT ||
           str_eq(finish, STR("error"));
}

static int read_chunk(struct llm_decoder *d, struct str text, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value choice = {JSON_NONE, STR_EMPTY};
    const struct members *chunk = &d->chunk;
    read_members(&d->chunk, text);
    struct json_value choices = of(chunk, "choices");
    if (choices.kind == JSON_ARRAY) {
        json_cursor_init(&cursor, choices.text);
        (void)json_iter_array(&cursor, &choice);
    }
    if (is_error(text, choice.text)) {
        bool is_inside = member(choice.text, "error").kind == JSON_OBJECT &&
                         of(chunk, "error").kind != JSON_OBJECT;
        return put_error(d, is_inside ? choice.text : text, sink);
    }
    int r = start(d, chunk, sink);
    if (r == 0 && choices.kind == JSON_ARRAY) {
        json_cursor_init(&cursor, choices.text);
        while (r == 0 && json_iter_array(&cursor, &choice) == 1)
            r = read_choice(d, choice.text, sink);
    }
    /* Perplexity tells its sources with every chunk. */
    bool is_last = d->choices != NULL && d->choices->has_finish;
    if (r == 0 && is_last && d->choices->open != NO_BLOCK)
        r = read_citations(d->choices, of(chunk, "search_results"), sink);
    return r == 0 ? read_usage(d, chunk, sink) : r;
}

static int finish_choice(struct choice *c, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_FINISH);
    int r = close_block(c, sink);
    for (const struct call *call = c->calls; r == 0 && call != NULL; call = call->next)
        r = put_at(sink, EVENT_BLOCK_STOP, c, call->block);
    if (r < 0)
        return r;
    event.choice = c->index;
    event.finish = c->has_finish ? c->finish : FINISH_STOP;
    /* Some say "stop" to calls, and OpenAI says it to a call that was demanded by name. */
    if (c->calls != NULL && event.finish == FINISH_STOP)
        event.finish = FINISH_TOOL_CALLS;
    if (c->has_refusal && event.finish == FINISH_STOP)
        event.finish = FINISH_REFUSAL;
    event.raw_finish = c->has_finish ? text_plain(str_c(c->raw_finish)) : TEXT_NONE;
    return llm_sink_put(sink, &event);
}

static int finish_all(struct llm_decoder *d, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DONE);
    int r = 0;
    for (struct choice *c = d->choices; r == 0 && c != NULL; c = c->next)
        r = finish_choice(c, sink);
    d->is_over = true;
    return r == 0 ? llm_sink_put(sink, &event) : r;
}

int chat_decode(struct llm_decoder *d, struct str type, struct str data, struct llm_sink *sink)
{
    struct json_scan scan;
    if (d->is_over)
        return 0;
    data = str_trim(data);
    if (str_eq(data, STR("[DONE]")))
        return d->choices != NULL ? finish_all(d, sink) : 0;
    if (data.len == 0)
        return 0;
    if (json_scan_object(data, JSON_DEPTH_DEFAULT, NULL, 0, &scan) < 0)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "an event of the stream is no JSON object");
    if (str_eq(type, STR("error")))
        return put_error(d, data, sink);
    return read_chunk(d, data, sink);
}

int chat_decode_end(struct llm_decoder *d, struct llm_sink *sink)
{
    bool is_whole = d->choices != NULL;
    if (d->is_over)
        return 0;
    for (const struct choice *c = d->choices; c != NULL; c = c->next)
        is_whole = is_whole && c->has_finish;
    if (!is_whole)
        return err_set(ERR_RESET, FAULT_UPSTREAM, "the stream ended before the answer was whole");
    return finish_all(d, sink);
}

int chat_decode_whole(struct llm_decoder *d, struct str body, struct llm_sink *sink)
{
    struct json_scan scan;
    if (json_scan_object(body, JSON_DEPTH_DEFAULT, NULL, 0, &scan) < 0)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the answer is no JSON object");
    d->is_whole = true;
    int r = read_chunk(d, body, sink);
    if (r < 0 || d->is_over)
        return r;
    if (d->choices == NULL)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the answer has no choices");
    return finish_all(d, sink);
}
