#include "dialect/base64.h"
#include "dialect/field.h"
#include "dialect/gemini/content.h"

/* What tells Gemini 3 that a call of the history was made by another model. */
#define NO_SIGNATURE "skip_thought_signature_validator"

enum {
    BLOCKS_ORDERED = 512, /* in a turn of more, results stay as they came */
};

static bool is_own(const struct gemini_writer *w)
{
    return w->request->source == DIALECT_GEMINI;
}

static void comma(struct buf *out)
{
    char last = out->len > 0 ? out->ptr[out->len - 1] : '{';
    if (last != '{' && last != '[')
        buf_add_char(out, ',');
}

/* --- what can be said --- */

static bool has_own_raw(const struct llm_block *block)
{
    return block->maker == DIALECT_GEMINI && block->raw.len > 0 && block->raw.ptr[0] == '{';
}

static bool has_own_signature(const struct llm_block *block)
{
    return text_is_some(block->signature.data) && block->signature.maker == DIALECT_GEMINI;
}

static bool is_uri(struct text uri)
{
    return str_istarts(uri.s, STR("https:")) || str_istarts(uri.s, STR("gs:"));
}

/* Where the file is; TEXT_NONE where it cannot be reached from there. */
static struct text uri_of(const struct gemini_writer *w, const struct llm_media *media)
{
    struct text url = media->url, file = media->file_id;
    url.s = text_or(w->arena, url, STR_EMPTY);
    file.s = text_or(w->arena, file, STR_EMPTY);
    url.is_escaped = file.is_escaped = false;
    if (url.s.len > 0 && (is_own(w) || is_uri(url)))
        return url;
    return file.s.len > 0 && (is_own(w) || is_uri(file)) ? file : TEXT_NONE;
}

static bool can_write(const struct gemini_writer *w, const struct llm_block *block)
{
    if (has_own_raw(block))
        return true;
    switch (block->kind) {
    case BLOCK_THINKING:
        return has_own_signature(block) || is_own(w);
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
    case BLOCK_VIDEO:
        return text_is_some(block->media.data) || text_is_some(uri_of(w, &block->media));
    case BLOCK_DOCUMENT:
        return text_is_some(block->text) || text_is_some(block->media.data) ||
               text_is_some(uri_of(w, &block->media));
    case BLOCK_OPAQUE:
        return false;
    default:
        return true;
    }
}

/* The content of results is text and media, nothing else. */
static bool can_write_in_result(const struct gemini_writer *w, const struct llm_block *block)
{
    return block->kind != BLOCK_TOOL_CALL && block->kind != BLOCK_TOOL_RESULT &&
           block->kind != BLOCK_THINKING && can_write(w, block);
}

static void note_list(struct gemini_writer *w, const struct llm_block *blocks, const char *place)
{
    unsigned i = 0;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next, i++) {
        unsigned k = 0;
        if (!can_write(w, b)) {
            if (b->kind == BLOCK_THINKING)
                llm_note_dropped(w->notes, "thinking");
            else
                llm_note_dropped(w->notes, "%s[%u]", place, i);
        }
        if (b->kind != BLOCK_TOOL_RESULT || has_own_raw(b))
            continue;
        for (const struct llm_block *in = b->blocks; in != NULL; in = in->next, k++) {
            if (!can_write_in_result(w, in))
                llm_note_dropped(w->notes, "%s[%u].content[%u]", place, i, k);
        }
    }
}

void gemini_note_blocks(struct gemini_writer *writer)
{
    const char *messages = llm_field_name(writer->request, FIELD_MESSAGES);
    const char *content = llm_field_name(writer->request, FIELD_CONTENT);
    unsigned i = 0;
    note_list(writer, writer->request->system, llm_field_name(writer->request, FIELD_SYSTEM));
    for (const struct llm_message *m = writer->request->messages; m != NULL; m = m->next, i++) {
        char place[96];
        snprintf(place, sizeof(place), "%s[%u].%s", messages, i, content);
        note_list(writer, m->blocks, place);
        if (text_is_some(m->name))
            llm_note_dropped(writer->notes, "%s[%u].name", messages, i);
    }
}

/* --- media --- */

static const struct {
    const char *ending, *type;
} types_by_ending[] = {
    {".png", "image/png"},         {".jpg", "image/jpeg"},      {".jpeg", "image/jpeg"},
    {".webp", "image/webp"},       {".heic", "image/heic"},     {".heif", "image/heif"},
    {".gif", "image/gif"},         {".pdf", "application/pdf"}, {".txt", "text/plain"},
    {".md", "text/markdown"},      {".html", "text/html"},      {".csv", "text/csv"},
    {".json", "application/json"}, {".xml", "text/xml"},        {".wav", "audio/wav"},
    {".mp3", "audio/mp3"},         {".flac", "audio/flac"},     {".ogg", "audio/ogg"},
    {".aac", "audio/aac"},         {".m4a", "audio/m4a"},       {".mp4", "video/mp4"},
    {".mov", "video/mov"},         {".webm", "video/webm"},     {".mpeg", "video/mpeg"},
};

/* The first bytes, in base64. */
static const struct {
    const char *start, *type;
} types_by_start[] = {
    {"iVBORw0KGgo", "image/png"},  {"/9j/", "image/jpeg"}, {"R0lGOD", "image/gif"},
    {"JVBERi", "application/pdf"}, {"SUQz", "audio/mp3"},  {"T2dnUw", "audio/ogg"},
    {"ZkxhQw", "audio/flac"},
};

static const char *type_of_name(struct str name)
{
    struct str path = name;
    ptrdiff_t end = str_index(name, '?');
    if (end >= 0)
        path = str_head(name, (size_t)end);
    ptrdiff_t dot = str_rindex(path, '.');
    if (dot < 0)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(types_by_ending); i++) {
        if (str_ieq(str_skip(path, (size_t)dot), str_c(types_by_ending[i].ending)))
            return types_by_ending[i].type;
    }
    return NULL;
}

static const char *guess_type(const struct gemini_writer *w, const struct llm_block *block,
                              struct text uri)
{
    const char *type = type_of_name(text_or(w->arena, uri, STR_EMPTY));
    struct str data = block->media.data.s;
    if (type == NULL)
        type = type_of_name(text_or(w->arena, block->media.name, STR_EMPTY));
    for (size_t i = 0; type == NULL && i < ARRAY_LEN(types_by_start); i++) {
        if (str_starts(data, str_c(types_by_start[i].start)))
            type = types_by_start[i].type;
    }
    return type;
}

/* TEXT_NONE only for films of YouTube and the like, which have none. */
static struct text media_type(struct gemini_writer *w, const struct llm_block *block,
                              struct text uri)
{
    const char *type;
    if (!text_is_empty(block->media.type) && !str_ends(block->media.type.s, STR("/*")))
        return block->media.type;
    type = guess_type(w, block, uri);
    if (type == NULL && (block->kind == BLOCK_VIDEO || is_own(w)) && text_is_some(uri))
        return TEXT_NONE;
    if (type == NULL) {
        type = block->kind == BLOCK_IMAGE   ? "image/jpeg"
               : block->kind == BLOCK_AUDIO ? "audio/wav"
               : block->kind == BLOCK_VIDEO ? "video/mp4"
                                            : "application/pdf";
        llm_note_supplied(w->notes, "mimeType=%s", type);
    }
    return text_plain(str_c(type));
}

static void write_blob(struct gemini_writer *w, struct text type, struct text data)
{
    BUF_LIT(w->out, "{\"inlineData\":{\"mimeType\":");
    text_write(w->out, type);
    BUF_LIT(w->out, ",\"data\":");
    text_write(w->out, data);
    BUF_LIT(w->out, "}");
}

/* Without the closing brace, as all that write a part. */
static void write_media(struct gemini_writer *w, const struct llm_block *block)
{
    struct text uri = uri_of(w, &block->media);
    if (text_is_some(block->text)) {
        struct str plain = text_or(w->arena, block->text, STR_EMPTY);
        struct text type =
            text_is_empty(block->media.type) ? TEXT_LIT("text/plain") : block->media.type;
        write_blob(w, type, text_plain(base64_encode(w->arena, plain)));
    } else if (text_is_some(block->media.data)) {
        write_blob(w, media_type(w, block, TEXT_NONE), block->media.data);
    } else {
        struct text type = media_type(w, block, uri);
        BUF_LIT(w->out, "{\"fileData\":{");
        if (text_is_some(type)) {
            BUF_LIT(w->out, "\"mimeType\":");
            text_write(w->out, type);
            BUF_LIT(w->out, ",");
        }
        BUF_LIT(w->out, "\"fileUri\":");
        text_write(w->out, uri);
        BUF_LIT(w->out, "}");
    }
}

/* --- calls and results --- */

/* An id that the reader made up, since there was none. */
static bool is_made(struct str id)
{
    uint64_t n;
    return str_starts(id, STR("call_")) && str_to_u64(str_skip(id, STR("call_").len), &n);
}

static void write_id(struct gemini_writer *w, const struct llm_block *block)
{
    struct str id = text_or(w->arena, block->id, STR_EMPTY);
    if (!is_own(w) || id.len == 0 || is_made(id))
        return;
    BUF_LIT(w->out, "\"id\":");
    text_write(w->out, block->id);
    BUF_LIT(w->out, ",");
}

static void write_call(struct gemini_writer *w, const struct llm_block *block)
{
    BUF_LIT(w->out, "{\"functionCall\":{");
    write_id(w, block);
    BUF_LIT(w->out, "\"name\":");
    text_write(w->out, block->name);
    BUF_LIT(w->out, ",\"args\":");
    llm_arguments_write_object(w->out, w->arena, block->arguments);
    BUF_LIT(w->out, "}");
}

static bool is_json_object(struct str text)
{
    struct json_scan scan;
    struct str trimmed = str_trim(text);
    return trimmed.len > 1 && trimmed.ptr[0] == '{' &&
           json_scan_object(trimmed, JSON_DEPTH_DEFAULT, NULL, 0, &scan) == 0;
}

static void write_response(struct gemini_writer *w, const struct llm_block *block)
{
    const struct llm_block *only = block->blocks;
    if (!block->is_error && only != NULL && only->kind == BLOCK_TEXT && only->next == NULL) {
        struct str plain = text_or(w->arena, only->text, STR_EMPTY);
        if (is_json_object(plain)) {
            buf_add_str(w->out, str_trim(plain));
            return;
        }
    }
    if (block->is_error)
        BUF_LIT(w->out, "{\"error\":");
    else
        BUF_LIT(w->out, "{\"result\":");
    llm_blocks_write_text(w->out, block->blocks, STR("\n"));
    BUF_LIT(w->out, "}");
}

static void write_result(struct gemini_writer *w, const struct llm_block *block)
{
    struct text name = llm_request_call_name(&w->call_names, w->request, block->id);
    if (text_is_empty(name))
        name = block->name;
    if (text_is_empty(name))
        name = TEXT_LIT("tool");
    BUF_LIT(w->out, "{\"functionResponse\":{");
    write_id(w, block);
    BUF_LIT(w->out, "\"name\":");
    text_write(w->out, name);
    BUF_LIT(w->out, ",\"response\":");
    write_response(w, block);
    BUF_LIT(w->out, "}");
}

/* --- parts --- */

static void write_text(struct gemini_writer *w, const struct llm_block *block)
{
    BUF_LIT(w->out, "{\"text\":");
    text_write(w->out, block->text);
    /* A signature alone comes in a part of empty text. */
    if (block->kind == BLOCK_THINKING && (!text_is_empty(block->text) || !has_own_signature(block)))
        BUF_LIT(w->out, ",\"thought\":true");
}

/* False when it has no part: it was noted, or says nothing. */
static bool write_part(struct gemini_writer *w, const struct llm_block *block, bool needs_signature)
{
    bool is_text = block->kind == BLOCK_TEXT || block->kind == BLOCK_REFUSAL;
    bool is_signed = has_own_signature(block);
    if (!can_write(w, block) || (is_text && text_is_empty(block->text) && !is_signed && !is_own(w)))
        return false;
    comma(w->out);
    if (has_own_raw(block)) {
        buf_add_str(w->out, block->raw);
        return true;
    }
    if (block->kind == BLOCK_TOOL_CALL)
        write_call(w, block);
    else if (block->kind == BLOCK_TOOL_RESULT)
        write_result(w, block);
    else if (is_text || block->kind == BLOCK_THINKING)
        write_text(w, block);
    else
        write_media(w, block);
    if (is_signed) {
        BUF_LIT(w->out, ",\"thoughtSignature\":");
        text_write(w->out, block->signature.data);
    } else if (needs_signature) {
        BUF_LIT(w->out, ",\"thoughtSignature\":\"" NO_SIGNATURE "\"");
        llm_note_supplied(w->notes, "thoughtSignature");
    }
    BUF_LIT(w->out, "}");
    return true;
}

/* What results hold beside text, for all of one turn: a result's own part takes only JSON. */
static void write_media_of_results(struct gemini_writer *w, const struct llm_block *blocks)
{
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind != BLOCK_TOOL_RESULT || has_own_raw(b))
            continue;
        for (const struct llm_block *in = b->blocks; in != NULL; in = in->next) {
            if (in->kind != BLOCK_TEXT && can_write_in_result(w, in))
                (void)write_part(w, in, false);
        }
    }
}

static void write_parts(struct gemini_writer *w, const struct llm_block *blocks, bool is_model)
{
    bool needs_signature = is_model && w->target->traits->thinking == THINKING_LEVEL;
    bool has_results = false;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        bool is_call = b->kind == BLOCK_TOOL_CALL;
        if (has_results && b->kind != BLOCK_TOOL_RESULT) {
            write_media_of_results(w, blocks);
            has_results = false;
            blocks = b;
        }
        has_results = has_results || b->kind == BLOCK_TOOL_RESULT;
        (void)write_part(w, b, is_call && needs_signature);
        if (is_call)
            needs_signature = false; /* only the first one of a turn has it */
    }
    if (has_results)
        write_media_of_results(w, blocks);
}

static void write_content(struct gemini_writer *w, const struct llm_block *blocks, const char *role)
{
    size_t start = w->out->len;
    comma(w->out);
    if (role != NULL)
        buf_printf(w->out, "{\"role\":\"%s\",\"parts\":[", role);
    else
        BUF_LIT(w->out, "{\"parts\":[");
    size_t inside = w->out->len;
    write_parts(w, blocks, role != NULL && role[0] == 'm');
    if (w->out->len == inside)
        w->out->len = start; /* contents without parts are refused */
    else
        BUF_LIT(w->out, "]}");
}

/* --- the order of results --- */

/* The link of the result with that id; NULL when there is none. */
static struct llm_block **result_of(struct gemini_writer *w, struct llm_block **list,
                                    struct text id)
{
    struct str plain = text_or(w->arena, id, STR_EMPTY);
    for (struct llm_block **at = list; *at != NULL; at = &(*at)->next) {
        if ((*at)->kind == BLOCK_TOOL_RESULT && text_eq((*at)->id, plain))
            return at;
    }
    return NULL;
}

static unsigned count_blocks(const struct llm_block *blocks)
{
    unsigned n = 0;
    for (; blocks != NULL; blocks = blocks->next)
        n++;
    return n;
}

/* Without ids the n-th result of a name is that of the n-th call: results go as their calls went.
 */
static void order_results(struct gemini_writer *w, const struct llm_message *calls,
                          struct llm_message *answers)
{
    struct llm_block *first = NULL, **end = &first;
    if (count_blocks(calls->blocks) > BLOCKS_ORDERED ||
        count_blocks(answers->blocks) > BLOCKS_ORDERED)
        return;
    for (const struct llm_block *c = calls->blocks; c != NULL; c = c->next) {
        struct llm_block **link = c->kind == BLOCK_TOOL_CALL && text_is_some(c->id)
                                      ? result_of(w, &answers->blocks, c->id)
                                      : NULL;
        if (link == NULL)
            continue;
        struct llm_block *result = *link;
        *link = result->next;
        *end = result;
        end = &result->next;
    }
    *end = answers->blocks;
    answers->blocks = first;
}

void gemini_write_contents(struct gemini_writer *writer)
{
    for (struct llm_message *m = writer->request->messages; m != NULL && !is_own(writer);
         m = m->next) {
        if (m->role == ROLE_ASSISTANT && m->next != NULL && m->next->role != ROLE_ASSISTANT)
            order_results(writer, m, m->next);
    }
    BUF_LIT(writer->out, "\"contents\":[");
    for (const struct llm_message *m = writer->request->messages; m != NULL; m = m->next)
        write_content(writer, m->blocks, m->role == ROLE_ASSISTANT ? "model" : "user");
    BUF_LIT(writer->out, "]");
}

void gemini_write_system(struct gemini_writer *writer)
{
    size_t start = writer->out->len;
    comma(writer->out);
    BUF_LIT(writer->out, "\"parts\":[");
    size_t inside = writer->out->len;
    write_parts(writer, writer->request->system, false);
    if (writer->out->len == inside)
        writer->out->len = start; /* nothing: the caller takes its key away */
    else
        BUF_LIT(writer->out, "]");
}
