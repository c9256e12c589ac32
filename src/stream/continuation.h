/*
 * Goes on with a stream whose provider broke off, so that the client sees one answer: what was
 * delivered is read back from the bytes that were sent, another provider is asked for the rest, and
 * its answer is joined on where the first one stopped.
 * Sans-I/O. The task of the exchange alone.
 * Nothing yields.
 * A continuation owns its bufs and arenas: continuation_fini, after the translation's. It points
 * into the settings' dialect and codec texts, never into the journal once it was read.
 * -ERR_NOMEM; -ERR_INVALID with words for the client; -ERR_PROTOCOL: the new answer does not join.
 *
 * Use, after a break:
 *   continuation_read      what was delivered, and what may be done about it
 *   continuation_request   the body for the next target (by a translation, of any dialect)
 *   continuation_start     then the translation is used as for any stream: translation_event,
 *                          translation_end, translation_fail, translation_ping. What it writes
 *                          follows what the client has.
 * A second break is the same again: a new continuation, read from all bytes that were sent.
 */
#ifndef WEIR_STREAM_CONTINUATION_H
#define WEIR_STREAM_CONTINUATION_H

#include "dialect/translate.h"
#include "stream/frames.h"

enum continuation_verdict {
    CONTINUATION_REPLAY,   /* nothing of the answer but thoughts: the request is sent again */
    CONTINUATION_TEXT,     /* text: the next provider goes on with it */
    CONTINUATION_REPEAT,   /* calls, or text in a demanded form: the request is sent again, and the
                              new answer must begin with what was delivered */
    CONTINUATION_COMPLETE, /* the reason to finish was delivered: continuation_complete writes what
                              is owed, nobody is asked */
    CONTINUATION_OVER,     /* its last event, or an error, was delivered: nothing may follow */
    CONTINUATION_CANNOT,   /* `reason` says why */
};

struct continuation_settings {
    const struct dialect *client;
    enum stream_framing framing;            /* of the journal: the client's */
    const struct llm_codec_settings *codec; /* of the exchange; `request` is what was asked (for
                                               Responses, which repeat it), `quirks` those of the
                                               provider whose bytes the journal holds, NULL where
                                               they were translated */
    const struct token_usage *spent; /* what all attempts so far have told together, where the
                                        caller knows more than the journal shows; NULL = read it
                                        from there */
};

struct continuation {
    enum continuation_verdict verdict;
    const char *reason; /* CANNOT: "an image was being delivered" */
    /* How the next provider is asked for the rest of a text. */
    bool is_prefilled;   /* by native prefill, else by the anchor */
    bool is_joined;      /* what comes now is appended as it comes */
    uint64_t text_bytes; /* of the answer that were delivered before */
    uint64_t trimmed;    /* bytes of the new answer that repeated or introduced, and were dropped */
    struct str anchor;   /* the words that the new answer must begin with */
    struct token_usage usage;   /* of all attempts, this one included */
    struct token_usage attempt; /* of this one alone */

    /* Where requests with native prefill go at this provider; empty = where all go. */
    struct str path;

    /* private */
    struct llm_amend amend;
    struct llm_sink sink; /* between the translation's sequence and the client's encoder */
    struct llm_sink *next;
    struct arena *arena;
    const struct dialect *client;
    enum stream_framing framing;
    struct llm_codec_settings codec;
    struct llm_encoder *encoder;
    struct arena *encoder_arena;
    /* What was delivered. */
    struct continuation_block *blocks, *last_block; /* in order */
    struct buf text;                                /* of the answer, plain */
    size_t text_sound;         /* of it: what comes before the white space at its end */
    struct str half;           /* first half of a surrogate pair that ends it */
    struct token_usage before; /* of the attempts before this one */
    bool has_begun;            /* START was delivered */
    bool is_finished, is_done, is_error, has_choices, has_logprobs, has_other, is_interleaved;
    bool demands_form; /* JSON was asked for: text is repeated, not gone on with */
    bool is_open;      /* a block of the client's */
    bool is_signed;    /* the open one */
    enum llm_block_kind kind;
    unsigned index, next_index;
    /* The new answer. */
    enum llm_block_kind new_kind; /* of its open block */
    bool is_dropped;              /* which is not for the client */
    bool has_thought, has_text;
    bool echoes_prefix;     /* it begins with the prefix */
    bool is_anchor_unique;  /* in what was delivered */
    struct buf plain, tail; /* its text until it is joined; half a character at its end */
    struct continuation_block *awaited; /* REPEAT: must come next */
    bool is_in_awaited;                 /* its open block is that one */
    size_t seen;                        /* of the awaited; of the old text, in the new one */
    bool is_different;                  /* the new text is not the old one from its beginning */
    bool in_string, after_backslash;    /* in the awaited arguments, there */
};

/* Reads what was delivered: `journal` is all that the client was sent. 0, also when the verdict is
 * CANNOT; -ERR_NOMEM. */
int continuation_read(struct continuation *c, const struct continuation_settings *settings,
                      struct str journal);

/* Appends the request for `target`: for TEXT with the partial answer, else as it was. May be called
 * again for another target. CANNOT is found out here too, by what the request asks: -ERR_INVALID,
 * `reason` says why. As translation_write_request otherwise. */
int continuation_request(struct continuation *c, struct translation *translation,
                         const struct dialect *provider, const struct llm_target *target,
                         struct buf *out);

/* Once, after continuation_request: from here on the translation writes the continuation. */
int continuation_start(struct continuation *c, struct translation *translation);

/* COMPLETE: what the client is owed, an end. */
int continuation_complete(struct continuation *c, struct llm_frames *frames);

/* Nobody goes on: the client's dialect says so, where its stream stands. Only while no answer was
 * started; from then on translation_fail does it. Writes nothing where all was said (OVER). */
int continuation_fail(struct continuation *c, const struct llm_error *error,
                      struct llm_frames *frames);
/* Whether continuation_fail is the one that can say it. */
static inline bool continuation_is_waiting(const struct continuation *c)
{
    return c->encoder_arena != NULL;
}

void continuation_fini(struct continuation *c);

#endif
