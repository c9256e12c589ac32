/*
 * Where the encoder of a streamed response stands: shared by what writes events and what takes over
 * a stream that another has begun.
 * One exchange; nothing yields.
 * It lives in its arena; its bufs are given back with that.
 * -ERR_NOMEM.
 */
#ifndef WEIR_DIALECT_OPENAI_RESPONSES_ENCODER_H
#define WEIR_DIALECT_OPENAI_RESPONSES_ENCODER_H

#include "dialect/openai_responses/codec.h"

struct llm_encoder {
    struct arena *arena;
    const struct llm_codec_settings *settings;
    struct llm_frames *frames;
    struct buf *event; /* that is being written */
    size_t event_start;
    uint64_t sequence;
    struct str id;
    struct text model, service_tier;
    int64_t created_s;
    bool has_started, has_ended, has_finished, has_refusal;
    enum llm_finish finish;
    struct token_usage usage;
    struct llm_error error;
    bool has_failed;
    struct buf output; /* finished items */
    unsigned items;    /* that were begun: the next output_index */
    unsigned ids;
    bool is_in_message;
    unsigned message_index;
    struct str message_id;
    struct buf parts; /* finished ones of the open message */
    unsigned part_count;
    bool is_open; /* a block */
    enum llm_block_kind kind;
    unsigned index;
    struct str item_id;
    struct text call_id, name;
    bool is_custom, has_part, is_redacted;
    struct buf text, annotations, logprobs, signature;
    unsigned annotation_count;
    /* How much of the end of the open block was told by another; parts of a thought that were. */
    unsigned ends_told, summary_index;
    struct buf summaries;
    bool has_other;    /* another's item is open that has no neutral form */
    bool has_response; /* what another's first response object told was taken over */
};

/* As encoder_follow of the dialect's table; it takes all over, nothing is to be encoded. */
int responses_encoder_follow(struct llm_encoder *e, struct str type, struct str data);
/* As encoder_pass of the dialect's table. */
int responses_encoder_pass(struct llm_encoder *e, struct str type, struct str data);

#endif
