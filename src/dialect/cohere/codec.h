/*
 * What the files of this folder share: members by name, and the pieces that occur in requests and
 * in answers alike.
 * Any thread; nothing yields.
 * What is read points into the input or lives in the arena; writers append to the caller's buf.
 * -ERR_INVALID with words for the client, -ERR_NOMEM; writers fail only by the buf's own flag.
 * Source: docs.cohere.com/v2/reference/chat and recorded traffic.
 */
#ifndef WEIR_DIALECT_COHERE_CODEC_H
#define WEIR_DIALECT_COHERE_CODEC_H

#include "dialect/dialect.h"

/* --- reading --- */

enum { COHERE_MEMBERS_MAX = 12 };
/*
 * The values of the named members (NULL ends the list); JSON_NONE where there is none or it is
 * null. False when the text is no JSON object.
 */
bool cohere_collect(struct str object, const char *const *names, struct json_value *values);
/* "'messages[3].content' must be ...": `format` is the name's, `words` come after it. */
int cohere_refuse(const char *words, const char *format, ...) PRINTF_LIKE(2, 3);
int cohere_no_memory(void);

/* One element of `citations`: zeroed but for what is told. `request` (may be NULL) tells which
 * document is meant. */
struct llm_citation cohere_read_citation(struct str object, const struct llm_request *request);
void cohere_read_usage(struct str object, struct token_usage *usage);
/* An error body or event. False when it is none. */
bool cohere_read_error(unsigned status, struct str type_header, struct str body,
                       struct llm_error *error);

/* --- the marks of blocks that are read from one of two places --- */

/* The name of a THINKING block that stood in `tool_plan`, of a DOCUMENT block of `documents`, an
 * OPAQUE block of `tool_calls`, a TEXT block that was a part of a list and not a string. */
#define COHERE_TOOL_PLAN TEXT_LIT("tool_plan")
#define COHERE_DOCUMENTS TEXT_LIT("documents")
#define COHERE_TOOL_CALLS TEXT_LIT("tool_calls")
#define COHERE_PART TEXT_LIT("part")
bool cohere_is_marked(struct text name, struct text mark);

/* --- writing --- */

/* Begins a member: a comma where the buf does not end with what opens a container, then its name.
 */
void cohere_member(struct buf *out, const char *name);
void cohere_member_text(struct buf *out, const char *name, struct text text);
/* Raw JSON; nothing where it is empty. */
void cohere_member_raw(struct buf *out, const char *name, struct str raw);
/* The comma in front of all but the first element. */
void cohere_element(struct buf *out);

/* {"id":...,"type":"function","function":{"name":...,"arguments":...}} */
void cohere_write_call(struct buf *out, struct text id, struct text name, struct text arguments);
/* `text` is the answer's text that the positions count in; TEXT_NONE = not at hand. `content` is
 * the index of its block in the message, -1 = not told. */
void cohere_write_citation(struct buf *out, const struct llm_citation *citation, struct text text,
                           int content, const struct llm_request *request);
void cohere_write_usage(struct buf *out, const struct token_usage *usage);
/* OpenAI's array of tokens as LogprobItems, one at a time. */
struct cohere_logprobs {
    struct json_cursor cursor;
};
void cohere_logprobs_init(struct cohere_logprobs *logprobs, struct str raw);
/* Appends the next LogprobItem; false when there is no more. */
bool cohere_logprobs_next(struct cohere_logprobs *logprobs, struct buf *out);
/* Appends a LogprobItem, or an array of them, as OpenAI's array. False when it holds none. */
bool cohere_read_logprobs(struct buf *out, struct json_value value);

/* "COMPLETE", ... */
const char *cohere_finish_name(enum llm_finish finish);
/* FINISH_COUNT: it is an error. */
enum llm_finish cohere_finish_of(struct text name);

/* --- the parts of the dialect's table --- */

int cohere_scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan);
void cohere_fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
                bool wants_usage, struct arena *arena, struct llm_fit *fit);
int cohere_read_request(struct str body, struct arena *arena, struct llm_request *request);
int cohere_write_request(struct llm_request *request, const struct llm_target *target,
                         struct arena *arena, struct llm_notes *notes, struct buf *out);
struct llm_decoder *cohere_decoder_new(struct arena *arena,
                                       const struct llm_codec_settings *settings);
int cohere_decode(struct llm_decoder *decoder, struct str type, struct str data,
                  struct llm_sink *sink);
int cohere_decode_end(struct llm_decoder *decoder, struct llm_sink *sink);
int cohere_decode_whole(struct llm_decoder *decoder, struct str body, struct llm_sink *sink);
struct llm_encoder *cohere_encoder_new(struct arena *arena,
                                       const struct llm_codec_settings *settings);
int cohere_encoder_follow(struct llm_encoder *encoder, struct str type, struct str data);
int cohere_encoder_pass(struct llm_encoder *encoder, struct str type, struct str data);
void cohere_write_last(const struct token_usage *usage, struct llm_frames *frames);
int cohere_encode(struct llm_encoder *encoder, const struct llm_event *event,
                  struct llm_frames *frames);
void cohere_write_answer(const struct llm_answer *answer, const struct llm_codec_settings *settings,
                         struct buf *out);
void cohere_write_error(const struct llm_error *error, struct buf *out);

#endif
