/*
 * Errors in Bedrock's shape: {"message"} with their name in the x-amzn-ErrorType header, or in the
 * frame of a stream.
 * Any thread; nothing yields.
 * What is read points into its input; names are static.
 * Cannot fail.
 * Source:
 * docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors
 * and recorded errors.
 */
#ifndef WEIR_DIALECT_BEDROCK_ERROR_H
#define WEIR_DIALECT_BEDROCK_ERROR_H

#include "base/buf.h"
#include "dialect/error.h"

/* The name that AWS SDKs know it by: "ThrottlingException". For x-amzn-ErrorType. */
const char *bedrock_error_type(const struct llm_error *error);
/* The same for a frame of a stream, of which there are fewer: "throttlingException". */
const char *bedrock_stream_error_type(const struct llm_error *error);

/* `type_header` is x-amzn-errortype, or the name in a stream's frame. */
bool bedrock_error_read(unsigned status, struct str type_header, struct str body,
                        struct llm_error *error);
void bedrock_error_write(const struct llm_error *error, struct buf *out);
/* The payload of an exception in a stream. */
void bedrock_stream_error_write(const struct llm_error *error, struct buf *out);

#endif
