/*
 * A ring of byte records from one thread to another: what loop threads hand to a writer.
 * ring_reserve/commit on the producing thread, ring_peek/release on the consuming one; the
 * counters may be read by any thread.
 * Nothing yields, blocks or makes a system call.
 * A record belongs to the ring from commit to release; it is contiguous and aligned to 16.
 * A record that does not fit now is refused (NULL): the producer counts it as dropped.
 */
#ifndef WEIR_OBSERVE_RING_H
#define WEIR_OBSERVE_RING_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/defs.h"

enum { RING_ALIGN = 64 };

struct ring {
    /* The producer's cache line. Positions count bytes since the beginning and never wrap. */
    _Alignas(RING_ALIGN) atomic_size_t head;
    size_t tail_seen; /* as the producer last read it */
    size_t reserved;  /* where the reserved record ends */
    atomic_uint_fast64_t dropped;
    /* The consumer's cache line. */
    _Alignas(RING_ALIGN) atomic_size_t tail;
    /* Constant. */
    _Alignas(RING_ALIGN) size_t bytes; /* a power of two */
    char *memory;
    void *block; /* what the ring was cut out of */
};

/* `bytes` is a power of two. NULL when there is no memory. */
struct ring *ring_new(size_t bytes);
void ring_free(struct ring *ring);

/* Room for a record of `size` bytes, or NULL when there is none now (never for more than half of
 * the ring). The record is not seen by the
 * consumer before ring_commit; a second reserve without a commit replaces the first. */
void *ring_reserve(struct ring *ring, size_t size);
/* Publishes the reserved record. Sequentially consistent, so that a producer that then looks for
 * a sleeping consumer and a consumer that looks into the ring before it sleeps cannot miss one
 * another. */
void ring_commit(struct ring *ring);
/* Counts a record that was not taken. */
void ring_drop(struct ring *ring);

/* The oldest record, or NULL. */
const void *ring_peek(struct ring *ring, size_t *size);
/* Takes the record that ring_peek gave out of the ring. */
void ring_release(struct ring *ring);

/* Any thread: bytes in use, rounding and gaps included. */
size_t ring_used(const struct ring *ring);
uint64_t ring_dropped(const struct ring *ring);

#endif
