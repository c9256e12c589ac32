#include "dialect/openai_responses/codec.h"

/* Pieces that occur in requests and in answers. */

void responses_next(struct responses_list *list)
{
    if (list->has_any)
        buf_add_char(list->out, ',');
    list->has_any = true;
}

void responses_member(struct responses_list *list, const char *name)
{
    responses_next(list);
    buf_add_char(list->out, '"');
    buf_add_str(list->out, str_c(name));
    BUF_LIT(list->out, "\":");
}

void responses_member_text(struct responses_list *list, const char *name, struct text text)
{
    responses_member(list, name);
    text_write(list->out, text);
}

void responses_member_raw(struct responses_list *list, const char *name, struct str raw)
{
    if (raw.len == 0)
        return;
    responses_member(list, name);
    buf_add_str(list->out, raw);
}

static void write_data_url(struct responses_list *members, const char *name,
                           const struct llm_media *media, const char *type)
{
    struct buf *out = members->out;
    responses_member(members, name);
    BUF_LIT(out, "\"data:");
    if (text_is_empty(media->type))
        buf_add_str(out, str_c(type));
    else
        text_write_inside(out, media->type);
    BUF_LIT(out, ";base64,");
    text_write_inside(out, media->data);
    buf_add_char(out, '"');
}

static void write_image(struct responses_list *members, const struct llm_block *block)
{
    const struct llm_media *media = &block->media;
    responses_member_text(members, "type", text_plain(STR("input_image")));
    if (text_is_some(media->data))
        write_data_url(members, "image_url", media, "image/png");
    else if (text_is_some(media->url))
        responses_member_text(members, "image_url", media->url);
    if (text_is_some(media->file_id))
        responses_member_text(members, "file_id", media->file_id);
    if (text_is_some(media->detail))
        responses_member_text(members, "detail", media->detail);
}

static void write_file(struct responses_list *members, const struct llm_block *block)
{
    const struct llm_media *media = &block->media;
    bool is_own = block->item != NULL;
    responses_member_text(members, "type", text_plain(STR("input_file")));
    if (text_is_some(media->name))
        responses_member_text(members, "filename", media->name);
    else if (text_is_some(media->data) && !is_own)
        responses_member_text(members, "filename", text_plain(STR("document.pdf")));
    if (text_is_some(media->data) && text_is_empty(media->type) && is_own)
        responses_member_text(members, "file_data", media->data);
    else if (text_is_some(media->data))
        write_data_url(members, "file_data", media, "application/pdf");
    if (text_is_some(media->url))
        responses_member_text(members, "file_url", media->url);
    if (text_is_some(media->file_id))
        responses_member_text(members, "file_id", media->file_id);
}

static void write_audio(struct responses_list *members, const struct llm_block *block)
{
    static const struct str prefix = STR_INIT("audio/");
    struct text type = block->media.type;
    responses_member_text(members, "type", text_plain(STR("input_audio")));
    responses_member(members, "input_audio");
    BUF_LIT(members->out, "{\"data\":");
    text_write(members->out, block->media.data);
    if (!text_is_empty(type)) {
        BUF_LIT(members->out, ",\"format\":");
        if (text_eq(type, STR("audio/mpeg")))
            type = text_plain(STR("mp3"));
        else if (text_eq(type, STR("audio/x-wav")))
            type = text_plain(STR("wav"));
        else if (str_starts(type.s, prefix))
            type.s = str_skip(type.s, prefix.len);
        text_write(members->out, type);
    }
    buf_add_char(members->out, '}');
}

bool responses_write_media(struct buf *out, const struct llm_block *block)
{
    struct responses_list members = {out, false};
    if (block->kind != BLOCK_IMAGE && block->kind != BLOCK_DOCUMENT && block->kind != BLOCK_AUDIO)
        return false;
    buf_add_char(out, '{');
    if (block->kind == BLOCK_IMAGE)
        write_image(&members, block);
    else if (block->kind == BLOCK_DOCUMENT)
        write_file(&members, block);
    else
        write_audio(&members, block);
    if (block->item != NULL && block->rest.len > 0) {
        responses_next(&members);
        buf_add_str(out, block->rest);
    }
    buf_add_char(out, '}');
    return true;
}

bool responses_write_annotation(struct buf *out, const struct llm_citation *citation,
                                int64_t text_length)
{
    struct responses_list members = {out, false};
    if (citation->maker == DIALECT_OPENAI_RESPONSES && citation->raw.len > 0) {
        buf_add_str(out, citation->raw);
        return true;
    }
    if (text_is_empty(citation->url) && citation->document < 0 && text_is_empty(citation->title))
        return false;
    buf_add_char(out, '{');
    if (!text_is_empty(citation->url)) {
        responses_member_text(&members, "type", text_plain(STR("url_citation")));
        responses_member_text(&members, "url", citation->url);
        responses_member_text(&members, "title", citation->title);
        responses_member(&members, "start_index");
        buf_add_i64(out, MAX(citation->start, 0));
        responses_member(&members, "end_index");
        buf_add_i64(out, citation->end >= 0 ? citation->end : MAX(text_length, 0));
    } else {
        responses_member_text(&members, "type", text_plain(STR("file_citation")));
        responses_member(&members, "file_id");
        buf_printf(out, "\"document_%lld\"", (long long)MAX(citation->document, 0));
        responses_member_text(&members, "filename", citation->title);
        responses_member(&members, "index");
        buf_add_i64(out, citation->end >= 0 ? citation->end : MAX(text_length, 0));
    }
    buf_add_char(out, '}');
    return true;
}

int64_t responses_count_characters(struct str inside)
{
    int64_t count = 0;
    for (size_t i = 0; i < inside.len; i++) {
        unsigned char c = (unsigned char)inside.ptr[i];
        if (c == '\\') {
            bool is_unit = i + 1 < inside.len && inside.ptr[i + 1] == 'u';
            struct str digits = str_head(str_skip(inside, i + 2), 2);
            /* The second half of a pair is no character of its own. */
            bool is_low_half = is_unit && digits.len == 2 && (digits.ptr[0] | 0x20) == 'd' &&
                               strchr("cdefCDEF", digits.ptr[1]) != NULL;
            i += is_unit ? 5 : 1;
            count -= is_low_half;
        } else if ((c & 0xc0) == 0x80) {
            continue;
        }
        count++;
    }
    return count;
}
