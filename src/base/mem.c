#include "base/mem.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define BLOCKS_CACHED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCKS_CACHED 0
#endif
#endif
#ifndef BLOCKS_CACHED
#define BLOCKS_CACHED 1
#endif

enum {
    CLASS_MIN_SHIFT = 9,
    CLASS_MAX_SHIFT = 17,
    CLASS_COUNT = CLASS_MAX_SHIFT - CLASS_MIN_SHIFT + 1,
    /* What one class of one thread may keep: memory after a burst falls back to this. */
    CLASS_KEEP_BYTES = 128 * 1024,
};

struct free_block {
    struct free_block *next;
};

struct block_class {
    struct free_block *head;
    size_t bytes;
};

/*
 * Blocks of one page come from slabs of their own and go back to the kernel one by one: the memory
 * that a burst of streams needed for its beginnings would otherwise stay as holes between what
 * lives on. Free pages are listed beside, for a list inside them would touch them again.
 */
enum { PAGE_BYTES = 4096, SLAB_PAGES = 256, WARM_PAGES = 64 };

struct page_store {
    char **free;
    size_t count, cap;
    size_t warm; /* so many of the last ones, and only those, hold memory */
};

static _Thread_local struct block_class classes[CLASS_COUNT];
static _Thread_local struct page_store pages;
static _Thread_local uint64_t fail_at;
static _Thread_local uint64_t count;

/* True when this allocation is the one that a test wants to fail. */
static bool fault_due(void)
{
    count++;
    return UNLIKELY(fail_at != 0 && count == fail_at);
}

void mem_fail_at(uint64_t n)
{
    fail_at = n;
    count = 0;
}

uint64_t mem_count(void)
{
    return count;
}

void *mem_alloc(size_t size)
{
    return fault_due() ? NULL : malloc(size);
}

void *mem_calloc(size_t n, size_t size)
{
    return fault_due() ? NULL : calloc(n, size);
}

void *mem_realloc(void *ptr, size_t size)
{
    return fault_due() ? NULL : realloc(ptr, size);
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_reuse_large_blocks(void)
{
    /* glibc's largest for blocks inside of an arena; fresh pages cost more than the reading of the
     * bytes that go there. */
    mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
}

NORETURN static void out_of_memory(void)
{
    fprintf(stderr, "weir: out of memory at start-up\n");
    abort();
}

void *mem_alloc_or_die(size_t size)
{
    void *p = malloc(size);
    if (p == NULL)
        out_of_memory();
    return p;
}

void *mem_calloc_or_die(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (p == NULL)
        out_of_memory();
    return p;
}

char *mem_strdup_or_die(const char *text)
{
    char *p = strdup(text);
    if (p == NULL)
        out_of_memory();
    return p;
}

static bool pages_make_room(size_t more)
{
    size_t cap = pages.cap + more;
    char **grown = realloc(pages.free, cap * sizeof(*grown));
    if (grown == NULL)
        return false;
    pages.free = grown;
    pages.cap = cap;
    return true;
}

static void *page_take(void)
{
    if (fault_due())
        return NULL;
    if (pages.count == 0) {
        if (pages.cap < SLAB_PAGES && !pages_make_room(SLAB_PAGES))
            return NULL;
        char *slab = mmap(NULL, (size_t)SLAB_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (slab == MAP_FAILED)
            return NULL;
        madvise(slab, (size_t)SLAB_PAGES * PAGE_BYTES, MADV_NOHUGEPAGE);
        for (size_t i = 0; i < SLAB_PAGES; i++)
            pages.free[pages.count++] = slab + i * PAGE_BYTES;
    }
    if (pages.warm > 0)
        pages.warm--;
    return pages.free[--pages.count];
}

static void page_give(void *page)
{
    if (pages.count == pages.cap && !pages_make_room(SLAB_PAGES)) {
        /* Lost to the list, not to the machine. */
        madvise(page, PAGE_BYTES, MADV_DONTNEED);
        return;
    }
    if (pages.warm == WARM_PAGES) {
        /* The one given back longest ago, so that the last ones and only those hold memory. */
        madvise(pages.free[pages.count - WARM_PAGES], PAGE_BYTES, MADV_DONTNEED);
        pages.warm--;
    }
    pages.warm++;
    pages.free[pages.count++] = page;
}

/* The class that holds `size`, or CLASS_COUNT when it is too large for any. */
static unsigned class_of(size_t size)
{
    if (size <= (size_t)1 << CLASS_MIN_SHIFT)
        return 0;
    unsigned shift = 64u - (unsigned)__builtin_clzll(size - 1);
    return shift > CLASS_MAX_SHIFT ? CLASS_COUNT : shift - CLASS_MIN_SHIFT;
}

void *mem_block_take(size_t *size)
{
    unsigned c = class_of(*size);
    if (c == CLASS_COUNT)
        return mem_alloc(*size);
    *size = (size_t)1 << (c + CLASS_MIN_SHIFT);
    if (BLOCKS_CACHED && *size == PAGE_BYTES)
        return page_take();
    struct free_block *block = classes[c].head;
    if (block == NULL)
        return mem_alloc(*size);
    if (fault_due())
        return NULL;
    classes[c].head = block->next;
    classes[c].bytes -= *size;
    return block;
}

void mem_block_give(void *ptr, size_t size)
{
    if (ptr == NULL)
        return;
    unsigned c = class_of(size);
    if (BLOCKS_CACHED && size == PAGE_BYTES) {
        page_give(ptr);
        return;
    }
    if (!BLOCKS_CACHED || c == CLASS_COUNT || classes[c].bytes + size > CLASS_KEEP_BYTES) {
        mem_free(ptr);
        return;
    }
    struct free_block *block = ptr;
    block->next = classes[c].head;
    classes[c].head = block;
    classes[c].bytes += size;
}

void mem_blocks_trim(void)
{
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        while (classes[c].head != NULL) {
            struct free_block *next = classes[c].head->next;
            mem_free(classes[c].head);
            classes[c].head = next;
        }
        classes[c].bytes = 0;
    }
    for (; pages.warm > 0; pages.warm--)
        madvise(pages.free[pages.count - pages.warm], PAGE_BYTES, MADV_DONTNEED);
}
