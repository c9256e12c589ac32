#include "dialect/bedrock/format.h"

/* The first row of a format is the type that it is read as, the first of a type the format that it
 * is written as. */
static const struct row {
    enum llm_block_kind kind;
    const char *format;
    const char *type;
} rows[] = {
    {BLOCK_IMAGE, "png", "image/png"},
    {BLOCK_IMAGE, "jpeg", "image/jpeg"},
    {BLOCK_IMAGE, "jpeg", "image/jpg"},
    {BLOCK_IMAGE, "gif", "image/gif"},
    {BLOCK_IMAGE, "webp", "image/webp"},
    {BLOCK_DOCUMENT, "pdf", "application/pdf"},
    {BLOCK_DOCUMENT, "csv", "text/csv"},
    {BLOCK_DOCUMENT, "doc", "application/msword"},
    {BLOCK_DOCUMENT, "docx",
     "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {BLOCK_DOCUMENT, "xls", "application/vnd.ms-excel"},
    {BLOCK_DOCUMENT, "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {BLOCK_DOCUMENT, "html", "text/html"},
    {BLOCK_DOCUMENT, "txt", "text/plain"},
    {BLOCK_DOCUMENT, "md", "text/markdown"},
    {BLOCK_DOCUMENT, "md", "text/x-markdown"},
    {BLOCK_AUDIO, "mp3", "audio/mpeg"},
    {BLOCK_AUDIO, "mp3", "audio/mp3"},
    {BLOCK_AUDIO, "wav", "audio/wav"},
    {BLOCK_AUDIO, "wav", "audio/x-wav"},
    {BLOCK_AUDIO, "wav", "audio/wave"},
    {BLOCK_AUDIO, "opus", "audio/opus"},
    {BLOCK_AUDIO, "aac", "audio/aac"},
    {BLOCK_AUDIO, "flac", "audio/flac"},
    {BLOCK_AUDIO, "flac", "audio/x-flac"},
    {BLOCK_AUDIO, "mp4", "audio/mp4"},
    {BLOCK_AUDIO, "ogg", "audio/ogg"},
    {BLOCK_AUDIO, "m4a", "audio/m4a"},
    {BLOCK_AUDIO, "m4a", "audio/x-m4a"},
    {BLOCK_AUDIO, "pcm", "audio/pcm"},
    {BLOCK_AUDIO, "webm", "audio/webm"},
    {BLOCK_AUDIO, "mka", "audio/x-matroska"},
    {BLOCK_VIDEO, "mp4", "video/mp4"},
    {BLOCK_VIDEO, "mov", "video/quicktime"},
    {BLOCK_VIDEO, "mkv", "video/x-matroska"},
    {BLOCK_VIDEO, "webm", "video/webm"},
    {BLOCK_VIDEO, "flv", "video/x-flv"},
    {BLOCK_VIDEO, "mpeg", "video/mpeg"},
    {BLOCK_VIDEO, "mpg", "video/mpg"},
    {BLOCK_VIDEO, "wmv", "video/x-ms-wmv"},
    {BLOCK_VIDEO, "wmv", "video/wmv"},
    {BLOCK_VIDEO, "three_gp", "video/3gpp"},
};

struct text bedrock_type_of_format(struct arena *arena, enum llm_block_kind kind,
                                   struct text format)
{
    static const char *const groups[] = {
        [BLOCK_IMAGE] = "image/",
        [BLOCK_AUDIO] = "audio/",
        [BLOCK_VIDEO] = "video/",
        [BLOCK_DOCUMENT] = "application/",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].kind == kind && text_eq(format, str_c(rows[i].format)))
            return text_plain(str_c(rows[i].type));
    }
    if (text_is_empty(format))
        return TEXT_NONE;
    struct str parts[] = {str_c(groups[kind]), text_or(arena, format, STR_EMPTY)};
    return text_plain(arena_concat(arena, parts, ARRAY_LEN(parts)));
}

struct str bedrock_format_of_type(struct arena *arena, enum llm_block_kind kind, struct text type,
                                  struct text name)
{
    struct str rest = text_or(arena, type, STR_EMPTY), plain;
    str_cut(&rest, ';', &plain);
    plain = str_trim(plain);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].kind == kind && str_ieq(plain, str_c(rows[i].type)))
            return str_c(rows[i].format);
    }
    /* A type that bedrock_type_of_format made. */
    ptrdiff_t slash = str_index(plain, '/');
    struct str file = text_or(arena, name, STR_EMPTY);
    struct str ends[] = {str_skip(plain, (size_t)(slash + 1)),
                         str_skip(file, (size_t)(str_rindex(file, '.') + 1))};
    for (size_t e = 0; e < ARRAY_LEN(ends); e++) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            if (rows[i].kind == kind && str_ieq(ends[e], str_c(rows[i].format)))
                return str_c(rows[i].format);
        }
    }
    if (kind == BLOCK_DOCUMENT && str_istarts(plain, STR("text/")))
        return STR("txt");
    return STR_EMPTY;
}
