/*
 * Puts events in strict order for encoders: one block after the other in each choice, indexes
 * without gaps. It stands between a decoder and an encoder.
 * One answer; nothing yields.
 * What has to wait is copied into the sequence's own bufs, given back by sequence_fini.
 * -ERR_NOMEM, -ERR_LIMIT (more held back than `limit` bytes), and what the next sink returns.
 *
 * A block that is open when another begins is closed at once when it can get no more (text,
 * thinking; a call whose arguments are a whole JSON object). Otherwise the new one is held back
 * until then, or until the choice's FINISH. Blocks that are interleaved so are put in the order
 * they began. Text that comes to a block that was closed so begins another of its kind. A text or
 * thinking block that never got anything is left out (a signature alone is something); empty deltas
 * are, too. ERROR closes nothing. After a choice's FINISH nothing of it is passed on.
 */
#ifndef WEIR_DIALECT_SEQUENCE_H
#define WEIR_DIALECT_SEQUENCE_H

#include "dialect/event.h"

struct sequence {
    struct llm_sink sink; /* first member: what the decoder is given */
    struct llm_sink *next;
    size_t limit;
    struct arena *arena; /* not the decoder's, which may be rewound after an event */
    /* private */
    struct sequence_choice *choices;
    struct sequence_block *free;
    size_t held_bytes;
};

void sequence_init(struct sequence *sequence, struct arena *arena, struct llm_sink *next,
                   size_t limit);
void sequence_fini(struct sequence *sequence);

#endif
