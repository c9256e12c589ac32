#include "dialect/openai_chat/codec.h"

const struct dialect openai_chat_dialect = {
    .id = DIALECT_OPENAI_CHAT,
    .name = "openai_chat",
    .scan = chat_scan,
    .fit = chat_fit,
    .read_request = chat_read_request,
    .write_request = chat_write_request,
    .decoder_new = chat_decoder_new,
    .decode = chat_decode,
    .decode_end = chat_decode_end,
    .decode_whole = chat_decode_whole,
    .encoder_new = chat_encoder_new,
    .encode = chat_encode,
    .encoder_follow = chat_encoder_follow,
    .write_last = chat_write_last,
    .write_answer = chat_write_answer,
    .read_error = chat_read_error,
    .write_error = chat_write_error,
    .read_usage = chat_usage_read,
    .tool_name_max = 64,
    .tool_name_extra = "",
};
