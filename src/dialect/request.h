/*
 * A request for an answer of a model, in the neutral form: what every dialect's request is read
 * into and written from.
 * Any thread; nothing yields.
 * All of it lives in the arena it was read with; texts and raw JSON point into the source body,
 * which must outlive it. Zeroed means empty: every field has a "not told" that is all zero bits.
 * The makers below give NULL when out of memory.
 *
 * Roles and places. `system` holds instructions that stand outside the messages (Anthropic,
 * Gemini, Bedrock, Responses' instructions); a dialect that has them as messages (OpenAI chat,
 * Cohere) reads them as messages of ROLE_SYSTEM or ROLE_DEVELOPER, where they stand. A tool's
 * result is a block in a message of ROLE_TOOL (OpenAI chat, Cohere, Responses) or ROLE_USER
 * (Anthropic, Bedrock, Gemini). Readers keep the boundaries of messages; writers split and join as
 * their dialect wants it (llm_request_* below).
 *
 * JSON null is the same as not there.
 */
#ifndef WEIR_DIALECT_REQUEST_H
#define WEIR_DIALECT_REQUEST_H

#include "base/arena.h"
#include "dialect/text.h"

/* The dialects; the order is that of `dialect_names`. */
enum dialect_id {
    DIALECT_OPENAI_CHAT,
    DIALECT_ANTHROPIC,
    DIALECT_GEMINI,
    DIALECT_BEDROCK,
    DIALECT_COHERE,
    DIALECT_OPENAI_RESPONSES,
    DIALECT_COUNT
};
extern const char *const dialect_names[DIALECT_COUNT + 1]; /* ends with NULL */

enum tri { TRI_UNSET, TRI_NO, TRI_YES };

enum llm_role { ROLE_USER, ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_TOOL };

enum llm_block_kind {
    BLOCK_TEXT,
    BLOCK_IMAGE,
    BLOCK_AUDIO,
    BLOCK_VIDEO,
    BLOCK_DOCUMENT, /* PDF and other files; plain text documents have `text` */
    BLOCK_TOOL_CALL,
    BLOCK_TOOL_RESULT,
    BLOCK_THINKING,
    BLOCK_REFUSAL,
    BLOCK_OPAQUE, /* only its own dialect understands it: built-in tools' calls and results ... */
};

/* Exactly one of data, url, file_id (or the block's text) says where the content is. */
struct llm_media {
    struct text type;    /* IANA media type, "image/png"; none where the source does not say */
    struct text data;    /* base64 */
    struct text url;     /* https:, gs:, s3: */
    struct text file_id; /* a file that was uploaded to the provider */
    struct text name;    /* file name or title */
    struct text detail;  /* images: low, high, auto */
};

/* What a provider wants back as it came. `maker` is the dialect of the provider that made it: to
 * any other it means nothing and must not be sent. */
struct llm_signature {
    struct text data; /* none = there is no signature */
    enum dialect_id maker;
};

enum llm_cache { CACHE_NONE, CACHE_5M, CACHE_1H };

/* A source that an answer names. `raw` is the citation in its own dialect. */
struct llm_citation {
    struct llm_citation *next;
    struct text url;        /* a web page; none = a document of the request */
    struct text title;      /* of the page or document */
    struct text cited_text; /* what is quoted from it */
    int64_t start, end;     /* in the answer's text block, in characters; -1 = not told */
    int64_t document;       /* index of the document in the request; -1 = none */
    struct str raw;
    enum dialect_id maker;
};

/* Responses: the item that a block was, or was part of. Blocks of one item point to one item. */
struct llm_item {
    struct text id;
    struct text type; /* none where it was not told (a message) */
    struct str rest;  /* as that of a block */
    bool is_plain;    /* its content or output was a string, not parts */
};

struct llm_block {
    struct llm_block *next;
    enum llm_block_kind kind;
    struct text text;         /* TEXT, THINKING, REFUSAL; DOCUMENT of plain text */
    struct llm_media media;   /* IMAGE, AUDIO, VIDEO, DOCUMENT */
    struct text id;           /* TOOL_CALL: its id; TOOL_RESULT: the id of its call; none where the
                                 dialect has none (Gemini) */
    struct text name;         /* TOOL_CALL; TOOL_RESULT where told; THINKING of Responses:
                                 "reasoning_text" where it is no summary */
    struct text arguments;    /* TOOL_CALL: the text of a JSON object; may be empty */
    struct llm_block *blocks; /* TOOL_RESULT: its content */
    bool is_error;            /* TOOL_RESULT */
    bool is_redacted;         /* THINKING without text: signature.data is all there is */
    bool is_for_call; /* THINKING without text: its signature is the next call's (signature.h) */
    struct llm_signature signature;
    enum llm_cache cache;
    struct llm_citation *citations; /* TEXT of an earlier answer */
    bool wants_citations;           /* DOCUMENT */
    struct str raw;        /* OPAQUE: the block as it stood; others: the same, where its own
                              dialect says more than is here: whoever changes the block
                              empties it */
    struct str rest;       /* members of it that have no place here, as they stood: "a":1,"b":2 */
    enum dialect_id maker; /* OPAQUE: whose it is; `rest`: the same */
    const struct llm_item *item; /* NULL = of no item */
};

struct llm_message {
    struct llm_message *next;
    enum llm_role role;
    struct text name; /* of the participant */
    struct text id;   /* Responses' items */
    struct llm_block *blocks;
};

enum llm_tool_kind {
    TOOL_FUNCTION,
    TOOL_BUILTIN, /* the provider runs it: raw, for its own dialect only */
};

struct llm_tool {
    struct llm_tool *next;
    enum llm_tool_kind kind;
    struct text name, description;
    struct str schema; /* raw JSON Schema of the parameters; empty = none */
    enum tri strict;
    enum llm_cache cache;
    struct str raw;  /* BUILTIN; a FUNCTION that was another kind of tool in its own dialect */
    struct str rest; /* as that of a block */
    enum dialect_id maker;
};

enum llm_tool_choice {
    TOOL_CHOICE_UNSET,
    TOOL_CHOICE_AUTO,
    TOOL_CHOICE_NONE,
    TOOL_CHOICE_REQUIRED, /* any of them */
    TOOL_CHOICE_NAMED,
};

struct llm_name {
    struct llm_name *next;
    struct text text;
};

enum llm_format { FORMAT_UNSET, FORMAT_TEXT, FORMAT_JSON_OBJECT, FORMAT_JSON_SCHEMA };

struct llm_response_format {
    enum llm_format kind;
    struct text name, description;
    struct str schema; /* raw */
    enum tri strict;
};

enum llm_reasoning_mode {
    REASONING_UNSET,
    REASONING_OFF,
    REASONING_ON,       /* with an effort or a budget, or neither */
    REASONING_ADAPTIVE, /* the model decides */
};

struct llm_reasoning {
    enum llm_reasoning_mode mode;
    struct text effort;  /* none, minimal, low, medium, high, xhigh, max: as told */
    struct str budget;   /* tokens, a number's source text; -1 (Gemini) is REASONING_ADAPTIVE */
    struct text summary; /* Responses: auto, concise, detailed */
    enum tri shows;      /* the client wants to see it (Gemini's includeThoughts) */
};

/* A member of the request that the neutral form has no place for, as it stood. */
struct llm_extra {
    struct llm_extra *next;
    struct str name; /* of the top-level member, or dotted: "generationConfig.responseLogprobs" */
    struct str raw;  /* JSON */
    bool is_taken;   /* a writer has found a place for it */
};

struct llm_request {
    enum dialect_id source;
    struct text model;
    struct llm_block *system;
    struct llm_message *messages, *last_message; /* by llm_message_add */
    struct llm_tool *tools;
    struct llm_tool *last_tool; /* where llm_tool_add goes on; NULL = it looks for the end */
    enum llm_tool_choice tool_choice;
    struct text tool_choice_name;   /* NAMED */
    struct llm_name *allowed_tools; /* the choice is among these; NULL = all */
    enum tri parallel_tools;
    /* Numbers are the source's text; empty = not told. */
    struct str max_tokens, temperature, top_p, top_k;
    struct str frequency_penalty, presence_penalty, seed;
    struct str n, top_logprobs;
    enum tri logprobs;
    struct str logit_bias; /* raw object */
    struct llm_name *stop;
    struct llm_response_format format;
    struct llm_reasoning reasoning;
    struct text user;         /* the end user, as the application calls them */
    struct str metadata;      /* raw object */
    struct text service_tier; /* as told */
    struct str modalities;    /* raw array of names: ["text","audio"] */
    struct str audio;         /* raw: how audio is to be answered (OpenAI) */
    bool is_stream;
    bool includes_usage; /* OpenAI chat: stream_options.include_usage */
    bool continues_last; /* the last message is the beginning of the answer that is wanted: weir's
                            own, no reader sets it */
    struct llm_extra *extras, *last_extra; /* by llm_extra_add */
};

/*
 * --- building: each appends to the end of its list and returns the new item, zeroed ---
 * Blocks and names have no last one told: whoever adds many goes on from llm_blocks_end, or from
 * the `next` of the name before.
 */

struct llm_block *llm_block_add(struct arena *arena, struct llm_block **list,
                                enum llm_block_kind kind);
struct llm_message *llm_message_add(struct arena *arena, struct llm_request *request,
                                    enum llm_role role);
struct llm_tool *llm_tool_add(struct arena *arena, struct llm_request *request);
bool llm_name_add(struct arena *arena, struct llm_name **list, struct text text);
/* The place that the next block of the list goes to; the list, when it is empty. */
struct llm_block **llm_blocks_end(struct llm_block **list);
/* `prefix` empty: the name is a top-level member. False when out of memory. A null is not kept. Of
 * members of one name each is kept, in their order. */
bool llm_extra_add(struct arena *arena, struct llm_request *request, struct str prefix,
                   struct str key, struct json_value value);

/* --- what writers need --- */

/*
 * The extra of that name, marked as taken; NULL when there is none, or when it is from a dialect
 * where the name means something else: `from` is a set of (1u << DIALECT_x).
 */
const struct llm_extra *llm_extra_take(struct llm_request *request, unsigned from,
                                       const char *name);

/*
 * Finds the names of calls by their ids, each look in the time of one. Zeroed with an arena it is
 * ready; it reads what has been added to the request's messages since the last look.
 */
struct llm_call_names {
    struct arena *arena;
    struct llm_call_entry **table; /* of 1 << bits buckets */
    unsigned bits;
    uint32_t count;
    uint64_t compared; /* ids with each other, so far */
    const struct llm_message *message;
    const struct llm_block *block; /* the last that was read, in `message`; NULL = none of it */
    bool has_failed;               /* no memory: it looks through the messages every time */
};

/* The tool call with this id in any message so far, the first of several: its name, for dialects
 * that name the function in the result. TEXT_NONE when there is none. */
struct text llm_request_call_name(struct llm_call_names *names, const struct llm_request *request,
                                  struct text id);

/*
 * Moves messages of ROLE_SYSTEM and ROLE_DEVELOPER to the end of `system`, for dialects that have
 * none among the messages. Returns true when one stood after a message of another role: its place
 * is lost.
 */
bool llm_request_hoist_system(struct llm_request *request);

/*
 * Joins neighbours of one side (user and tool count as one, if `joins_tools`) so that roles
 * alternate; tool results come first in the joined message. For Anthropic, Bedrock and Gemini.
 */
void llm_request_join_turns(struct llm_request *request, bool joins_tools);

/* The text of all TEXT blocks in `blocks`, as parts: true when there is nothing but text. */
bool llm_blocks_are_text(const struct llm_block *blocks);
/* Writes them as one JSON string, joined by `separator` (plain text). */
void llm_blocks_write_text(struct buf *out, const struct llm_block *blocks, struct str separator);

/*
 * Arguments of a call as a JSON object: what is no object (a model can produce anything) becomes
 * {"arguments": "<the text>"}, and nothing becomes {}.
 */
void llm_arguments_write_object(struct buf *out, struct arena *arena, struct text arguments);

/* A number as text: "12" -> 12. False when it is not told or no number. */
bool llm_number(struct str source, double *out);

#endif
