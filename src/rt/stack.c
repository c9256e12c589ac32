#include "rt/stack.h"

#include <sys/mman.h>

#include "base/defs.h"
#include "base/mem.h"
#include "rt/sys.h"
#include "rt/task.h"

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(at, bytes) ((void)(at), (void)(bytes))
#define VALGRIND_MAKE_MEM_DEFINED(at, bytes) ((void)(at), (void)(bytes))
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

enum {
    SLAB_SLOTS = 256,
    PAGE_BYTES = 4096,
    /* Slots whose touched pages are kept for the next task; beyond it they go back at once. */
    WARM_SLOTS = 64,
    /* A kept slot whose task went deeper than this gives the deep pages back. */
    WARM_DEPTH_BYTES = 12 * 1024,
};

enum guard_kind { GUARD_UNKNOWN, GUARD_MADVISE, GUARD_MPROTECT, GUARD_NONE };

struct slab {
    struct slab *next;
    char *base;
};

struct thread_stacks {
    struct slab *slabs;
    char **free_slots; /* a stack: the slot given back last is taken first, its pages are warm */
    size_t free_count;
    size_t free_cap;
    size_t warm; /* so many of the last free slots, and only those, have touched pages */
    enum guard_kind guard;
    size_t mprotect_left; /* each mprotect guard costs a mapping; vm.max_map_count is 65530 */
};

static _Thread_local struct thread_stacks stacks = {.mprotect_left = 4096};

static void guard_install(char *page)
{
    if (stacks.guard == GUARD_UNKNOWN || stacks.guard == GUARD_MADVISE) {
        if (madvise(page, PAGE_BYTES, MADV_GUARD_INSTALL) == 0) {
            stacks.guard = GUARD_MADVISE;
            return;
        }
        stacks.guard = GUARD_MPROTECT;
    }
    if (stacks.guard == GUARD_MPROTECT && stacks.mprotect_left > 0 &&
        mprotect(page, PAGE_BYTES, PROT_NONE) == 0) {
        stacks.mprotect_left--;
        return;
    }
    stacks.guard = GUARD_NONE;
}

static bool free_list_grow(size_t more)
{
    size_t cap = stacks.free_cap + more;
    char **grown = mem_realloc(stacks.free_slots, cap * sizeof(*grown));
    if (grown == NULL)
        return false;
    stacks.free_slots = grown;
    stacks.free_cap = cap;
    return true;
}

static bool slab_add(void)
{
    if (!free_list_grow(SLAB_SLOTS))
        return false;
    struct slab *slab = MEM_NEW(struct slab);
    if (slab == NULL)
        return false;
    slab->base = sys_mmap((size_t)SLAB_SLOTS * TASK_STACK_BYTES);
    if (slab->base == MAP_FAILED) {
        mem_free(slab);
        return false;
    }
    madvise(slab->base, (size_t)SLAB_SLOTS * TASK_STACK_BYTES, MADV_NOHUGEPAGE);
    slab->next = stacks.slabs;
    stacks.slabs = slab;
    for (size_t i = SLAB_SLOTS; i-- > 0;) {
        char *slot = slab->base + i * TASK_STACK_BYTES;
        guard_install(slot);
        stacks.free_slots[stacks.free_count++] = slot;
    }
    stacks.warm = 0;
    return true;
}

char *stack_take(void)
{
    if (stacks.free_count == 0 && !slab_add())
        return NULL;
    if (stacks.warm > 0)
        stacks.warm--;
    char *slot = stacks.free_slots[--stacks.free_count];
    /* Valgrind takes what lay below a stack's top when it was left for out of bounds. */
    VALGRIND_MAKE_MEM_UNDEFINED(slot + PAGE_BYTES, TASK_STACK_BYTES - PAGE_BYTES);
    return slot;
}

/*
 * True when a task went deeper than WARM_DEPTH_BYTES. Reading an untouched page maps the shared
 * zero page, which costs no memory; a used one holds return addresses.
 */
static bool went_deep(const char *slot)
{
    const uint64_t *page =
        (const uint64_t *)(const void *)(slot + TASK_STACK_BYTES - WARM_DEPTH_BYTES - PAGE_BYTES);
    VALGRIND_MAKE_MEM_DEFINED(page, PAGE_BYTES);
    for (size_t i = 0; i < PAGE_BYTES / sizeof(*page); i++) {
        if (page[i] != 0)
            return true;
    }
    return false;
}

void stack_give(char *slot)
{
    if (went_deep(slot))
        madvise(slot + PAGE_BYTES, TASK_STACK_BYTES - PAGE_BYTES - WARM_DEPTH_BYTES, MADV_DONTNEED);
    if (stacks.warm == WARM_SLOTS) {
        /* The one that was given back longest ago makes room: its lines have left the cache. */
        char *coldest = stacks.free_slots[stacks.free_count - WARM_SLOTS];
        madvise(coldest + PAGE_BYTES, TASK_STACK_BYTES - PAGE_BYTES, MADV_DONTNEED);
        stacks.warm--;
    }
    stacks.warm++;
    stacks.free_slots[stacks.free_count++] = slot;
}

void stack_trim(char *slot, const void *frame)
{
    /* Below the caller's frame are those of this call and of madvise: when that one begins a page,
     * they lie in the next. */
    enum { OWN_FRAMES_BYTES = 1024 };
    char *low = slot + PAGE_BYTES;
    size_t in_use = (size_t)((const char *)frame - slot) - OWN_FRAMES_BYTES;
    char *used_from = slot + in_use / PAGE_BYTES * PAGE_BYTES;
    if (used_from > low)
        madvise(low, (size_t)(used_from - low), MADV_DONTNEED);
}

void stacks_trim(void)
{
    for (; stacks.warm > 0; stacks.warm--) {
        char *slot = stacks.free_slots[stacks.free_count - stacks.warm];
        madvise(slot + PAGE_BYTES, TASK_STACK_BYTES - PAGE_BYTES, MADV_DONTNEED);
    }
}

void stacks_release(void)
{
    while (stacks.slabs != NULL) {
        struct slab *slab = stacks.slabs;
        stacks.slabs = slab->next;
        munmap(slab->base, (size_t)SLAB_SLOTS * TASK_STACK_BYTES);
        mem_free(slab);
    }
    mem_free(stacks.free_slots);
    stacks = (struct thread_stacks){.mprotect_left = 4096};
}

bool stack_is_guard(const void *addr)
{
    const char *p = addr;
    for (const struct slab *slab = stacks.slabs; slab != NULL; slab = slab->next) {
        if (p >= slab->base && p < slab->base + (size_t)SLAB_SLOTS * TASK_STACK_BYTES)
            return (size_t)(p - slab->base) % TASK_STACK_BYTES < PAGE_BYTES;
    }
    return false;
}
