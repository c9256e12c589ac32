/*
 * An answer of a model, in the neutral form: always a sequence of events, streamed or not. What is
 * not streamed is their fold (struct llm_answer).
 * Any thread; nothing yields.
 * An event's texts point into the bytes it was read from: valid until the sink returns. The answer
 * copies what it keeps into its arena.
 * A sink returns 0 or -ERR_x, which ends the decoding and is passed up.
 *
 * The order of a sequence:
 *   START, then for each choice any number of blocks, then FINISH for each choice, DONE at last.
 *   A decoder may tell START again when it learns more of it (the model); an encoder sees the
 * first. A block is BLOCK_START, DELTAs, BLOCK_STOP. Indexes of blocks count from 0 in each choice
 * and never come back. Decoders may interleave blocks (OpenAI's parallel calls do); sequence.h puts
 *   one after the other for encoders, which may rely on it.
 *   USAGE may come anywhere between START and DONE, more than once: classes that are told replace
 *   those told before; -1 changes nothing.
 *   PING may come anywhere. ERROR ends the sequence: neither FINISH nor DONE comes after it.
 */
#ifndef WEIR_DIALECT_EVENT_H
#define WEIR_DIALECT_EVENT_H

#include "dialect/error.h"
#include "dialect/request.h"
#include "dialect/usage.h"

enum llm_event_kind {
    EVENT_START,
    EVENT_BLOCK_START,
    EVENT_DELTA,
    EVENT_BLOCK_STOP,
    EVENT_USAGE,
    EVENT_FINISH,
    EVENT_DONE,
    EVENT_ERROR,
    EVENT_PING,
};

enum llm_delta_kind {
    DELTA_TEXT,      /* of a TEXT, THINKING or REFUSAL block */
    DELTA_ARGUMENTS, /* a piece of the text of the arguments */
    DELTA_SIGNATURE, /* of the block; whole */
    DELTA_CITATION,  /* one more source of a TEXT block */
    DELTA_LOGPROBS,  /* raw, OpenAI's array of tokens */
    DELTA_MEDIA,     /* a piece of base64 of an IMAGE or AUDIO block */
};

enum llm_finish {
    FINISH_STOP,          /* the model was done */
    FINISH_STOP_SEQUENCE, /* it came to one of `stop` */
    FINISH_LENGTH,        /* max_tokens */
    FINISH_CONTEXT,       /* the model's window is full */
    FINISH_TOOL_CALLS,
    FINISH_CONTENT_FILTER, /* a filter of the provider: safety, recitation, blocklist, guardrail */
    FINISH_REFUSAL,        /* the model would not */
    FINISH_PAUSE,          /* a long turn is to be continued (Anthropic's pause_turn) */
    FINISH_OTHER,
    FINISH_COUNT
};
extern const char *const llm_finish_names[FINISH_COUNT];

struct llm_event {
    enum llm_event_kind kind;
    unsigned choice;
    unsigned block;
    /* START: also where later events tell more of it. */
    struct text id, model; /* BLOCK_START of a TOOL_CALL: id is the call's, none where none is told;
                              of THINKING: that of the item (Responses) */
    int64_t created_s;     /* -1 = not told */
    struct text service_tier; /* START; USAGE: the one that it came to */
    /* BLOCK_START */
    enum llm_block_kind block_kind;
    struct text name;               /* TOOL_CALL */
    struct text media_type;         /* IMAGE, AUDIO */
    bool is_redacted;               /* THINKING: only a signature comes */
    struct str raw;                 /* OPAQUE: the block; DELTA_LOGPROBS */
    enum dialect_id maker;          /* OPAQUE */
    struct llm_signature signature; /* BLOCK_START (Gemini's on a call) and DELTA_SIGNATURE */
    /* DELTA */
    enum llm_delta_kind delta;
    struct text text;
    const struct llm_citation *citation;
    /* USAGE */
    struct token_usage usage;
    /* FINISH */
    enum llm_finish finish;
    struct text raw_finish;    /* as the provider spells it */
    struct text stop_sequence; /* the one it came to, where told */
    /* ERROR */
    struct llm_error error;
};
/* An event of that kind with everything else "not told". */
struct llm_event llm_event_make(enum llm_event_kind kind);

struct llm_sink {
    int (*event)(struct llm_sink *sink, const struct llm_event *event);
};

static inline int llm_sink_put(struct llm_sink *sink, const struct llm_event *event)
{
    return sink->event(sink, event);
}

/* What is told in `more` over what is in *usage. */
void token_usage_merge(struct token_usage *usage, const struct token_usage *more);
/* Input tokens of all classes (prompt_tokens of OpenAI); -1 when the input is not told. */
int64_t token_usage_input_total(const struct token_usage *usage);
/* Input tokens that were neither read from nor written to a cache (input_tokens of Anthropic). */
int64_t token_usage_input_fresh(const struct token_usage *usage);
/* Both classes of cache writes; -1 when none is told. */
int64_t token_usage_cache_write(const struct token_usage *usage);

/* --- the fold --- */

struct llm_choice {
    struct llm_choice *next;
    unsigned index;
    struct llm_block *blocks;
    bool is_finished;
    enum llm_finish finish;
    struct text raw_finish, stop_sequence;
    struct str logprobs; /* raw array of OpenAI's token objects; empty = none */
};

struct llm_answer {
    struct text id, model;
    struct text service_tier;
    int64_t created_s;
    struct llm_choice *choices; /* by index; at least one after a START */
    struct token_usage usage;
    bool is_done;
    bool is_error;
    struct llm_error error;
};

/* A sink that folds: give &fold.sink to a decoder. Its arena is not the decoder's, which may take
 * back what was allocated while an event was put. Texts of blocks are escaped ones; a block of
 * text that got nothing is left out. */
struct llm_fold {
    struct llm_sink sink;
    struct arena *arena;
    struct llm_answer answer;
    struct llm_fold_block *open; /* private: blocks that are being built */
};
void llm_fold_init(struct llm_fold *fold, struct arena *arena);

/* The events of a folded answer, in order: what a cached answer is streamed from. */
int llm_answer_replay(const struct llm_answer *answer, struct llm_sink *sink);

#endif
