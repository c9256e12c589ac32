/*
 * Cuts an answer's bytes into the events of a journal and numbers them.
 * The producer's task.
 * journal_writer_write waits while the journal has no room.
 * The writer owns what is incomplete; the journal is the caller's.
 * -ERR_LIMIT for an event past the limit, -ERR_PROTOCOL for a frame that is none, -ERR_NOMEM,
 * -ERR_CANCELED.
 */
#ifndef WEIR_STREAM_JOURNAL_WRITER_H
#define WEIR_STREAM_JOURNAL_WRITER_H

#include "stream/frames.h"
#include "stream/journal_store.h"

/* What the bytes of an answer are made of. */
enum journal_shape {
    JOURNAL_SHAPE_SSE,    /* each event gets a line "id: n" where ids are wanted */
    JOURNAL_SHAPE_FRAMES, /* AWS event stream */
    JOURNAL_SHAPE_ARRAY,  /* the elements of a JSON array */
    JOURNAL_SHAPE_WHOLE,  /* no stream: pieces as they come */
};

struct journal_writer {
    struct journal *journal;
    enum journal_shape shape;
    bool adds_ids;
    uint64_t number; /* of the last event */
    struct frame_splitter splitter;
    /* ARRAY: where in the JSON the last byte was. */
    unsigned depth;
    bool in_string, is_escaped;
    struct buf pending; /* an element that is not whole */
    size_t limit;
};

/* limit: largest event in bytes. */
void journal_writer_init(struct journal_writer *w, struct journal *journal,
                         enum journal_shape shape, bool adds_ids, size_t limit);
void journal_writer_fini(struct journal_writer *w);
/* Appends what is whole and tells the readers. The bytes may lie in the loop's read buffer. */
YIELDS int journal_writer_write(struct journal_writer *w, const struct iovec *iov, int count);
/* Appends what is left; does not end the journal. */
int journal_writer_end(struct journal_writer *w);

#endif
