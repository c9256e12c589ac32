/*
 * Where memory comes from: one seam over malloc, and thread-local size-class blocks for buffers.
 * Any thread; a block may be freed by another thread than the one that took it. Nothing yields.
 * The caller owns what it gets. NULL means that there is none: callers pass -ERR_NOMEM up.
 * Tests make the N-th allocation of this thread fail with mem_fail_at.
 * The *_or_die forms are for start-up, where there is nothing to fall back to.
 */
#ifndef WEIR_BASE_MEM_H
#define WEIR_BASE_MEM_H

#include "base/defs.h"

void *mem_alloc(size_t size);
/* Zeroed. */
void *mem_calloc(size_t count, size_t size);
void *mem_realloc(void *ptr, size_t size);
void mem_free(void *ptr);

void *mem_alloc_or_die(size_t size);
void *mem_calloc_or_die(size_t count, size_t size);
char *mem_strdup_or_die(const char *text);

#define MEM_NEW(type) ((type *)mem_calloc(1, sizeof(type)))
#define MEM_NEW_OR_DIE(type) ((type *)mem_calloc_or_die(1, sizeof(type)))

/*
 * Blocks in power-of-two classes from 512 B to 128 KiB from a per-thread freelist, larger ones
 * straight from malloc. `*size` is the size wanted and becomes the size of the block. The
 * freelist of a class keeps a bounded number of bytes; the rest goes back to malloc.
 */
void *mem_block_take(size_t *size);
/* `size` is what mem_block_take returned. */
void mem_block_give(void *block, size_t size);
/* Gives this thread's free blocks back to malloc (thread end, or memory no longer needed). */
void mem_blocks_trim(void);

/* For a server, before its threads start: blocks of a megabyte are used again instead of being
 * mapped anew for each large body (an idle loop gives them back, see mem_blocks_trim). */
void mem_reuse_large_blocks(void);

/* From now on the n-th allocation (1 = next) of this thread fails, once; 0 turns it off. */
void mem_fail_at(uint64_t n);
/* Allocations of this thread since the last mem_fail_at. */
uint64_t mem_count(void);

#endif
