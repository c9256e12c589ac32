/*
 * The bytes of a journal: records one after the other in segments, the oldest of which can go.
 * Whoever holds the journal's lock.
 * Nothing yields.
 * It owns its segments. Positions count bytes from the first record of all, and stay what they are
 * when segments go.
 * false = no memory.
 */
#ifndef WEIR_STREAM_JOURNAL_SEGMENTS_H
#define WEIR_STREAM_JOURNAL_SEGMENTS_H

#include "stream/journal_store.h"

struct journal_segments {
    struct list list;
    uint64_t end;  /* position after the last record */
    uint64_t last; /* number of the last numbered event; 0 = none yet */
    size_t bytes;  /* allocated */
};

void journal_segments_init(struct journal_segments *s);
void journal_segments_fini(struct journal_segments *s);

/* Bytes that would have to be allocated for the event; 0 where there is room. */
size_t journal_segments_need(const struct journal_segments *s, const struct journal_event *event);
bool journal_segments_add(struct journal_segments *s, const struct journal_event *event);
/* Frees the oldest segments that end at or before `floor`, while more than `keep` bytes are
 * allocated. */
void journal_segments_trim(struct journal_segments *s, size_t keep, uint64_t floor);
bool journal_segments_is_empty(const struct journal_segments *s);
/* Position of the oldest record that is kept. */
uint64_t journal_segments_begin(const struct journal_segments *s);
/* Number of the oldest event that is kept; last + 1 when none is. */
uint64_t journal_segments_first(const struct journal_segments *s);
/* The position after the event `after` (0 = the begin of all); false when what follows it is not
 * all kept. `after` is no more than `last`. */
bool journal_segments_find(const struct journal_segments *s, uint64_t after, uint64_t *position);
/* Appends whole events from *position on to *out until it holds about `most` bytes, and moves
 * *position past them. */
void journal_segments_copy(const struct journal_segments *s, uint64_t *position, size_t most,
                           struct buf *out);

#endif
