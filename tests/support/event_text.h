/*
 * Events of an answer as lines of text, and back: what tests of sequences are written in.
 * One thread; nothing yields.
 * The log owns its buf (buf_fini); events that are played point into the script.
 * A line that is no event fails the test.
 *
 *   start MODEL                    block C.B KIND [ID [NAME]]      stop C.B
 *   text C.B WORDS                 args C.B WORDS                  sig C.B MAKER WORDS
 *   media C.B WORDS                cite C.B URL                    logprobs C.B RAW
 *   usage INPUT OUTPUT             finish C REASON                 done
 *   error KIND WORDS               ping
 *
 * C is the choice, B the block. Words are what stands between the quotes of a JSON string; a '-'
 * for an ID is none.
 */
#ifndef WEIR_TESTS_EVENT_TEXT_H
#define WEIR_TESTS_EVENT_TEXT_H

#include "dialect/event.h"

struct event_log {
    struct llm_sink sink;
    struct buf text;
    bool joins;   /* neighbouring pieces of one block are one line */
    int fails_at; /* the n-th event gives -ERR_NOMEM; 0 = none */
    int seen;
    enum llm_event_kind last_kind;
    enum llm_delta_kind last_delta;
    unsigned last_choice, last_block;
};

void event_log_init(struct event_log *log, bool joins);
/* The whole as a C string. */
const char *event_log_text(struct event_log *log);

/* Puts every line of the script; what the sink returns first that is not 0. */
int event_play(const char *script, struct llm_sink *sink);

#endif
