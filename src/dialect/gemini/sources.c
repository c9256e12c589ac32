#include "dialect/gemini/sources.h"

#include "dialect/gemini/codec.h"
#include "dialect/gemini/member.h"

enum {
    CHUNKS_LOOKED_AT = 128, /* sources that one more may be the same as */
};

void gemini_sources_init(struct gemini_sources *sources)
{
    *sources = (struct gemini_sources){BUF_INIT, BUF_INIT, BUF_INIT, false};
}

void gemini_sources_fini(struct gemini_sources *sources)
{
    buf_fini(&sources->chunks);
    buf_fini(&sources->supports);
    buf_fini(&sources->cited);
}

static void write_page(struct buf *out, const struct llm_citation *citation)
{
    buf_add_char(out, '{');
    if (!text_is_empty(citation->url)) {
        BUF_LIT(out, "\"uri\":");
        text_write(out, citation->url);
    }
    if (!text_is_empty(citation->title)) {
        gemini_comma(out);
        BUF_LIT(out, "\"title\":");
        text_write(out, citation->title);
    }
    buf_add_char(out, '}');
}

/* What a groundingChunk has inside. */
static bool is_chunk(struct str raw)
{
    struct json_value inside;
    return gemini_find(raw, "web", &inside) || gemini_find(raw, "retrievedContext", &inside);
}

static void write_chunk(struct buf *out, const struct llm_citation *citation, bool is_own)
{
    if (is_own) {
        buf_add_str(out, citation->raw);
        return;
    }
    BUF_LIT(out, "{\"web\":");
    write_page(out, citation);
    buf_add_char(out, '}');
}

/* The index of the chunk; the same source again is the same chunk. */
static unsigned add_chunk(struct gemini_sources *sources, const struct llm_citation *citation,
                          bool is_own)
{
    struct buf *chunks = &sources->chunks;
    struct json_cursor cursor;
    struct json_value chunk;
    unsigned index = 0;
    size_t before = chunks->len;
    if (before == 0)
        buf_add_char(chunks, '[');
    else
        chunks->ptr[before - 1] = ','; /* the bracket that closed it */
    size_t start = chunks->len;
    write_chunk(chunks, citation, is_own);
    struct str added = buf_ok(chunks) ? str_skip(buf_str(chunks), start) : STR_EMPTY;
    buf_add_char(chunks, ']');
    if (!buf_ok(chunks))
        return 0;
    json_cursor_init(&cursor, buf_str(chunks));
    while (json_iter_array(&cursor, &chunk) == 1 && chunk.text.ptr < chunks->ptr + start) {
        if (index < CHUNKS_LOOKED_AT && str_eq(chunk.text, str_n(chunks->ptr + start, added.len))) {
            chunks->len = before;
            chunks->ptr[before - 1] = ']';
            return index;
        }
        index++;
    }
    return index;
}

void gemini_sources_add(struct gemini_sources *sources, const struct llm_citation *citation)
{
    bool is_own = citation->maker == DIALECT_GEMINI && citation->raw.len > 0;
    bool is_page = is_own ? is_chunk(citation->raw) : !text_is_empty(citation->url);
    if (!is_page) {
        if (!is_own && text_is_empty(citation->title))
            return;
        gemini_comma(&sources->cited);
        if (is_own)
            buf_add_str(&sources->cited, citation->raw);
        else
            write_page(&sources->cited, citation);
        return;
    }
    /* Words of the answer are told by this dialect alone: elsewhere they are the source's. */
    bool has_words = is_own && !text_is_empty(citation->cited_text);
    unsigned index = add_chunk(sources, citation, is_own);
    gemini_comma(&sources->supports);
    BUF_LIT(&sources->supports, "{\"segment\":{");
    if (has_words) {
        BUF_LIT(&sources->supports, "\"text\":");
        text_write(&sources->supports, citation->cited_text);
    }
    buf_printf(&sources->supports, "},\"groundingChunkIndices\":[%u]}", index);
    sources->has_segment = sources->has_segment || has_words;
}

void gemini_sources_write(const struct gemini_sources *sources, struct buf *out)
{
    if (sources->chunks.len > 0) {
        BUF_LIT(out, ",\"groundingMetadata\":{\"groundingChunks\":");
        buf_add_str(out, buf_str(&sources->chunks));
        if (sources->has_segment) {
            BUF_LIT(out, ",\"groundingSupports\":[");
            buf_add_str(out, buf_str(&sources->supports));
            buf_add_char(out, ']');
        }
        buf_add_char(out, '}');
    }
    if (sources->cited.len > 0) {
        BUF_LIT(out, ",\"citationMetadata\":{\"citationSources\":[");
        buf_add_str(out, buf_str(&sources->cited));
        BUF_LIT(out, "]}");
    }
    if (!buf_ok(&sources->chunks) || !buf_ok(&sources->supports) || !buf_ok(&sources->cited))
        out->failed = true;
}
