#include "dialect/bedrock/content.h"
#include "dialect/bedrock/request.h"
#include "dialect/bedrock/write.h"

static void drop(const struct llm_request *request, struct llm_notes *notes, enum llm_field field)
{
    llm_note_dropped(notes, "%s", llm_field_name(request, field));
}

static void write_messages(struct buf *out, struct arena *arena, const struct llm_request *request)
{
    bedrock_key(out, "messages");
    BUF_LIT(out, "[");
    for (const struct llm_message *m = request->messages; m != NULL; m = m->next) {
        bedrock_item(out);
        if (m->role == ROLE_ASSISTANT)
            BUF_LIT(out, "{\"role\":\"assistant\",\"content\":");
        else
            BUF_LIT(out, "{\"role\":\"user\",\"content\":");
        bedrock_write_content(out, arena, m->blocks);
        BUF_LIT(out, "}");
    }
    BUF_LIT(out, "]");
}

static void write_number(struct buf *out, const char *name, struct str number)
{
    if (number.len == 0)
        return;
    bedrock_key(out, name);
    buf_add_str(out, number);
}

static void write_inference(struct buf *out, struct llm_request *request,
                            const struct bedrock_plan *plan)
{
    size_t start = out->len;
    bedrock_key(out, "inferenceConfig");
    BUF_LIT(out, "{");
    size_t inside = out->len;
    write_number(out, "maxTokens", request->max_tokens);
    write_number(out, "temperature", plan->temperature);
    write_number(out, "topP", plan->top_p);
    if (request->stop != NULL) {
        bedrock_key(out, "stopSequences");
        BUF_LIT(out, "[");
        for (const struct llm_name *stop = request->stop; stop != NULL; stop = stop->next) {
            bedrock_item(out);
            text_write(out, stop->text);
        }
        BUF_LIT(out, "]");
    }
    bedrock_write_extras(out, request, "inferenceConfig.");
    if (out->len == inside)
        out->len = start;
    else
        BUF_LIT(out, "}");
}

/* The schema goes as the text of a JSON document. */
static void write_output(struct buf *out, struct llm_request *request, struct llm_notes *notes)
{
    const struct llm_response_format *format = &request->format;
    if (format->kind == FORMAT_JSON_OBJECT)
        drop(request, notes, FIELD_FORMAT);
    if (format->kind != FORMAT_JSON_SCHEMA)
        return;
    bedrock_key(out, "outputConfig");
    BUF_LIT(out, "{\"textFormat\":{\"type\":\"json_schema\",\"structure\":{\"jsonSchema\":{");
    if (!text_is_empty(format->name)) {
        bedrock_key(out, "name");
        text_write(out, format->name);
    }
    if (!text_is_empty(format->description)) {
        bedrock_key(out, "description");
        text_write(out, format->description);
    }
    bedrock_key(out, "schema");
    buf_add_json(out, format->schema);
    BUF_LIT(out, "}}");
    bedrock_write_extras(out, request, "outputConfig.textFormat.");
    BUF_LIT(out, "}");
    bedrock_write_extras(out, request, "outputConfig.");
    BUF_LIT(out, "}");
}

static void write_service_tier(struct buf *out, struct llm_request *request,
                               struct llm_notes *notes)
{
    static const char *const tiers[] = {"default", "priority", "flex", "reserved"};
    struct text tier = request->service_tier;
    if (!text_is_some(tier) || text_eq(tier, STR("auto")))
        return;
    bool is_known = request->source == DIALECT_BEDROCK;
    for (size_t i = 0; i < ARRAY_LEN(tiers); i++)
        is_known = is_known || text_eq(tier, str_c(tiers[i]));
    if (text_eq(tier, STR("standard_only"))) {
        tier = TEXT_LIT("default");
        is_known = true;
    }
    if (!is_known) {
        drop(request, notes, FIELD_SERVICE_TIER);
        return;
    }
    bedrock_key(out, "serviceTier");
    BUF_LIT(out, "{\"type\":");
    text_write(out, tier);
    bedrock_write_extras(out, request, "serviceTier.");
    BUF_LIT(out, "}");
}

static bool is_metadata_text(struct str s, size_t min)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && (c == '\0' || strchr(" \t:_@$#=/+,-.", c) == NULL))
            return false;
    }
    return s.len >= min && s.len <= 256;
}

/* Texts of a small alphabet is all that it takes. */
static bool is_metadata(struct str object)
{
    enum { MEMBERS_MAX = 16 };
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    unsigned count = 0;
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (value.kind != JSON_STRING || !is_metadata_text(key, 1) ||
            !is_metadata_text(json_string_raw(value), 0))
            return false;
        count++;
    }
    return count > 0 && count <= MEMBERS_MAX;
}

static void write_metadata(struct buf *out, struct llm_request *request, struct llm_notes *notes)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    if (request->metadata.len == 0)
        return;
    if (request->source != DIALECT_BEDROCK && !is_metadata(request->metadata)) {
        json_cursor_init(&cursor, request->metadata);
        if (json_iter_object(&cursor, &key, &value) == 1)
            drop(request, notes, FIELD_METADATA);
        return;
    }
    bedrock_key(out, "requestMetadata");
    buf_add_str(out, request->metadata);
}

/* Numbers whose default says nothing are not missed. */
static void note_number(const struct llm_request *request, struct llm_notes *notes,
                        struct str number, double nothing, enum llm_field field)
{
    double n;
    if (number.len > 0 && (!llm_number(number, &n) || n != nothing))
        drop(request, notes, field);
}

static void note_missing(const struct llm_request *request, struct llm_notes *notes)
{
    note_number(request, notes, request->frequency_penalty, 0, FIELD_FREQUENCY_PENALTY);
    note_number(request, notes, request->presence_penalty, 0, FIELD_PRESENCE_PENALTY);
    note_number(request, notes, request->n, 1, FIELD_N);
    note_number(request, notes, request->top_logprobs, 0, FIELD_TOP_LOGPROBS);
    if (request->seed.len > 0)
        drop(request, notes, FIELD_SEED);
    if (request->logprobs == TRI_YES)
        drop(request, notes, FIELD_LOGPROBS);
    if (request->logit_bias.len > 0)
        drop(request, notes, FIELD_LOGIT_BIAS);
    if (text_is_some(request->user))
        drop(request, notes, FIELD_USER);
    if (request->audio.len > 0)
        drop(request, notes, FIELD_AUDIO);
    if (request->modalities.len > 0 && str_ifind(request->modalities, STR("audio")) >= 0)
        drop(request, notes, FIELD_MODALITIES);
    else if (request->modalities.len > 0 && str_ifind(request->modalities, STR("image")) >= 0)
        drop(request, notes, FIELD_MODALITIES);
}

/* What is inside of blocks and tools was written with them. */
static void take_nested_extras(struct llm_request *request)
{
    static const char *const prefixes[] = {"messages[", "system[", "toolConfig.tools["};
    if (request->source != DIALECT_BEDROCK)
        return;
    for (struct llm_extra *extra = request->extras; extra != NULL; extra = extra->next) {
        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
            if (str_starts(extra->name, str_c(prefixes[i])))
                extra->is_taken = true;
        }
    }
}

int bedrock_request_write(struct llm_request *request, const struct llm_target *target,
                          struct arena *arena, struct llm_notes *notes, struct buf *out)
{
    struct bedrock_plan plan;
    if (request->source != DIALECT_BEDROCK) {
        int r = bedrock_prepare(request, arena, notes);
        if (r < 0)
            return r;
    }
    bedrock_plan(request, target, notes, &plan);
    BUF_LIT(out, "{");
    write_messages(out, arena, request);
    if (request->system != NULL) {
        bedrock_key(out, "system");
        bedrock_write_content(out, arena, request->system);
    }
    write_inference(out, request, &plan);
    bedrock_write_tools(out, request, notes);
    bedrock_write_fields(out, request, &plan);
    write_output(out, request, notes);
    write_service_tier(out, request, notes);
    write_metadata(out, request, notes);
    note_missing(request, notes);
    take_nested_extras(request);
    bedrock_write_extras(out, request, "");
    BUF_LIT(out, "}");
    llm_note_extras(notes, request);
    return buf_ok(out) ? 0 : bedrock_no_memory();
}
