#include "base/json.h"
#include "stream/realtime_private.h"

/* A message is an object with one member that says its kind, and perhaps usageMetadata. */
static const struct {
    struct str kind, member;
    bool is_from_client;
    enum realtime_meaning meaning;
} members[] = {
    {STR_INIT("clientContent"), STR_INIT("turnComplete"), true, REALTIME_ASKS},
    {STR_INIT("realtimeInput"), STR_INIT("activityEnd"), true, REALTIME_ASKS},
    {STR_INIT("realtimeInput"), STR_INIT("audioStreamEnd"), true, REALTIME_ASKS},
    {STR_INIT("realtimeInput"), STR_INIT("activityStart"), true, REALTIME_INTERRUPTS},
    {STR_INIT("serverContent"), STR_INIT("modelTurn"), false, REALTIME_DELTA},
    {STR_INIT("serverContent"), STR_INIT("outputTranscription"), false, REALTIME_TEXT_DELTA},
    {STR_INIT("serverContent"), STR_INIT("interrupted"), false, REALTIME_INTERRUPTS},
    {STR_INIT("serverContent"), STR_INIT("turnComplete"), false, REALTIME_ENDS},
    {STR_INIT("toolCall"), STR_INIT("functionCalls"), false, REALTIME_DELTA},
};

/* A turn's parts hold text, or sound as inlineData. */
static enum realtime_meaning meaning_of(enum realtime_meaning meaning, struct str member,
                                        struct str value)
{
    if (!json_string_eq(member, STR("modelTurn")))
        return meaning;
    return str_find(value, STR("\"inlineData\"")) >= 0 ? REALTIME_AUDIO_DELTA : REALTIME_TEXT_DELTA;
}

static bool is_delta(enum realtime_meaning meaning)
{
    return meaning == REALTIME_DELTA || meaning == REALTIME_AUDIO_DELTA ||
           meaning == REALTIME_TEXT_DELTA;
}

static void note_member(struct realtime_observer *o, bool is_from_client, struct str kind,
                        struct str member, struct str value, int64_t now_ns)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (members[i].is_from_client != is_from_client || !json_string_eq(kind, members[i].kind) ||
            !json_string_eq(member, members[i].member))
            continue;
        if (is_delta(members[i].meaning) && !o->is_answering)
            realtime_note(o, REALTIME_BEGINS, now_ns);
        realtime_note(o, meaning_of(members[i].meaning, member, value), now_ns);
    }
}

/* --- tokens: told for the turn as it stands, so that the last word counts --- */

static int64_t number(struct str object, const char *path)
{
    struct json_value value;
    int64_t n;
    return json_find(object, path, &value) && json_number_i64(value, &n) ? n : -1;
}

/* Of a list of {modality, tokenCount}. */
static void add_modality(int64_t *sum, struct str object, const char *path, struct str modality)
{
    struct json_value list, item, name;
    struct json_cursor cursor;
    if (!json_find(object, path, &list) || list.kind != JSON_ARRAY)
        return;
    json_cursor_init(&cursor, list.text);
    while (json_iter_array(&cursor, &item) == 1) {
        if (item.kind == JSON_OBJECT && json_find(item.text, "modality", &name) &&
            json_string_eq(json_string_raw(name), modality))
            realtime_add(sum, number(item.text, "tokenCount"));
    }
}

static void note_usage(struct realtime_observer *o, struct str object)
{
    struct token_usage *usage = &o->usage;
    int64_t thoughts = number(object, "thoughtsTokenCount");
    *usage = o->before;
    realtime_add(&usage->input, number(object, "promptTokenCount"));
    realtime_add(&usage->input, number(object, "toolUsePromptTokenCount"));
    realtime_add(&usage->output, number(object, "responseTokenCount"));
    realtime_add(&usage->output, thoughts);
    realtime_add(&usage->reasoning, thoughts);
    realtime_add(&usage->cache_read, number(object, "cachedContentTokenCount"));
    add_modality(&usage->audio_input, object, "promptTokensDetails", STR("AUDIO"));
    add_modality(&usage->image_input, object, "promptTokensDetails", STR("IMAGE"));
    add_modality(&usage->audio_output, object, "responseTokensDetails", STR("AUDIO"));
}

void realtime_note_gemini(struct realtime_observer *o, bool is_from_client, struct str text,
                          int64_t now_ns)
{
    struct json_cursor message, content;
    struct json_value value, inner;
    struct str kind, member, usage = STR_EMPTY;
    json_cursor_init(&message, text);
    while (json_iter_object(&message, &kind, &value) == 1) {
        if (value.kind != JSON_OBJECT)
            continue;
        if (!is_from_client && json_string_eq(kind, STR("usageMetadata")))
            usage = value.text;
        json_cursor_init(&content, value.text);
        while (json_iter_object(&content, &member, &inner) == 1) {
            if (inner.kind != JSON_FALSE && inner.kind != JSON_NULL)
                note_member(o, is_from_client, kind, member, inner.text, now_ns);
        }
    }
    if (usage.len > 0)
        note_usage(o, usage);
    if (message.error < 0)
        o->unread++;
}
