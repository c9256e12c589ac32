/*
 * A request's memory: bump allocation, savepoints, and a list of clean-ups run at the end.
 * One task uses an arena at a time; nothing yields.
 * What is allocated belongs to the arena and dies with arena_free or arena_rewind.
 * NULL means out of memory (or over the arena's limit): pass -ERR_NOMEM up.
 * The struct lives in its own first block; blocks come from the thread's freelists.
 */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stdarg.h>

#include "base/str.h"

struct arena;

typedef void arena_cleanup_fn(void *arg);

/* An empty arena whose first block has `first_bytes` in all (min 512); NULL when out of memory. */
struct arena *arena_new(size_t first_bytes);
/* Runs the clean-ups, last registered first, and frees all. NULL is allowed. */
void arena_free(struct arena *arena);

/* `size` bytes aligned to 16; size 0 gives a valid pointer. Not zeroed. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_calloc(struct arena *arena, size_t size);
#define ARENA_NEW(arena, type) ((type *)arena_calloc((arena), sizeof(type)))

/* Copies; the result's ptr is NULL when out of memory (also for the empty string only then). */
struct str arena_dup(struct arena *arena, struct str s);
/* NUL-terminated copy. */
char *arena_cstr(struct arena *arena, struct str s);
struct str arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
struct str arena_vprintf(struct arena *arena, const char *format, va_list args);
/* An unsigned decimal, as arena_printf would give it for a tenth of the time. */
struct str arena_u64(struct arena *arena, uint64_t v);
/* All parts one after the other. */
struct str arena_concat(struct arena *arena, const struct str *parts, size_t count);

/* Registers fn(arg) to run at arena_free; false when out of memory (then it is not registered). */
bool arena_defer(struct arena *arena, arena_cleanup_fn *fn, void *arg);

struct arena_mark {
    void *block;
    char *next;
};

/* A savepoint; arena_rewind frees what was allocated since. No clean-up may lie between. */
struct arena_mark arena_mark(struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

/* Bytes in blocks, for the memory figures. */
size_t arena_bytes(const struct arena *arena);

#endif
