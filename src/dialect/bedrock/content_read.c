#include "base/err.h"
#include "dialect/base64.h"
#include "dialect/bedrock/citation.h"
#include "dialect/bedrock/content.h"
#include "dialect/bedrock/format.h"
#include "dialect/signature.h"

/* A list of blocks that is being read. */
struct content {
    struct llm_block **list;
    struct llm_block *last;
    bool has_more;   /* it says something that only its own dialect knows, or a form of its own */
    bool is_unknown; /* nobody but its own dialect can do anything with it */
};

static struct llm_block *add(struct bedrock_reader *reader, struct content *content,
                             enum llm_block_kind kind)
{
    struct llm_block **list = content->last != NULL ? &content->last->next : content->list;
    struct llm_block *block = llm_block_add(reader->arena, list, kind);
    if (block != NULL)
        content->last = block;
    return block;
}

static int read_text(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_block *block = add(reader, into, BLOCK_TEXT);
    if (block == NULL)
        return bedrock_no_memory();
    block->text = text_of(value);
    return 0;
}

/* A result that is JSON reaches others as its text. */
static int read_json(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct content *content = into;
    struct llm_block *block = add(reader, content, BLOCK_TEXT);
    if (block == NULL)
        return bedrock_no_memory();
    block->text = text_plain(value.text);
    content->has_more = true;
    return 0;
}

/* --- media --- */

struct media {
    struct llm_block *block;
    struct content *content;
};

static int read_format(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct media *media = into;
    struct llm_block *block = media->block;
    struct text format = text_of(value);
    block->media.type = bedrock_type_of_format(reader->arena, block->kind, format);
    struct str back =
        bedrock_format_of_type(reader->arena, block->kind, block->media.type, TEXT_NONE);
    if (!text_eq(format, back))
        media->content->has_more = true;
    return 0;
}

static int read_name(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)reader;
    ((struct media *)into)->block->media.name = text_of(value);
    return 0;
}

static int read_bytes(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)reader;
    ((struct media *)into)->block->media.data = text_of(value);
    return 0;
}

static int read_uri(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)reader;
    ((struct media *)into)->block->media.url = text_of(value);
    return 0;
}

static int read_s3(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {{"uri", JSON_STRING, read_uri, 0}, {0}};
    return bedrock_read_object(reader, value, members, into);
}

static int read_plain_text(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)reader;
    ((struct media *)into)->block->text = text_of(value);
    return 0;
}

/* A text in pieces that citations can name: others get it in one. */
static int read_pieces(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct media *media = into;
    unsigned count;
    media->block->text = bedrock_texts_join(reader->arena, value, STR("\\n"), &count);
    media->content->has_more = true;
    return text_is_some(media->block->text) ? 0 : bedrock_no_memory();
}

static int read_source(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"bytes", JSON_STRING, read_bytes, 0},
        {"s3Location", JSON_OBJECT, read_s3, 0},
        {"text", JSON_STRING, read_plain_text, 0},
        {"content", JSON_ARRAY, read_pieces, 0},
        {0},
    };
    return bedrock_read_object(reader, value, members, into);
}

static int read_enabled(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct media *media = into;
    (void)reader;
    media->block->wants_citations = value.kind == JSON_TRUE;
    media->content->has_more = media->content->has_more || value.kind == JSON_FALSE;
    return 0;
}

static int read_citations_config(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {{"enabled", JSON_TRUE, read_enabled, 0}, {0}};
    return bedrock_read_object(reader, value, members, into);
}

static int read_media(struct bedrock_reader *reader, struct json_value value,
                      struct content *content, enum llm_block_kind kind)
{
    static const struct bedrock_member members[] = {
        {"format", JSON_STRING, read_format, 0},
        {"source", JSON_OBJECT, read_source, 0},
        {0},
    };
    static const struct bedrock_member document_members[] = {
        {"format", JSON_STRING, read_format, 0},
        {"source", JSON_OBJECT, read_source, 0},
        {"name", JSON_STRING, read_name, 0},
        {"citations", JSON_OBJECT, read_citations_config, 0},
        {0},
    };
    struct media media = {add(reader, content, kind), content};
    if (media.block == NULL)
        return bedrock_no_memory();
    return bedrock_read_object(reader, value, kind == BLOCK_DOCUMENT ? document_members : members,
                               &media);
}

static int read_image(struct bedrock_reader *reader, struct json_value value, void *into)
{
    return read_media(reader, value, into, BLOCK_IMAGE);
}

static int read_audio(struct bedrock_reader *reader, struct json_value value, void *into)
{
    return read_media(reader, value, into, BLOCK_AUDIO);
}

static int read_video(struct bedrock_reader *reader, struct json_value value, void *into)
{
    return read_media(reader, value, into, BLOCK_VIDEO);
}

static int read_document(struct bedrock_reader *reader, struct json_value value, void *into)
{
    return read_media(reader, value, into, BLOCK_DOCUMENT);
}

/* A document for those who have no search results; where it is from is told to none of them. */
static int read_search_result(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"title", JSON_STRING, read_name, 0},
        {"content", JSON_ARRAY, read_pieces, 0},
        {"citations", JSON_OBJECT, read_citations_config, 0},
        {0},
    };
    struct content *content = into;
    struct media media = {add(reader, content, BLOCK_DOCUMENT), content};
    if (media.block == NULL)
        return bedrock_no_memory();
    media.block->media.type = TEXT_LIT("text/plain");
    return bedrock_read_object(reader, value, members, &media);
}

/* --- what a guardrail looks at --- */

static int pass(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)reader;
    (void)value;
    (void)into;
    return 0;
}

static int read_guard_text(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"text", JSON_STRING, read_text, 0},
        {"qualifiers", JSON_ARRAY, pass, 0},
        {0},
    };
    return bedrock_read_object(reader, value, members, into);
}

static int read_guard_content(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"text", JSON_OBJECT, read_guard_text, 0},
        {"image", JSON_OBJECT, read_image, 0},
        {0},
    };
    int r = bedrock_keep_extra(reader, STR_EMPTY, value, false);
    return r < 0 ? r : bedrock_read_object(reader, value, members, into);
}

/* --- tools --- */

/* Calls and results of tools that the provider runs have a type. */
static bool is_builtin(struct json_value value)
{
    struct json_value type;
    return json_find(value.text, "type", &type) && type.kind == JSON_STRING &&
           !json_string_eq(json_string_raw(type), STR("tool_use"));
}

static int missing(const struct bedrock_reader *reader, const char *member)
{
    return err_set(ERR_INVALID, FAULT_CLIENT, "'%.*s.%s' is missing", (int)reader->path_len,
                   reader->path, member);
}

static int read_tool_use(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"toolUseId", JSON_STRING, NULL, offsetof(struct llm_block, id)},
        {"name", JSON_STRING, NULL, offsetof(struct llm_block, name)},
        {"input", JSON_NONE, NULL, offsetof(struct llm_block, arguments)},
        {"type", JSON_STRING, pass, 0},
        {0},
    };
    struct content *content = into;
    if (is_builtin(value)) {
        content->is_unknown = true;
        return 0;
    }
    struct llm_block *block = add(reader, content, BLOCK_TOOL_CALL);
    if (block == NULL)
        return bedrock_no_memory();
    int r = bedrock_read_object(reader, value, members, block);
    if (r == 0 && !text_is_some(block->id))
        return missing(reader, "toolUseId");
    if (r == 0 && !text_is_some(block->name))
        return missing(reader, "name");
    return r;
}

static int read_result_content(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct content *content = into;
    return bedrock_read_content(reader, value, &content->last->blocks);
}

static int read_result_id(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)reader;
    ((struct content *)into)->last->id = text_of(value);
    return 0;
}

static int read_status(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct content *content = into;
    struct str raw = json_string_raw(value);
    content->last->is_error = json_string_eq(raw, STR("error"));
    if (!content->last->is_error && !json_string_eq(raw, STR("success")))
        return bedrock_wrong(reader, "\"success\" or \"error\"");
    /* Not every model takes a status: it is written only where it was told. */
    content->has_more = content->has_more || !content->last->is_error;
    return 0;
}

static int read_tool_result(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"toolUseId", JSON_STRING, read_result_id, 0},
        {"content", JSON_ARRAY, read_result_content, 0},
        {"status", JSON_STRING, read_status, 0},
        {0},
    };
    struct content *content = into;
    if (is_builtin(value)) {
        content->is_unknown = true;
        return 0;
    }
    if (add(reader, content, BLOCK_TOOL_RESULT) == NULL)
        return bedrock_no_memory();
    int r = bedrock_read_object(reader, value, members, content);
    return r == 0 && !text_is_some(content->last->id) ? missing(reader, "toolUseId") : r;
}

/* --- reasoning --- */

static int read_signature(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_block *block = into;
    enum signature_place place = SIGNATURE_OF_THINKING;
    block->signature = signature_unmark(reader->arena, text_of(value), DIALECT_BEDROCK, &place);
    block->is_for_call = place == SIGNATURE_OF_CALL;
    return 0;
}

static int read_reasoning_text(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"text", JSON_STRING, NULL, offsetof(struct llm_block, text)},
        {"signature", JSON_STRING, read_signature, 0},
        {0},
    };
    return bedrock_read_object(reader, value, members, into);
}

/* What is redacted is bytes to SDKs: a mark of ours stands in them as base64. */
static int read_redacted(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_block *block = into;
    enum signature_place place;
    struct text data = text_of(value);
    struct str bytes = base64_decode(reader->arena, text_or(reader->arena, data, STR_EMPTY));
    block->is_redacted = true;
    if (str_starts(bytes, STR("weir:")))
        block->signature =
            signature_unmark(reader->arena, text_plain(bytes), DIALECT_BEDROCK, &place);
    else
        block->signature = (struct llm_signature){data, DIALECT_BEDROCK};
    return 0;
}

static int read_reasoning(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"reasoningText", JSON_OBJECT, read_reasoning_text, 0},
        {"redactedContent", JSON_STRING, read_redacted, 0},
        {0},
    };
    struct llm_block *block = add(reader, into, BLOCK_THINKING);
    return block == NULL ? bedrock_no_memory() : bedrock_read_object(reader, value, members, block);
}

/* --- cited text --- */

static int read_cited_text(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct content *content = into;
    unsigned count;
    content->last->text = bedrock_texts_join(reader->arena, value, STR_EMPTY, &count);
    content->has_more = content->has_more || count != 1;
    return text_is_some(content->last->text) ? 0 : bedrock_no_memory();
}

static int read_citation(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_citation ***end = into;
    struct llm_citation *citation = ARENA_NEW(reader->arena, struct llm_citation);
    if (citation == NULL)
        return bedrock_no_memory();
    bedrock_citation_read(reader->arena, value, citation);
    **end = citation;
    *end = &citation->next;
    return 0;
}

static int read_citations(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_citation **end = &((struct content *)into)->last->citations;
    return bedrock_read_array(reader, value, JSON_OBJECT, read_citation, &end);
}

static int read_citations_content(struct bedrock_reader *reader, struct json_value value,
                                  void *into)
{
    static const struct bedrock_member members[] = {
        {"content", JSON_ARRAY, read_cited_text, 0},
        {"citations", JSON_ARRAY, read_citations, 0},
        {0},
    };
    struct content *content = into;
    struct llm_block *block = add(reader, content, BLOCK_TEXT);
    if (block == NULL)
        return bedrock_no_memory();
    block->text = TEXT_LIT("");
    int r = bedrock_read_object(reader, value, members, content);
    if (block->citations == NULL || text_is_empty(block->text))
        content->has_more = true;
    return r;
}

/* --- blocks --- */

enum llm_cache bedrock_cache_of(struct json_value cache_point)
{
    struct json_value ttl;
    if (cache_point.kind != JSON_OBJECT)
        return CACHE_NONE;
    bool is_long =
        json_find(cache_point.text, "ttl", &ttl) && json_string_eq(json_string_raw(ttl), STR("1h"));
    return is_long ? CACHE_1H : CACHE_5M;
}

/* It belongs to the block before it. */
static int read_cache_point(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct content *content = into;
    (void)reader;
    if (content->last == NULL || content->last->cache != CACHE_NONE)
        content->is_unknown = true;
    else
        content->last->cache = bedrock_cache_of(value);
    return 0;
}

static const struct bedrock_member block_members[] = {
    {"text", JSON_STRING, read_text, 0},
    {"image", JSON_OBJECT, read_image, 0},
    {"document", JSON_OBJECT, read_document, 0},
    {"video", JSON_OBJECT, read_video, 0},
    {"audio", JSON_OBJECT, read_audio, 0},
    {"toolUse", JSON_OBJECT, read_tool_use, 0},
    {"toolResult", JSON_OBJECT, read_tool_result, 0},
    {"guardContent", JSON_OBJECT, read_guard_content, 0},
    {"cachePoint", JSON_OBJECT, read_cache_point, 0},
    {"reasoningContent", JSON_OBJECT, read_reasoning, 0},
    {"citationsContent", JSON_OBJECT, read_citations_content, 0},
    {"searchResult", JSON_OBJECT, read_search_result, 0},
    {"json", JSON_NONE, read_json, 0},
    {0},
};

static bool is_known_block(struct str key)
{
    for (const struct bedrock_member *m = block_members; m->name != NULL; m++) {
        if (json_string_eq(key, str_c(m->name)))
            return true;
    }
    return false;
}

static int read_block(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct content *content = into;
    struct llm_block *before = content->last;
    const struct llm_extra *extra = reader->request->last_extra;
    struct str key;
    struct json_value member;
    if (!bedrock_first_member(value, &key, &member))
        return bedrock_wrong(reader, "an object with one of text, image, document, toolUse ...");
    content->has_more = false;
    content->is_unknown = !is_known_block(key);
    int r = content->is_unknown ? 0 : bedrock_read_object(reader, value, block_members, content);
    if (r < 0)
        return r;
    if (content->is_unknown) {
        if (add(reader, content, BLOCK_OPAQUE) == NULL)
            return bedrock_no_memory();
        content->has_more = true;
    }
    if (content->last != before && (content->has_more || extra != reader->request->last_extra)) {
        content->last->raw = value.text;
        content->last->maker = DIALECT_BEDROCK;
    }
    return 0;
}

int bedrock_read_content(struct bedrock_reader *reader, struct json_value array,
                         struct llm_block **list)
{
    struct content content = {.list = list};
    return bedrock_read_array(reader, array, JSON_OBJECT, read_block, &content);
}
