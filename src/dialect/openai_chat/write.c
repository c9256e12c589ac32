#include "dialect/openai_chat/codec.h"
#include "dialect/openai_chat/response.h"
#include "dialect/signature.h"

/* Pieces that occur in requests and in answers. */

void chat_next(struct chat_list *list)
{
    if (list->has_any)
        buf_add_char(list->out, ',');
    list->has_any = true;
}

void chat_member(struct chat_list *list, const char *name)
{
    chat_next(list);
    buf_add_char(list->out, '"');
    buf_add_str(list->out, str_c(name));
    BUF_LIT(list->out, "\":");
}

void chat_member_text(struct chat_list *list, const char *name, struct text text)
{
    chat_member(list, name);
    text_write(list->out, text);
}

void chat_member_raw(struct chat_list *list, const char *name, struct str raw)
{
    if (raw.len == 0)
        return;
    chat_member(list, name);
    buf_add_str(list->out, raw);
}

void chat_write_short_id(struct buf *out, struct text id)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    bool is_short = id.s.len == 9;
    for (size_t i = 0; i < id.s.len; i++) {
        char c = id.s.ptr[i];
        is_short = is_short &&
                   ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
        hash = (hash ^ (unsigned char)c) * UINT64_C(1099511628211);
    }
    if (is_short) {
        text_write(out, id);
        return;
    }
    buf_add_char(out, '"');
    for (unsigned i = 0; i < 9; i++, hash /= 62)
        buf_add_char(out, digits[hash % 62]);
    buf_add_char(out, '"');
}

void chat_write_citation(struct buf *out, const struct llm_citation *citation)
{
    struct chat_list members = {out, false};
    BUF_LIT(out, "{\"type\":\"url_citation\",\"url_citation\":{");
    chat_member_text(&members, "url", citation->url);
    chat_member_text(&members, "title", citation->title);
    chat_member(&members, "start_index");
    buf_add_i64(out, MAX(citation->start, 0));
    chat_member(&members, "end_index");
    buf_add_i64(out, MAX(citation->end, 0));
    BUF_LIT(out, "}}");
}

const char *chat_finish_name(enum llm_finish finish, bool has_refusal)
{
    switch (finish) {
    case FINISH_LENGTH:
    case FINISH_CONTEXT:
        return "length";
    case FINISH_TOOL_CALLS:
        return "tool_calls";
    case FINISH_CONTENT_FILTER:
        return "content_filter";
    case FINISH_REFUSAL:
        return has_refusal ? "stop" : "content_filter";
    default:
        return "stop";
    }
}

/* --- usage --- */

void chat_usage_read(struct str object, struct token_usage *usage)
{
    struct token_usage told = TOKEN_USAGE_NONE;
    struct json_value value;
    int64_t total = -1;
    openai_usage_read(object, &told);
    if (json_find(object, "total_tokens", &value))
        (void)json_number_i64(value, &total);
    /* xAI counts reasoning beside the output, and only tells so by the total. */
    if (told.reasoning > 0 && told.input >= 0 && told.output >= 0 &&
        total == told.input + told.output + told.reasoning)
        told.output += told.reasoning;
    token_usage_merge(usage, &told);
    usage->input_includes_cached = true;
}

static void add_count(struct chat_list *members, const char *name, int64_t count)
{
    chat_member(members, name);
    buf_add_i64(members->out, MAX(count, 0));
}

void chat_usage_write(struct buf *out, const struct token_usage *usage)
{
    struct chat_list members = {out, false}, input = {out, false}, output = {out, false};
    int64_t in = MAX(token_usage_input_total(usage), 0), written = token_usage_cache_write(usage);
    buf_add_char(out, '{');
    add_count(&members, "prompt_tokens", in);
    add_count(&members, "completion_tokens", usage->output);
    add_count(&members, "total_tokens", in + MAX(usage->output, 0));
    chat_member(&members, "prompt_tokens_details");
    buf_add_char(out, '{');
    add_count(&input, "cached_tokens", usage->cache_read);
    add_count(&input, "audio_tokens", usage->audio_input);
    if (written >= 0)
        add_count(&input, "cache_write_tokens", written);
    if (usage->image_input >= 0)
        add_count(&input, "image_tokens", usage->image_input);
    buf_add_char(out, '}');
    chat_member(&members, "completion_tokens_details");
    buf_add_char(out, '{');
    add_count(&output, "reasoning_tokens", usage->reasoning);
    add_count(&output, "audio_tokens", usage->audio_output);
    BUF_LIT(out, "}}");
}

/* --- reasoning_details --- */

struct text chat_signature_pack(struct arena *arena, struct str type, struct text format,
                                struct text id, struct text data)
{
    struct str parts[] = {type, STR("|"), format.s, STR("|"), id.s, STR("|"), data.s};
    return (struct text){arena_concat(arena, parts, ARRAY_LEN(parts)), true};
}

bool chat_signature_unpack(struct text packed, struct chat_detail *detail)
{
    struct str rest = packed.s, piece[3];
    for (unsigned i = 0; i < ARRAY_LEN(piece); i++) {
        ptrdiff_t bar = str_index(rest, '|');
        if (bar < 0)
            return false;
        piece[i] = str_head(rest, (size_t)bar);
        rest = str_skip(rest, (size_t)bar + 1);
    }
    detail->type = piece[0];
    detail->format = (struct text){piece[1], packed.is_escaped};
    detail->id = (struct text){piece[2], packed.is_escaped};
    detail->data = (struct text){rest, packed.is_escaped};
    return str_eq(piece[0], STR("text")) || str_eq(piece[0], STR("encrypted")) ||
           str_eq(piece[0], STR("summary"));
}

static const char *const formats[DIALECT_COUNT] = {
    [DIALECT_OPENAI_CHAT] = "unknown",     [DIALECT_ANTHROPIC] = "anthropic-claude-v1",
    [DIALECT_GEMINI] = "google-gemini-v1", [DIALECT_BEDROCK] = "anthropic-claude-v1",
    [DIALECT_COHERE] = "unknown",          [DIALECT_OPENAI_RESPONSES] = "openai-responses-v1",
};

void chat_write_detail(struct buf *out, struct arena *arena, const struct llm_signature *signature,
                       bool is_for_call, struct text text, struct text for_id, unsigned index)
{
    struct chat_list members = {out, false};
    struct chat_detail detail = {.type = text_is_empty(text) ? STR("encrypted") : STR("text")};
    bool has_signature = text_is_some(signature->data);
    bool is_own = signature->maker == DIALECT_OPENAI_CHAT && has_signature &&
                  chat_signature_unpack(signature->data, &detail);
    if (!is_own) {
        detail.id = for_id;
        detail.format = text_plain(str_c(formats[signature->maker]));
        detail.data = signature_mark(arena, signature,
                                     is_for_call ? SIGNATURE_OF_CALL : SIGNATURE_OF_THINKING,
                                     DIALECT_OPENAI_CHAT);
        if (!has_signature)
            detail.type = STR("text");
    }
    bool is_encrypted = str_eq(detail.type, STR("encrypted"));
    BUF_LIT(out, "{");
    chat_member(&members, "type");
    BUF_LIT(out, "\"reasoning.");
    buf_add_str(out, detail.type);
    BUF_LIT(out, "\"");
    if (str_eq(detail.type, STR("summary")))
        chat_member_text(&members, "summary", text);
    else if (!is_encrypted)
        chat_member_text(&members, "text", text);
    if (!text_is_empty(detail.data))
        chat_member_text(&members, is_encrypted ? "data" : "signature", detail.data);
    if (!text_is_empty(detail.id))
        chat_member_text(&members, "id", detail.id);
    if (has_signature && !text_is_empty(detail.format))
        chat_member_text(&members, "format", detail.format);
    chat_member(&members, "index");
    buf_add_u64(out, index);
    buf_add_char(out, '}');
}
