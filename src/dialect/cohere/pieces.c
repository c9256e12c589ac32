#include <stdarg.h>

#include "base/err.h"
#include "dialect/cohere/codec.h"

/* What occurs in requests and in answers: members, citations, logprobs, usage, finish reasons. */

const struct dialect cohere_dialect = {
    .id = DIALECT_COHERE,
    .name = "cohere",
    .scan = cohere_scan,
    .fit = cohere_fit,
    .read_request = cohere_read_request,
    .write_request = cohere_write_request,
    .decoder_new = cohere_decoder_new,
    .decode = cohere_decode,
    .decode_end = cohere_decode_end,
    .decode_whole = cohere_decode_whole,
    .encoder_new = cohere_encoder_new,
    .encode = cohere_encode,
    .encoder_follow = cohere_encoder_follow,
    .encoder_pass = cohere_encoder_pass,
    .write_last = cohere_write_last,
    .write_answer = cohere_write_answer,
    .read_error = cohere_read_error,
    .write_error = cohere_write_error,
    .read_usage = cohere_read_usage,
    .tool_name_max = 64,
    .tool_name_extra = "",
};

/* --- reading --------------------------------------------------------------------------------- */

int cohere_no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
}

int cohere_refuse(const char *words, const char *format, ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    return err_set(ERR_INVALID, FAULT_CLIENT, "'%s' %s", name, words);
}

bool cohere_collect(struct str object, const char *const *names, struct json_value *values)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    int more;
    for (unsigned i = 0; names[i] != NULL; i++)
        values[i] = (struct json_value){JSON_NONE, STR_EMPTY};
    json_cursor_init(&cursor, object);
    while ((more = json_iter_object(&cursor, &key, &value)) == 1) {
        for (unsigned i = 0; names[i] != NULL && value.kind != JSON_NULL; i++) {
            if (json_string_eq(key, str_c(names[i])))
                values[i] = value;
        }
    }
    return more == 0;
}

bool cohere_is_marked(struct text name, struct text mark)
{
    return !name.is_escaped && name.s.ptr != NULL && str_eq(name.s, mark.s);
}

/* --- writing --------------------------------------------------------------------------------- */

void cohere_element(struct buf *out)
{
    char last = out->len > 0 ? out->ptr[out->len - 1] : '[';
    if (last != '[' && last != '{' && last != ':')
        buf_add_char(out, ',');
}

void cohere_member(struct buf *out, const char *name)
{
    cohere_element(out);
    buf_add_char(out, '"');
    buf_add_str(out, str_c(name));
    BUF_LIT(out, "\":");
}

void cohere_member_text(struct buf *out, const char *name, struct text text)
{
    cohere_member(out, name);
    text_write(out, text);
}

void cohere_member_raw(struct buf *out, const char *name, struct str raw)
{
    if (raw.len == 0)
        return;
    cohere_member(out, name);
    buf_add_str(out, raw);
}

void cohere_write_call(struct buf *out, struct text id, struct text name, struct text arguments)
{
    BUF_LIT(out, "{\"id\":");
    text_write(out, id);
    BUF_LIT(out, ",\"type\":\"function\",\"function\":{\"name\":");
    text_write(out, name);
    BUF_LIT(out, ",\"arguments\":");
    text_write(out, arguments);
    BUF_LIT(out, "}}");
}

/* --- citations ------------------------------------------------------------------------------- */

/* The n-th document block of a request. */
static const struct llm_block *next_document(const struct llm_message **message,
                                             const struct llm_block *block)
{
    block = block != NULL ? block->next : (*message != NULL ? (*message)->blocks : NULL);
    for (;;) {
        for (; block != NULL; block = block->next) {
            if (block->kind == BLOCK_DOCUMENT)
                return block;
        }
        if (*message == NULL || (*message = (*message)->next) == NULL)
            return NULL;
        block = (*message)->blocks;
    }
}

static const struct llm_block *document_at(const struct llm_request *request, int64_t index)
{
    const struct llm_message *message = request->messages;
    const struct llm_block *block = NULL;
    while ((block = next_document(&message, block)) != NULL && index > 0)
        index--;
    return block;
}

/* Of what source.id says: a document's own id, or the "doc:N" that is given where it has none. */
static int64_t document_of(const struct llm_request *request, struct text id)
{
    static const char *const prefixes[] = {"doc:", "doc_"};
    uint64_t index;
    if (request != NULL) {
        const struct llm_message *message = request->messages;
        const struct llm_block *block = NULL;
        for (int64_t i = 0; (block = next_document(&message, block)) != NULL; i++) {
            if (text_is_some(block->id) && !id.is_escaped == !block->id.is_escaped &&
                str_eq(block->id.s, id.s))
                return i;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        struct str prefix = str_c(prefixes[i]);
        if (text_is_some(id) && str_starts(id.s, prefix) &&
            str_to_u64(str_skip(id.s, prefix.len), &index) && index < INT32_MAX)
            return (int64_t)index;
    }
    return -1;
}

static void read_source(struct str object, const struct llm_request *request,
                        struct llm_citation *citation)
{
    static const char *const names[] = {"type", "id", "document", NULL};
    static const char *const fields[] = {"title", "url", "text", "snippet", NULL};
    enum { TYPE, ID, DOCUMENT, MEMBERS };
    enum { TITLE, URL, TEXT, SNIPPET, FIELDS };
    struct json_value values[MEMBERS], document[FIELDS];
    if (!cohere_collect(object, names, values) ||
        !json_string_eq(json_string_raw(values[TYPE]), STR("document")))
        return;
    citation->document = document_of(request, text_of(values[ID]));
    if (values[DOCUMENT].kind != JSON_OBJECT ||
        !cohere_collect(values[DOCUMENT].text, fields, document))
        return;
    citation->title = text_of(document[TITLE]);
    citation->url = text_of(document[URL]);
    struct text quote = text_of(document[document[TEXT].kind == JSON_STRING ? TEXT : SNIPPET]);
    if (text_is_some(quote))
        citation->cited_text = quote;
}

struct llm_citation cohere_read_citation(struct str object, const struct llm_request *request)
{
    static const char *const names[] = {"start", "end", "text", "sources", NULL};
    enum { START, END, TEXT, SOURCES, MEMBERS };
    struct json_value values[MEMBERS], source;
    struct json_cursor cursor;
    struct llm_citation citation = {
        .start = -1, .end = -1, .document = -1, .raw = object, .maker = DIALECT_COHERE};
    if (!cohere_collect(object, names, values))
        return citation;
    (void)json_number_i64(values[START], &citation.start);
    (void)json_number_i64(values[END], &citation.end);
    citation.cited_text = text_of(values[TEXT]);
    json_cursor_init(&cursor, values[SOURCES].text);
    if (values[SOURCES].kind == JSON_ARRAY && json_iter_array(&cursor, &source) == 1 &&
        source.kind == JSON_OBJECT)
        read_source(source.text, request, &citation);
    return citation;
}

/* The bytes of characters start to end of what stands between a JSON string's quotes. */
static struct str slice(struct str inside, int64_t start, int64_t end)
{
    size_t from = inside.len, at = 0;
    int64_t count = 0;
    while (at < inside.len) {
        if (count == start && from == inside.len)
            from = at;
        if (count == end)
            break;
        unsigned char c = (unsigned char)inside.ptr[at];
        bool is_pair = false;
        if (c == '\\') {
            bool is_unit = at + 1 < inside.len && inside.ptr[at + 1] == 'u';
            /* A low surrogate belongs to the one before it. */
            is_pair = is_unit && at + 3 < inside.len && (inside.ptr[at + 2] | 0x20) == 'd' &&
                      strchr("89abAB", inside.ptr[at + 3]) != NULL;
            at += is_unit ? 6 : 2;
        } else {
            at += c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        }
        count += !is_pair;
    }
    at = MIN(at, inside.len);
    return str_n(inside.ptr + MIN(from, at), at - MIN(from, at));
}

static void write_source(struct buf *out, const struct llm_citation *citation,
                         const struct llm_request *request)
{
    const struct llm_block *document = request != NULL && citation->document >= 0
                                           ? document_at(request, citation->document)
                                           : NULL;
    BUF_LIT(out, "{\"type\":\"document\",\"id\":");
    size_t start = out->len;
    if (document != NULL && text_is_some(document->id))
        text_write(out, document->id);
    else if (citation->document >= 0)
        buf_printf(out, "\"doc:%lld\"", (long long)citation->document);
    else
        text_write(out, text_is_some(citation->url) ? citation->url : citation->title);
    size_t len = out->len - start;
    BUF_LIT(out, ",\"document\":{\"id\":");
    if (buf_reserve(out, len))
        buf_add(out, out->ptr + start, len);
    if (text_is_some(citation->title))
        cohere_member_text(out, "title", citation->title);
    if (text_is_some(citation->url))
        cohere_member_text(out, "url", citation->url);
    if (text_is_some(citation->cited_text))
        cohere_member_text(out, "text", citation->cited_text);
    BUF_LIT(out, "}}");
}

void cohere_write_citation(struct buf *out, const struct llm_citation *citation, struct text text,
                           int content, const struct llm_request *request)
{
    if (citation->maker == DIALECT_COHERE && citation->raw.len > 0) {
        buf_add_str(out, citation->raw);
        return;
    }
    buf_add_char(out, '{');
    if (citation->start >= 0 && citation->end >= citation->start) {
        buf_printf(out, "\"start\":%lld,\"end\":%lld", (long long)citation->start,
                   (long long)citation->end);
        if (text_is_some(text) && text.is_escaped)
            cohere_member_text(out, "text",
                               (struct text){slice(text.s, citation->start, citation->end), true});
    }
    cohere_member(out, "sources");
    buf_add_char(out, '[');
    write_source(out, citation, request);
    BUF_LIT(out, "],\"type\":\"TEXT_CONTENT\"");
    if (content >= 0)
        buf_printf(out, ",\"content_index\":%d", content);
    buf_add_char(out, '}');
}

/* --- logprobs -------------------------------------------------------------------------------- */

void cohere_logprobs_init(struct cohere_logprobs *logprobs, struct str raw)
{
    json_cursor_init(&logprobs->cursor, raw);
}

bool cohere_logprobs_next(struct cohere_logprobs *logprobs, struct buf *out)
{
    static const char *const names[] = {"token", "logprob", NULL};
    struct json_value token, values[2];
    if (json_iter_array(&logprobs->cursor, &token) != 1)
        return false;
    if (token.kind != JSON_OBJECT || !cohere_collect(token.text, names, values))
        values[0] = values[1] = (struct json_value){JSON_NONE, STR_EMPTY};
    BUF_LIT(out, "{\"text\":");
    text_write(out, text_of(values[0]));
    BUF_LIT(out, ",\"token_ids\":[],\"logprobs\":[");
    if (values[1].kind == JSON_NUMBER)
        buf_add_str(out, values[1].text);
    BUF_LIT(out, "]}");
    return true;
}

/* One item: a piece of text and the logprobs of the tokens that it is made of. What OpenAI's form
 * has is a token, so they are added up. */
static void add_token(struct buf *out, struct str item)
{
    static const char *const names[] = {"text", "logprobs", NULL};
    struct json_value values[2], number;
    struct json_cursor cursor;
    double sum = 0, one;
    unsigned count = 0;
    if (!cohere_collect(item, names, values))
        return;
    struct str last = STR("0");
    json_cursor_init(&cursor, values[1].text);
    while (values[1].kind == JSON_ARRAY && json_iter_array(&cursor, &number) == 1) {
        if (json_number_double(number, &one)) {
            sum += one;
            last = number.text;
            count++;
        }
    }
    cohere_element(out);
    BUF_LIT(out, "{\"token\":");
    text_write(out, text_of(values[0]));
    BUF_LIT(out, ",\"logprob\":");
    if (count > 1)
        buf_printf(out, "%.9g", sum);
    else
        buf_add_str(out, last);
    BUF_LIT(out, ",\"bytes\":null,\"top_logprobs\":[]}");
}

bool cohere_read_logprobs(struct buf *out, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value item;
    buf_add_char(out, '[');
    size_t start = out->len;
    if (value.kind == JSON_OBJECT)
        add_token(out, value.text);
    json_cursor_init(&cursor, value.text);
    while (value.kind == JSON_ARRAY && json_iter_array(&cursor, &item) == 1) {
        if (item.kind == JSON_OBJECT)
            add_token(out, item.text);
    }
    bool has_any = out->len > start;
    buf_add_char(out, ']');
    return has_any;
}

/* --- usage ----------------------------------------------------------------------------------- */

static void read_count(struct json_value value, int64_t *count)
{
    int64_t n;
    double d;
    if (json_number_i64(value, &n) && n >= 0)
        *count = n;
    else if (json_number_double(value, &d) && d >= 0 && d < 9e15)
        *count = (int64_t)d;
}

void cohere_read_usage(struct str object, struct token_usage *usage)
{
    static const char *const names[] = {"tokens", "billed_units", "cached_tokens", NULL};
    static const char *const counts[] = {"input_tokens", "output_tokens", "reasoning_tokens",
                                         "image_tokens", NULL};
    struct json_value values[3], tokens[4];
    if (!cohere_collect(object, names, values))
        return;
    struct json_value told = values[values[0].kind == JSON_OBJECT ? 0 : 1];
    if (told.kind == JSON_OBJECT && cohere_collect(told.text, counts, tokens)) {
        read_count(tokens[0], &usage->input);
        read_count(tokens[1], &usage->output);
        read_count(tokens[2], &usage->reasoning);
        read_count(tokens[3], &usage->image_input);
        /* They are not among input_tokens here, and everywhere else they are. */
        if (tokens[0].kind == JSON_NUMBER && tokens[3].kind == JSON_NUMBER && usage->input >= 0 &&
            usage->image_input > 0)
            usage->input += usage->image_input;
    }
    read_count(values[2], &usage->cache_read);
    usage->input_includes_cached = true;
}

void cohere_write_usage(struct buf *out, const struct token_usage *usage)
{
    int64_t input = token_usage_input_total(usage);
    int64_t text = input - MAX(usage->image_input, 0);
    BUF_LIT(out, "{\"billed_units\":{");
    if (input >= 0)
        buf_printf(out, "\"input_tokens\":%lld", (long long)input);
    if (usage->output >= 0) {
        cohere_member(out, "output_tokens");
        buf_add_i64(out, usage->output);
    }
    BUF_LIT(out, "},\"tokens\":{");
    if (input >= 0)
        buf_printf(out, "\"input_tokens\":%lld", (long long)MAX(text, 0));
    if (usage->output >= 0) {
        cohere_member(out, "output_tokens");
        buf_add_i64(out, usage->output);
    }
    if (usage->reasoning >= 0) {
        cohere_member(out, "reasoning_tokens");
        buf_add_i64(out, usage->reasoning);
    }
    if (usage->image_input >= 0) {
        cohere_member(out, "image_tokens");
        buf_add_i64(out, usage->image_input);
    }
    buf_add_char(out, '}');
    if (usage->cache_read >= 0) {
        cohere_member(out, "cached_tokens");
        buf_add_i64(out, usage->cache_read);
    }
    buf_add_char(out, '}');
}

/* --- finish reasons -------------------------------------------------------------------------- */

static const struct {
    struct str name;
    enum llm_finish finish;
} finishes[] = {
    {STR_INIT("COMPLETE"), FINISH_STOP},       {STR_INIT("STOP_SEQUENCE"), FINISH_STOP_SEQUENCE},
    {STR_INIT("MAX_TOKENS"), FINISH_LENGTH},   {STR_INIT("TOOL_CALL"), FINISH_TOOL_CALLS},
    {STR_INIT("ERROR_LIMIT"), FINISH_CONTEXT}, {STR_INIT("ERROR_TOXIC"), FINISH_CONTENT_FILTER},
    {STR_INIT("ERROR"), FINISH_COUNT},         {STR_INIT("TIMEOUT"), FINISH_COUNT},
};

enum llm_finish cohere_finish_of(struct text name)
{
    for (size_t i = 0; i < ARRAY_LEN(finishes); i++) {
        if (text_eq(name, finishes[i].name))
            return finishes[i].finish;
    }
    return FINISH_OTHER;
}

const char *cohere_finish_name(enum llm_finish finish)
{
    switch (finish) {
    case FINISH_STOP_SEQUENCE:
        return "STOP_SEQUENCE";
    case FINISH_LENGTH:
    case FINISH_CONTEXT:
        return "MAX_TOKENS";
    case FINISH_TOOL_CALLS:
        return "TOOL_CALL";
    case FINISH_CONTENT_FILTER:
        return "ERROR"; /* nothing nearer: the answer was ended by other than the model */
    default:
        return "COMPLETE";
    }
}
