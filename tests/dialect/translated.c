#include "translated.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

/* --- frames --- */

static struct buf *begin_frame(struct llm_frames *frames, struct str type)
{
    struct frame_log *log = CONTAINER_OF(frames, struct frame_log, frames);
    assert_in_range(log->count, 0, FRAMES_MAX - 1);
    snprintf(log->events[log->count].type, sizeof(log->events[0].type), "%.*s", STR_ARG(type));
    log->events[log->count].start = log->data.len;
    return &log->data;
}

static void end_frame(struct llm_frames *frames)
{
    struct frame_log *log = CONTAINER_OF(frames, struct frame_log, frames);
    log->events[log->count++].end = log->data.len;
}

void frame_log_init(struct frame_log *log)
{
    log->frames = (struct llm_frames){begin_frame, end_frame};
    log->data = BUF_INIT;
    log->count = 0;
}

struct matrix_event frame_log_at(const struct frame_log *log, unsigned i)
{
    return (struct matrix_event){
        str_c(log->events[i].type),
        str_n(log->data.ptr + log->events[i].start, log->events[i].end - log->events[i].start)};
}

/* --- reading --- */

static struct llm_codec_settings plain_settings(void)
{
    return (struct llm_codec_settings){.model = STR("m"),
                                       .request_id = STR("0190f0a1"),
                                       .now_s = 1700000000,
                                       .includes_usage = true};
}

struct reading {
    struct arena *decoder_arena;
    struct llm_codec_settings settings;
    struct llm_decoder *decoder;
    struct llm_fold fold;
};

static void begin_reading(struct reading *r, struct arena *arena, const struct dialect *d)
{
    r->decoder_arena = arena_new(4096);
    r->settings = plain_settings();
    r->decoder = d->decoder_new(r->decoder_arena, &r->settings);
    assert_non_null(r->decoder);
    llm_fold_init(&r->fold, arena);
}

void read_answer(struct arena *arena, const struct dialect *d, struct str body,
                 struct llm_answer *answer)
{
    struct reading r;
    begin_reading(&r, arena, d);
    if (d->decode_whole(r.decoder, body, &r.fold.sink) != 0)
        fail_msg("%s reads its answer: %s\n%.*s", d->name, err_slot()->message, STR_ARG(body));
    *answer = r.fold.answer;
    arena_free(r.decoder_arena);
}

void read_stream(struct arena *arena, const struct dialect *d, const struct matrix_event *events,
                 unsigned count, struct llm_answer *answer)
{
    struct reading r;
    begin_reading(&r, arena, d);
    for (unsigned i = 0; i < count; i++) {
        if (d->decode(r.decoder, events[i].type, events[i].data, &r.fold.sink) != 0)
            fail_msg("%s reads event %u: %s\n%.*s", d->name, i, err_slot()->message,
                     STR_ARG(events[i].data));
    }
    if (!r.fold.answer.is_error && d->decode_end(r.decoder, &r.fold.sink) != 0)
        fail_msg("%s does not see the end of its stream", d->name);
    *answer = r.fold.answer;
    arena_free(r.decoder_arena);
}

/* --- a translation --- */

void translated_init(struct translated *t, const char *label, enum dialect_id client,
                     enum dialect_id provider)
{
    memset(t, 0, sizeof(*t));
    t->label = label;
    t->client = dialect_of(client);
    t->provider = dialect_of(provider);
    t->arena = arena_new(8192);
    t->frames = calloc(1, sizeof(*t->frames));
    frame_log_init(t->frames);
    t->traits.max_output_tokens = 32000;
    t->settings = plain_settings();
    t->target = (struct llm_target){
        .model = matrix_dialect(provider)->model, .quirks = &t->quirks, .traits = &t->traits};
}

void translated_fini(struct translated *t)
{
    translation_fini(&t->translation);
    buf_fini(&t->frames->data);
    free(t->frames);
    buf_fini(&t->body);
    arena_free(t->arena);
}

static void expect_legal(struct translated *t, const struct dialect *d,
                         bool (*check)(struct validator *v, struct str body))
{
    struct validator v;
    validator_init(&v, d->id);
    if (!check(&v, buf_str(&t->body)))
        fail_msg("%s, %s to %s: %s\n%.*s", t->label, t->client->name, t->provider->name, v.why,
                 STR_ARG(buf_str(&t->body)));
    validator_fini(&v);
}

int translated_request(struct translated *t, struct str body, bool is_stream)
{
    const struct matrix_dialect *m = matrix_dialect(t->client->id);
    struct str path_model = m->model_in_path ? STR("m") : STR_EMPTY;
    int r = translation_init(&t->translation, t->arena, t->client, t->provider, &t->settings, body,
                             path_model, is_stream);
    t->target.is_stream = is_stream;
    t->target.wants_usage = is_stream;
    if (r == 0)
        r = translation_write_request(&t->translation, t->provider, &t->target, &t->body);
    if (r == 0)
        expect_legal(t, t->provider, validate_request);
    return r;
}

bool translated_answer(struct translated *t, struct str body, struct llm_answer *answer)
{
    bool is_error = false;
    buf_clear(&t->body);
    int r = translation_whole(&t->translation, body, &t->body, &is_error);
    if (r != 0)
        fail_msg("%s, %s to %s: %s\n%.*s", t->label, t->provider->name, t->client->name,
                 err_slot()->message, STR_ARG(body));
    if (is_error)
        return false;
    expect_legal(t, t->client, validate_answer);
    read_answer(t->arena, t->client, buf_str(&t->body), answer);
    return true;
}

static void expect_legal_stream(struct translated *t)
{
    struct validator v;
    validator_init(&v, t->client->id);
    bool ok = true;
    for (unsigned i = 0; ok && i < t->frames->count; i++) {
        struct matrix_event event = frame_log_at(t->frames, i);
        ok = validator_event(&v, event.type, event.data);
    }
    if (!ok || !validator_end(&v))
        fail_msg("%s, %s to %s: %s", t->label, t->provider->name, t->client->name, v.why);
    validator_fini(&v);
}

void translated_stream(struct translated *t, const struct matrix_event *events, unsigned count,
                       const struct matrix_event *fails, struct llm_answer *answer)
{
    struct llm_frames *frames = &t->frames->frames;
    for (unsigned i = 0; i < count + (fails != NULL); i++) {
        const struct matrix_event *event = i < count ? &events[i] : fails;
        int r = translation_event(&t->translation, event->type, event->data, frames);
        if (r != 0)
            fail_msg("%s, %s to %s, event %u: %s\n%.*s", t->label, t->provider->name,
                     t->client->name, i, err_slot()->message, STR_ARG(event->data));
    }
    if (fails == NULL && translation_end(&t->translation, frames) != 0)
        fail_msg("%s, %s to %s: its end is not seen", t->label, t->provider->name, t->client->name);
    expect_legal_stream(t);
    struct matrix_event *written = calloc(t->frames->count + 1, sizeof(*written));
    for (unsigned i = 0; i < t->frames->count; i++)
        written[i] = frame_log_at(t->frames, i);
    read_stream(t->arena, t->client, written, t->frames->count, answer);
    free(written);
}
