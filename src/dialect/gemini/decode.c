#include "base/err.h"
#include "dialect/gemini/codec.h"
#include "dialect/gemini/logprobs.h"
#include "dialect/gemini/member.h"

/* Reads answers: one chunk of a stream has the same form as a whole answer. A candidate's block of
 * text or thoughts stays open from chunk to chunk until a part of another kind comes. */

enum { CANDIDATES_MAX = 128, REASON_MAX = 48 };

struct candidate {
    struct candidate *next;
    unsigned index;
    unsigned blocks; /* begun until now; the open one is the last */
    bool is_open;
    enum llm_block_kind kind; /* of the open one */
    bool has_signature;       /* the open one has got its */
    bool has_call;
    bool is_finished; /* a reason was told */
    bool is_over;     /* it was put */
    char reason[REASON_MAX];
    struct str logprobs; /* of the chunk that is being read; empty = none, or they were put */
};

struct llm_decoder {
    struct arena *arena;
    const struct llm_codec_settings *settings;
    struct candidate *candidates;
    unsigned calls;
    bool has_started, has_model, is_blocked, is_over;
    bool tells_usage; /* the chunk that is being read */
};

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
}

struct llm_decoder *gemini_decoder_new(struct arena *arena,
                                       const struct llm_codec_settings *settings)
{
    struct llm_decoder *decoder = ARENA_NEW(arena, struct llm_decoder);
    if (decoder != NULL) {
        decoder->arena = arena;
        decoder->settings = settings;
    }
    return decoder;
}

static struct text text_member(struct str object, const char *name)
{
    struct json_value value;
    return gemini_find(object, name, &value) ? text_of(value) : TEXT_NONE;
}

static bool object_member(struct str object, const char *name, struct json_value *value)
{
    return gemini_find(object, name, value) && value->kind == JSON_OBJECT;
}

/* --- events ---------------------------------------------------------------------------------- */

static struct llm_event event_of(enum llm_event_kind kind, const struct candidate *c)
{
    struct llm_event event = llm_event_make(kind);
    event.choice = c->index;
    event.block = c->blocks > 0 ? c->blocks - 1 : 0;
    return event;
}

static int close_block(struct candidate *c, struct llm_sink *sink)
{
    struct llm_event event = event_of(EVENT_BLOCK_STOP, c);
    if (!c->is_open)
        return 0;
    c->is_open = false;
    return llm_sink_put(sink, &event);
}

/* `event` tells what is particular about the block. */
static int open_block(struct candidate *c, enum llm_block_kind kind, struct llm_event *event,
                      struct llm_sink *sink)
{
    int r = close_block(c, sink);
    if (r < 0)
        return r;
    event->choice = c->index;
    event->block = c->blocks++;
    event->block_kind = kind;
    c->kind = kind;
    c->is_open = true;
    c->has_signature = false;
    return llm_sink_put(sink, event);
}

/* Opens a block of that kind where none is open. */
static int want_block(struct candidate *c, enum llm_block_kind kind, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    return c->is_open && c->kind == kind ? 0 : open_block(c, kind, &event, sink);
}

static int put_delta(const struct candidate *c, enum llm_delta_kind kind, struct text text,
                     struct llm_sink *sink)
{
    struct llm_event event = event_of(EVENT_DELTA, c);
    if (text_is_empty(text))
        return 0;
    event.delta = kind;
    event.text = text;
    return llm_sink_put(sink, &event);
}

static int put_signature(struct candidate *c, struct text data, struct llm_sink *sink)
{
    struct llm_event event = event_of(EVENT_DELTA, c);
    if (text_is_empty(data))
        return 0;
    event.delta = DELTA_SIGNATURE;
    event.signature = (struct llm_signature){data, DIALECT_GEMINI};
    c->has_signature = true;
    return llm_sink_put(sink, &event);
}

/* Where a block of text is open: they are of its words. */
static int put_logprobs(struct candidate *c, struct llm_sink *sink)
{
    struct llm_event event = event_of(EVENT_DELTA, c);
    struct buf tokens = BUF_INIT;
    int r = 0;
    if (c->logprobs.len == 0 || !c->is_open || c->kind != BLOCK_TEXT)
        return 0;
    gemini_read_logprobs(&tokens, c->logprobs);
    c->logprobs = STR_EMPTY;
    event.delta = DELTA_LOGPROBS;
    event.raw = buf_str(&tokens);
    if (!buf_ok(&tokens))
        r = no_memory();
    else if (tokens.len > 0)
        r = llm_sink_put(sink, &event);
    buf_fini(&tokens);
    return r;
}

static int put_error(struct llm_decoder *d, struct str body, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    d->is_over = true;
    gemini_read_error(0, STR_EMPTY, body, &event.error);
    return llm_sink_put(sink, &event);
}

/* --- parts ----------------------------------------------------------------------------------- */

static int put_text(struct candidate *c, struct text text, bool is_thought, struct text signature,
                    struct llm_sink *sink)
{
    enum llm_block_kind kind = is_thought ? BLOCK_THINKING : BLOCK_TEXT;
    if (text_is_empty(text)) {
        /* Nothing but a signature, at the end of what is open, or of thoughts that are not shown.
         */
        if (text_is_empty(signature))
            return 0;
        bool joins = c->is_open && !c->has_signature &&
                     (c->kind == BLOCK_THINKING || (c->kind == BLOCK_TEXT && !is_thought));
        if (joins)
            return put_signature(c, signature, sink);
        kind = BLOCK_THINKING;
    }
    int r = 0;
    if (c->has_signature) /* it was the block's last */
        r = close_block(c, sink);
    if (r == 0)
        r = want_block(c, kind, sink);
    if (r == 0)
        r = put_delta(c, DELTA_TEXT, text, sink);
    if (r == 0)
        r = put_logprobs(c, sink);
    return r < 0 ? r : put_signature(c, signature, sink);
}

static int put_call(struct llm_decoder *d, struct candidate *c, struct str call,
                    struct text signature, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    struct json_value args;
    char made[96];
    event.id = text_member(call, "id");
    event.name = text_member(call, "name");
    if (text_is_empty(event.id)) {
        struct str request_id = str_head(d->settings->request_id, 64);
        int len = snprintf(made, sizeof(made), "call_%.*s_%u", STR_ARG(request_id), d->calls);
        event.id = text_plain(str_n(made, (size_t)len));
    }
    if (!text_is_empty(signature))
        event.signature = (struct llm_signature){signature, DIALECT_GEMINI};
    d->calls++;
    c->has_call = true;
    int r = open_block(c, BLOCK_TOOL_CALL, &event, sink);
    if (r == 0) {
        bool has_args = gemini_find(call, "args", &args);
        r = put_delta(c, DELTA_ARGUMENTS, text_plain(has_args ? args.text : STR("{}")), sink);
    }
    return r < 0 ? r : close_block(c, sink);
}

static int put_media(struct candidate *c, struct str blob, struct text signature, bool is_audio,
                     struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    event.media_type = text_member(blob, "mimeType");
    int r = open_block(c, is_audio ? BLOCK_AUDIO : BLOCK_IMAGE, &event, sink);
    if (r == 0)
        r = put_delta(c, DELTA_MEDIA, text_member(blob, "data"), sink);
    if (r == 0)
        r = put_signature(c, signature, sink);
    return r < 0 ? r : close_block(c, sink);
}

static int put_opaque(struct candidate *c, struct str raw, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    event.raw = raw;
    event.maker = DIALECT_GEMINI;
    int r = open_block(c, BLOCK_OPAQUE, &event, sink);
    return r < 0 ? r : close_block(c, sink);
}

static int put_part(struct llm_decoder *d, struct candidate *c, struct str part,
                    struct llm_sink *sink)
{
    struct json_value value;
    struct text signature = text_member(part, "thoughtSignature");
    if (object_member(part, "functionCall", &value))
        return put_call(d, c, value.text, signature, sink);
    if (object_member(part, "inlineData", &value)) {
        struct str type = text_member(value.text, "mimeType").s;
        bool is_audio = str_starts(type, STR("audio/"));
        if (is_audio || str_starts(type, STR("image/")))
            return put_media(c, value.text, signature, is_audio, sink);
        return put_opaque(c, part, sink);
    }
    bool is_thought = gemini_find(part, "thought", &value) && value.kind == JSON_TRUE;
    bool has_text = gemini_find(part, "text", &value) && value.kind == JSON_STRING;
    if (has_text || !text_is_empty(signature)) {
        struct text text = has_text ? text_of(value) : TEXT_NONE;
        if (has_text || is_thought)
            return put_text(c, text, is_thought, signature, sink);
    }
    struct json_cursor cursor;
    struct str key;
    bool is_plain = true; /* nothing but what was looked at */
    json_cursor_init(&cursor, part);
    while (gemini_next(&cursor, &key, &value))
        is_plain &= gemini_is(key, "thoughtSignature") || gemini_is(key, "thought");
    return is_plain ? put_text(c, TEXT_NONE, true, signature, sink) : put_opaque(c, part, sink);
}

/* --- sources --------------------------------------------------------------------------------- */

static int put_citation(struct candidate *c, const struct llm_citation *citation,
                        struct llm_sink *sink)
{
    struct llm_event event = event_of(EVENT_DELTA, c);
    event.delta = DELTA_CITATION;
    event.citation = citation;
    return llm_sink_put(sink, &event);
}

static struct llm_citation no_citation(void)
{
    return (struct llm_citation){.start = -1, .end = -1, .document = -1, .maker = DIALECT_GEMINI};
}

/* The source of that index in groundingChunks. */
static bool source_of(struct json_value chunks, int64_t index, struct llm_citation *citation)
{
    struct gemini_list list;
    struct json_value chunk, source;
    gemini_list_init(&list, chunks);
    while (gemini_list_next(&list, &chunk)) {
        if (index-- > 0)
            continue;
        if (chunk.kind != JSON_OBJECT || (!object_member(chunk.text, "web", &source) &&
                                          !object_member(chunk.text, "retrievedContext", &source)))
            return false;
        citation->url = text_member(source.text, "uri");
        citation->title = text_member(source.text, "title");
        citation->raw = chunk.text;
        return true;
    }
    return false;
}

static int put_support(struct candidate *c, struct str support, struct json_value chunks,
                       struct llm_sink *sink)
{
    struct gemini_list list;
    struct json_value segment, indices, index;
    int r = 0;
    if (!gemini_find(support, "groundingChunkIndices", &indices))
        return 0;
    gemini_list_init(&list, indices);
    while (r == 0 && gemini_list_next(&list, &index)) {
        struct llm_citation citation = no_citation();
        int64_t at = gemini_count(index);
        if (at < 0 || !source_of(chunks, at, &citation))
            continue;
        if (object_member(support, "segment", &segment))
            citation.cited_text = text_member(segment.text, "text");
        r = put_citation(c, &citation, sink);
    }
    return r;
}

/* Positions count bytes of the whole answer: they are not told. */
static int put_grounding(struct candidate *c, struct str metadata, struct llm_sink *sink)
{
    struct json_value chunks, supports, value;
    struct gemini_list list;
    int r = 0;
    if (!gemini_find(metadata, "groundingChunks", &chunks))
        return 0;
    if (gemini_find(metadata, "groundingSupports", &supports)) {
        gemini_list_init(&list, supports);
        while (r == 0 && gemini_list_next(&list, &value)) {
            if (value.kind == JSON_OBJECT)
                r = put_support(c, value.text, chunks, sink);
        }
        return r;
    }
    gemini_list_init(&list, chunks);
    for (int64_t i = 0; r == 0 && gemini_list_next(&list, &value); i++) {
        struct llm_citation citation = no_citation();
        if (source_of(chunks, i, &citation))
            r = put_citation(c, &citation, sink);
    }
    return r;
}

static int put_sources(struct candidate *c, struct str metadata, struct llm_sink *sink)
{
    struct json_value sources, source;
    struct gemini_list list;
    int r = 0;
    if (!gemini_find(metadata, "citationSources", &sources) &&
        !gemini_find(metadata, "citations", &sources))
        return 0;
    gemini_list_init(&list, sources);
    while (r == 0 && gemini_list_next(&list, &source)) {
        struct llm_citation citation = no_citation();
        if (source.kind != JSON_OBJECT)
            continue;
        citation.url = text_member(source.text, "uri");
        citation.title = text_member(source.text, "title");
        citation.raw = source.text;
        r = put_citation(c, &citation, sink);
    }
    return r;
}

/* --- candidates ------------------------------------------------------------------------------ */

static struct candidate *find_candidate(struct llm_decoder *d, struct str object)
{
    struct json_value value;
    int64_t told = gemini_find(object, "index", &value) ? gemini_count(value) : 0;
    struct candidate **at = &d->candidates;
    unsigned index = told > 0 && told < CANDIDATES_MAX ? (unsigned)told : 0;
    while (*at != NULL && (*at)->index != index)
        at = &(*at)->next;
    if (*at == NULL) {
        *at = ARENA_NEW(d->arena, struct candidate);
        if (*at != NULL)
            (*at)->index = index;
    }
    return *at;
}

static int put_metadata(struct candidate *c, struct str object, struct llm_sink *sink)
{
    struct json_value grounding, citations;
    bool has_grounding = object_member(object, "groundingMetadata", &grounding);
    bool has_citations = object_member(object, "citationMetadata", &citations);
    int r = 0;
    /* They are of the text: without an open one there is nothing to hang them on. */
    if (!c->is_open || c->kind != BLOCK_TEXT)
        return 0;
    if (has_grounding)
        r = put_grounding(c, grounding.text, sink);
    if (r == 0 && has_citations)
        r = put_sources(c, citations.text, sink);
    return r;
}

/* A whole answer that tells no reason is whole all the same. */
static int put_finish(struct candidate *c, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_FINISH);
    int r = close_block(c, sink);
    event.choice = c->index;
    if (c->is_finished) {
        event.raw_finish = text_plain(str_c(c->reason));
        event.finish = gemini_finish_of(event.raw_finish, c->has_call);
    } else {
        event.finish = c->has_call ? FINISH_TOOL_CALLS : FINISH_OTHER;
    }
    c->is_over = true;
    return r < 0 ? r : llm_sink_put(sink, &event);
}

/* Go's client asks for enums as numbers (alt=json;enum-encoding=int). Above these the numbers of AI
 * Studio and of Vertex differ. */
static struct text reason_of(struct json_value value)
{
    static const char *const names[] = {NULL, "STOP", "MAX_TOKENS", "SAFETY", "RECITATION"};
    int64_t number = value.kind == JSON_NUMBER ? gemini_count(value) : -1;
    if (number > 0 && number < (int64_t)ARRAY_LEN(names))
        return text_plain(str_c(names[number]));
    return value.kind == JSON_NUMBER ? text_plain(value.text) : text_of(value);
}

static int put_candidate(struct llm_decoder *d, struct str object, struct llm_sink *sink)
{
    struct json_value content, parts, part, reason, probabilities;
    struct gemini_list list;
    struct candidate *c = find_candidate(d, object);
    int r = 0;
    if (c == NULL)
        return no_memory();
    c->logprobs =
        object_member(object, "logprobsResult", &probabilities) ? probabilities.text : STR_EMPTY;
    /* Before what may close the text that they are of. */
    bool is_of_open = c->is_open && c->kind == BLOCK_TEXT;
    if (is_of_open)
        r = put_metadata(c, object, sink);
    if (object_member(object, "content", &content) && gemini_find(content.text, "parts", &parts)) {
        gemini_list_init(&list, parts);
        while (r == 0 && gemini_list_next(&list, &part)) {
            if (part.kind == JSON_OBJECT)
                r = put_part(d, c, part.text, sink);
        }
    }
    if (r == 0 && !is_of_open)
        r = put_metadata(c, object, sink);
    if (r == 0)
        r = put_logprobs(c, sink);
    if (r < 0 || !gemini_find(object, "finishReason", &reason))
        return r;
    struct text name = reason_of(reason);
    if (text_eq(name, STR("FINISH_REASON_UNSPECIFIED")) || text_eq(name, STR("0")))
        return r;
    snprintf(c->reason, sizeof(c->reason), "%.*s", STR_ARG(str_head(name.s, REASON_MAX - 1)));
    c->is_finished = true;
    /* The last chunk tells the usage. A reason in others waits: text has come after one. */
    return d->tells_usage ? put_finish(c, sink) : 0;
}

/* The prompt was refused: there is no candidate. */
static int put_blocked(struct llm_decoder *d, struct str feedback, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_FINISH);
    event.raw_finish = text_member(feedback, "blockReason");
    if (d->is_blocked || d->candidates != NULL || text_is_empty(event.raw_finish))
        return 0;
    d->is_blocked = true;
    event.finish = FINISH_CONTENT_FILTER;
    return llm_sink_put(sink, &event);
}

static int put_start(struct llm_decoder *d, struct str object, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_START);
    event.id = text_member(object, "responseId");
    event.model = text_member(object, "modelVersion");
    if (d->has_started && (d->has_model || text_is_empty(event.model)))
        return 0;
    d->has_started = true;
    d->has_model = !text_is_empty(event.model);
    return llm_sink_put(sink, &event);
}

/* A chunk or a whole answer. */
static int put_response(struct llm_decoder *d, struct str object, struct llm_sink *sink)
{
    struct json_value value, candidate;
    struct gemini_list list;
    if (gemini_find(object, "error", &value))
        return put_error(d, object, sink);
    int r = put_start(d, object, sink);
    d->tells_usage = object_member(object, "usageMetadata", &value);
    if (r == 0 && d->tells_usage) {
        struct llm_event event = llm_event_make(EVENT_USAGE);
        gemini_read_usage(value.text, &event.usage);
        r = llm_sink_put(sink, &event);
    }
    if (r == 0 && gemini_find(object, "candidates", &value)) {
        gemini_list_init(&list, value);
        while (r == 0 && gemini_list_next(&list, &candidate)) {
            if (candidate.kind == JSON_OBJECT && !d->is_blocked)
                r = put_candidate(d, candidate.text, sink);
        }
    }
    if (r == 0 && object_member(object, "promptFeedback", &value))
        r = put_blocked(d, value.text, sink);
    return r;
}

/* --- the table's functions ------------------------------------------------------------------- */

static int check(struct str data)
{
    struct json_scan scan;
    return json_scan_object(data, JSON_DEPTH_MAX, NULL, 0, &scan);
}

/* An answer as such, or the elements of a list. */
static int put_data(struct llm_decoder *d, struct str data, struct llm_sink *sink)
{
    struct json_cursor cursor;
    struct json_value value;
    int r = 0, more;
    struct str text = str_trim(data);
    if (text.len == 0 || text.ptr[0] != '[') {
        r = check(text);
        return r < 0 ? r : put_response(d, text, sink);
    }
    json_cursor_init(&cursor, text);
    while ((more = json_iter_array(&cursor, &value)) == 1 && r == 0 && !d->is_over) {
        r = check(value.text);
        if (r == 0)
            r = put_response(d, value.text, sink);
    }
    return r < 0 ? r : more < 0 ? more : 0;
}

int gemini_decode(struct llm_decoder *d, struct str type, struct str data, struct llm_sink *sink)
{
    (void)type;
    return d->is_over ? 0 : put_data(d, data, sink);
}

static bool is_whole(const struct llm_decoder *d)
{
    for (const struct candidate *c = d->candidates; c != NULL; c = c->next) {
        if (!c->is_finished)
            return false;
    }
    return d->candidates != NULL || d->is_blocked;
}

static int put_done(struct llm_decoder *d, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_DONE);
    int r = 0;
    for (struct candidate *c = d->candidates; c != NULL && r == 0; c = c->next)
        r = c->is_over ? 0 : put_finish(c, sink);
    d->is_over = true;
    return r < 0 ? r : llm_sink_put(sink, &event);
}

int gemini_decode_end(struct llm_decoder *d, struct llm_sink *sink)
{
    if (d->is_over)
        return 0;
    if (!is_whole(d))
        return err_set(ERR_RESET, FAULT_UPSTREAM, "the stream ended without a finish reason");
    return put_done(d, sink);
}

int gemini_decode_whole(struct llm_decoder *d, struct str body, struct llm_sink *sink)
{
    if (d->is_over)
        return 0;
    int r = put_data(d, body, sink);
    if (r < 0 || d->is_over)
        return r;
    if (d->candidates == NULL && !d->is_blocked)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the answer has no candidates");
    return put_done(d, sink);
}
