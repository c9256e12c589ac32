#include "dialect/openai_chat/codec.h"

/*
 * Parts of a content array. A part that was read from one keeps its source in `raw`: to its own
 * dialect it goes back as it stood.
 */

static enum llm_cache cache_of(struct json_value control)
{
    struct json_value ttl;
    if (control.kind != JSON_OBJECT)
        return CACHE_NONE;
    bool is_hour = json_find(control.text, "ttl", &ttl) && str_eq(json_string_raw(ttl), STR("1h"));
    return is_hour ? CACHE_1H : CACHE_5M;
}

/* "data:image/png;base64,AAAA" into type and data; any other URL as it is. */
static void set_url(struct llm_media *media, struct text url)
{
    struct str rest = url.s;
    ptrdiff_t comma = str_index(rest, ',');
    if (!str_starts(rest, STR("data:")) || comma < 0) {
        media->url = url;
        return;
    }
    struct str head = str_skip(str_head(rest, (size_t)comma), 5);
    ptrdiff_t semicolon = str_index(head, ';');
    if (!str_ends(head, STR(";base64"))) {
        media->url = url;
        return;
    }
    media->type = (struct text){str_head(head, (size_t)semicolon), url.is_escaped};
    /* "\/" is what some libraries write for a slash. */
    media->data = (struct text){str_skip(rest, (size_t)comma + 1), url.is_escaped};
}

static int read_image(struct chat_reading *r, struct json_value value, struct llm_block *block)
{
    struct json_value url, detail;
    struct text text;
    if (value.kind == JSON_STRING) { /* Mistral */
        set_url(&block->media, text_of(value));
        return 0;
    }
    if (value.kind != JSON_OBJECT || !json_find(value.text, "url", &url))
        return chat_refuse(r, "image_url.url", "is missing");
    int result = chat_read_text(r, "image_url.url", url, &text);
    set_url(&block->media, text);
    if (result == 0 && json_find(value.text, "detail", &detail))
        result = chat_read_text(r, "image_url.detail", detail, &block->media.detail);
    return result;
}

static const struct {
    const char *format, *type;
} audio_types[] = {
    {"wav", "audio/wav"},   {"mp3", "audio/mpeg"},  {"flac", "audio/flac"}, {"ogg", "audio/ogg"},
    {"opus", "audio/opus"}, {"pcm16", "audio/pcm"}, {"aac", "audio/aac"},   {"m4a", "audio/mp4"},
};

static int read_audio(struct chat_reading *r, struct json_value value, struct llm_block *block)
{
    struct json_value data, format;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "data", &data))
        return chat_refuse(r, "input_audio.data", "is missing");
    int result = chat_read_text(r, "input_audio.data", data, &block->media.data);
    if (result < 0 || !json_find(value.text, "format", &format))
        return result;
    for (size_t i = 0; i < ARRAY_LEN(audio_types); i++) {
        if (json_string_eq(json_string_raw(format), str_c(audio_types[i].format)))
            block->media.type = text_plain(str_c(audio_types[i].type));
    }
    return format.kind == JSON_STRING ? 0
                                      : chat_refuse(r, "input_audio.format", "must be a string");
}

static int read_file(struct chat_reading *r, struct json_value value, struct llm_block *block)
{
    static const char *const names[] = {"file_data", "file_id", "filename", NULL};
    struct json_value v[CHAT_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    struct text data;
    if (value.kind != JSON_OBJECT)
        return chat_refuse(r, "file", "must be an object");
    int result = chat_collect(r, value.text, names, v, &rest);
    if (result == 0)
        result = chat_read_text(r, "file.file_data", v[0], &data);
    if (result == 0)
        result = chat_read_text(r, "file.file_id", v[1], &block->media.file_id);
    if (result == 0)
        result = chat_read_text(r, "file.filename", v[2], &block->media.name);
    if (result < 0 || !text_is_some(data))
        return result;
    set_url(&block->media, data);
    if (text_is_some(block->media.url) && !str_starts(data.s, STR("http"))) {
        block->media.data = data; /* base64 without a head */
        block->media.url = TEXT_NONE;
    }
    return 0;
}

static int read_video(struct chat_reading *r, struct json_value value, struct llm_block *block)
{
    struct json_value url;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "url", &url) || url.kind != JSON_STRING)
        return chat_refuse(r, "video_url.url", "must be a string");
    set_url(&block->media, text_of(url));
    return 0;
}

static int read_text_part(struct chat_reading *r, struct json_value value, struct llm_block *block)
{
    if (value.kind == JSON_NONE)
        return chat_refuse(r, "text", "is missing");
    return chat_read_text(r, "text", value, &block->text);
}

static int read_refusal(struct chat_reading *r, struct json_value value, struct llm_block *block)
{
    return chat_read_text(r, "refusal", value, &block->text);
}

static const struct {
    const char *type, *member;
    enum llm_block_kind kind;
    int (*read)(struct chat_reading *r, struct json_value value, struct llm_block *block);
} part_readers[] = {
    {"text", "text", BLOCK_TEXT, read_text_part},
    {"refusal", "refusal", BLOCK_REFUSAL, read_refusal},
    {"image_url", "image_url", BLOCK_IMAGE, read_image},
    {"input_audio", "input_audio", BLOCK_AUDIO, read_audio},
    {"file", "file", BLOCK_DOCUMENT, read_file},
    {"video_url", "video_url", BLOCK_VIDEO, read_video},
};

/* Mistral's {"type":"thinking","thinking":[{"type":"text","text":"..."}]}. */
static int read_thinking(struct chat_reading *r, struct json_value part, struct llm_block **blocks)
{
    struct json_value list, item, text;
    struct json_cursor cursor;
    struct llm_block *block = llm_block_add(r->arena, blocks, BLOCK_THINKING);
    struct buf joined = BUF_INIT;
    if (block == NULL)
        return chat_no_memory();
    block->raw = part.text;
    block->maker = DIALECT_OPENAI_CHAT;
    if (!json_find(part.text, "thinking", &list))
        return 0;
    if (list.kind == JSON_STRING) {
        block->text = text_of(list);
        return 0;
    }
    json_cursor_init(&cursor, list.text);
    while (json_iter_array(&cursor, &item) == 1) {
        if (json_find(item.text, "text", &text))
            buf_add_str(&joined, json_string_raw(text));
    }
    struct str copy = buf_ok(&joined) ? arena_dup(r->arena, buf_str(&joined)) : STR_EMPTY;
    buf_fini(&joined);
    block->text = (struct text){copy, true};
    return copy.ptr == NULL ? chat_no_memory() : 0;
}

int chat_read_part(struct chat_reading *r, struct json_value value, struct llm_block **blocks)
{
    struct json_value type, member = {JSON_NONE, STR_EMPTY}, control;
    size_t i = 0;
    if (value.kind != JSON_OBJECT)
        return chat_refuse(r, "", "must be an object");
    if (!json_find(value.text, "type", &type) || type.kind != JSON_STRING)
        return chat_refuse(r, "type", "must be a string");
    if (json_string_eq(json_string_raw(type), STR("thinking")))
        return read_thinking(r, value, blocks);
    while (i < ARRAY_LEN(part_readers) &&
           !json_string_eq(json_string_raw(type), str_c(part_readers[i].type)))
        i++;
    bool is_known = i < ARRAY_LEN(part_readers);
    struct llm_block *block =
        llm_block_add(r->arena, blocks, is_known ? part_readers[i].kind : BLOCK_OPAQUE);
    if (block == NULL)
        return chat_no_memory();
    block->raw = value.text;
    block->maker = DIALECT_OPENAI_CHAT;
    if (json_find(value.text, "cache_control", &control))
        block->cache = cache_of(control);
    if (!is_known)
        return 0;
    (void)json_find(value.text, part_readers[i].member, &member);
    return part_readers[i].read(r, member, block);
}
