#include "base/arena.h"

#include <stdio.h>

#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif

#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
#define poison(p, n) __asan_poison_memory_region((p), (n))
#define unpoison(p, n) __asan_unpoison_memory_region((p), (n))
/* Space between neighbours, so that an overrun meets poison. */
#define ARENA_GAP 16u
#else
#define poison(p, n) ((void)(p), (void)(n))
#define unpoison(p, n) ((void)(p), (void)(n))
#define ARENA_GAP 0u
#endif

#define ARENA_ALIGN 16u
#define ARENA_MAGIC 0x41524e41u

struct arena_block {
    struct arena_block *prev;
    char *end;
    size_t size;
    size_t reserved; /* keeps what follows aligned to 16 */
};

struct cleanup {
    struct cleanup *next;
    arena_cleanup_fn *fn;
    void *arg;
};

struct arena {
    uint32_t magic;
    char *next;
    struct arena_block *block;
    struct cleanup *cleanups;
    size_t bytes;
};

static size_t round_up(size_t n)
{
    return (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

struct arena *arena_new(size_t first_bytes)
{
    size_t size = first_bytes;
    struct arena_block *block = mem_block_take(&size);
    if (block == NULL)
        return NULL;
    block->prev = NULL;
    block->end = (char *)block + size;
    block->size = size;
    struct arena *arena = (struct arena *)(block + 1);
    *arena = (struct arena){.magic = ARENA_MAGIC, .block = block, .bytes = size};
    arena->next = (char *)arena + round_up(sizeof(*arena));
    poison(arena->next, (size_t)(block->end - arena->next));
    return arena;
}

static void block_free(struct arena_block *block)
{
    size_t size = block->size;
    unpoison(block, size);
    mem_block_give(block, size);
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    CHECK_MAGIC(arena, ARENA_MAGIC);
    while (arena->cleanups != NULL) {
        struct cleanup *c = arena->cleanups;
        arena->cleanups = c->next;
        c->fn(c->arg);
    }
    arena->magic = 0;
    struct arena_block *block = arena->block;
    while (block != NULL) {
        struct arena_block *prev = block->prev;
        block_free(block);
        block = prev;
    }
}

/* A new block that holds `need` bytes; grows with the arena so that big arenas have few blocks. */
static bool arena_grow(struct arena *arena, size_t need)
{
    size_t size = MAX(need + sizeof(struct arena_block), MIN(arena->bytes, (size_t)64 * 1024));
    struct arena_block *block = mem_block_take(&size);
    if (block == NULL)
        return false;
    block->prev = arena->block;
    block->end = (char *)block + size;
    block->size = size;
    arena->block = block;
    arena->next = (char *)(block + 1);
    arena->bytes += size;
    poison(arena->next, (size_t)(block->end - arena->next));
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    CHECK_MAGIC(arena, ARENA_MAGIC);
    if (UNLIKELY(size > SIZE_MAX / 2))
        return NULL;
    size_t need = round_up(size) + ARENA_GAP;
    if (UNLIKELY((size_t)(arena->block->end - arena->next) < need) && !arena_grow(arena, need))
        return NULL;
    char *p = arena->next;
    arena->next += need;
    unpoison(p, size);
    return p;
}

void *arena_calloc(struct arena *arena, size_t size)
{
    void *p = arena_alloc(arena, size);
    if (p != NULL)
        memset(p, 0, size);
    return p;
}

struct str arena_dup(struct arena *arena, struct str s)
{
    char *p = arena_alloc(arena, s.len);
    if (p == NULL)
        return STR_EMPTY;
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    return str_n(p, s.len);
}

char *arena_cstr(struct arena *arena, struct str s)
{
    char *p = arena_alloc(arena, s.len + 1);
    if (p == NULL)
        return NULL;
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return p;
}

struct str arena_vprintf(struct arena *arena, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0)
        return STR_EMPTY;
    char *p = arena_alloc(arena, (size_t)n + 1);
    if (p == NULL)
        return STR_EMPTY;
    vsnprintf(p, (size_t)n + 1, format, args);
    return str_n(p, (size_t)n);
}

struct str arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct str s = arena_vprintf(arena, format, args);
    va_end(args);
    return s;
}

struct str arena_u64(struct arena *arena, uint64_t v)
{
    char *p = arena_alloc(arena, 20);
    return p == NULL ? STR_EMPTY : str_n(p, str_put_u64(p, v));
}

struct str arena_concat(struct arena *arena, const struct str *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    char *p = arena_alloc(arena, len);
    if (p == NULL)
        return STR_EMPTY;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0)
            memcpy(p + at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    return str_n(p, len);
}

bool arena_defer(struct arena *arena, arena_cleanup_fn *fn, void *arg)
{
    struct cleanup *c = arena_alloc(arena, sizeof(*c));
    if (c == NULL)
        return false;
    *c = (struct cleanup){.next = arena->cleanups, .fn = fn, .arg = arg};
    arena->cleanups = c;
    return true;
}

struct arena_mark arena_mark(struct arena *arena)
{
    return (struct arena_mark){.block = arena->block, .next = arena->next};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    CHECK_MAGIC(arena, ARENA_MAGIC);
    while (arena->block != mark.block) {
        struct arena_block *prev = arena->block->prev;
        CHECK(prev != NULL);
        arena->bytes -= arena->block->size;
        block_free(arena->block);
        arena->block = prev;
    }
    arena->next = mark.next;
    poison(arena->next, (size_t)(arena->block->end - arena->next));
}

size_t arena_bytes(const struct arena *arena)
{
    return arena->bytes;
}
