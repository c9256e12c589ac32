/*
 * What a dialect is: the functions that every dialect folder gives, in one table.
 * Any thread; nothing yields; no I/O, no clock, no globals: bytes and arenas in, bytes and events
 * out. Framing (SSE, AWS event stream, JSON array) is not here: a decoder is given the name and
 * data of one event at a time, an encoder writes them through llm_frames. Tables are static;
 * decoders and encoders live in the arena they were made with. Readers: -ERR_INVALID with words for
 * the client in the error slot, -ERR_NOMEM, -ERR_LIMIT.
 *
 * Learn one folder and you can find anything in the others: request.c (read and write), response.c
 * (whole answers), stream.c (decoder and encoder), error.c, scan.c (the same-dialect path).
 */
#ifndef WEIR_DIALECT_DIALECT_H
#define WEIR_DIALECT_DIALECT_H

#include "dialect/event.h"
#include "dialect/target.h"

/* --- the same-dialect path: the body is spliced, never rewritten --- */

/* Members of a body that are the gateway's own in every dialect: the first of each dialect's wants,
 * so that they stand at the same places of every scan. */
enum {
    LLM_WANT_FALLBACKS, /* other models to try: never forwarded */
    LLM_WANT_OWN,       /* the first of the dialect's own */
};
extern const struct json_want llm_wants_shared[LLM_WANT_OWN];
#define LLM_SHARED_WANTS [LLM_WANT_FALLBACKS] = {{STR_INIT("fallbacks")}}

/* What policy needs to know of a request, and where it stands in the body. */
struct llm_scan {
    struct str model;      /* unescaped; empty where the dialect has it in the path */
    bool is_stream;        /* where the dialect says it in the body */
    bool includes_usage;   /* usage of a stream was asked for, or comes unasked */
    struct str bad_param;  /* the field that an error is about */
    struct json_scan json; /* the shared wants, then those of the dialect */
};

/* What must differ in a body that goes to a target of its own dialect. */
struct llm_fit {
    struct json_edit edits[8];
    unsigned count;
    bool strips_usage; /* usage of the stream was asked for by us: that chunk is not for the client
                        */
    bool no_memory;
};

/* --- answers --- */

/* What a decoder or an encoder must know from outside, since it may not ask. */
struct llm_codec_settings {
    struct str model; /* as the client asked for it, for encoders whose upstream tells none */
    struct str
        request_id;      /* unique in this gateway: where ids must be made up, they come from it */
    int64_t now_s;       /* Unix time */
    bool includes_usage; /* encoder: OpenAI chat's include_usage */
    const struct llm_request *request; /* what was asked, for answers that repeat it (Responses);
                                          NULL = not known */
    const struct llm_quirks *quirks;   /* decoder: of the provider; may be NULL */
};

/* Where an encoder puts its events. begin gives the buf to which one event's data is appended (JSON
 * of one line, or a word like [DONE]), end closes the event. */
struct llm_frames {
    struct buf *(*begin)(struct llm_frames *frames, struct str type);
    void (*end)(struct llm_frames *frames);
};

struct llm_decoder;
struct llm_encoder;

struct dialect {
    enum dialect_id id;
    const char *name;

    int (*scan)(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan);
    void (*fit)(const struct llm_scan *scan, struct str body, const struct llm_target *target,
                bool wants_usage, struct arena *arena, struct llm_fit *fit);

    /*
     * `body` is valid JSON (scan has said so). The request is zeroed by the reader. Model and
     * is_stream that do not stand in the body are set by the caller afterwards. What is of a known
     * name and a wrong type is an error that names it; an unknown member becomes an extra, an
     * unknown block BLOCK_OPAQUE.
     */
    int (*read_request)(struct str body, struct arena *arena, struct llm_request *request);
    /*
     * Appends the body. The request may be changed on the way (hoisted, joined, extras taken). What
     * finds no place is noted, once, under the name of the source's dialect where that is known.
     */
    int (*write_request)(struct llm_request *request, const struct llm_target *target,
                         struct arena *arena, struct llm_notes *notes, struct buf *out);

    /* NULL when out of memory. The arena is the decoder's own: it may be rewound after an event, so
     * no sink may allocate from it. The same holds for an encoder's. */
    struct llm_decoder *(*decoder_new)(struct arena *arena,
                                       const struct llm_codec_settings *settings);
    /* One event of a stream. Data that is no JSON is -ERR_INVALID: the event is lost, the stream is
     * not. After DONE or ERROR what comes is ignored. */
    int (*decode)(struct llm_decoder *decoder, struct str type, struct str data,
                  struct llm_sink *sink);
    /* The stream has ended. Gives what is owed (BLOCK_STOPs, DONE) when the answer was whole; else
     * -ERR_RESET: it was cut, and nothing is put. */
    int (*decode_end)(struct llm_decoder *decoder, struct llm_sink *sink);
    /* A whole answer, as the same events. An error in it becomes EVENT_ERROR. */
    int (*decode_whole)(struct llm_decoder *decoder, struct str body, struct llm_sink *sink);

    struct llm_encoder *(*encoder_new)(struct arena *arena,
                                       const struct llm_codec_settings *settings);
    /* Events must be in the order of sequence.h. ERROR writes the dialect's error event; PING its
     * ping, where it has one; DONE what ends a stream. */
    int (*encode)(struct llm_encoder *encoder, const struct llm_event *event,
                  struct llm_frames *frames);
    /*
     * One event that the client was sent by another (a provider of this dialect, an encoder before
     * this one): the encoder takes over what its next events must agree with: ids, indexes,
     * numbers, what was told of the end. What was decoded from it was encoded before, and thrown
     * away, unless `follows_alone`. 1 = something is open that only its maker can end; -ERR_NOMEM.
     */
    int (*encoder_follow)(struct llm_encoder *encoder, struct str type, struct str data);
    bool follows_alone;
    /*
     * The same, where nothing but ERROR will be encoded after it: no more is taken over than that
     * must agree with, so that it may be done with every event of a stream that nobody translates.
     * NULL = the error event agrees with nothing. -ERR_NOMEM.
     */
    int (*encoder_pass)(struct llm_encoder *encoder, struct str type, struct str data);
    /* What still ends a stream of which the reason to finish was told by another; `usage` as far as
     * it is known. NULL = nothing comes after that reason. */
    void (*write_last)(const struct token_usage *usage, struct llm_frames *frames);
    /* A whole answer. Fails only by the buf's own flag. */
    void (*write_answer)(const struct llm_answer *answer, const struct llm_codec_settings *settings,
                         struct buf *out);

    /*
     * An error body that came with `status`; `type_header` is x-amzn-errortype where there is one.
     * False when it is nothing that this dialect knows: then *error has what the status says.
     */
    bool (*read_error)(unsigned status, struct str type_header, struct str body,
                       struct llm_error *error);
    /* A whole error body. */
    void (*write_error)(const struct llm_error *error, struct buf *out);

    /* A usage object of this dialect over *usage: what is not told stays as it is. */
    void (*read_usage)(struct str object, struct token_usage *usage);

    /* Names of tools that it takes: at most so many of [a-zA-Z0-9_-] (and '.', ':' where said). */
    unsigned tool_name_max;
    const char *tool_name_extra;
};

extern const struct dialect openai_chat_dialect, anthropic_dialect, gemini_dialect, bedrock_dialect,
    cohere_dialect, openai_responses_dialect;

/* By id; never NULL. */
const struct dialect *dialect_of(enum dialect_id id);

#endif
