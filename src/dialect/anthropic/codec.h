/*
 * What the files of this folder share: reading and writing of the pieces that occur in requests and
 * in answers alike.
 * Any thread; nothing yields.
 * What is read points into the input or lives in the arena; writers append to the caller's buf.
 * -ERR_INVALID with words for the client, -ERR_NOMEM; writers fail only by the buf's own flag.
 * Source: platform.claude.com/docs/en/api/messages and recorded traffic of Anthropic, Bedrock's
 * Invoke, Vertex and OpenRouter.
 */
#ifndef WEIR_DIALECT_ANTHROPIC_CODEC_H
#define WEIR_DIALECT_ANTHROPIC_CODEC_H

#include "dialect/dialect.h"

int anthropic_no_memory(void);

/* --- reading --- */

enum { ANTHROPIC_MEMBERS_MAX = 8, ANTHROPIC_PATH_BYTES = 128 };

/* Where a reader is in the request, for its errors. */
struct anthropic_reader {
    struct arena *arena;
    struct llm_request *request;
    char path[ANTHROPIC_PATH_BYTES]; /* "messages[0].content[2]"; empty = at the top */
    size_t path_len;
};

/* Goes down to a member, or to an element of one where `index` >= 0; returns where to go back to.
 */
size_t anthropic_enter(struct anthropic_reader *r, const char *member, ptrdiff_t index);
void anthropic_leave(struct anthropic_reader *r, size_t back);
/* "'messages[0].role' must be ...": `words` is what comes after the name. */
int anthropic_refuse(const struct anthropic_reader *r, const char *member, const char *words);

/* The kinds that a member may have. */
enum anthropic_wish { WANT_ANY, WANT_STRING, WANT_NUMBER, WANT_BOOLEAN, WANT_OBJECT, WANT_ARRAY };

/* A member that is looked for; the list ends with a NULL name. */
struct anthropic_member {
    const char *name;
    enum anthropic_wish wish;
};

/* What is wrong with a value of this kind, as anthropic_refuse wants it; NULL = nothing. */
const char *anthropic_refusal_of(enum anthropic_wish wish, enum json_kind kind);

/*
 * The values of the listed members, JSON_NONE where there is none or it is null; all others are
 * in *rest as they stood, with commas between them (rest NULL: they become extras below the present
 * path).
 */
int anthropic_collect(const struct anthropic_reader *r, struct str object,
                      const struct anthropic_member *members, struct json_value *values,
                      struct str *rest);
/* Appends one member to *rest. */
int anthropic_keep(struct arena *arena, const char *name, struct str raw, struct str *rest);

/* `content` of a message or a tool's result, or `system`: a string or an array of blocks. */
int anthropic_read_content(struct anthropic_reader *r, const char *member, struct json_value value,
                           struct llm_block **list);
int anthropic_read_tools(struct anthropic_reader *r, struct json_value value);
int anthropic_read_tool_choice(struct anthropic_reader *r, struct json_value value);
/* cache_control; what is not said by the hint alone is kept in *rest. */
int anthropic_read_cache(const struct anthropic_reader *r, struct json_value value,
                         enum llm_cache *cache, struct str *rest);
/* Zeroed but for what is told. */
struct llm_citation anthropic_read_citation(struct json_value value);

/* --- writing --- */

/* The comma before the next member or element, where there is one before it. */
void anthropic_comma(struct buf *out);
/* The same and "key": */
void anthropic_key(struct buf *out, const char *key);
void anthropic_key_text(struct buf *out, const char *key, struct text text);
/* Nothing where `raw` is empty. */
void anthropic_key_raw(struct buf *out, const char *key, struct str raw);
/* Nothing where there is no hint. */
void anthropic_write_cache(struct buf *out, enum llm_cache cache, struct str rest);

/* One block; false when there is nothing that can be written of it (nothing is). */
bool anthropic_write_block(struct buf *out, struct arena *arena, const struct llm_block *block);
/* An array of them, or the string that it was read from. */
void anthropic_write_content(struct buf *out, struct arena *arena, const struct llm_block *blocks);
/* False when there is no form for it. */
bool anthropic_can_write(const struct llm_block *block, bool is_own);
/* A citation in an answer; false when nothing can be said. */
bool anthropic_write_citation(struct buf *out, const struct llm_citation *citation);

/*
 * Makes messages of another dialect such that the API takes them: what has no form goes, with
 * notice; ids are those that it takes; roles alternate and begin with the user.
 */
int anthropic_prepare(struct llm_request *request, struct arena *arena, struct llm_notes *notes);

/* What is asked of the model, decided before it is written: some wishes rule out others. */
struct anthropic_plan {
    struct str max_tokens, temperature, top_p, top_k;
    const char *thinking; /* "enabled", "adaptive", "disabled"; NULL = not told */
    uint32_t budget;      /* of "enabled" */
    const char *effort;   /* output_config.effort; NULL = not told */
};
int anthropic_plan(const struct llm_request *request, const struct llm_target *target,
                   struct arena *arena, struct llm_notes *notes, struct anthropic_plan *plan);

/* --- answers --- */

void anthropic_usage_read(struct str object, struct token_usage *usage);
/* With all keys; what is not told is 0. */
void anthropic_usage_write(struct buf *out, const struct token_usage *usage);
enum llm_finish anthropic_finish_of(struct text stop_reason);
const char *anthropic_stop_reason(enum llm_finish finish, bool has_call);

/* The value of `error`. */
void anthropic_error_value(struct json_value value, struct llm_error *error);

/* What the dialect's table is made of. */
enum {
    ANTHROPIC_WANT_MODEL = LLM_WANT_OWN,
    ANTHROPIC_WANT_STREAM,
    ANTHROPIC_WANT_VERSION,
    ANTHROPIC_WANT_BETA,
    ANTHROPIC_WANT_COUNT
};
int anthropic_scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan);
void anthropic_fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
                   bool wants_usage, struct arena *arena, struct llm_fit *fit);
/* The version that a body carries for it; NULL where it stands in a header. */
const char *anthropic_version_of(enum llm_variant variant);
int anthropic_read_request(struct str body, struct arena *arena, struct llm_request *request);
int anthropic_write_request(struct llm_request *request, const struct llm_target *target,
                            struct arena *arena, struct llm_notes *notes, struct buf *out);
struct llm_decoder *anthropic_decoder_new(struct arena *arena,
                                          const struct llm_codec_settings *settings);
int anthropic_decode(struct llm_decoder *decoder, struct str type, struct str data,
                     struct llm_sink *sink);
int anthropic_decode_end(struct llm_decoder *decoder, struct llm_sink *sink);
int anthropic_decode_whole(struct llm_decoder *decoder, struct str body, struct llm_sink *sink);
struct llm_encoder *anthropic_encoder_new(struct arena *arena,
                                          const struct llm_codec_settings *settings);
int anthropic_encoder_follow(struct llm_encoder *encoder, struct str type, struct str data);
void anthropic_write_last(const struct token_usage *usage, struct llm_frames *frames);
int anthropic_encode(struct llm_encoder *encoder, const struct llm_event *event,
                     struct llm_frames *frames);
void anthropic_write_answer(const struct llm_answer *answer,
                            const struct llm_codec_settings *settings, struct buf *out);
bool anthropic_read_error(unsigned status, struct str type_header, struct str body,
                          struct llm_error *error);
void anthropic_write_error(const struct llm_error *error, struct buf *out);

#endif
