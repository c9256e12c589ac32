#include "dialect/gemini/codec.h"
#include "dialect/gemini/request.h"

const struct dialect gemini_dialect = {
    .id = DIALECT_GEMINI,
    .name = "gemini",
    .scan = gemini_scan,
    .fit = gemini_fit,
    .read_request = gemini_read_request,
    .write_request = gemini_write_request,
    .decoder_new = gemini_decoder_new,
    .decode = gemini_decode,
    .decode_end = gemini_decode_end,
    .decode_whole = gemini_decode_whole,
    .encoder_new = gemini_encoder_new,
    .encode = gemini_encode,
    .encoder_follow = gemini_encoder_follow,
    .write_answer = gemini_write_answer,
    .read_error = gemini_read_error,
    .write_error = gemini_write_error,
    .read_usage = gemini_read_usage,
    .tool_name_max = 64,
    .tool_name_extra = ".",
};
