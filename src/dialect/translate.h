/*
 * One exchange between a client of one dialect and a provider of another: the request on its way
 * there and the answer on its way back. It holds together what both need: names of tools that had
 * to be changed, the form of a structured answer, the order of events.
 * One exchange's task; nothing yields.
 * Lives in the arena it was made with; translation_fini gives back bufs.
 * -ERR_INVALID with words for the client, -ERR_NOMEM, -ERR_LIMIT.
 */
#ifndef WEIR_DIALECT_TRANSLATE_H
#define WEIR_DIALECT_TRANSLATE_H

#include "dialect/dialect.h"
#include "dialect/sequence.h"

/* Who has something to say to a request before it is written for a target: another's request is
 * asked to go on with an answer. 0 or -ERR_x. What it adds lives in the arena. */
struct llm_amend {
    int (*amend)(struct llm_amend *self, struct llm_request *request,
                 const struct dialect *provider, const struct llm_target *target,
                 struct arena *arena);
};

struct translation {
    const struct dialect *client, *provider;
    struct arena *arena;
    /* As the client meant it. Where answers repeat what was asked (Responses) it stays so; else it
     * is what was written, with all that writers change. */
    struct llm_request request;
    struct llm_notes notes;
    struct buf dropped, supplied;
    struct llm_codec_settings settings;
    struct translation_names *names; /* tools whose name was changed */
    struct str answer_tool;          /* the tool whose arguments are the structured answer */
    struct llm_amend *amend;         /* set by who wants it; NULL = nobody */
    /* The answer: decoder -> names -> sequence -> observer -> encoder. */
    struct llm_decoder *decoder;
    struct llm_encoder *encoder;
    struct sequence sequence;
    struct llm_sink names_sink, encode_sink;
    struct llm_frames *frames;
    /* What was seen of the answer so far. */
    struct token_usage usage;
    bool has_begun, has_content, is_finished, is_done, is_error;
    uint64_t content_events; /* deltas so far: differs when an event brought content */
    struct llm_error error;
    enum llm_finish finish;
    struct text raw_finish, model;
    /* private */
    struct str body, path_model;
    bool path_is_stream, is_written, has_failed;
    struct arena *decoder_arena, *encoder_arena;
    struct llm_sink *after_names; /* the sequence, or the fold of a whole answer */
    struct translation_calls *calls;
};

/*
 * Reads `body` of the client. `settings` as for the codecs; `model` and `is_stream` are those of
 * the path where the client's dialect has them there (model.ptr NULL = in the body).
 */
int translation_init(struct translation *t, struct arena *arena, const struct dialect *client,
                     const struct dialect *provider, const struct llm_codec_settings *settings,
                     struct str body, struct str path_model, bool path_is_stream);
/* Appends the body for the target, and forgets what was seen of an answer. Notes are in t->dropped
 * and t->supplied. May be called again for another target of any dialect: the request is read anew
 * from the body. */
int translation_write_request(struct translation *t, const struct dialect *provider,
                              const struct llm_target *target, struct buf *out);

/* One event of the provider's stream; what it comes to goes to `frames`, an error too
 * (t->is_error). -ERR_INVALID: the event could not be read and is lost, the stream is not. */
int translation_event(struct translation *t, struct str type, struct str data,
                      struct llm_frames *frames);
/* The provider's stream has ended: 0 when the answer was whole, -ERR_RESET when it was cut. */
int translation_end(struct translation *t, struct llm_frames *frames);
/* A whole answer. *answer_error true: it holds an error (t->error), nothing was written. */
int translation_whole(struct translation *t, struct str body, struct buf *out, bool *answer_error);
/* A whole answer to a client that asked for a stream: some providers cannot, and answer so. */
int translation_whole_as_stream(struct translation *t, struct str body, struct llm_frames *frames);
/* A failure of ours or of the provider after the stream has begun: the client dialect's last
 * words. Nothing is written when they have been said (by an event of the provider's), or when the
 * answer is done. */
int translation_fail(struct translation *t, const struct llm_error *error,
                     struct llm_frames *frames);

/* The client dialect's own ping; writes nothing where it has none. */
int translation_ping(struct translation *t, struct llm_frames *frames);

/*
 * The answer goes on in a stream that the client has the beginning of. After
 * translation_write_request, before the first event. `encoder`, with the arena that it lives in
 * (the translation's from now on), stands where that stream stands; what comes passes `filter` in
 * the order of sequence.h, which puts what is for the client into the sink that is returned.
 */
struct llm_sink *translation_resume(struct translation *t, struct llm_encoder *encoder,
                                    struct arena *encoder_arena, struct llm_sink *filter,
                                    bool has_begun);

void translation_fini(struct translation *t);

#endif
