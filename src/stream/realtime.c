#include "base/json.h"
#include "stream/realtime_private.h"

static const struct {
    struct str type;
    bool is_from_client;
    enum realtime_meaning meaning;
} events[] = {
    {STR_INIT("response.create"), true, REALTIME_ASKS},
    {STR_INIT("input_audio_buffer.commit"), true, REALTIME_ASKS},
    {STR_INIT("response.cancel"), true, REALTIME_INTERRUPTS},
    {STR_INIT("output_audio_buffer.clear"), true, REALTIME_INTERRUPTS},
    {STR_INIT("conversation.item.truncate"), true, REALTIME_INTERRUPTS},
    {STR_INIT("session.created"), false, REALTIME_SESSION},
    {STR_INIT("session.updated"), false, REALTIME_SESSION},
    /* The provider hears for itself when somebody speaks, and when no more. */
    {STR_INIT("input_audio_buffer.speech_started"), false, REALTIME_INTERRUPTS},
    {STR_INIT("input_audio_buffer.speech_stopped"), false, REALTIME_ASKS},
    {STR_INIT("response.created"), false, REALTIME_BEGINS},
    {STR_INIT("response.output_audio.delta"), false, REALTIME_AUDIO_DELTA},
    {STR_INIT("response.output_text.delta"), false, REALTIME_TEXT_DELTA},
    {STR_INIT("response.output_audio_transcript.delta"), false, REALTIME_TEXT_DELTA},
    {STR_INIT("response.audio.delta"), false, REALTIME_AUDIO_DELTA},
    {STR_INIT("response.text.delta"), false, REALTIME_TEXT_DELTA},
    {STR_INIT("response.audio_transcript.delta"), false, REALTIME_TEXT_DELTA},
    {STR_INIT("response.function_call_arguments.delta"), false, REALTIME_DELTA},
    {STR_INIT("response.done"), false, REALTIME_ENDS},
};

void realtime_observer_init(struct realtime_observer *o, enum realtime_language language,
                            realtime_timing_fn *on_timing, void *ctx)
{
    *o = (struct realtime_observer){
        .language = language, .on_timing = on_timing, .ctx = ctx, .usage = TOKEN_USAGE_NONE};
    o->usage.input_includes_cached = true;
    o->before = o->usage;
}

void realtime_observer_fini(struct realtime_observer *o)
{
    buf_fini(&o->from_client.bytes);
    buf_fini(&o->from_upstream.bytes);
    ws_inflater_free(o->from_client.inflater);
    ws_inflater_free(o->from_upstream.inflater);
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

void realtime_add(int64_t *sum, int64_t n)
{
    int64_t had = MAX(*sum, 0);
    if (n >= 0)
        *sum = had + MIN(n, INT64_MAX - had);
}

static void add_usage(struct token_usage *usage, struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        int64_t *sum = (int64_t *)(void *)((char *)usage + counts[i].offset);
        struct json_value value;
        int64_t n;
        if (json_find(text, counts[i].path, &value) && json_number_i64(value, &n))
            realtime_add(sum, n);
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

static void note_delta(struct realtime_observer *o, enum realtime_meaning meaning, int64_t now_ns)
{
    bool is_audio = meaning == REALTIME_AUDIO_DELTA, is_text = meaning == REALTIME_TEXT_DELTA;
    if (!o->has_delta) {
        o->from_ns = o->asked_ns;
        o->asked_ns = 0;
    }
    if (o->from_ns > 0) {
        if (!o->has_delta)
            report(o, REALTIME_FIRST_DELTA, now_ns - o->from_ns);
        if (is_audio && !o->has_audio)
            report(o, REALTIME_FIRST_AUDIO, now_ns - o->from_ns);
        if (is_text && !o->has_text)
            report(o, REALTIME_FIRST_TEXT, now_ns - o->from_ns);
    }
    o->has_delta = true;
    o->has_audio = o->has_audio || is_audio;
    o->has_text = o->has_text || is_text;
    o->last_delta_ns = now_ns;
}

/* What was told until now belongs to answers that have ended. */
static void settle(struct realtime_observer *o)
{
    if (o->has_ended)
        o->before = o->usage;
    o->has_ended = false;
}

static void note_begin(struct realtime_observer *o, int64_t now_ns)
{
    settle(o);
    o->is_answering = true;
    o->has_delta = o->has_audio = o->has_text = false;
    o->interrupted_ns = 0;
    if (o->asked_ns == 0)
        o->asked_ns = now_ns;
}

static void note_end(struct realtime_observer *o)
{
    /* Where nothing came after the interruption it took no time at all. */
    if (o->interrupted_ns > 0)
        report(o, REALTIME_BARGE_IN, o->last_delta_ns - o->interrupted_ns);
    o->answers++;
    o->has_ended = true;
    o->is_answering = o->has_delta = o->has_audio = o->has_text = false;
    o->interrupted_ns = o->last_delta_ns = 0;
}

void realtime_note(struct realtime_observer *o, enum realtime_meaning meaning, int64_t now_ns)
{
    switch (meaning) {
    case REALTIME_ASKS:
        settle(o);
        o->asked_ns = now_ns;
        break;
    case REALTIME_INTERRUPTS:
        if (o->is_answering && o->interrupted_ns == 0)
            o->interrupted_ns = now_ns;
        break;
    case REALTIME_BEGINS:
        note_begin(o, now_ns);
        break;
    case REALTIME_DELTA:
    case REALTIME_AUDIO_DELTA:
    case REALTIME_TEXT_DELTA:
        note_delta(o, meaning, now_ns);
        break;
    case REALTIME_ENDS:
        note_end(o);
        break;
    case REALTIME_SESSION:
        break;
    }
}

static void note_openai(struct realtime_observer *o, enum realtime_meaning meaning, struct str text,
                        int64_t now_ns)
{
    struct json_value usage;
    if (meaning == REALTIME_SESSION)
        note_session(o, text);
    if (meaning == REALTIME_ENDS && json_find(text, "response.usage", &usage) &&
        usage.kind == JSON_OBJECT)
        add_usage(&o->usage, usage.text);
    realtime_note(o, meaning, now_ns);
}

static void note_message(struct realtime_observer *o, bool is_from_client, struct str text,
                         int64_t now_ns)
{
    struct json_value type;
    if (o->language == REALTIME_GEMINI) {
        realtime_note_gemini(o, is_from_client, text, now_ns);
        return;
    }
    if (!json_find(text, "type", &type)) {
        o->unread++;
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (events[i].is_from_client == is_from_client &&
            json_string_eq(json_string_raw(type), events[i].type)) {
            note_openai(o, events[i].meaning, text, now_ns);
            return;
        }
    }
}

/* --- messages --- */

/* A message that gets larger than this when it is inflated ends the reading of its direction. */
enum { INFLATED_MAX = 4 << 20 };

/* Adds what the piece says. Compressed messages share a window, so that all of them must be read,
 * also those that nobody wants to know. */
static void gather(struct realtime_message *m, const struct ws_piece *piece, bool ends)
{
    struct str part = str_n(piece->bytes, piece->len);
    if (piece->is_compressed) {
        if (m->inflater == NULL)
            m->inflater = ws_inflater_new();
        if (m->inflater == NULL || ws_inflate(m->inflater, part, ends, INFLATED_MAX, &m->bytes) < 0)
            m->is_skipped = true;
    } else if (m->bytes.len + part.len > REALTIME_EVENT_MAX) {
        m->is_skipped = true;
    } else if (!m->is_skipped) {
        buf_add_str(&m->bytes, part);
    }
}

void realtime_observe(struct realtime_observer *o, bool is_from_client,
                      const struct ws_piece *piece, int64_t now_ns)
{
    struct realtime_message *m = is_from_client ? &o->from_client : &o->from_upstream;
    bool begins = piece->is_first && piece->opcode != WS_CONTINUATION;
    bool ends = piece->is_last && piece->is_final;
    /* Gemini's messages are JSON in binary frames as well. */
    if (begins)
        m->is_skipped = piece->message != WS_TEXT && o->language == REALTIME_OPENAI;
    /* Most messages come in one piece, which is read where it lies. */
    if (begins && ends && !m->is_skipped && !piece->is_compressed) {
        note_message(o, is_from_client, str_n(piece->bytes, piece->len), now_ns);
        return;
    }
    gather(m, piece, ends);
    if (ends && !m->is_skipped && buf_ok(&m->bytes))
        note_message(o, is_from_client, buf_str(&m->bytes), now_ns);
    else if (ends)
        o->unread++;
    if (ends || (m->is_skipped && !piece->is_compressed))
        buf_fini(&m->bytes);
}
