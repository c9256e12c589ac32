#include "dialect/anthropic/codec.h"

const struct dialect anthropic_dialect = {
    .id = DIALECT_ANTHROPIC,
    .name = "anthropic",
    .scan = anthropic_scan,
    .fit = anthropic_fit,
    .read_request = anthropic_read_request,
    .write_request = anthropic_write_request,
    .decoder_new = anthropic_decoder_new,
    .decode = anthropic_decode,
    .decode_end = anthropic_decode_end,
    .decode_whole = anthropic_decode_whole,
    .encoder_new = anthropic_encoder_new,
    .encode = anthropic_encode,
    .encoder_follow = anthropic_encoder_follow,
    .write_last = anthropic_write_last,
    .write_answer = anthropic_write_answer,
    .read_error = anthropic_read_error,
    .write_error = anthropic_write_error,
    .read_usage = anthropic_usage_read,
    /* Anthropic's own API takes 128 by now; this is what Bedrock takes, too. */
    .tool_name_max = 64,
    .tool_name_extra = "",
};
