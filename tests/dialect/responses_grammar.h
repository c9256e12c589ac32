/*
 * The legal order of events of a streamed response, as OpenAI's SDKs rely on it: frames that check
 * what an encoder writes and keep it as a stream.
 * One thread; nothing yields.
 * Owns what it keeps, until grammar_fini.
 * What is not legal fails the test, with the event.
 */
#ifndef WEIR_TESTS_RESPONSES_GRAMMAR_H
#define WEIR_TESTS_RESPONSES_GRAMMAR_H

#include "base/buf.h"
#include "dialect/dialect.h"

struct grammar {
    struct llm_frames frames; /* for the encoder */
    struct buf stream;        /* all of it, as server-sent events */
    struct str final;         /* the last response object */
    /* private */
    const char *name;
    struct buf data, type, last;
    unsigned events;
    int64_t items; /* added so far */
    bool is_item_open, is_part_open, has_ended;
    int64_t parts; /* of the open item */
    char item_id[128];
    struct buf text; /* of the open part or call, from its deltas */
};

void grammar_init(struct grammar *grammar, const char *name);
/* Fails when the stream has no end. */
void grammar_end(struct grammar *grammar);
void grammar_fini(struct grammar *grammar);

#endif
