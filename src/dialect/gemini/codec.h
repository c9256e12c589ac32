/*
 * What the files of the answer half share: usage, errors, finish reasons, the pieces of a candidate
 * and the parts of the dialect's table.
 * Any thread; nothing yields.
 * What is read points into the input; writers append to the caller's buf.
 * -ERR_INVALID with words for the client, -ERR_NOMEM; writers fail only by the buf's own flag.
 * Source: ai.google.dev/api/generate-content and recorded traffic.
 */
#ifndef WEIR_DIALECT_GEMINI_CODEC_H
#define WEIR_DIALECT_GEMINI_CODEC_H

#include "dialect/dialect.h"

void gemini_read_usage(struct str object, struct token_usage *usage);
bool gemini_has_usage(const struct token_usage *usage);
/* The object usageMetadata. */
void gemini_write_usage(struct buf *out, const struct token_usage *usage);

/* "STOP", ... */
const char *gemini_finish_name(enum llm_finish finish);
enum llm_finish gemini_finish_of(struct text name, bool has_call);

/* --- the parts that encoder and write_answer have in common --- */

/* A comma where the buf does not end with what opens a container. */
void gemini_comma(struct buf *out);
/* ,"thoughtSignature":"...": as it is where Gemini made it, else marked and in base64, since SDKs
 * decode the field. The scratch arena is rewound. */
void gemini_write_signature(struct buf *out, struct arena *scratch,
                            const struct llm_signature *signature, bool is_of_call);
/* {"functionCall":{...}} with its signature. */
void gemini_write_call(struct buf *out, struct arena *scratch, struct text id, struct text name,
                       struct text arguments, const struct llm_signature *signature);
/* {"inlineData":{...}} */
void gemini_write_inline(struct buf *out, struct text media_type, struct text data);
/* ,"usageMetadata":...,"modelVersion":...,"responseId":... */
void gemini_write_tail(struct buf *out, const struct token_usage *usage, struct text id,
                       struct text model, const struct llm_codec_settings *settings);

/* --- the parts of the dialect's table --- */

int gemini_scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan);
void gemini_fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
                bool wants_usage, struct arena *arena, struct llm_fit *fit);
struct llm_decoder *gemini_decoder_new(struct arena *arena,
                                       const struct llm_codec_settings *settings);
int gemini_decode(struct llm_decoder *decoder, struct str type, struct str data,
                  struct llm_sink *sink);
int gemini_decode_end(struct llm_decoder *decoder, struct llm_sink *sink);
int gemini_decode_whole(struct llm_decoder *decoder, struct str body, struct llm_sink *sink);
struct llm_encoder *gemini_encoder_new(struct arena *arena,
                                       const struct llm_codec_settings *settings);
int gemini_encoder_follow(struct llm_encoder *encoder, struct str type, struct str data);
int gemini_encode(struct llm_encoder *encoder, const struct llm_event *event,
                  struct llm_frames *frames);
void gemini_write_answer(const struct llm_answer *answer, const struct llm_codec_settings *settings,
                         struct buf *out);
bool gemini_read_error(unsigned status, struct str type_header, struct str body,
                       struct llm_error *error);
void gemini_write_error(const struct llm_error *error, struct buf *out);

#endif
