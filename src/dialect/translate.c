#include "dialect/translate.h"

#include "base/err.h"
#include "dialect/narrow.h"
#include "dialect/signature.h"
#include "dialect/structured.h"
#include "dialect/tool_names.h"

enum {
    CODEC_ARENA_BYTES = 4096,
    HELD_BYTES_MAX = 32 * 1024 * 1024, /* of interleaved blocks */
};

/* A call of the answer tool, or that there was another one. */
struct translation_calls {
    struct translation_calls *next;
    unsigned choice, block;
    bool is_first; /* of its choice: the answer; a second one is not shown */
    bool is_other; /* a call of the client's tools */
};

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory while translating");
}

/* --- the request --- */

static int read_request(struct translation *t)
{
    int r = t->client->read_request(t->body, t->arena, &t->request);
    if (r < 0)
        return r;
    t->request.source = t->client->id;
    if (t->path_model.ptr != NULL) {
        t->request.model = text_plain(t->path_model);
        t->request.is_stream = t->path_is_stream;
    }
    return 0;
}

int translation_init(struct translation *t, struct arena *arena, const struct dialect *client,
                     const struct dialect *provider, const struct llm_codec_settings *settings,
                     struct str body, struct str path_model, bool path_is_stream)
{
    *t = (struct translation){
        .client = client,
        .provider = provider,
        .arena = arena,
        .settings = *settings,
        .usage = TOKEN_USAGE_NONE,
        .error = LLM_ERROR_NONE,
        .body = body,
        .path_model = path_model,
        .path_is_stream = path_is_stream,
    };
    t->notes = (struct llm_notes){&t->dropped, &t->supplied};
    return read_request(t);
}

static void drop_answer(struct translation *t)
{
    sequence_fini(&t->sequence);
    arena_free(t->decoder_arena);
    arena_free(t->encoder_arena);
    t->decoder_arena = t->encoder_arena = NULL;
    t->decoder = NULL;
    t->encoder = NULL;
    t->calls = NULL;
    t->usage = TOKEN_USAGE_NONE;
    t->has_begun = t->has_content = t->is_finished = t->is_done = t->is_error = false;
    t->has_failed = false;
    t->content_events = 0;
    t->error = LLM_ERROR_NONE;
    t->raw_finish = t->model = TEXT_NONE;
}

/* Everything that is the same for all writers. */
static int settle_request(struct translation *t, struct llm_request *request,
                          const struct llm_target *target)
{
    enum dialect_id to = t->provider->id;
    bool needs_own = to == DIALECT_ANTHROPIC || to == DIALECT_BEDROCK;
    llm_request_narrow(request, to, target, &t->notes);
    if (request->messages == NULL && to != t->client->id)
        return err_set(ERR_INVALID, FAULT_CLIENT,
                       "The request holds no message that the %s dialect can say; a stored prompt "
                       "or conversation is known to its own provider only.",
                       dialect_names[to]);
    signature_settle(request);
    signature_strip(request, to, needs_own, &t->notes);
    llm_request_settle_thinking(request, to, target, &t->notes);
    int r = structured_settle(request, to, target, t->arena, &t->answer_tool);
    return r == 0 ? tool_names_map(request, t->provider, t->arena, &t->names) : r;
}

int translation_write_request(struct translation *t, const struct dialect *provider,
                              const struct llm_target *target, struct buf *out)
{
    bool repeats = t->client->id == DIALECT_OPENAI_RESPONSES;
    struct llm_request copy;
    struct llm_request *request = &t->request;
    int r = 0;
    drop_answer(t);
    buf_clear(&t->dropped);
    buf_clear(&t->supplied);
    t->names = NULL;
    t->provider = provider;
    t->settings.quirks = target->quirks;
    if (t->is_written || repeats) {
        struct llm_request meant = t->request;
        r = read_request(t);
        copy = t->request;
        if (repeats) {
            t->request = meant;
            request = &copy;
        }
    }
    t->is_written = true;
    t->settings.request = &t->request;
    if (r == 0 && t->amend != NULL)
        r = t->amend->amend(t->amend, request, provider, target, t->arena);
    if (r == 0)
        r = settle_request(t, request, target);
    if (r == 0)
        r = provider->write_request(request, target, t->arena, &t->notes, out);
    /* What is dropped without a word is worse than no answer. */
    bool has_notes = buf_ok(&t->dropped) && buf_ok(&t->supplied);
    return r == 0 && !has_notes ? no_memory() : r;
}

/* --- the answer --- */

static struct translation_calls *call_of(const struct translation *t, unsigned choice,
                                         unsigned block)
{
    for (struct translation_calls *call = t->calls; call != NULL; call = call->next) {
        if (call->choice == choice && call->block == block)
            return call;
    }
    return NULL;
}

static const struct translation_calls *seen_in(const struct translation *t, unsigned choice,
                                               bool is_other)
{
    for (const struct translation_calls *call = t->calls; call != NULL; call = call->next) {
        if (call->choice == choice && call->is_other == is_other)
            return call;
    }
    return NULL;
}

/* The start of a call: by the client's name for it, or as the text of the structured answer. */
static int put_call(struct translation *t, const struct llm_event *event)
{
    struct llm_event copy = *event;
    bool is_answer = t->answer_tool.len > 0 && text_eq(event->name, t->answer_tool);
    if (t->answer_tool.len > 0) {
        struct translation_calls *call = ARENA_NEW(t->arena, struct translation_calls);
        if (call == NULL)
            return no_memory();
        call->choice = event->choice;
        call->block = event->block;
        call->is_other = !is_answer;
        call->is_first = is_answer && seen_in(t, event->choice, false) == NULL;
        call->next = t->calls;
        t->calls = call;
        if (is_answer && !call->is_first)
            return 0;
    }
    if (is_answer) {
        copy = llm_event_make(EVENT_BLOCK_START);
        copy.choice = event->choice;
        copy.block = event->block;
        copy.block_kind = BLOCK_TEXT;
    } else {
        copy.name = tool_names_back(t->names, event->name);
    }
    return llm_sink_put(t->after_names, &copy);
}

/* Of the answer tool: its arguments are text, its end is the end of an answer. */
static int put_answer(struct translation *t, const struct llm_event *event)
{
    const struct translation_calls *call = call_of(t, event->choice, event->block);
    struct llm_event copy = *event;
    if (event->kind == EVENT_FINISH) {
        if (event->finish == FINISH_TOOL_CALLS && seen_in(t, event->choice, false) != NULL &&
            seen_in(t, event->choice, true) == NULL)
            copy.finish = FINISH_STOP;
    } else if (call != NULL && !call->is_other) {
        if (!call->is_first || (event->kind == EVENT_DELTA && event->delta != DELTA_ARGUMENTS))
            return 0;
        copy.delta = DELTA_TEXT;
    }
    return llm_sink_put(t->after_names, &copy);
}

static int names_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct translation *t = CONTAINER_OF(sink, struct translation, names_sink);
    bool is_of_choice = event->kind == EVENT_DELTA || event->kind == EVENT_BLOCK_STOP ||
                        event->kind == EVENT_FINISH;
    if (event->kind == EVENT_BLOCK_START && event->block_kind == BLOCK_TOOL_CALL)
        return put_call(t, event);
    if (t->calls != NULL && is_of_choice)
        return put_answer(t, event);
    return llm_sink_put(t->after_names, event);
}

static int keep(struct translation *t, struct text *place, struct text text)
{
    if (!text_is_some(text))
        return 0;
    *place = text_dup(t->arena, text);
    return text_is_some(*place) ? 0 : no_memory();
}

static int keep_error(struct translation *t, const struct llm_error *error)
{
    t->error = *error;
    t->is_error = true;
    int r = keep(t, &t->error.message, error->message);
    if (r == 0)
        r = keep(t, &t->error.type, error->type);
    if (r == 0)
        r = keep(t, &t->error.code, error->code);
    return r == 0 ? keep(t, &t->error.param, error->param) : r;
}

static int observe(struct translation *t, const struct llm_event *event)
{
    switch (event->kind) {
    case EVENT_START:
        t->has_begun = true;
        /* Told with every event by some; kept once. */
        return text_is_some(t->model) ? 0 : keep(t, &t->model, event->model);
    case EVENT_DELTA:
        t->has_content = true;
        t->content_events++;
        return 0;
    case EVENT_USAGE:
        token_usage_merge(&t->usage, &event->usage);
        return 0;
    case EVENT_FINISH:
        if (t->is_finished)
            return 0;
        t->is_finished = true;
        t->finish = event->finish;
        return keep(t, &t->raw_finish, event->raw_finish);
    case EVENT_DONE:
        t->is_done = true;
        return 0;
    case EVENT_ERROR:
        return keep_error(t, &event->error);
    default:
        return 0;
    }
}

static int encode_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct translation *t = CONTAINER_OF(sink, struct translation, encode_sink);
    if (t->has_failed || t->is_done)
        return 0;
    bool is_told_again = event->kind == EVENT_START && t->has_begun;
    int r = observe(t, event);
    if (event->kind == EVENT_ERROR)
        t->has_failed = true;
    if (is_told_again)
        return r;
    return r == 0 ? t->client->encode(t->encoder, event, t->frames) : r;
}

/* The arenas are the codecs' own: a decoder's may be rewound while a sink still holds on. */
static int begin_decoding(struct translation *t, struct llm_sink *after_names)
{
    t->after_names = after_names;
    t->names_sink.event = names_event;
    if (t->decoder != NULL)
        return 0;
    t->decoder_arena = arena_new(CODEC_ARENA_BYTES);
    if (t->decoder_arena != NULL)
        t->decoder = t->provider->decoder_new(t->decoder_arena, &t->settings);
    return t->decoder != NULL ? 0 : no_memory();
}

static int begin_encoding(struct translation *t, struct llm_frames *frames)
{
    t->frames = frames;
    if (t->encoder != NULL)
        return 0;
    sequence_init(&t->sequence, t->arena, &t->encode_sink, HELD_BYTES_MAX);
    t->encode_sink.event = encode_event;
    t->encoder_arena = arena_new(CODEC_ARENA_BYTES);
    if (t->encoder_arena != NULL)
        t->encoder = t->client->encoder_new(t->encoder_arena, &t->settings);
    return t->encoder != NULL ? 0 : no_memory();
}

struct llm_sink *translation_resume(struct translation *t, struct llm_encoder *encoder,
                                    struct arena *encoder_arena, struct llm_sink *filter,
                                    bool has_begun)
{
    sequence_init(&t->sequence, t->arena, filter, HELD_BYTES_MAX);
    t->encode_sink.event = encode_event;
    t->encoder = encoder;
    t->encoder_arena = encoder_arena;
    t->has_begun = has_begun;
    return &t->encode_sink;
}

static int begin_stream(struct translation *t, struct llm_frames *frames)
{
    int r = begin_encoding(t, frames);
    return r == 0 ? begin_decoding(t, &t->sequence.sink) : r;
}

int translation_event(struct translation *t, struct str type, struct str data,
                      struct llm_frames *frames)
{
    int r = begin_stream(t, frames);
    return r == 0 ? t->provider->decode(t->decoder, type, data, &t->names_sink) : r;
}

int translation_end(struct translation *t, struct llm_frames *frames)
{
    int r = begin_stream(t, frames);
    if (r < 0 || t->is_done || t->has_failed)
        return r;
    return t->provider->decode_end(t->decoder, &t->names_sink);
}

int translation_whole_as_stream(struct translation *t, struct str body, struct llm_frames *frames)
{
    int r = begin_stream(t, frames);
    if (r == 0)
        r = t->provider->decode_whole(t->decoder, body, &t->names_sink);
    if (r == 0 && !t->is_done && !t->is_error)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "there is no answer in it");
    return r;
}

int translation_fail(struct translation *t, const struct llm_error *error,
                     struct llm_frames *frames)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    int r = begin_encoding(t, frames);
    event.error = *error;
    /* Past the sequence, which may be what failed. */
    return r == 0 ? encode_event(&t->encode_sink, &event) : r;
}

int translation_ping(struct translation *t, struct llm_frames *frames)
{
    struct llm_event event = llm_event_make(EVENT_PING);
    int r = begin_encoding(t, frames);
    return r == 0 ? encode_event(&t->encode_sink, &event) : r;
}

static void note_answer(struct translation *t, const struct llm_answer *answer)
{
    const struct llm_choice *first = answer->choices;
    t->usage = answer->usage;
    t->model = answer->model;
    t->is_done = answer->is_done;
    t->has_begun = first != NULL;
    if (first == NULL)
        return;
    t->is_finished = first->is_finished;
    t->finish = first->finish;
    t->raw_finish = first->raw_finish;
    t->has_content = first->blocks != NULL;
}

int translation_whole(struct translation *t, struct str body, struct buf *out, bool *answer_error)
{
    struct llm_fold fold;
    *answer_error = false;
    llm_fold_init(&fold, t->arena);
    int r = begin_decoding(t, &fold.sink);
    if (r == 0)
        r = t->provider->decode_whole(t->decoder, body, &t->names_sink);
    if (r < 0)
        return r;
    note_answer(t, &fold.answer);
    if (fold.answer.is_error) {
        t->error = fold.answer.error;
        t->is_error = *answer_error = true;
        return 0;
    }
    if (fold.answer.choices == NULL)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "there is no answer in it");
    t->client->write_answer(&fold.answer, &t->settings, out);
    return buf_ok(out) ? 0 : no_memory();
}

void translation_fini(struct translation *t)
{
    drop_answer(t);
    buf_fini(&t->dropped);
    buf_fini(&t->supplied);
}
