#include "dialect/base64.h"
#include "dialect/gemini/codec.h"
#include "dialect/gemini/logprobs.h"
#include "dialect/gemini/sources.h"
#include "dialect/signature.h"

/* The pieces of an answer as Gemini writes it, and whole answers. */

static const struct {
    struct str name;
    enum llm_finish finish;
} finishes[] = {
    {STR_INIT("STOP"), FINISH_STOP},
    {STR_INIT("MAX_TOKENS"), FINISH_LENGTH},
    {STR_INIT("SAFETY"), FINISH_CONTENT_FILTER},
    {STR_INIT("RECITATION"), FINISH_CONTENT_FILTER},
    {STR_INIT("BLOCKLIST"), FINISH_CONTENT_FILTER},
    {STR_INIT("PROHIBITED_CONTENT"), FINISH_CONTENT_FILTER},
    {STR_INIT("SPII"), FINISH_CONTENT_FILTER},
    {STR_INIT("IMAGE_SAFETY"), FINISH_CONTENT_FILTER},
    {STR_INIT("IMAGE_PROHIBITED_CONTENT"), FINISH_CONTENT_FILTER},
    {STR_INIT("IMAGE_RECITATION"), FINISH_CONTENT_FILTER},
    {STR_INIT("MODEL_ARMOR"), FINISH_CONTENT_FILTER},
    {STR_INIT("LANGUAGE"), FINISH_CONTENT_FILTER},
};

enum llm_finish gemini_finish_of(struct text name, bool has_call)
{
    enum llm_finish finish = FINISH_OTHER;
    for (size_t i = 0; i < ARRAY_LEN(finishes); i++) {
        if (text_eq(name, finishes[i].name))
            finish = finishes[i].finish;
    }
    return finish == FINISH_STOP && has_call ? FINISH_TOOL_CALLS : finish;
}

const char *gemini_finish_name(enum llm_finish finish)
{
    switch (finish) {
    case FINISH_LENGTH:
    case FINISH_CONTEXT:
        return "MAX_TOKENS";
    case FINISH_CONTENT_FILTER:
    case FINISH_REFUSAL:
        return "SAFETY";
    case FINISH_PAUSE:
    case FINISH_OTHER:
        return "OTHER";
    default:
        return "STOP";
    }
}

void gemini_comma(struct buf *out)
{
    char last = out->len > 0 ? out->ptr[out->len - 1] : '{';
    if (last != '{' && last != '[')
        buf_add_char(out, ',');
}

void gemini_write_signature(struct buf *out, struct arena *scratch,
                            const struct llm_signature *signature, bool is_of_call)
{
    if (text_is_empty(signature->data))
        return;
    gemini_comma(out);
    BUF_LIT(out, "\"thoughtSignature\":");
    if (signature->maker == DIALECT_GEMINI) {
        text_write(out, signature->data);
        return;
    }
    struct arena_mark mark = arena_mark(scratch);
    struct text marked = signature_mark(
        scratch, signature, is_of_call ? SIGNATURE_OF_CALL : SIGNATURE_OF_THINKING, DIALECT_GEMINI);
    struct str plain = text_or(scratch, marked, STR_EMPTY);
    struct str encoded = base64_encode(scratch, plain);
    if (plain.len == 0 || encoded.ptr == NULL)
        out->failed = true;
    else
        buf_add_json(out, encoded);
    arena_rewind(scratch, mark);
}

void gemini_write_call(struct buf *out, struct arena *scratch, struct text id, struct text name,
                       struct text arguments, const struct llm_signature *signature)
{
    struct arena_mark mark = arena_mark(scratch);
    BUF_LIT(out, "{\"functionCall\":{");
    if (!text_is_empty(id)) {
        BUF_LIT(out, "\"id\":");
        text_write(out, id);
        buf_add_char(out, ',');
    }
    BUF_LIT(out, "\"name\":");
    text_write(out, name);
    BUF_LIT(out, ",\"args\":");
    llm_arguments_write_object(out, scratch, arguments);
    buf_add_char(out, '}');
    arena_rewind(scratch, mark);
    gemini_write_signature(out, scratch, signature, true);
    buf_add_char(out, '}');
}

void gemini_write_inline(struct buf *out, struct text media_type, struct text data)
{
    /* A type is demanded; OpenAI's answers with audio tell none. */
    if (text_is_empty(media_type))
        media_type = text_plain(STR("application/octet-stream"));
    BUF_LIT(out, "{\"inlineData\":{\"mimeType\":");
    text_write(out, media_type);
    BUF_LIT(out, ",\"data\":");
    text_write(out, data);
    BUF_LIT(out, "}}");
}

void gemini_write_tail(struct buf *out, const struct token_usage *usage, struct text id,
                       struct text model, const struct llm_codec_settings *settings)
{
    if (usage != NULL && gemini_has_usage(usage)) {
        gemini_comma(out);
        BUF_LIT(out, "\"usageMetadata\":");
        gemini_write_usage(out, usage);
    }
    gemini_comma(out);
    BUF_LIT(out, "\"modelVersion\":");
    text_write(out, text_is_empty(model) ? text_plain(settings->model) : model);
    BUF_LIT(out, ",\"responseId\":");
    text_write(out, text_is_empty(id) ? text_plain(settings->request_id) : id);
}

/* --- whole answers --------------------------------------------------------------------------- */

static void write_part(struct buf *out, struct arena *scratch, const struct llm_block *block)
{
    bool has_text = !text_is_empty(block->text);
    bool has_signature = !text_is_empty(block->signature.data);
    switch (block->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
    case BLOCK_THINKING:
        if (!has_text && !has_signature)
            return;
        gemini_comma(out);
        BUF_LIT(out, "{\"text\":");
        text_write(out, block->text);
        if (block->kind == BLOCK_THINKING)
            BUF_LIT(out, ",\"thought\":true");
        gemini_write_signature(out, scratch, &block->signature, block->is_for_call);
        buf_add_char(out, '}');
        return;
    case BLOCK_TOOL_CALL:
        gemini_comma(out);
        gemini_write_call(out, scratch, block->id, block->name, block->arguments,
                          &block->signature);
        return;
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
        if (text_is_empty(block->media.data))
            return;
        gemini_comma(out);
        gemini_write_inline(out, block->media.type, block->media.data);
        return;
    case BLOCK_OPAQUE:
        if (block->maker != DIALECT_GEMINI || block->raw.len == 0)
            return;
        gemini_comma(out);
        buf_add_str(out, block->raw);
        return;
    default:
        return;
    }
}

static void write_sources(struct buf *out, const struct llm_block *blocks)
{
    struct gemini_sources sources;
    gemini_sources_init(&sources);
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        for (const struct llm_citation *c = b->citations; c != NULL; c = c->next)
            gemini_sources_add(&sources, c);
    }
    gemini_sources_write(&sources, out);
    gemini_sources_fini(&sources);
}

static void write_choice(struct buf *out, struct arena *scratch, const struct llm_choice *choice)
{
    gemini_comma(out);
    BUF_LIT(out, "{\"content\":{\"parts\":[");
    for (const struct llm_block *b = choice->blocks; b != NULL; b = b->next)
        write_part(out, scratch, b);
    buf_printf(out, "],\"role\":\"model\"},\"finishReason\":\"%s\",\"index\":%u",
               gemini_finish_name(choice->finish), choice->index);
    write_sources(out, choice->blocks);
    if (choice->logprobs.len > 0) {
        BUF_LIT(out, ",\"logprobsResult\":");
        gemini_write_logprobs(out, choice->logprobs);
    }
    buf_add_char(out, '}');
}

void gemini_write_answer(const struct llm_answer *answer, const struct llm_codec_settings *settings,
                         struct buf *out)
{
    struct arena *scratch = arena_new(4096);
    if (scratch == NULL) {
        out->failed = true;
        return;
    }
    BUF_LIT(out, "{\"candidates\":[");
    for (const struct llm_choice *c = answer->choices; c != NULL; c = c->next)
        write_choice(out, scratch, c);
    buf_add_char(out, ']');
    gemini_write_tail(out, &answer->usage, answer->id, answer->model, settings);
    buf_add_char(out, '}');
    arena_free(scratch);
}
