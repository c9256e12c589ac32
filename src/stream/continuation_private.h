/*
 * What the files of a continuation share: reading what was delivered, asking for the rest, joining.
 * The task of the exchange alone.
 * Nothing yields.
 * Blocks live in the continuation's arena, their bufs are given back by continuation_fini.
 * As continuation.h.
 */
#ifndef WEIR_STREAM_CONTINUATION_PRIVATE_H
#define WEIR_STREAM_CONTINUATION_PRIVATE_H

#include "stream/continuation.h"

/* A block that the client has, or the beginning of one. */
struct continuation_block {
    struct continuation_block *next;
    enum llm_block_kind kind;
    unsigned source; /* its index at the decoder */
    struct text name;
    struct buf inside; /* text or arguments, as between the quotes of a JSON string */
    struct str plain;  /* the same, once all was read */
    bool is_stopped;
};

/* The parts of the answer that were delivered and must come again, from `block` on: calls, or the
 * text in a demanded form. NULL = none. */
struct continuation_block *continuation_awaited(const struct continuation *c,
                                                struct continuation_block *block);

/* Cuts the first half of a surrogate pair off the end of what stands between a JSON string's
 * quotes; empty when it does not end so. */
struct str continuation_cut_half(struct str *inside);

/* The sink between the new answer and the client's encoder. */
int continuation_join(struct llm_sink *sink, const struct llm_event *event);

/* Both together; what one of them did not tell is what the other told. */
struct token_usage continuation_add_usage(const struct token_usage *a, const struct token_usage *b);

#endif
