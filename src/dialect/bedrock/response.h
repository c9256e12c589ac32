/*
 * Answers of Converse and ConverseStream: a decoder for both, an encoder for each.
 * One answer; nothing yields.
 * Decoders and encoders live in the arena they are made with; events point into what was given.
 * -ERR_INVALID for data that is no JSON, -ERR_NOMEM, -ERR_LIMIT, -ERR_RESET for a cut stream, and
 * what the sink returns.
 * Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, the
 * service model of bedrock-runtime, and recorded answers.
 */
#ifndef WEIR_DIALECT_BEDROCK_RESPONSE_H
#define WEIR_DIALECT_BEDROCK_RESPONSE_H

#include "dialect/dialect.h"

struct llm_decoder *bedrock_decoder_new(struct arena *arena,
                                        const struct llm_codec_settings *settings);
int bedrock_decode(struct llm_decoder *decoder, struct str type, struct str data,
                   struct llm_sink *sink);
int bedrock_decode_end(struct llm_decoder *decoder, struct llm_sink *sink);
int bedrock_decode_whole(struct llm_decoder *decoder, struct str body, struct llm_sink *sink);

struct llm_encoder *bedrock_encoder_new(struct arena *arena,
                                        const struct llm_codec_settings *settings);
int bedrock_encoder_follow(struct llm_encoder *encoder, struct str type, struct str data);
void bedrock_write_last(const struct token_usage *usage, struct llm_frames *frames);
int bedrock_encode(struct llm_encoder *encoder, const struct llm_event *event,
                   struct llm_frames *frames);
void bedrock_answer_write(const struct llm_answer *answer,
                          const struct llm_codec_settings *settings, struct buf *out);

/* Why a model stopped, both ways. */
enum llm_finish bedrock_finish_of(struct text stop_reason);
const char *bedrock_stop_reason(enum llm_finish finish, struct text raw_finish);

#endif
