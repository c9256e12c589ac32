/*
 * The store of journals in this process's memory, shared by its loop threads.
 * Any loop thread, as in journal_store.h; new and free by whoever sets it up.
 * What waits, waits on its own loop and is woken there, whichever thread writes or reads.
 * The store owns what is in it; who holds a reference keeps a journal beyond that.
 * The bounds hold for what is allocated. However full the store is, each journal that runs may hold
 * JOURNAL_LEAST_BYTES and what one read brings: room for that is set aside, up to half of the
 * whole.
 */
#ifndef WEIR_STREAM_JOURNAL_MEMORY_H
#define WEIR_STREAM_JOURNAL_MEMORY_H

#include "stream/journal_store.h"

/* What a running stream may always hold, however little the store has left. */
enum { JOURNAL_LEAST_BYTES = 16 * 1024 };

/* NULL = no memory. */
struct journal_store *journal_memory_new(void);
/* After all references were given back. */
void journal_memory_free(struct journal_store *store);

struct journal_memory_stats {
    size_t running, ended; /* journals */
    uint64_t bytes;        /* allocated for them */
    uint64_t bytes_max;    /* what that may be; 0 = there was none yet */
    /* Since the start. */
    uint64_t gone[JOURNAL_GONE_COUNT];
    uint64_t waits; /* of producers for room */
};
void journal_memory_stats(struct journal_store *store, struct journal_memory_stats *stats);

#endif
