/*
 * What an encoder of ConverseStream may write, in which order: every event is checked as it comes,
 * and kept as a frame of an AWS event stream.
 * One thread; nothing yields.
 * Owns its bufs.
 * A breach fails the test.
 */
#ifndef WEIR_TESTS_BEDROCK_GRAMMAR_H
#define WEIR_TESTS_BEDROCK_GRAMMAR_H

#include "base/buf.h"
#include "dialect/dialect.h"

struct bedrock_grammar {
    struct llm_frames frames; /* for the encoder */
    const char *name;         /* said when it fails */
    struct buf event, text, stream;
    char type[64];
    unsigned events;
    unsigned index; /* of the block that is open or comes next */
    char block[32]; /* member of the open block: "text", "toolUse" ...; empty = none is open */
    bool has_begun, has_stopped, is_over, is_error;
    const char *stop_reason; /* one of the service model's */
};

void bedrock_grammar_init(struct bedrock_grammar *g, const char *name);
void bedrock_grammar_fini(struct bedrock_grammar *g);
/* The stream has ended: it must be a whole one, or have ended with an exception. */
void bedrock_grammar_end(const struct bedrock_grammar *g);
/* "type payload\n" of each event. */
struct str bedrock_grammar_text(const struct bedrock_grammar *g);

#endif
