/*
 * What a writer of requests has to know of its target: the model, and what is particular about the
 * provider and the model, as data.
 * Any thread; nothing yields; immutable.
 * Lives as long as the snapshot it came from.
 * Cannot fail.
 */
#ifndef WEIR_DIALECT_TARGET_H
#define WEIR_DIALECT_TARGET_H

#include "dialect/request.h"

/* Where a body of the dialect is sent to, as far as that changes the body. */
enum llm_variant {
    VARIANT_NATIVE,
    VARIANT_VERTEX,  /* Anthropic's on Vertex: no model, anthropic_version in the body */
    VARIANT_BEDROCK, /* Anthropic's by Bedrock's Invoke: no model, no stream, versions in the body
                      */
};

/* How a model is told to think. */
enum llm_thinking {
    THINKING_UNKNOWN,  /* passed on in the dialect's usual form */
    THINKING_NONE,     /* it does not: the wish is dropped */
    THINKING_BUDGET,   /* tokens: Claude up to 4.5, Gemini 2.5 */
    THINKING_EFFORT,   /* a word: OpenAI, and what follows it */
    THINKING_ADAPTIVE, /* Claude from 4.6: adaptive, with an effort beside it */
    THINKING_LEVEL,    /* a word: Gemini 3 */
    THINKING_COUNT
};
extern const char *const llm_thinking_names[THINKING_COUNT + 1];

enum llm_structured {
    STRUCTURED_UNKNOWN, /* native, in the dialect's usual form */
    STRUCTURED_NATIVE,
    STRUCTURED_BY_TOOL, /* a tool whose arguments are the answer */
    STRUCTURED_NONE,    /* not at all: refused */
    STRUCTURED_COUNT
};
extern const char *const llm_structured_names[STRUCTURED_COUNT + 1];

/* What is known of a model; zero = not known, then the dialect's usual way is taken. */
struct llm_traits {
    uint32_t max_output_tokens; /* supplied as max_tokens where the dialect demands one */
    enum llm_thinking thinking;
    enum llm_structured structured;
    enum tri takes_images, takes_audio, takes_video, takes_documents;
    enum tri takes_tools;
    enum tri takes_forced_tools; /* tool_choice may demand a call; no: it is left to the model */
    enum tri takes_thinking_off; /* it can be told not to think */
    enum tri takes_sampling;     /* temperature, top_p, top_k; no: reasoning models refuse them */
    enum tri takes_prefill;      /* a last message of the assistant is continued */
    enum tri takes_many_choices; /* n > 1 */
    enum tri takes_logprobs;
};

/* How an OpenAI-compatible provider is told that the last message is the beginning of its answer.
 * (The other dialects have no word for it: there traits say whether it is taken so.) */
enum llm_prefill {
    PREFILL_NONE,
    PREFILL_LAST_MESSAGE,  /* a last message of the assistant is enough */
    PREFILL_PREFIX,        /* "prefix": true in it: DeepSeek */
    PREFILL_PREFIX_ECHOED, /* the same, and the answer begins with the prefix: Mistral */
    PREFILL_CONTINUE,      /* continue_final_message: vLLM, SGLang */
    PREFILL_COUNT
};
extern const char *const llm_prefill_names[PREFILL_COUNT + 1];

/* What is odd about a provider's form of its dialect; from the catalogue. */
struct llm_quirks {
    struct str max_tokens_field; /* OpenAI chat: "max_tokens" or "max_completion_tokens"; empty =
                                    max_completion_tokens at OpenAI and Azure, else max_tokens */
    struct str reasoning_field;  /* OpenAI chat: where a message's reasoning text stands in
                                    requests and answers: "reasoning_content", "reasoning"; empty =
                                    it takes none back */
    const struct str
        *refused_params; /* names that it refuses: dropped when translating, with notice */
    unsigned refused_param_count;
    enum llm_prefill prefill;      /* OpenAI chat */
    struct str prefill_path;       /* where requests with a prefill go; empty = where all go */
    bool has_no_developer_role;    /* OpenAI chat: written as system */
    bool has_short_tool_ids;       /* Mistral: nine letters or digits */
    bool total_includes_reasoning; /* xAI: output tokens do not include reasoning */
    bool needs_alternating_roles;  /* some servers refuse two user messages in a row */
};

struct llm_target {
    struct str model;
    bool is_stream;
    bool wants_usage; /* OpenAI chat: write stream_options.include_usage, the provider knows it */
    enum llm_variant variant;
    /* Claude: what it takes of anthropic-beta ("a,b"). A writer puts it into the body where that is
     * its place (Bedrock); elsewhere it is a header, which is the caller's to send. */
    struct str betas;
    const struct llm_quirks *quirks; /* never NULL */
    const struct llm_traits *traits; /* never NULL */
};

/* What could not be said in the target's dialect, and what was supplied that nobody said. */
struct llm_notes {
    struct buf *dropped;  /* "n, messages[2].content[0], seed": names joined by ", ", each once */
    struct buf *supplied; /* "max_tokens=8192" */
};

/* Notes a name of the source's own words ("logit_bias"); dots and [index] for what is inside. */
void llm_note_dropped(struct llm_notes *notes, const char *format, ...) PRINTF_LIKE(2, 3);
void llm_note_supplied(struct llm_notes *notes, const char *format, ...) PRINTF_LIKE(2, 3);
/* Every extra that no writer took, and nothing else. */
void llm_note_extras(struct llm_notes *notes, const struct llm_request *request);
/* True when the target refuses a parameter of this name (by its quirks): then it was noted. */
bool llm_target_refuses(const struct llm_target *target, struct llm_notes *notes, const char *name);

#endif
