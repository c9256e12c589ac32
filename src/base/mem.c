#include "base/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static _Thread_local struct block_class classes[CLASS_COUNT];
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
}
