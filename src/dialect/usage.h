/*
 * Token counts as a provider told them, in one form for all dialects.
 * Any thread; nothing yields; a plain value.
 * Owns nothing; cannot fail.
 * -1 means "not told", which is not zero: an untold class is never billed as free.
 * Cost is computed from this record only.
 */
#ifndef WEIR_DIALECT_USAGE_H
#define WEIR_DIALECT_USAGE_H

#include <stdbool.h>
#include <stdint.h>

struct token_usage {
    int64_t input, output, reasoning;
    int64_t cache_read, cache_write_5m, cache_write_1h;
    int64_t audio_input, audio_output, image_input;
    bool input_includes_cached; /* OpenAI, Gemini: yes; Anthropic, Bedrock: no */
    bool is_partial;            /* the stream was cut: what was told until then */
};
#define TOKEN_USAGE_NONE ((struct token_usage){-1, -1, -1, -1, -1, -1, -1, -1, -1, false, false})

#endif
