#include "dialect/bedrock/citation.h"

struct text bedrock_texts_join(struct arena *arena, struct json_value list, struct str separator,
                               unsigned *count)
{
    struct json_cursor cursor;
    struct json_value item, piece;
    struct buf joined = BUF_INIT;
    struct str only = STR_EMPTY;
    *count = 0;
    json_cursor_init(&cursor, list.text);
    while (list.kind == JSON_ARRAY && json_iter_array(&cursor, &item) == 1) {
        if (item.kind != JSON_OBJECT || !json_find(item.text, "text", &piece) ||
            piece.kind != JSON_STRING)
            continue;
        if (*count > 0) {
            if (*count == 1)
                buf_add_str(&joined, only);
            buf_add_str(&joined, separator);
            buf_add_str(&joined, json_string_raw(piece));
        }
        only = json_string_raw(piece);
        ++*count;
    }
    struct text text = {only, true};
    if (*count == 0)
        text = TEXT_LIT("");
    else if (*count > 1)
        text.s = buf_ok(&joined) ? arena_dup(arena, buf_str(&joined)) : STR_EMPTY;
    buf_fini(&joined);
    return text;
}

/* Places in documents of the request, and the member that tells which document. */
static const struct {
    const char *name, *index;
} places[] = {
    {"documentChar", "documentIndex"},
    {"documentPage", "documentIndex"},
    {"documentChunk", "documentIndex"},
    {"searchResultLocation", "searchResultIndex"},
};

static void read_location(struct str location, struct llm_citation *citation)
{
    struct json_value value, index;
    if (json_find(location, "web.url", &value))
        citation->url = text_of(value);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        int64_t n;
        if (json_find(location, places[i].name, &value) && value.kind == JSON_OBJECT &&
            json_find(value.text, places[i].index, &index) && json_number_i64(index, &n) && n >= 0)
            citation->document = n;
    }
}

void bedrock_citation_read(struct arena *arena, struct json_value value,
                           struct llm_citation *citation)
{
    struct json_value member;
    unsigned count;
    *citation = (struct llm_citation){
        .start = -1, .end = -1, .document = -1, .raw = value.text, .maker = DIALECT_BEDROCK};
    if (value.kind != JSON_OBJECT)
        return;
    if (json_find(value.text, "title", &member))
        citation->title = text_of(member);
    if (json_find(value.text, "sourceContent", &member)) {
        struct text cited = bedrock_texts_join(arena, member, STR_EMPTY, &count);
        if (count > 0)
            citation->cited_text = cited;
    }
    if (json_find(value.text, "location", &member) && member.kind == JSON_OBJECT)
        read_location(member.text, citation);
}

void bedrock_citation_write(struct buf *out, const struct llm_citation *citation)
{
    if (citation->maker == DIALECT_BEDROCK && citation->raw.len > 0) {
        buf_add_str(out, citation->raw);
        return;
    }
    const char *comma = "";
    BUF_LIT(out, "{");
    if (text_is_some(citation->title)) {
        BUF_LIT(out, "\"title\":");
        text_write(out, citation->title);
        comma = ",";
    }
    if (text_is_some(citation->cited_text)) {
        buf_printf(out, "%s\"sourceContent\":[{\"text\":", comma);
        text_write(out, citation->cited_text);
        BUF_LIT(out, "}]");
        comma = ",";
    }
    if (text_is_some(citation->url)) {
        buf_printf(out, "%s\"location\":{\"web\":{\"url\":", comma);
        text_write(out, citation->url);
        BUF_LIT(out, "}}");
    } else if (citation->document >= 0) {
        buf_printf(out, "%s\"location\":{\"documentChar\":{\"documentIndex\":%lld}}", comma,
                   (long long)citation->document);
    }
    BUF_LIT(out, "}");
}
