#include "dialect/bedrock/content.h"

#include "dialect/base64.h"
#include "dialect/bedrock/citation.h"
#include "dialect/bedrock/format.h"
#include "dialect/bedrock/write.h"
#include "dialect/signature.h"

/* Where a file without a media type tells its format by the end of a name. */
static struct text file_name(const struct llm_block *block)
{
    return text_is_some(block->media.url) ? block->media.url : block->media.name;
}

static struct str format_of(struct arena *arena, const struct llm_block *block)
{
    struct str format =
        bedrock_format_of_type(arena, block->kind, block->media.type, file_name(block));
    return format.len == 0 && text_is_some(block->text) ? STR("txt") : format;
}

static bool is_in_s3(struct arena *arena, const struct llm_block *block)
{
    return str_starts(text_or(arena, block->media.url, STR_EMPTY), STR("s3://"));
}

static bool can_write_media(struct arena *arena, const struct llm_block *block, const char **what)
{
    bool has_source = text_is_some(block->media.data) || is_in_s3(arena, block) ||
                      (block->kind == BLOCK_DOCUMENT && text_is_some(block->text));
    bool is_plain_detail =
        text_is_empty(block->media.detail) || text_eq(block->media.detail, STR("auto"));
    if (!is_plain_detail)
        *what = "detail";
    return has_source && format_of(arena, block).len > 0;
}

bool bedrock_can_write(struct arena *arena, const struct llm_block *block, const char **what)
{
    *what = "";
    switch (block->kind) {
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
    case BLOCK_VIDEO:
    case BLOCK_DOCUMENT:
        return can_write_media(arena, block, what);
    case BLOCK_OPAQUE:
        return block->maker == DIALECT_BEDROCK;
    case BLOCK_TEXT:
        if (block->citations != NULL)
            *what = "citations";
        return true;
    case BLOCK_TOOL_CALL:
    case BLOCK_TOOL_RESULT:
    case BLOCK_THINKING:
    case BLOCK_REFUSAL:
        break;
    }
    return true;
}

/* --- writing --- */

void bedrock_key(struct buf *out, const char *name)
{
    if (out->len > 0 && out->ptr[out->len - 1] != '{')
        buf_add_char(out, ',');
    buf_add_char(out, '"');
    buf_add_str(out, str_c(name));
    BUF_LIT(out, "\":");
}

void bedrock_item(struct buf *out)
{
    if (out->len > 0 && out->ptr[out->len - 1] != '[')
        buf_add_char(out, ',');
}

void bedrock_write_cache_point(struct buf *out, enum llm_cache cache)
{
    bedrock_item(out);
    if (cache == CACHE_1H)
        BUF_LIT(out, "{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}}");
    else
        BUF_LIT(out, "{\"cachePoint\":{\"type\":\"default\"}}");
}

void bedrock_write_redacted(struct buf *out, struct arena *arena,
                            const struct llm_signature *signature)
{
    if (signature->maker == DIALECT_BEDROCK) {
        text_write(out, signature->data);
        return;
    }
    struct text marked = signature_mark(arena, signature, SIGNATURE_OF_THINKING, DIALECT_BEDROCK);
    text_write(out, text_plain(base64_encode(arena, text_or(arena, marked, STR_EMPTY))));
}

static void write_text(struct buf *out, const struct llm_block *block)
{
    if (block->citations == NULL) {
        bedrock_key(out, "text");
        text_write(out, block->text);
        return;
    }
    bedrock_key(out, "citationsContent");
    BUF_LIT(out, "{");
    if (!text_is_empty(block->text)) {
        BUF_LIT(out, "\"content\":[{\"text\":");
        text_write(out, block->text);
        BUF_LIT(out, "}]");
    }
    bedrock_key(out, "citations");
    BUF_LIT(out, "[");
    for (const struct llm_citation *c = block->citations; c != NULL; c = c->next) {
        bedrock_item(out);
        bedrock_citation_write(out, c);
    }
    BUF_LIT(out, "]}");
}

static void write_media(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    static const char *const keys[] = {
        [BLOCK_IMAGE] = "image",
        [BLOCK_AUDIO] = "audio",
        [BLOCK_VIDEO] = "video",
        [BLOCK_DOCUMENT] = "document",
    };
    struct str format = format_of(arena, block);
    bedrock_key(out, keys[block->kind]);
    BUF_LIT(out, "{");
    if (format.len > 0) {
        bedrock_key(out, "format");
        buf_add_json(out, format);
    }
    if (block->kind == BLOCK_DOCUMENT) {
        bedrock_key(out, "name");
        text_write(out, text_is_some(block->media.name) ? block->media.name : TEXT_LIT("document"));
    }
    bedrock_key(out, "source");
    BUF_LIT(out, "{");
    if (text_is_some(block->media.data)) {
        bedrock_key(out, "bytes");
        text_write(out, block->media.data);
    } else if (text_is_some(block->media.url)) {
        BUF_LIT(out, "\"s3Location\":{\"uri\":");
        text_write(out, block->media.url);
        BUF_LIT(out, "}");
    } else {
        bedrock_key(out, "text");
        text_write(out, block->text);
    }
    BUF_LIT(out, "}");
    if (block->wants_citations)
        BUF_LIT(out, ",\"citations\":{\"enabled\":true}");
    BUF_LIT(out, "}");
}

static void write_call(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    bedrock_key(out, "toolUse");
    BUF_LIT(out, "{\"toolUseId\":");
    text_write(out, block->id);
    bedrock_key(out, "name");
    text_write(out, block->name);
    bedrock_key(out, "input");
    llm_arguments_write_object(out, arena, block->arguments);
    BUF_LIT(out, "}");
}

static void write_thinking(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    bedrock_key(out, "reasoningContent");
    if (block->is_redacted) {
        BUF_LIT(out, "{\"redactedContent\":");
        bedrock_write_redacted(out, arena, &block->signature);
        BUF_LIT(out, "}");
        return;
    }
    BUF_LIT(out, "{\"reasoningText\":{\"text\":");
    text_write(out, block->text);
    if (text_is_some(block->signature.data)) {
        BUF_LIT(out, ",\"signature\":");
        text_write(out,
                   signature_mark(arena, &block->signature,
                                  block->is_for_call ? SIGNATURE_OF_CALL : SIGNATURE_OF_THINKING,
                                  DIALECT_BEDROCK));
    }
    BUF_LIT(out, "}}");
}

/* Everything but results, which hold blocks themselves. */
static void write_simple(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    switch (block->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        write_text(out, block);
        break;
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
    case BLOCK_VIDEO:
    case BLOCK_DOCUMENT:
        write_media(out, arena, block);
        break;
    case BLOCK_TOOL_CALL:
        write_call(out, arena, block);
        break;
    case BLOCK_THINKING:
        write_thinking(out, arena, block);
        break;
    case BLOCK_TOOL_RESULT:
    case BLOCK_OPAQUE:
        break;
    }
}

/* The signature of a call stands in front of it. */
static void write_carrier(struct buf *out, struct arena *arena, const struct llm_block *call)
{
    BUF_LIT(out, "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"\",\"signature\":");
    text_write(out, signature_mark(arena, &call->signature, SIGNATURE_OF_CALL, DIALECT_BEDROCK));
    BUF_LIT(out, "}}}");
    bedrock_item(out);
}

/* Results hold no results: `depth` ends what a reader of another dialect could have nested. */
static void write_blocks(struct buf *out, struct arena *arena, const struct llm_block *block,
                         unsigned depth)
{
    BUF_LIT(out, "[");
    for (; block != NULL; block = block->next) {
        bool is_raw = block->raw.len > 0 && block->maker == DIALECT_BEDROCK;
        if (!is_raw &&
            (block->kind == BLOCK_OPAQUE || (block->kind == BLOCK_TOOL_RESULT && depth > 0)))
            continue;
        bedrock_item(out);
        if (is_raw) {
            buf_add_str(out, block->raw);
        } else if (block->kind == BLOCK_TOOL_RESULT) {
            BUF_LIT(out, "{\"toolResult\":{\"toolUseId\":");
            text_write(out, block->id);
            bedrock_key(out, "content");
            write_blocks(out, arena, block->blocks, depth + 1);
            if (block->is_error)
                BUF_LIT(out, ",\"status\":\"error\"");
            BUF_LIT(out, "}}");
        } else {
            if (block->kind == BLOCK_TOOL_CALL && text_is_some(block->signature.data))
                write_carrier(out, arena, block);
            BUF_LIT(out, "{");
            write_simple(out, arena, block);
            BUF_LIT(out, "}");
        }
        if (block->cache != CACHE_NONE)
            bedrock_write_cache_point(out, block->cache);
    }
    BUF_LIT(out, "]");
}

void bedrock_write_content(struct buf *out, struct arena *arena, const struct llm_block *blocks)
{
    write_blocks(out, arena, blocks, 0);
}
