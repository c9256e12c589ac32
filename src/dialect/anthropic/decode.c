#include "base/err.h"
#include "dialect/anthropic/codec.h"
#include "dialect/bedrock/error.h"

enum { OPAQUE_BYTES_MAX = 16 * 1024 * 1024 };

/* Blocks come one after the other. What only this dialect knows (the provider's own tools) is put
 * together and given whole when it ends. */
struct anthropic_decoder {
    struct arena *arena;
    struct token_usage usage;
    unsigned next_block;
    enum llm_block_kind kind; /* of the open block */
    bool is_open;
    bool has_arguments;
    struct buf block;  /* OPAQUE: as it began; a call: the input it began with */
    struct buf pieces; /* OPAQUE: its input */
    struct buf more;   /* OPAQUE: members that came later */
    bool has_begun, has_finished, is_over;
};

static void give_back(void *arg)
{
    struct anthropic_decoder *d = arg;
    buf_fini(&d->block);
    buf_fini(&d->pieces);
    buf_fini(&d->more);
}

struct llm_decoder *anthropic_decoder_new(struct arena *arena,
                                          const struct llm_codec_settings *settings)
{
    struct anthropic_decoder *d = ARENA_NEW(arena, struct anthropic_decoder);
    (void)settings;
    if (d == NULL || !arena_defer(arena, give_back, d))
        return NULL;
    d->arena = arena;
    d->usage = TOKEN_USAGE_NONE;
    d->block.limit = d->pieces.limit = d->more.limit = OPAQUE_BYTES_MAX;
    return (struct llm_decoder *)(void *)d;
}

static struct anthropic_decoder *own(struct llm_decoder *decoder)
{
    return (struct anthropic_decoder *)(void *)decoder;
}

/* --- members --- */

struct wanted {
    const char *name;
    struct json_value *value;
};

/* The named members of an object; JSON_NONE for those that are not there or null. */
static int members_of(struct str object, const struct wanted *wanted, size_t count)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    int r;
    for (size_t i = 0; i < count; i++)
        *wanted[i].value = (struct json_value){JSON_NONE, STR_EMPTY};
    json_cursor_init(&cursor, object);
    while ((r = json_iter_object(&cursor, &key, &value)) == 1) {
        for (size_t i = 0; i < count && value.kind != JSON_NULL; i++) {
            if (json_string_eq(key, str_c(wanted[i].name)))
                *wanted[i].value = value;
        }
    }
    return r < 0 ? err_set(ERR_INVALID, FAULT_UPSTREAM, "what the provider sent is no JSON object")
                 : 0;
}

/* --- events --- */

static struct llm_event block_event(const struct anthropic_decoder *d, enum llm_event_kind kind)
{
    struct llm_event event = llm_event_make(kind);
    event.block = d->next_block;
    event.block_kind = d->kind;
    return event;
}

static int put_text(struct anthropic_decoder *d, enum llm_delta_kind delta, struct text text,
                    struct llm_sink *sink)
{
    struct llm_event event = block_event(d, EVENT_DELTA);
    event.delta = delta;
    event.text = text;
    return text_is_empty(text) ? 0 : llm_sink_put(sink, &event);
}

static int put_signature(struct anthropic_decoder *d, struct text data, struct llm_sink *sink)
{
    struct llm_event event = block_event(d, EVENT_DELTA);
    event.delta = DELTA_SIGNATURE;
    event.signature = (struct llm_signature){data, DIALECT_ANTHROPIC};
    return text_is_empty(data) ? 0 : llm_sink_put(sink, &event);
}

static int put_citation(struct anthropic_decoder *d, struct json_value value, struct llm_sink *sink)
{
    struct llm_event event = block_event(d, EVENT_DELTA);
    struct llm_citation citation = anthropic_read_citation(value);
    event.delta = DELTA_CITATION;
    event.citation = &citation;
    return value.kind == JSON_OBJECT ? llm_sink_put(sink, &event) : 0;
}

static int put_usage(struct anthropic_decoder *d, struct json_value usage, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_USAGE);
    struct json_value tier;
    if (usage.kind != JSON_OBJECT)
        return 0;
    anthropic_usage_read(usage.text, &d->usage);
    event.usage = d->usage;
    if (json_find(usage.text, "service_tier", &tier))
        event.service_tier = text_of(tier);
    return llm_sink_put(sink, &event);
}

static int put_error(struct anthropic_decoder *d, struct json_value error, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    d->is_over = true;
    anthropic_error_value(error, &event.error);
    if (event.error.status == 0)
        event.error.status = llm_error_status_of_kind(event.error.kind);
    return llm_sink_put(sink, &event);
}

/* --- blocks --- */

/* A member of the opaque block that comes later takes the place of the one that it began with. */
static bool comes_later(const struct anthropic_decoder *d, struct str key)
{
    struct json_cursor cursor;
    struct str name;
    struct json_value value;
    bool found = false;
    struct buf object = BUF_INIT;
    BUF_LIT(&object, "{");
    buf_add_str(&object, buf_str(&d->more));
    BUF_LIT(&object, "}");
    json_cursor_init(&cursor, buf_str(&object));
    while (!found && json_iter_object(&cursor, &name, &value) == 1)
        found = str_eq(name, key);
    buf_fini(&object);
    return found;
}

static void write_opaque(const struct anthropic_decoder *d, struct buf *out)
{
    struct json_cursor cursor;
    struct str key, input = buf_str(&d->pieces);
    struct json_value value;
    struct json_scan scan;
    if (d->pieces.len == 0 && d->more.len == 0) {
        buf_add_str(out, buf_str(&d->block));
        return;
    }
    bool is_object =
        input.len > 0 && json_scan_object(input, JSON_DEPTH_DEFAULT, NULL, 0, &scan) == 0;
    buf_add_char(out, '{');
    json_cursor_init(&cursor, buf_str(&d->block));
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (comes_later(d, key))
            continue;
        anthropic_comma(out);
        text_write(out, (struct text){key, true});
        buf_add_char(out, ':');
        buf_add_str(out, is_object && json_string_eq(key, STR("input")) ? input : value.text);
    }
    if (d->more.len > 0) {
        anthropic_comma(out);
        buf_add_str(out, buf_str(&d->more));
    }
    buf_add_char(out, '}');
}

static int give_opaque(struct anthropic_decoder *d, struct llm_sink *sink)
{
    struct llm_event event = block_event(d, EVENT_BLOCK_START);
    struct buf raw = BUF_INIT;
    write_opaque(d, &raw);
    int r;
    if (buf_ok(&raw) && buf_ok(&d->block) && buf_ok(&d->pieces) && buf_ok(&d->more)) {
        event.raw = buf_str(&raw);
        event.maker = DIALECT_ANTHROPIC;
        r = llm_sink_put(sink, &event);
    } else {
        r = err_set(ERR_LIMIT, FAULT_UPSTREAM, "a tool's result in the answer is too large");
    }
    buf_fini(&raw);
    return r;
}

static int close_block(struct anthropic_decoder *d, struct llm_sink *sink)
{
    int r = 0;
    if (!d->is_open)
        return 0;
    d->is_open = false;
    if (d->kind == BLOCK_OPAQUE)
        r = give_opaque(d, sink);
    else if (d->kind == BLOCK_TOOL_CALL && !d->has_arguments && d->block.len > 0)
        r = put_text(d, DELTA_ARGUMENTS, text_plain(buf_str(&d->block)), sink);
    struct llm_event event = block_event(d, EVENT_BLOCK_STOP);
    if (r == 0)
        r = llm_sink_put(sink, &event);
    d->next_block++;
    return r;
}

static int open_block(struct anthropic_decoder *d, struct llm_event *start, struct llm_sink *sink)
{
    d->is_open = true;
    d->has_arguments = false;
    d->kind = start->block_kind;
    start->block = d->next_block;
    buf_clear(&d->block);
    buf_clear(&d->pieces);
    buf_clear(&d->more);
    return d->kind == BLOCK_OPAQUE ? 0 : llm_sink_put(sink, start);
}

struct block_members {
    struct json_value type, text, thinking, signature, data, id, name, input, citations;
};

static int read_citations(struct anthropic_decoder *d, struct json_value list,
                          struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value item;
    int r = 0;
    json_cursor_init(&cursor, list.text);
    while (r == 0 && list.kind == JSON_ARRAY && json_iter_array(&cursor, &item) == 1)
        r = put_citation(d, item, sink);
    return r;
}

static int start_tool(struct anthropic_decoder *d, const struct block_members *m,
                      struct llm_sink *sink)
{
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    start.block_kind = BLOCK_TOOL_CALL;
    start.id = text_of(m->id);
    start.name = text_of(m->name);
    int r = open_block(d, &start, sink);
    /* The arguments come in pieces; some servers give them here, and none after. */
    json_cursor_init(&cursor, m->input.text);
    if (m->input.kind == JSON_OBJECT && json_iter_object(&cursor, &key, &value) == 1)
        buf_add_str(&d->block, m->input.text);
    return r;
}

/* A block as it begins in a stream, or as it stands in a whole answer. */
static int start_block(struct anthropic_decoder *d, struct json_value block, struct llm_sink *sink)
{
    struct block_members m;
    const struct wanted wanted[] = {
        {"type", &m.type},           {"text", &m.text},   {"thinking", &m.thinking},
        {"signature", &m.signature}, {"data", &m.data},   {"id", &m.id},
        {"name", &m.name},           {"input", &m.input}, {"citations", &m.citations},
    };
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    int r = close_block(d, sink);
    if (r == 0)
        r = members_of(block.text, wanted, ARRAY_LEN(wanted));
    if (r < 0)
        return r;
    struct text type = text_of(m.type);
    if (text_eq(type, STR("tool_use")))
        return start_tool(d, &m, sink);
    bool is_text = text_eq(type, STR("text"));
    start.is_redacted = text_eq(type, STR("redacted_thinking"));
    if (!is_text && !start.is_redacted && !text_eq(type, STR("thinking"))) {
        start.block_kind = BLOCK_OPAQUE;
        r = open_block(d, &start, sink);
        buf_add_str(&d->block, block.text);
        return r;
    }
    start.block_kind = is_text ? BLOCK_TEXT : BLOCK_THINKING;
    r = open_block(d, &start, sink);
    if (r == 0)
        r = put_text(d, DELTA_TEXT, text_of(is_text ? m.text : m.thinking), sink);
    if (r == 0 && is_text)
        return read_citations(d, m.citations, sink);
    return r == 0 ? put_signature(d, text_of(start.is_redacted ? m.data : m.signature), sink) : r;
}

/* --- deltas --- */

/* What comes to a block of the provider's own tools. */
static int opaque_delta(struct anthropic_decoder *d, struct json_value delta, struct text json)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    if (text_is_some(json))
        return text_append_plain(&d->pieces, json);
    json_cursor_init(&cursor, delta.text);
    buf_clear(&d->more);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (json_string_eq(key, STR("type")))
            continue;
        if (d->more.len > 0)
            buf_add_char(&d->more, ',');
        text_write(&d->more, (struct text){key, true});
        buf_add_char(&d->more, ':');
        buf_add_str(&d->more, value.text);
    }
    return 0;
}

static int read_delta(struct anthropic_decoder *d, struct json_value delta, struct llm_sink *sink)
{
    struct json_value type, text, thinking, signature, json, citation;
    const struct wanted wanted[] = {
        {"type", &type},           {"text", &text},         {"thinking", &thinking},
        {"signature", &signature}, {"partial_json", &json}, {"citation", &citation},
    };
    if (!d->is_open || delta.kind != JSON_OBJECT)
        return 0;
    int r = members_of(delta.text, wanted, ARRAY_LEN(wanted));
    if (r < 0)
        return r;
    if (d->kind == BLOCK_OPAQUE)
        return opaque_delta(d, delta, text_of(json));
    if (d->kind == BLOCK_TOOL_CALL) {
        struct text piece = text_of(json);
        d->has_arguments = d->has_arguments || !text_is_empty(piece);
        return put_text(d, DELTA_ARGUMENTS, piece, sink);
    }
    if (citation.kind == JSON_OBJECT)
        return put_citation(d, citation, sink);
    if (signature.kind == JSON_STRING)
        return d->kind == BLOCK_THINKING ? put_signature(d, text_of(signature), sink) : 0;
    return put_text(d, DELTA_TEXT, text_of(d->kind == BLOCK_THINKING ? thinking : text), sink);
}

/* --- the message --- */

static int start_answer(struct anthropic_decoder *d, struct json_value message,
                        struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_START);
    struct json_value id, model, usage = {JSON_NONE, STR_EMPTY};
    const struct wanted wanted[] = {{"id", &id}, {"model", &model}, {"usage", &usage}};
    if (d->has_begun)
        return 0;
    d->has_begun = true;
    if (message.kind == JSON_OBJECT) {
        int r = members_of(message.text, wanted, ARRAY_LEN(wanted));
        if (r < 0)
            return r;
        event.id = text_of(id);
        event.model = text_of(model);
    }
    int r = llm_sink_put(sink, &event);
    return r == 0 ? put_usage(d, usage, sink) : r;
}

static int put_finish(struct anthropic_decoder *d, struct text reason, struct text sequence,
                      struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_FINISH);
    int r = close_block(d, sink);
    if (r < 0 || d->has_finished)
        return r;
    d->has_finished = true;
    event.finish = anthropic_finish_of(reason);
    event.raw_finish = reason;
    event.stop_sequence = sequence;
    return llm_sink_put(sink, &event);
}

static int put_done(struct anthropic_decoder *d, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DONE);
    int r = d->has_finished ? 0 : put_finish(d, TEXT_NONE, TEXT_NONE, sink);
    d->is_over = true;
    return r == 0 ? llm_sink_put(sink, &event) : r;
}

static int read_message_delta(struct anthropic_decoder *d, struct json_value delta,
                              struct json_value usage, struct llm_sink *sink)
{
    struct json_value reason, sequence;
    const struct wanted wanted[] = {{"stop_reason", &reason}, {"stop_sequence", &sequence}};
    int r = put_usage(d, usage, sink);
    if (r < 0 || delta.kind != JSON_OBJECT)
        return r;
    r = members_of(delta.text, wanted, ARRAY_LEN(wanted));
    return r == 0 && reason.kind == JSON_STRING
               ? put_finish(d, text_of(reason), text_of(sequence), sink)
               : r;
}

static int put_ping(struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_PING);
    return llm_sink_put(sink, &event);
}

/* Bedrock's own frames among those of the model. */
static int put_exception(struct anthropic_decoder *d, struct str type, struct str data,
                         struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    d->is_over = true;
    (void)bedrock_error_read(0, type, data, &event.error);
    return llm_sink_put(sink, &event);
}

int anthropic_decode(struct llm_decoder *decoder, struct str type, struct str data,
                     struct llm_sink *sink)
{
    struct anthropic_decoder *d = own(decoder);
    struct json_value kind, message, block, delta, usage, error;
    const struct wanted wanted[] = {
        {"type", &kind},   {"message", &message}, {"content_block", &block},
        {"delta", &delta}, {"usage", &usage},     {"error", &error},
    };
    if (!d->is_over && str_ends(type, STR("Exception")))
        return put_exception(d, type, data, sink);
    /* OpenRouter ends with a word of another dialect. */
    if (d->is_over || str_eq(data, STR("[DONE]")))
        return 0;
    int r = members_of(data, wanted, ARRAY_LEN(wanted));
    if (r < 0)
        return r;
    struct text name = kind.kind == JSON_STRING ? text_of(kind) : text_plain(type);
    if (text_eq(name, STR("error")) || (error.kind == JSON_OBJECT && kind.kind == JSON_NONE))
        return put_error(d, error.kind != JSON_NONE ? error : message, sink);
    if (text_eq(name, STR("ping")))
        return put_ping(sink);
    if (text_eq(name, STR("message_start")))
        return start_answer(d, message, sink);
    bool is_known = text_eq(name, STR("content_block_start")) ||
                    text_eq(name, STR("content_block_delta")) ||
                    text_eq(name, STR("content_block_stop")) ||
                    text_eq(name, STR("message_delta")) || text_eq(name, STR("message_stop"));
    if (!is_known)
        return 0;
    r = start_answer(d, (struct json_value){JSON_NONE, STR_EMPTY}, sink);
    if (r < 0)
        return r;
    if (text_eq(name, STR("content_block_delta")))
        return read_delta(d, delta, sink);
    if (text_eq(name, STR("content_block_start")))
        return block.kind == JSON_OBJECT && !d->has_finished ? start_block(d, block, sink) : 0;
    if (text_eq(name, STR("content_block_stop")))
        return close_block(d, sink);
    return text_eq(name, STR("message_delta")) ? read_message_delta(d, delta, usage, sink)
                                               : put_done(d, sink);
}

int anthropic_decode_end(struct llm_decoder *decoder, struct llm_sink *sink)
{
    struct anthropic_decoder *d = own(decoder);
    if (d->is_over)
        return 0;
    if (d->has_finished)
        return put_done(d, sink);
    return err_set(ERR_RESET, FAULT_UPSTREAM, "the stream ended before the answer did");
}

int anthropic_decode_whole(struct llm_decoder *decoder, struct str body, struct llm_sink *sink)
{
    struct anthropic_decoder *d = own(decoder);
    struct json_value content, reason, sequence, error, item;
    const struct wanted wanted[] = {{"content", &content},
                                    {"stop_reason", &reason},
                                    {"stop_sequence", &sequence},
                                    {"error", &error}};
    struct json_cursor cursor;
    int r = members_of(body, wanted, ARRAY_LEN(wanted));
    if (r < 0)
        return r;
    if (content.kind != JSON_ARRAY && error.kind != JSON_NONE)
        return put_error(d, error, sink);
    if (content.kind != JSON_ARRAY)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the answer has no content");
    r = start_answer(d, (struct json_value){JSON_OBJECT, body}, sink);
    json_cursor_init(&cursor, content.text);
    while (r == 0 && (r = json_iter_array(&cursor, &item)) == 1)
        r = item.kind == JSON_OBJECT ? start_block(d, item, sink) : 0;
    if (r == 0)
        r = put_finish(d, text_of(reason), text_of(sequence), sink);
    return r == 0 ? put_done(d, sink) : r;
}
