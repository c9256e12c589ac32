#include "base/err.h"
#include "dialect/bedrock/citation.h"
#include "dialect/bedrock/error.h"
#include "dialect/bedrock/format.h"
#include "dialect/bedrock/member.h"
#include "dialect/bedrock/response.h"
#include "dialect/bedrock/usage.h"

enum { BUILTIN_BYTES_MAX = 16 * 1024 * 1024 };

/* Blocks come one after the other. Text and reasoning have no start of their own: their first delta
 * is it. Calls and results of tools that the provider runs are put together before they are given.
 */
struct bedrock_decoder {
    struct arena *arena;
    unsigned next_block;
    int64_t open_index; /* as the provider counts */
    enum llm_block_kind open_kind;
    bool is_open;
    bool is_builtin; /* what is open is put together in these two: */
    bool is_builtin_result;
    struct buf builtin, pieces;
    bool has_begun, has_finished, is_over;
};

static void give_back(void *arg)
{
    struct bedrock_decoder *d = arg;
    buf_fini(&d->builtin);
    buf_fini(&d->pieces);
}

struct llm_decoder *bedrock_decoder_new(struct arena *arena,
                                        const struct llm_codec_settings *settings)
{
    struct bedrock_decoder *d = ARENA_NEW(arena, struct bedrock_decoder);
    (void)settings;
    if (d == NULL || !arena_defer(arena, give_back, d))
        return NULL;
    d->arena = arena;
    d->builtin.limit = d->pieces.limit = BUILTIN_BYTES_MAX;
    return (struct llm_decoder *)(void *)d;
}

/* --- events --- */

static struct llm_event block_event(const struct bedrock_decoder *d, enum llm_event_kind kind)
{
    struct llm_event event = llm_event_make(kind);
    event.block = d->next_block;
    event.block_kind = d->open_kind;
    return event;
}

static int begin_answer(struct bedrock_decoder *d, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_START);
    if (d->has_begun)
        return 0;
    d->has_begun = true;
    return llm_sink_put(sink, &event);
}

static int give_builtin(struct bedrock_decoder *d, struct llm_sink *sink)
{
    if (d->is_builtin_result) {
        BUF_LIT(&d->builtin, ",\"content\":[");
        buf_add_str(&d->builtin, buf_str(&d->pieces));
        BUF_LIT(&d->builtin, "]}}");
    } else {
        struct json_scan scan;
        struct str input = buf_str(&d->pieces);
        bool is_object = json_scan_object(input, JSON_DEPTH_DEFAULT, NULL, 0, &scan) == 0;
        BUF_LIT(&d->builtin, ",\"input\":");
        buf_add_str(&d->builtin, is_object ? input : STR("{}"));
        BUF_LIT(&d->builtin, "}}");
    }
    if (!buf_ok(&d->builtin) || !buf_ok(&d->pieces))
        return err_set(ERR_LIMIT, FAULT_UPSTREAM, "a tool's result in the answer is too large");
    struct llm_event event = block_event(d, EVENT_BLOCK_START);
    event.raw = buf_str(&d->builtin);
    event.maker = DIALECT_BEDROCK;
    return llm_sink_put(sink, &event);
}

static int close_block(struct bedrock_decoder *d, struct llm_sink *sink)
{
    int r = 0;
    if (!d->is_open)
        return 0;
    d->is_open = false;
    if (d->is_builtin)
        r = give_builtin(d, sink);
    d->is_builtin = false;
    struct llm_event event = block_event(d, EVENT_BLOCK_STOP);
    if (r == 0)
        r = llm_sink_put(sink, &event);
    d->next_block++;
    return r;
}

/* Makes this the open block; `start` is its BLOCK_START but for kind and index. */
static int open_block(struct bedrock_decoder *d, int64_t index, struct llm_event *start,
                      struct llm_sink *sink)
{
    int r = begin_answer(d, sink);
    if (r == 0)
        r = close_block(d, sink);
    if (r < 0)
        return r;
    d->is_open = true;
    d->open_index = index;
    d->open_kind = start->block_kind;
    start->block = d->next_block;
    return d->is_builtin ? 0 : llm_sink_put(sink, start);
}

/* The block that a delta of this kind goes to. */
static int want_block(struct bedrock_decoder *d, int64_t index, enum llm_block_kind kind,
                      bool is_redacted, struct llm_sink *sink)
{
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    if (d->is_open && d->open_index == index && d->open_kind == kind && !d->is_builtin)
        return 0;
    start.block_kind = kind;
    start.is_redacted = is_redacted;
    return open_block(d, index, &start, sink);
}

static int put_text(struct bedrock_decoder *d, enum llm_delta_kind delta, struct text text,
                    struct llm_sink *sink)
{
    struct llm_event event = block_event(d, EVENT_DELTA);
    event.delta = delta;
    event.text = text;
    return text_is_empty(text) ? 0 : llm_sink_put(sink, &event);
}

static int put_signature(struct bedrock_decoder *d, struct text data, struct llm_sink *sink)
{
    struct llm_event event = block_event(d, EVENT_DELTA);
    event.delta = DELTA_SIGNATURE;
    event.signature = (struct llm_signature){data, DIALECT_BEDROCK};
    return text_is_empty(data) ? 0 : llm_sink_put(sink, &event);
}

static int put_citation(struct bedrock_decoder *d, struct json_value value, struct llm_sink *sink)
{
    struct llm_event event = block_event(d, EVENT_DELTA);
    struct llm_citation citation;
    bedrock_citation_read(d->arena, value, &citation);
    event.delta = DELTA_CITATION;
    event.citation = &citation;
    return llm_sink_put(sink, &event);
}

/* --- blocks --- */

static bool is_builtin(struct str key, struct json_value value)
{
    struct json_value type;
    if (json_string_eq(key, STR("toolResult")))
        return true;
    return json_find(value.text, "type", &type) && type.kind == JSON_STRING &&
           !json_string_eq(json_string_raw(type), STR("tool_use"));
}

/* Begins {"toolUse":{... with what its start has. */
static int start_builtin(struct bedrock_decoder *d, int64_t index, struct str key,
                         struct json_value value, struct llm_sink *sink)
{
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    start.block_kind = BLOCK_OPAQUE;
    int r = close_block(d, sink);
    if (r < 0)
        return r;
    d->is_builtin = true;
    d->is_builtin_result = json_string_eq(key, STR("toolResult"));
    buf_clear(&d->builtin);
    buf_clear(&d->pieces);
    BUF_LIT(&d->builtin, "{\"");
    buf_add_str(&d->builtin, key);
    BUF_LIT(&d->builtin, "\":");
    buf_add_str(&d->builtin, str_head(value.text, value.text.len - 1));
    return open_block(d, index, &start, sink);
}

static int read_block_start(struct bedrock_decoder *d, int64_t index, struct json_value object,
                            struct llm_sink *sink)
{
    struct str key;
    struct json_value value, member;
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    if (!bedrock_first_member(object, &key, &value) || value.kind != JSON_OBJECT)
        return 0;
    if (json_string_eq(key, STR("image"))) {
        start.block_kind = BLOCK_IMAGE;
        if (json_find(value.text, "format", &member))
            start.media_type = bedrock_type_of_format(d->arena, BLOCK_IMAGE, text_of(member));
        return open_block(d, index, &start, sink);
    }
    bool is_tool = json_string_eq(key, STR("toolUse")) || json_string_eq(key, STR("toolResult"));
    /* An object without members could not be added to. */
    if (!is_tool || !json_find(value.text, "toolUseId", &member))
        return 0;
    if (is_builtin(key, value))
        return start_builtin(d, index, key, value, sink);
    start.block_kind = BLOCK_TOOL_CALL;
    start.id = text_of(member);
    if (json_find(value.text, "name", &member))
        start.name = text_of(member);
    return open_block(d, index, &start, sink);
}

static int read_reasoning(struct bedrock_decoder *d, int64_t index, struct json_value object,
                          struct llm_sink *sink)
{
    struct str key;
    struct json_value value;
    if (!bedrock_first_member(object, &key, &value) || value.kind != JSON_STRING)
        return 0;
    bool is_redacted = json_string_eq(key, STR("redactedContent"));
    int r = want_block(d, index, BLOCK_THINKING, is_redacted, sink);
    if (r < 0)
        return r;
    if (is_redacted || json_string_eq(key, STR("signature")))
        return put_signature(d, text_of(value), sink);
    return put_text(d, DELTA_TEXT, text_of(value), sink);
}

static int read_tool_input(struct bedrock_decoder *d, struct json_value object,
                           struct llm_sink *sink)
{
    struct json_value input;
    /* Only a call has an input, whatever stands under the index that the delta names. */
    bool is_call = d->is_builtin ? !d->is_builtin_result : d->open_kind == BLOCK_TOOL_CALL;
    if (!is_call || object.kind != JSON_OBJECT || !json_find(object.text, "input", &input))
        return 0;
    if (!d->is_builtin)
        return put_text(d, DELTA_ARGUMENTS, text_of(input), sink);
    text_append_plain(&d->pieces, text_of(input));
    return 0;
}

/* A list of what the result has. */
static void add_result(struct bedrock_decoder *d, struct json_value list)
{
    struct json_cursor cursor;
    struct json_value item;
    json_cursor_init(&cursor, list.text);
    while (list.kind == JSON_ARRAY && json_iter_array(&cursor, &item) == 1) {
        if (d->pieces.len > 0)
            buf_add_char(&d->pieces, ',');
        buf_add_str(&d->pieces, item.text);
    }
}

static int read_delta(struct bedrock_decoder *d, int64_t index, struct json_value object,
                      struct llm_sink *sink)
{
    struct str key;
    struct json_value value, bytes;
    bool is_open = d->is_open && d->open_index == index;
    if (!bedrock_first_member(object, &key, &value))
        return 0;
    if (json_string_eq(key, STR("text"))) {
        int r = want_block(d, index, BLOCK_TEXT, false, sink);
        return r < 0 ? r : put_text(d, DELTA_TEXT, text_of(value), sink);
    }
    if (json_string_eq(key, STR("reasoningContent")))
        return read_reasoning(d, index, value, sink);
    if (json_string_eq(key, STR("citation"))) {
        int r = want_block(d, index, BLOCK_TEXT, false, sink);
        return r < 0 ? r : put_citation(d, value, sink);
    }
    if (json_string_eq(key, STR("toolUse")) && is_open)
        return read_tool_input(d, value, sink);
    if (json_string_eq(key, STR("toolResult")) && is_open && d->is_builtin_result)
        add_result(d, value);
    if (json_string_eq(key, STR("image")) && is_open && d->open_kind == BLOCK_IMAGE &&
        json_find(value.text, "source.bytes", &bytes))
        return put_text(d, DELTA_MEDIA, text_of(bytes), sink);
    return 0;
}

/* --- the end --- */

static int put_finish(struct bedrock_decoder *d, struct json_value reason,
                      struct json_value more_fields, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_FINISH);
    struct json_value stop;
    int r = begin_answer(d, sink);
    if (r == 0)
        r = close_block(d, sink);
    if (r < 0 || d->has_finished)
        return r;
    d->has_finished = true;
    event.raw_finish = text_of(reason);
    event.finish = bedrock_finish_of(event.raw_finish);
    if (more_fields.kind == JSON_OBJECT && json_find(more_fields.text, "stop_sequence", &stop))
        event.stop_sequence = text_of(stop);
    return llm_sink_put(sink, &event);
}

static int put_usage(struct json_value usage, struct json_value tier, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_USAGE);
    struct json_value type;
    if (usage.kind == JSON_OBJECT)
        bedrock_usage_read(usage.text, &event.usage);
    if (tier.kind == JSON_OBJECT && json_find(tier.text, "type", &type))
        event.service_tier = text_of(type);
    return llm_sink_put(sink, &event);
}

static int put_done(struct bedrock_decoder *d, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DONE);
    d->is_over = true;
    return llm_sink_put(sink, &event);
}

static int put_error(struct bedrock_decoder *d, struct str type, struct str data,
                     struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    d->is_over = true;
    bedrock_error_read(0, type, data, &event.error);
    return llm_sink_put(sink, &event);
}

/* --- a stream --- */

/* Members of all events; of each a few. */
struct members {
    struct json_value index, start, delta, reason, more_fields, usage, tier;
};

static int read_members(struct str data, struct members *members)
{
    const struct {
        struct str name;
        struct json_value *value;
    } places[] = {
        {STR("contentBlockIndex"), &members->index},
        {STR("start"), &members->start},
        {STR("delta"), &members->delta},
        {STR("stopReason"), &members->reason},
        {STR("additionalModelResponseFields"), &members->more_fields},
        {STR("usage"), &members->usage},
        {STR("serviceTier"), &members->tier},
    };
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    int r;
    json_cursor_init(&cursor, data);
    while ((r = json_iter_object(&cursor, &key, &value)) == 1) {
        for (size_t i = 0; i < ARRAY_LEN(places); i++) {
            if (json_string_eq(key, places[i].name))
                *places[i].value = value;
        }
    }
    if (r < 0)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "an event of the stream is not a JSON object");
    return 0;
}

static bool is_error_type(struct str type)
{
    return str_ends(type, STR("Exception")) || str_ends(type, STR("Error")) ||
           str_ends(type, STR("Failure"));
}

int bedrock_decode(struct llm_decoder *decoder, struct str type, struct str data,
                   struct llm_sink *sink)
{
    struct bedrock_decoder *d = (struct bedrock_decoder *)(void *)decoder;
    struct members m = {0};
    int64_t index;
    if (d->is_over)
        return 0;
    if (is_error_type(type))
        return put_error(d, type, data, sink);
    int r = read_members(data, &m);
    if (r < 0)
        return r;
    if (!json_number_i64(m.index, &index))
        index = 0;
    if (str_eq(type, STR("contentBlockDelta")))
        return read_delta(d, index, m.delta, sink);
    if (str_eq(type, STR("messageStart")))
        return begin_answer(d, sink);
    if (str_eq(type, STR("contentBlockStart")))
        return read_block_start(d, index, m.start, sink);
    if (str_eq(type, STR("contentBlockStop")))
        return d->open_index == index ? close_block(d, sink) : 0;
    if (str_eq(type, STR("messageStop")))
        return put_finish(d, m.reason, m.more_fields, sink);
    if (!str_eq(type, STR("metadata")))
        return 0;
    r = begin_answer(d, sink);
    if (r == 0)
        r = put_usage(m.usage, m.tier, sink);
    return r == 0 && d->has_finished ? put_done(d, sink) : r;
}

int bedrock_decode_end(struct llm_decoder *decoder, struct llm_sink *sink)
{
    struct bedrock_decoder *d = (struct bedrock_decoder *)(void *)decoder;
    if (d->is_over)
        return 0;
    if (d->has_finished)
        return put_done(d, sink);
    return err_set(ERR_RESET, FAULT_UPSTREAM, "the stream ended before the answer did");
}

/* --- a whole answer --- */

static int give_opaque(struct bedrock_decoder *d, int64_t index, struct str raw,
                       struct llm_sink *sink)
{
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    start.block_kind = BLOCK_OPAQUE;
    start.raw = raw;
    start.maker = DIALECT_BEDROCK;
    return open_block(d, index, &start, sink);
}

static int give_call(struct bedrock_decoder *d, int64_t index, struct json_value call,
                     struct llm_sink *sink)
{
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    struct json_value member;
    start.block_kind = BLOCK_TOOL_CALL;
    if (json_find(call.text, "toolUseId", &member))
        start.id = text_of(member);
    if (json_find(call.text, "name", &member))
        start.name = text_of(member);
    int r = open_block(d, index, &start, sink);
    if (r < 0 || !json_find(call.text, "input", &member) || member.kind == JSON_NULL)
        return r;
    return put_text(d, DELTA_ARGUMENTS, text_plain(member.text), sink);
}

static int give_reasoning(struct bedrock_decoder *d, int64_t index, struct json_value reasoning,
                          struct llm_sink *sink)
{
    struct json_value text, signature, redacted;
    bool is_redacted = json_find(reasoning.text, "redactedContent", &redacted);
    int r = want_block(d, index, BLOCK_THINKING, is_redacted, sink);
    if (r == 0 && is_redacted)
        return put_signature(d, text_of(redacted), sink);
    if (r == 0 && json_find(reasoning.text, "reasoningText.text", &text))
        r = put_text(d, DELTA_TEXT, text_of(text), sink);
    if (r == 0 && json_find(reasoning.text, "reasoningText.signature", &signature))
        r = put_signature(d, text_of(signature), sink);
    return r;
}

static int give_cited(struct bedrock_decoder *d, int64_t index, struct json_value cited,
                      struct llm_sink *sink)
{
    struct json_value list, item;
    struct json_cursor cursor;
    unsigned count;
    int r = want_block(d, index, BLOCK_TEXT, false, sink);
    if (r == 0 && json_find(cited.text, "content", &list))
        r = put_text(d, DELTA_TEXT, bedrock_texts_join(d->arena, list, STR_EMPTY, &count), sink);
    if (r < 0 || !json_find(cited.text, "citations", &list) || list.kind != JSON_ARRAY)
        return r;
    json_cursor_init(&cursor, list.text);
    while (r == 0 && json_iter_array(&cursor, &item) == 1)
        r = put_citation(d, item, sink);
    return r;
}

static int give_image(struct bedrock_decoder *d, int64_t index, struct json_value image,
                      struct llm_sink *sink)
{
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    struct json_value member;
    start.block_kind = BLOCK_IMAGE;
    if (json_find(image.text, "format", &member))
        start.media_type = bedrock_type_of_format(d->arena, BLOCK_IMAGE, text_of(member));
    int r = open_block(d, index, &start, sink);
    if (r == 0 && json_find(image.text, "source.bytes", &member))
        r = put_text(d, DELTA_MEDIA, text_of(member), sink);
    return r;
}

typedef int give_fn(struct bedrock_decoder *d, int64_t index, struct json_value value,
                    struct llm_sink *sink);

static int give_block(struct bedrock_decoder *d, int64_t index, struct json_value block,
                      struct llm_sink *sink)
{
    static const struct {
        struct str name;
        give_fn *give;
    } kinds[] = {
        {STR_INIT("reasoningContent"), give_reasoning},
        {STR_INIT("citationsContent"), give_cited},
        {STR_INIT("image"), give_image},
    };
    struct str key;
    struct json_value value;
    if (!bedrock_first_member(block, &key, &value))
        return 0;
    if (json_string_eq(key, STR("text")) && value.kind == JSON_STRING) {
        int r = want_block(d, index, BLOCK_TEXT, false, sink);
        return r < 0 ? r : put_text(d, DELTA_TEXT, text_of(value), sink);
    }
    if (value.kind != JSON_OBJECT)
        return 0;
    if (json_string_eq(key, STR("toolUse")) && !is_builtin(key, value))
        return give_call(d, index, value, sink);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (json_string_eq(key, kinds[i].name))
            return kinds[i].give(d, index, value, sink);
    }
    return give_opaque(d, index, block.text, sink);
}

static int give_message(struct bedrock_decoder *d, struct json_value content, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value block;
    int64_t index = 0;
    int r;
    json_cursor_init(&cursor, content.text);
    while ((r = json_iter_array(&cursor, &block)) == 1) {
        r = give_block(d, index++, block, sink);
        if (r == 0)
            r = close_block(d, sink);
        if (r < 0)
            return r;
    }
    return r;
}

int bedrock_decode_whole(struct llm_decoder *decoder, struct str body, struct llm_sink *sink)
{
    struct bedrock_decoder *d = (struct bedrock_decoder *)(void *)decoder;
    struct members m = {0};
    struct json_value content = {JSON_NONE, STR_EMPTY};
    int r = read_members(body, &m);
    if (r < 0)
        return r;
    bool has_content = json_find(body, "output.message.content", &content);
    if (!has_content && m.reason.kind == JSON_NONE)
        return put_error(d, STR_EMPTY, body, sink);
    r = begin_answer(d, sink);
    if (r == 0 && content.kind == JSON_ARRAY)
        r = give_message(d, content, sink);
    if (r == 0)
        r = put_finish(d, m.reason, m.more_fields, sink);
    if (r == 0)
        r = put_usage(m.usage, m.tier, sink);
    return r < 0 ? r : put_done(d, sink);
}
