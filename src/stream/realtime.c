#include "stream/realtime.h"

#include "base/json.h"

/* What an event means for the clocks and the counts. */
enum meaning {
    ASKS,       /* an answer is wanted from now on */
    INTERRUPTS, /* the answer under way is to stop */
    SESSION,
    ANSWER_BEGINS,
    DELTA,
    ANSWER_ENDS,
};

static const struct {
    struct str type;
    bool is_from_client;
    enum meaning meaning;
} events[] = {
    {STR_INIT("response.create"), true, ASKS},
    {STR_INIT("input_audio_buffer.commit"), true, ASKS},
    {STR_INIT("response.cancel"), true, INTERRUPTS},
    {STR_INIT("output_audio_buffer.clear"), true, INTERRUPTS},
    {STR_INIT("conversation.item.truncate"), true, INTERRUPTS},
    {STR_INIT("session.created"), false, SESSION},
    {STR_INIT("session.updated"), false, SESSION},
    /* The provider hears for itself when somebody speaks, and when no more. */
    {STR_INIT("input_audio_buffer.speech_started"), false, INTERRUPTS},
    {STR_INIT("input_audio_buffer.speech_stopped"), false, ASKS},
    {STR_INIT("response.created"), false, ANSWER_BEGINS},
    {STR_INIT("response.output_audio.delta"), false, DELTA},
    {STR_INIT("response.output_text.delta"), false, DELTA},
    {STR_INIT("response.output_audio_transcript.delta"), false, DELTA},
    {STR_INIT("response.audio.delta"), false, DELTA},
    {STR_INIT("response.text.delta"), false, DELTA},
    {STR_INIT("response.audio_transcript.delta"), false, DELTA},
    {STR_INIT("response.function_call_arguments.delta"), false, DELTA},
    {STR_INIT("response.done"), false, ANSWER_ENDS},
};

void realtime_observer_init(struct realtime_observer *o, realtime_timing_fn *on_timing, void *ctx)
{
    *o = (struct realtime_observer){.on_timing = on_timing, .ctx = ctx, .usage = TOKEN_USAGE_NONE};
    o->usage.input_includes_cached = true;
}

void realtime_observer_fini(struct realtime_observer *o)
{
    buf_fini(&o->from_client.bytes);
    buf_fini(&o->from_upstream.bytes);
}

/* --- tokens --- */

static const struct {
    const char *path; /* in response.usage */
    size_t offset;
} counts[] = {
    {"input_tokens", offsetof(struct token_usage, input)},
    {"output_tokens", offsetof(struct token_usage, output)},
    {"input_token_details.cached_tokens", offsetof(struct token_usage, cache_read)},
    {"input_token_details.audio_tokens", offsetof(struct token_usage, audio_input)},
    {"input_token_details.image_tokens", offsetof(struct token_usage, image_input)},
    {"output_token_details.audio_tokens", offsetof(struct token_usage, audio_output)},
};

static void add_usage(struct token_usage *usage, struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        int64_t *sum = (int64_t *)(void *)((char *)usage + counts[i].offset);
        struct json_value value;
        int64_t n;
        if (json_find(text, counts[i].path, &value) && json_number_i64(value, &n) && n >= 0)
            *sum = MAX(*sum, 0) + MIN(n, INT64_MAX / 2 - MAX(*sum, 0));
    }
}

/* --- events --- */

static void report(struct realtime_observer *o, enum realtime_timing timing, int64_t ns)
{
    if (o->on_timing != NULL)
        o->on_timing(o->ctx, timing, MAX(ns, 0));
}

static void note_session(struct realtime_observer *o, struct str text)
{
    struct json_value value;
    if (!json_find(text, "session.model", &value))
        return;
    struct str model = json_string_raw(value);
    if (model.len == 0 || model.len > sizeof(o->model) || !json_string_is_plain(model))
        return;
    memcpy(o->model, model.ptr, model.len);
    o->model_len = model.len;
}

static void note_delta(struct realtime_observer *o, int64_t now_ns)
{
    if (!o->has_delta && o->asked_ns > 0)
        report(o, REALTIME_FIRST_DELTA, now_ns - o->asked_ns);
    o->has_delta = true;
    o->asked_ns = 0;
    o->last_delta_ns = now_ns;
}

static void note_end(struct realtime_observer *o, struct str text)
{
    struct json_value usage;
    /* Where nothing came after the interruption it took no time at all. */
    if (o->interrupted_ns > 0)
        report(o, REALTIME_BARGE_IN, o->last_delta_ns - o->interrupted_ns);
    if (json_find(text, "response.usage", &usage) && usage.kind == JSON_OBJECT)
        add_usage(&o->usage, usage.text);
    o->answers++;
    o->is_answering = o->has_delta = false;
    o->interrupted_ns = o->last_delta_ns = 0;
}

static void note_event(struct realtime_observer *o, enum meaning meaning, struct str text,
                       int64_t now_ns)
{
    switch (meaning) {
    case ASKS:
        o->asked_ns = now_ns;
        break;
    case INTERRUPTS:
        if (o->is_answering && o->interrupted_ns == 0)
            o->interrupted_ns = now_ns;
        break;
    case SESSION:
        note_session(o, text);
        break;
    case ANSWER_BEGINS:
        o->is_answering = true;
        o->has_delta = false;
        o->interrupted_ns = 0;
        if (o->asked_ns == 0)
            o->asked_ns = now_ns;
        break;
    case DELTA:
        note_delta(o, now_ns);
        break;
    case ANSWER_ENDS:
        note_end(o, text);
        break;
    }
}

static void note_message(struct realtime_observer *o, bool is_from_client, struct str text,
                         int64_t now_ns)
{
    struct json_value type;
    if (!json_find(text, "type", &type)) {
        o->unread++;
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (events[i].is_from_client == is_from_client &&
            json_string_eq(json_string_raw(type), events[i].type)) {
            note_event(o, events[i].meaning, text, now_ns);
            return;
        }
    }
}

/* --- messages --- */

void realtime_observe(struct realtime_observer *o, bool is_from_client,
                      const struct ws_piece *piece, int64_t now_ns)
{
    struct realtime_message *m = is_from_client ? &o->from_client : &o->from_upstream;
    bool begins = piece->is_first && piece->opcode != WS_CONTINUATION;
    bool ends = piece->is_last && piece->is_final;
    struct str part = str_n(piece->bytes, piece->len);
    if (begins)
        m->is_skipped = piece->is_compressed || piece->message != WS_TEXT;
    /* Most messages come in one piece, which is read where it lies. */
    if (begins && ends && !m->is_skipped) {
        note_message(o, is_from_client, part, now_ns);
        return;
    }
    if (m->bytes.len + part.len > REALTIME_EVENT_MAX)
        m->is_skipped = true;
    if (!m->is_skipped)
        buf_add_str(&m->bytes, part);
    if (ends && !m->is_skipped && buf_ok(&m->bytes))
        note_message(o, is_from_client, buf_str(&m->bytes), now_ns);
    else if (ends)
        o->unread++;
    if (ends || m->is_skipped)
        buf_fini(&m->bytes);
}
