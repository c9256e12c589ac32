/*
 * Translations run from end to end, as the gateway runs them: a request there, an answer back, and
 * what a client of the dialect makes of it.
 * One thread; nothing yields.
 * `translated` owns its arena and bufs: translated_fini.
 * What is not legal in the dialect it was written in fails the test at once.
 */
#ifndef WEIR_TESTS_TRANSLATED_H
#define WEIR_TESTS_TRANSLATED_H

#include "dialect/translate.h"
#include "matrix_data.h"
#include "support/validate.h"

enum { FRAMES_MAX = 16384 };

/* Events as an encoder wrote them. */
struct frame_log {
    struct llm_frames frames;
    struct buf data;
    struct {
        char type[64];
        size_t start, end;
    } events[FRAMES_MAX];
    unsigned count;
};
void frame_log_init(struct frame_log *log);
struct matrix_event frame_log_at(const struct frame_log *log, unsigned i);

struct translated {
    const struct dialect *client, *provider;
    struct arena *arena;
    struct llm_traits traits;
    struct llm_quirks quirks;
    struct llm_target target;
    struct llm_codec_settings settings;
    struct translation translation;
    struct frame_log *frames;
    struct buf body; /* the request as the provider gets it, or the answer as the client gets it */
    const char *label;
};

void translated_init(struct translated *t, const char *label, enum dialect_id client,
                     enum dialect_id provider);
void translated_fini(struct translated *t);

/* Writes the request for the provider: t->body is legal in its dialect. -ERR_INVALID: it is
 * refused, with words. */
int translated_request(struct translated *t, struct str body, bool is_stream);
/* A whole answer of the provider: t->body is legal in the client's dialect, *answer what the client
 * reads from it. False when it holds an error. */
bool translated_answer(struct translated *t, struct str body, struct llm_answer *answer);
/* Its stream, event by event. `fails` is put after `count` events when it is there. */
void translated_stream(struct translated *t, const struct matrix_event *events, unsigned count,
                       const struct matrix_event *fails, struct llm_answer *answer);

/* What the dialect itself reads; the answer lives in the arena. */
void read_answer(struct arena *arena, const struct dialect *d, struct str body,
                 struct llm_answer *answer);
void read_stream(struct arena *arena, const struct dialect *d, const struct matrix_event *events,
                 unsigned count, struct llm_answer *answer);

#endif
