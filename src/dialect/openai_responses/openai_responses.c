#include "dialect/openai_responses/encoder.h"

const struct dialect openai_responses_dialect = {
    .id = DIALECT_OPENAI_RESPONSES,
    .name = "openai_responses",
    .scan = responses_scan,
    .fit = responses_fit,
    .read_request = responses_read_request,
    .write_request = responses_write_request,
    .decoder_new = responses_decoder_new,
    .decode = responses_decode,
    .decode_end = responses_decode_end,
    .decode_whole = responses_decode_whole,
    .encoder_new = responses_encoder_new,
    .encode = responses_encode,
    .encoder_follow = responses_encoder_follow,
    .follows_alone = true,
    .write_answer = responses_write_answer,
    .read_error = responses_read_error,
    .write_error = responses_write_error,
    .read_usage = responses_usage_read,
    .tool_name_max = 64,
    .tool_name_extra = "",
};
