/*
 * What the simulated provider is asked: an OpenAI chat or text completion request, and the options
 * behind the model's name (lorem?tokens=50&pace=0).
 * Any thread; nothing yields.
 * Strings point into the body or live in the arena.
 * A request that cannot be served gives the HTTP status and words for the answer.
 * docs/simulated-provider.md is the promise that this keeps.
 */
#ifndef WEIR_PROVIDER_SIM_REQUEST_H
#define WEIR_PROVIDER_SIM_REQUEST_H

#include "base/arena.h"
#include "base/json.h"

enum sim_model {
    SIM_ECHO,
    SIM_LOREM,
    SIM_STORY,
    SIM_TOOL,
    SIM_ERROR,
    SIM_BREAK,
    SIM_STALL,
    SIM_PROBE,
};
enum { SIM_MODEL_COUNT = SIM_PROBE + 1 };
extern const char *const sim_model_names[SIM_MODEL_COUNT + 1]; /* ends with NULL */

enum { SIM_NEVER = -1, SIM_STOPS_MAX = 4, SIM_CHOICES_MAX = 16, SIM_TOKENS_MAX = 100000 };

struct sim_options {
    int64_t tokens;      /* length of the text; SIM_NEVER = the model's own */
    int64_t pace_ns;     /* between two tokens */
    int64_t delay_ns;    /* before the first one */
    int64_t idle_ns;     /* silence before the last one, besides the pace */
    int64_t break_after; /* tokens, then the connection breaks; SIM_NEVER */
    int64_t stall_after; /* tokens, then silence; SIM_NEVER */
    int64_t error;       /* HTTP status of an error; 0 = none */
    int64_t error_after; /* tokens, then the error comes inside the stream; SIM_NEVER = at once */
};

enum sim_format { SIM_FORMAT_TEXT, SIM_FORMAT_JSON, SIM_FORMAT_SCHEMA };

struct sim_request {
    bool is_chat;
    enum sim_model model;
    struct sim_options options;
    bool is_stream, include_usage;
    unsigned choices;
    int64_t max_tokens; /* SIM_NEVER = no limit */
    struct str stops[SIM_STOPS_MAX];
    unsigned stop_count;
    enum sim_format format;
    struct str schema;    /* JSON; of response_format */
    struct str last_user; /* text of the last user message, or the prompt */
    struct str begun;     /* the answer so far that is to be gone on with; ptr NULL = none */
    struct str anchor;    /* its last words, with which the rest is to begin; empty = at its end */
    struct str tool_result; /* text of the last message when that is a tool's */
    struct str tool_name;   /* to be called; ptr NULL = none */
    struct str tool_schema; /* JSON; may be empty */
    uint64_t prompt_tokens;
    uint64_t hash; /* of the body: what the answer's ids are made of */
};

struct sim_refusal {
    unsigned status;
    struct str message;
    const char *param; /* NULL = none */
    const char *code;  /* NULL = none */
};

/* False with *refusal filled in when it cannot be served. */
bool sim_request_read(struct sim_request *request, struct arena *arena, struct str body,
                      bool is_chat, struct sim_refusal *refusal);

/*
 * Cuts the next token off: a word with the white space before it, at most 16 bytes of each, never
 * inside a UTF-8 sequence. False when the text is used up.
 */
bool sim_next_token(struct str *text, struct str *token);
uint64_t sim_count_tokens(struct str text);

#endif
