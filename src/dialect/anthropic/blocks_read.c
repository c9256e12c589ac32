#include "base/err.h"
#include "dialect/anthropic/codec.h"
#include "dialect/signature.h"

typedef int read_block_fn(struct anthropic_reader *r, struct json_value value,
                          struct llm_block *block);

static int need(const struct anthropic_reader *r, const char *member, struct json_value value)
{
    return value.kind == JSON_NONE ? anthropic_refuse(r, member, "is missing") : 0;
}

/* The block as it stood is what its own dialect gets; others get what was read of it. */
static void keep_whole(struct llm_block *block, struct json_value value)
{
    block->raw = value.text;
    block->maker = DIALECT_ANTHROPIC;
}

/* --- text --- */

static int read_citations(struct anthropic_reader *r, struct json_value value,
                          struct llm_block *block)
{
    struct llm_citation **end = &block->citations;
    struct json_cursor cursor;
    struct json_value item;
    json_cursor_init(&cursor, value.text);
    while (json_iter_array(&cursor, &item) == 1) {
        struct llm_citation *citation = ARENA_NEW(r->arena, struct llm_citation);
        if (citation == NULL)
            return anthropic_no_memory();
        *citation = anthropic_read_citation(item);
        *end = citation;
        end = &citation->next;
    }
    return block->citations == NULL
               ? anthropic_keep(r->arena, "citations", value.text, &block->rest)
               : 0;
}

static int read_text(struct anthropic_reader *r, struct json_value value, struct llm_block *block)
{
    static const struct anthropic_member members[] = {{"type", WANT_STRING},
                                                      {"text", WANT_STRING},
                                                      {"cache_control", WANT_OBJECT},
                                                      {"citations", WANT_ARRAY},
                                                      {NULL, WANT_ANY}};
    struct json_value v[4];
    int error = anthropic_collect(r, value.text, members, v, &block->rest);
    if (error == 0)
        error = need(r, "text", v[1]);
    if (error == 0)
        error = anthropic_read_cache(r, v[2], &block->cache, &block->rest);
    block->kind = BLOCK_TEXT;
    block->text = text_of(v[1]);
    return error == 0 && v[3].kind == JSON_ARRAY ? read_citations(r, v[3], block) : error;
}

/* --- images and documents --- */

/* The texts of a document that is given in pieces, for those who take it in one. */
static int join_texts(struct anthropic_reader *r, struct json_value content, struct text *text)
{
    struct json_cursor cursor;
    struct json_value item, piece;
    struct buf joined = BUF_INIT;
    if (content.kind == JSON_STRING) {
        *text = text_of(content);
        return 0;
    }
    json_cursor_init(&cursor, content.text);
    while (content.kind == JSON_ARRAY && json_iter_array(&cursor, &item) == 1) {
        if (item.kind != JSON_OBJECT || !json_find(item.text, "text", &piece) ||
            piece.kind != JSON_STRING)
            continue;
        if (joined.len > 0)
            BUF_LIT(&joined, "\\n");
        buf_add_str(&joined, json_string_raw(piece));
    }
    struct str copy = buf_ok(&joined) ? arena_dup(r->arena, buf_str(&joined)) : STR_EMPTY;
    buf_fini(&joined);
    *text = (struct text){copy, true};
    return copy.ptr != NULL ? 0 : anthropic_no_memory();
}

/* *is_known false: a source of a kind that is not known here. */
static int read_source(struct anthropic_reader *r, struct json_value source,
                       struct llm_block *block, bool *is_known)
{
    static const struct anthropic_member members[] = {
        {"type", WANT_STRING}, {"media_type", WANT_STRING}, {"data", WANT_STRING},
        {"url", WANT_STRING},  {"file_id", WANT_STRING},    {"content", WANT_ANY},
        {NULL, WANT_ANY}};
    struct json_value v[6];
    struct str more = STR_EMPTY;
    size_t back = anthropic_enter(r, "source", -1);
    int error = anthropic_collect(r, source.text, members, v, &more);
    struct str type = json_string_raw(v[0]);
    const char *missing = NULL;
    *is_known = true;
    block->media.type = text_of(v[1]);
    if (error < 0) {
        return error;
    } else if (str_eq(type, STR("base64"))) {
        block->media.data = text_of(v[2]);
        missing = v[2].kind == JSON_NONE ? "data" : NULL;
    } else if (str_eq(type, STR("url"))) {
        block->media.url = text_of(v[3]);
        missing = v[3].kind == JSON_NONE ? "url" : NULL;
    } else if (str_eq(type, STR("file"))) {
        block->media.file_id = text_of(v[4]);
        missing = v[4].kind == JSON_NONE ? "file_id" : NULL;
    } else if (str_eq(type, STR("text"))) {
        block->text = text_of(v[2]);
        missing = v[2].kind == JSON_NONE ? "data" : NULL;
    } else if (str_eq(type, STR("content"))) {
        block->media.type = TEXT_LIT("text/plain");
        error = join_texts(r, v[5], &block->text);
        more = source.text;
    } else {
        *is_known = false;
    }
    if (missing != NULL)
        error = anthropic_refuse(r, missing, "is missing");
    if (more.len > 0)
        block->maker = DIALECT_ANTHROPIC; /* there is more to it: see its caller */
    anthropic_leave(r, back);
    return error;
}

static int read_media(struct anthropic_reader *r, struct json_value value, struct llm_block *block)
{
    static const struct anthropic_member members[] = {
        {"type", WANT_STRING},          {"source", WANT_OBJECT},    {"title", WANT_STRING},
        {"cache_control", WANT_OBJECT}, {"citations", WANT_OBJECT}, {NULL, WANT_ANY}};
    struct json_value v[5], enabled;
    bool is_known = true;
    int error = anthropic_collect(r, value.text, members, v, &block->rest);
    if (error == 0)
        error = need(r, "source", v[1]);
    if (error == 0)
        error = anthropic_read_cache(r, v[3], &block->cache, &block->rest);
    if (error == 0)
        error = read_source(r, v[1], block, &is_known);
    if (error < 0)
        return error;
    if (!is_known) {
        *block = (struct llm_block){.kind = BLOCK_OPAQUE};
        keep_whole(block, value);
        return 0;
    }
    block->media.name = text_of(v[2]);
    if (v[4].kind == JSON_OBJECT)
        block->wants_citations =
            json_find(v[4].text, "enabled", &enabled) && enabled.kind == JSON_TRUE;
    if (block->maker == DIALECT_ANTHROPIC || (v[4].kind == JSON_OBJECT && !block->wants_citations))
        keep_whole(block, value);
    return 0;
}

static int read_image(struct anthropic_reader *r, struct json_value value, struct llm_block *block)
{
    block->kind = BLOCK_IMAGE;
    return read_media(r, value, block);
}

static int read_document(struct anthropic_reader *r, struct json_value value,
                         struct llm_block *block)
{
    block->kind = BLOCK_DOCUMENT;
    return read_media(r, value, block);
}

/* A document for those who have no search results. */
static int read_search_result(struct anthropic_reader *r, struct json_value value,
                              struct llm_block *block)
{
    static const struct anthropic_member members[] = {{"content", WANT_ARRAY},
                                                      {"title", WANT_STRING},
                                                      {"cache_control", WANT_OBJECT},
                                                      {"citations", WANT_OBJECT},
                                                      {NULL, WANT_ANY}};
    struct json_value v[4], enabled;
    struct str more = STR_EMPTY;
    int error = anthropic_collect(r, value.text, members, v, &more);
    if (error == 0)
        error = need(r, "content", v[0]);
    if (error == 0)
        error = anthropic_read_cache(r, v[2], &block->cache, &more);
    if (error == 0)
        error = join_texts(r, v[0], &block->text);
    block->kind = BLOCK_DOCUMENT;
    block->media.type = TEXT_LIT("text/plain");
    block->media.name = text_of(v[1]);
    block->wants_citations = v[3].kind == JSON_OBJECT &&
                             json_find(v[3].text, "enabled", &enabled) && enabled.kind == JSON_TRUE;
    keep_whole(block, value);
    return error;
}

/* --- tools --- */

static int read_tool_use(struct anthropic_reader *r, struct json_value value,
                         struct llm_block *block)
{
    static const struct anthropic_member members[] = {
        {"type", WANT_STRING},          {"id", WANT_STRING},
        {"name", WANT_STRING},          {"input", WANT_OBJECT},
        {"cache_control", WANT_OBJECT}, {NULL, WANT_ANY}};
    struct json_value v[5];
    int error = anthropic_collect(r, value.text, members, v, &block->rest);
    if (error == 0)
        error = need(r, "id", v[1]);
    if (error == 0)
        error = need(r, "name", v[2]);
    if (error == 0)
        error = anthropic_read_cache(r, v[4], &block->cache, &block->rest);
    block->kind = BLOCK_TOOL_CALL;
    block->id = text_of(v[1]);
    block->name = text_of(v[2]);
    block->arguments = v[3].kind == JSON_OBJECT ? text_plain(v[3].text) : TEXT_NONE;
    return error;
}

static int read_tool_result(struct anthropic_reader *r, struct json_value value,
                            struct llm_block *block)
{
    static const struct anthropic_member members[] = {
        {"type", WANT_STRING},      {"tool_use_id", WANT_STRING},   {"content", WANT_ANY},
        {"is_error", WANT_BOOLEAN}, {"cache_control", WANT_OBJECT}, {NULL, WANT_ANY}};
    struct json_value v[5];
    int error = anthropic_collect(r, value.text, members, v, &block->rest);
    if (error == 0)
        error = need(r, "tool_use_id", v[1]);
    if (error == 0)
        error = anthropic_read_cache(r, v[4], &block->cache, &block->rest);
    if (error == 0 && v[3].kind == JSON_FALSE)
        error = anthropic_keep(r->arena, "is_error", v[3].text, &block->rest);
    block->kind = BLOCK_TOOL_RESULT;
    block->id = text_of(v[1]);
    block->is_error = v[3].kind == JSON_TRUE;
    if (error == 0 && v[2].kind != JSON_NONE)
        error = anthropic_read_content(r, "content", v[2], &block->blocks);
    if (error == 0 && block->blocks == NULL && v[2].kind == JSON_ARRAY)
        error = anthropic_keep(r->arena, "content", v[2].text, &block->rest);
    return error;
}

/* --- thinking --- */

static void read_signature(struct anthropic_reader *r, struct json_value value,
                           struct llm_block *block)
{
    enum signature_place place;
    block->signature = signature_unmark(r->arena, text_of(value), DIALECT_ANTHROPIC, &place);
    block->is_for_call = place == SIGNATURE_OF_CALL;
}

static int read_thinking(struct anthropic_reader *r, struct json_value value,
                         struct llm_block *block)
{
    static const struct anthropic_member members[] = {{"type", WANT_STRING},
                                                      {"thinking", WANT_STRING},
                                                      {"signature", WANT_STRING},
                                                      {NULL, WANT_ANY}};
    struct json_value v[3];
    int error = anthropic_collect(r, value.text, members, v, &block->rest);
    if (error == 0)
        error = need(r, "thinking", v[1]);
    block->kind = BLOCK_THINKING;
    block->text = text_of(v[1]);
    /* An empty one is what clients send back of thinking that came without. */
    if (error == 0 && v[2].kind == JSON_STRING && json_string_raw(v[2]).len == 0)
        return anthropic_keep(r->arena, "signature", v[2].text, &block->rest);
    if (error == 0 && v[2].kind == JSON_STRING)
        read_signature(r, v[2], block);
    return error;
}

static int read_redacted(struct anthropic_reader *r, struct json_value value,
                         struct llm_block *block)
{
    static const struct anthropic_member members[] = {
        {"type", WANT_STRING}, {"data", WANT_STRING}, {NULL, WANT_ANY}};
    struct json_value v[2];
    int error = anthropic_collect(r, value.text, members, v, &block->rest);
    if (error == 0)
        error = need(r, "data", v[1]);
    block->kind = BLOCK_THINKING;
    block->is_redacted = true;
    if (error == 0)
        read_signature(r, v[1], block);
    return error;
}

/* --- all of them --- */

static const struct {
    const char *type;
    read_block_fn *read;
} block_types[] = {
    {"text", read_text},
    {"tool_use", read_tool_use},
    {"tool_result", read_tool_result},
    {"thinking", read_thinking},
    {"redacted_thinking", read_redacted},
    {"image", read_image},
    {"document", read_document},
    {"search_result", read_search_result},
};

static int read_block(struct anthropic_reader *r, struct json_value value, struct llm_block *block)
{
    struct json_value type;
    if (value.kind != JSON_OBJECT)
        return anthropic_refuse(r, "", "must be an object with a type");
    if (!json_find(value.text, "type", &type) || type.kind != JSON_STRING)
        return anthropic_refuse(r, "type", "must be the name of a kind of block, such as \"text\"");
    for (size_t i = 0; i < ARRAY_LEN(block_types); i++) {
        if (!json_string_eq(json_string_raw(type), str_c(block_types[i].type)))
            continue;
        int error = block_types[i].read(r, value, block);
        if (block->rest.len > 0)
            block->maker = DIALECT_ANTHROPIC;
        return error;
    }
    /* What the provider's own tools did, and what is newer than this. */
    block->kind = BLOCK_OPAQUE;
    keep_whole(block, value);
    return 0;
}

int anthropic_read_content(struct anthropic_reader *r, const char *member, struct json_value value,
                           struct llm_block **list)
{
    struct json_cursor cursor;
    struct json_value item;
    struct llm_block **end = list;
    ptrdiff_t index = 0;
    int error;
    if (value.kind == JSON_STRING) {
        struct llm_block *block = llm_block_add(r->arena, list, BLOCK_TEXT);
        if (block == NULL)
            return anthropic_no_memory();
        block->text = text_of(value);
        keep_whole(block, value); /* its quotes tell the writer that it was no array */
        return 0;
    }
    if (value.kind != JSON_ARRAY)
        return anthropic_refuse(r, member, "must be a string or an array of blocks");
    json_cursor_init(&cursor, value.text);
    while ((error = json_iter_array(&cursor, &item)) == 1) {
        struct llm_block *block = llm_block_add(r->arena, end, BLOCK_TEXT);
        if (block == NULL)
            return anthropic_no_memory();
        size_t back = anthropic_enter(r, member, index++);
        error = read_block(r, item, block);
        if (error < 0)
            return error;
        anthropic_leave(r, back);
        end = &block->next;
    }
    return error < 0 ? anthropic_refuse(r, member, "is no JSON, or nested too deeply") : 0;
}
