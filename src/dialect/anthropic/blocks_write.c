#include "dialect/anthropic/codec.h"
#include "dialect/base64.h"
#include "dialect/signature.h"

/* --- commas and keys --- */

void anthropic_comma(struct buf *out)
{
    char last = out->len > 0 ? out->ptr[out->len - 1] : '\0';
    if (last != '{' && last != '[')
        buf_add_char(out, ',');
}

void anthropic_key(struct buf *out, const char *key)
{
    anthropic_comma(out);
    buf_add_char(out, '"');
    buf_add_str(out, str_c(key));
    BUF_LIT(out, "\":");
}

void anthropic_key_text(struct buf *out, const char *key, struct text text)
{
    anthropic_key(out, key);
    text_write(out, text);
}

void anthropic_key_raw(struct buf *out, const char *key, struct str raw)
{
    if (raw.len == 0)
        return;
    anthropic_key(out, key);
    buf_add_str(out, raw);
}

static bool is_in_rest(struct str rest, struct str key)
{
    struct json_cursor cursor;
    struct str name;
    struct json_value value;
    struct buf object = BUF_INIT;
    bool found = false;
    if (rest.len == 0)
        return false;
    BUF_LIT(&object, "{");
    buf_add_str(&object, rest);
    BUF_LIT(&object, "}");
    json_cursor_init(&cursor, buf_str(&object));
    while (!found && json_iter_object(&cursor, &name, &value) == 1)
        found = json_string_eq(name, key);
    buf_fini(&object);
    return found;
}

void anthropic_write_cache(struct buf *out, enum llm_cache cache, struct str rest)
{
    if (cache == CACHE_NONE || is_in_rest(rest, STR("cache_control")))
        return;
    anthropic_key(out, "cache_control");
    if (cache == CACHE_1H)
        BUF_LIT(out, "{\"type\":\"ephemeral\",\"ttl\":\"1h\"}");
    else
        BUF_LIT(out, "{\"type\":\"ephemeral\"}");
}

/* --- citations --- */

bool anthropic_write_citation(struct buf *out, const struct llm_citation *c)
{
    if (c->maker == DIALECT_ANTHROPIC && c->raw.len > 0) {
        buf_add_str(out, c->raw);
        return true;
    }
    if (text_is_some(c->url)) {
        BUF_LIT(out, "{\"type\":\"web_search_result_location\"");
        anthropic_key_text(out, "url", c->url);
        anthropic_key_text(out, "title", text_is_some(c->title) ? c->title : c->url);
        anthropic_key_text(out, "cited_text", c->cited_text);
        anthropic_key(out, "encrypted_index");
        BUF_LIT(out, "\"\"}");
        return true;
    }
    if (c->document < 0 && !text_is_some(c->cited_text))
        return false;
    BUF_LIT(out, "{\"type\":\"char_location\"");
    anthropic_key_text(out, "cited_text", c->cited_text);
    anthropic_key(out, "document_index");
    buf_add_i64(out, MAX(c->document, 0));
    if (text_is_some(c->title))
        anthropic_key_text(out, "document_title", c->title);
    else
        BUF_LIT(out, ",\"document_title\":null");
    BUF_LIT(out, ",\"start_char_index\":0,\"end_char_index\":0}");
    return true;
}

static void write_citations(struct buf *out, const struct llm_block *block)
{
    size_t start = out->len;
    anthropic_key(out, "citations");
    buf_add_char(out, '[');
    size_t inside = out->len;
    for (const struct llm_citation *c = block->citations; c != NULL; c = c->next) {
        size_t before = out->len;
        anthropic_comma(out);
        if (!anthropic_write_citation(out, c))
            out->len = before;
    }
    if (out->len == inside)
        out->len = start;
    else
        buf_add_char(out, ']');
}

/* --- media --- */

static bool is_web_url(struct text url)
{
    return str_istarts(url.s, STR("https:")) || str_istarts(url.s, STR("http:"));
}

static bool is_text_type(struct text type)
{
    return str_istarts(type.s, STR("text/")) || text_eq(type, STR("application/json")) ||
           text_eq(type, STR("application/xml"));
}

static bool is_pdf(const struct llm_block *block)
{
    return text_eq(block->media.type, STR("application/pdf")) ||
           (!text_is_some(block->media.type) && str_starts(block->media.data.s, STR("JVBERi")));
}

bool anthropic_can_write(const struct llm_block *block, bool is_own)
{
    const struct llm_media *media = &block->media;
    switch (block->kind) {
    case BLOCK_AUDIO:
    case BLOCK_VIDEO:
        return false;
    case BLOCK_OPAQUE:
        return block->maker == DIALECT_ANTHROPIC;
    case BLOCK_IMAGE:
        return text_is_some(media->data) || is_web_url(media->url) ||
               (is_own && text_is_some(media->file_id));
    case BLOCK_DOCUMENT:
        return text_is_some(block->text) || is_web_url(media->url) ||
               (is_own && text_is_some(media->file_id)) ||
               (text_is_some(media->data) && (is_pdf(block) || is_text_type(media->type)));
    default:
        return true;
    }
}

/* Images say what they are; where the source does not, the first bytes do. */
static struct text image_type(const struct llm_block *block)
{
    static const struct {
        const char *start, *type;
    } starts[] = {{"/9j/", "image/jpeg"}, {"R0lGOD", "image/gif"}, {"UklGR", "image/webp"}};
    if (text_eq(block->media.type, STR("image/jpg")))
        return TEXT_LIT("image/jpeg");
    if (text_is_some(block->media.type) && !text_eq(block->media.type, STR("image/*")))
        return block->media.type;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        if (str_starts(block->media.data.s, str_c(starts[i].start)))
            return text_plain(str_c(starts[i].type));
    }
    return TEXT_LIT("image/png");
}

static void write_source(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    const struct llm_media *media = &block->media;
    anthropic_key(out, "source");
    if (text_is_some(block->text)) {
        BUF_LIT(out, "{\"type\":\"text\",\"media_type\":\"text/plain\"");
        anthropic_key_text(out, "data", block->text);
    } else if (text_is_some(media->url)) {
        BUF_LIT(out, "{\"type\":\"url\"");
        anthropic_key_text(out, "url", media->url);
    } else if (text_is_some(media->file_id)) {
        BUF_LIT(out, "{\"type\":\"file\"");
        anthropic_key_text(out, "file_id", media->file_id);
    } else if (block->kind == BLOCK_DOCUMENT && !is_pdf(block)) {
        struct str bytes = base64_decode(arena, text_or(arena, media->data, STR_EMPTY));
        BUF_LIT(out, "{\"type\":\"text\",\"media_type\":\"text/plain\"");
        anthropic_key_text(out, "data", text_plain(bytes));
    } else {
        BUF_LIT(out, "{\"type\":\"base64\"");
        anthropic_key_text(out, "media_type",
                           block->kind == BLOCK_IMAGE ? image_type(block)
                                                      : TEXT_LIT("application/pdf"));
        anthropic_key_text(out, "data", media->data);
    }
    BUF_LIT(out, "}");
}

/* --- blocks: each writes what stands between the type and the end --- */

static void write_thinking(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    enum signature_place place = block->is_for_call ? SIGNATURE_OF_CALL : SIGNATURE_OF_THINKING;
    struct text signature = signature_mark(arena, &block->signature, place, DIALECT_ANTHROPIC);
    if (block->is_redacted) {
        BUF_LIT(out, "{\"type\":\"redacted_thinking\"");
        anthropic_key_text(out, "data", signature);
        return;
    }
    BUF_LIT(out, "{\"type\":\"thinking\"");
    anthropic_key_text(out, "thinking", block->text);
    if (text_is_some(signature))
        anthropic_key_text(out, "signature", signature);
}

static void write_result(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    BUF_LIT(out, "{\"type\":\"tool_result\"");
    anthropic_key_text(out, "tool_use_id", block->id);
    if (block->blocks != NULL) {
        anthropic_key(out, "content");
        anthropic_write_content(out, arena, block->blocks);
    }
    if (block->is_error)
        BUF_LIT(out, ",\"is_error\":true");
}

static void write_media(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    if (block->kind == BLOCK_IMAGE)
        BUF_LIT(out, "{\"type\":\"image\"");
    else
        BUF_LIT(out, "{\"type\":\"document\"");
    write_source(out, arena, block);
    if (block->kind == BLOCK_DOCUMENT && text_is_some(block->media.name))
        anthropic_key_text(out, "title", block->media.name);
    if (block->wants_citations)
        BUF_LIT(out, ",\"citations\":{\"enabled\":true}");
}

bool anthropic_write_block(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    bool is_own = block->maker == DIALECT_ANTHROPIC;
    if (is_own && block->raw.len > 0 && block->raw.ptr[0] == '{') {
        buf_add_str(out, block->raw);
        return true;
    }
    switch (block->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        BUF_LIT(out, "{\"type\":\"text\"");
        anthropic_key_text(out, "text", block->text);
        if (block->citations != NULL)
            write_citations(out, block);
        break;
    case BLOCK_THINKING:
        write_thinking(out, arena, block);
        break;
    case BLOCK_TOOL_CALL:
        BUF_LIT(out, "{\"type\":\"tool_use\"");
        anthropic_key_text(out, "id", block->id);
        anthropic_key_text(out, "name", block->name);
        anthropic_key(out, "input");
        llm_arguments_write_object(out, arena, block->arguments);
        break;
    case BLOCK_TOOL_RESULT:
        write_result(out, arena, block);
        break;
    case BLOCK_IMAGE:
    case BLOCK_DOCUMENT:
        write_media(out, arena, block);
        break;
    case BLOCK_AUDIO:
    case BLOCK_VIDEO:
    case BLOCK_OPAQUE:
        return false;
    }
    if (block->kind != BLOCK_THINKING)
        anthropic_write_cache(out, block->cache, is_own ? block->rest : STR_EMPTY);
    if (is_own && block->rest.len > 0) {
        anthropic_comma(out);
        buf_add_str(out, block->rest);
    }
    buf_add_char(out, '}');
    return true;
}

void anthropic_write_content(struct buf *out, struct arena *arena, const struct llm_block *blocks)
{
    bool was_string = blocks != NULL && blocks->kind == BLOCK_TEXT && blocks->next == NULL &&
                      blocks->maker == DIALECT_ANTHROPIC && blocks->raw.len > 0 &&
                      blocks->raw.ptr[0] == '"' && blocks->cache == CACHE_NONE;
    if (was_string) {
        text_write(out, blocks->text);
        return;
    }
    buf_add_char(out, '[');
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        size_t before = out->len;
        anthropic_comma(out);
        if (!anthropic_write_block(out, arena, b))
            out->len = before;
    }
    buf_add_char(out, ']');
}
