/*
 * Reads along an answer: events, what they mean, where the stream stands; whole answers too. Where
 * the client speaks another dialect than the provider it hands the events to a translation.
 * Sans-I/O. The task of the exchange alone.
 * Nothing yields.
 * It owns what is incomplete (bufs); its decoder lives in the arena; event bytes are valid until
 * the next call. -ERR_LIMIT for an event past the limit, -ERR_NOMEM; an event that cannot be
 * decoded is counted and forwarded, never an error.
 */
#ifndef WEIR_STREAM_OBSERVER_H
#define WEIR_STREAM_OBSERVER_H

#include "dialect/translate.h"
#include "stream/frames.h"

enum stream_event_kind {
    STREAM_COMMENT,    /* comments, blank lines, fields that no reader acts on */
    STREAM_OPENING,    /* comes before anything of the answer: role, created, ping */
    STREAM_CONTENT,    /* carries something of the answer */
    STREAM_OTHER,      /* finish, annotations, what we do not know */
    STREAM_USAGE_ONLY, /* OpenAI: usage with no choices */
    STREAM_ERROR,
    STREAM_DONE,
};

struct stream_event {
    enum stream_event_kind kind;
    struct frame frame;
    bool is_garbled;        /* its data is no JSON: kind is STREAM_OTHER */
    struct llm_error error; /* for STREAM_ERROR */
};

/* What is known of an answer, streamed or whole. */
struct answer_summary {
    struct token_usage usage;
    bool has_usage;
    bool is_error;
    struct llm_error error; /* of a whole answer */
    struct str_small {
        char text[48];
        uint8_t len;
    } finish_reason, model;
};

struct stream_observer {
    const struct dialect *dialect;
    struct frame_splitter splitter;
    struct answer_summary summary;
    bool has_content; /* some has come */
    bool is_done;     /* the dialect's last event was seen */
    bool is_broken;   /* an error event was seen */
    uint64_t choices_seen, choices_finished;
    uint64_t events;
    uint64_t undecodable;
    /* Dialects that are read by their decoder. */
    struct llm_decoder *decoder;
    struct llm_sink sink;
    struct stream_event *event; /* the one that is being read */
    /* The client's dialect is another one. */
    struct translation *translation;
    struct llm_frames *frames;
};

/* What a stream is read by. The translation may be NULL; with one, what events come to is written
 * to `frames` while they are read. */
struct stream_observer_settings {
    const struct dialect *dialect;
    enum stream_framing framing;
    size_t event_limit;
    struct arena *arena;
    const struct llm_codec_settings *codec;
    struct translation *translation;
    struct llm_frames *frames;
};

/* 0 or -ERR_NOMEM. */
int stream_observer_init(struct stream_observer *o,
                         const struct stream_observer_settings *settings);
void stream_observer_fini(struct stream_observer *o);

/* 1 = an event, 0 = more bytes are needed, or -ERR_x. */
int stream_observer_next(struct stream_observer *o, struct str *input, struct stream_event *event);
/* The stream has ended: 1 = an event was left that nothing terminated; 0 = none was, or one that
 * was cut; -ERR_x as stream_observer_next. */
int stream_observer_finish(struct stream_observer *o, struct stream_event *event);

/* Every choice that began has told its finish reason: the answer is whole, whatever else comes. */
bool stream_observer_is_finished(const struct stream_observer *o);
/*
 * The provider's stream is over. 0: the answer was whole (a translation has written what it owed),
 * -ERR_RESET: it was cut.
 */
int stream_observer_end(struct stream_observer *o);

/* Reads a whole answer: -ERR_INVALID when it is none of the dialect. */
int answer_summary_read(struct answer_summary *summary, const struct dialect *dialect,
                        struct arena *arena, const struct llm_codec_settings *codec,
                        struct str body);
struct str str_small_get(const struct str_small *small);

#endif
