/*
 * One event of a streamed answer (chat or completion): what a reader along the way takes from it.
 * Any thread; nothing yields.
 * Spans point into the event's data.
 * -ERR_INVALID when the data is not JSON: the event is forwarded all the same.
 * Source: platform.openai.com/docs/api-reference/chat/streaming and recorded streams; usage may
 * come in the finishing chunk, in a chunk of empty choices, in every chunk, or as x_groq.usage.
 */
#ifndef WEIR_DIALECT_OPENAI_CHAT_STREAM_H
#define WEIR_DIALECT_OPENAI_CHAT_STREAM_H

#include "dialect/openai_chat/error.h"
#include "dialect/usage.h"

struct openai_chunk {
    bool is_done; /* [DONE] */
    bool is_error;
    bool has_content;       /* text, reasoning, refusal, a tool call: something of the answer */
    bool has_empty_choices; /* "choices": [] */
    bool has_usage;
    struct token_usage usage;
    uint64_t choices_seen;     /* bit i: choice i occurs (63 stands for all from 63 on) */
    uint64_t choices_finished; /* bit i: it has a finish_reason */
    struct str finish_reason;  /* the first one here; JSON text without quotes */
    struct str model;
    struct openai_error error;
};

/* `type` is the event's name (Groq and others name error events). */
int openai_chunk_read(struct str type, struct str data, struct openai_chunk *chunk);

/*
 * True when an event can only be one more piece of content of choice 0: nothing in it that tells
 * usage, an error, a finish or another choice. Costs a tenth of reading it; to be asked once
 * content has come. False means: read it.
 */
bool openai_chunk_is_plain(struct str type, struct str data);

#endif
