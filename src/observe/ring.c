#include "observe/ring.h"

#include "base/mem.h"

enum { ENTRY_ALIGN = 16 };

/* In front of each record. */
struct entry {
    uint32_t span; /* bytes to the next entry, this header included */
    uint32_t size; /* of the record; GAP = nothing, the next entry is at the start of the memory */
    uint64_t reserved; /* keeps the record aligned to 16 */
};
#define GAP UINT32_MAX

static size_t entry_span(size_t size)
{
    return (sizeof(struct entry) + size + ENTRY_ALIGN - 1) & ~(size_t)(ENTRY_ALIGN - 1);
}

static struct entry *entry_at(const struct ring *ring, size_t position)
{
    return (struct entry *)(void *)(ring->memory + (position & (ring->bytes - 1)));
}

struct ring *ring_new(size_t bytes)
{
    CHECK(bytes >= 1024 && bytes <= UINT32_MAX && (bytes & (bytes - 1)) == 0);
    /* The ring lies behind its memory's start at the next cache line, whatever malloc aligns to. */
    char *block = mem_calloc(1, sizeof(struct ring) + RING_ALIGN + bytes);
    if (block == NULL)
        return NULL;
    struct ring *ring =
        (struct ring *)(void *)(((uintptr_t)block + RING_ALIGN) & ~(uintptr_t)(RING_ALIGN - 1));
    ring->block = block;
    ring->bytes = bytes;
    ring->memory = (char *)(ring + 1);
    return ring;
}

void ring_free(struct ring *ring)
{
    if (ring != NULL)
        mem_free(ring->block);
}

void *ring_reserve(struct ring *ring, size_t size)
{
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    size_t span = entry_span(size);
    if (size > ring->bytes || span > ring->bytes / 2)
        return NULL;
    size_t to_end = ring->bytes - (head & (ring->bytes - 1));
    size_t need = span <= to_end ? span : to_end + span;
    if (ring->bytes - (head - ring->tail_seen) < need) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (ring->bytes - (head - ring->tail_seen) < need)
            return NULL;
    }
    if (span > to_end) {
        *entry_at(ring, head) = (struct entry){.span = (uint32_t)to_end, .size = GAP};
        head += to_end;
    }
    struct entry *entry = entry_at(ring, head);
    *entry = (struct entry){.span = (uint32_t)span, .size = (uint32_t)size};
    ring->reserved = head + span;
    return entry + 1;
}

void ring_commit(struct ring *ring)
{
    atomic_store(&ring->head, ring->reserved);
}

void ring_drop(struct ring *ring)
{
    uint64_t dropped = atomic_load_explicit(&ring->dropped, memory_order_relaxed);
    atomic_store_explicit(&ring->dropped, dropped + 1, memory_order_relaxed);
}

const void *ring_peek(struct ring *ring, size_t *size)
{
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    size_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (head == tail)
        return NULL;
    const struct entry *entry = entry_at(ring, tail);
    if (entry->size == GAP) {
        /* A gap is only ever published together with the record behind it. */
        tail += entry->span;
        atomic_store_explicit(&ring->tail, tail, memory_order_release);
        entry = entry_at(ring, tail);
    }
    *size = entry->size;
    return entry + 1;
}

void ring_release(struct ring *ring)
{
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, tail + entry_at(ring, tail)->span, memory_order_release);
}

size_t ring_used(const struct ring *ring)
{
    /* The tail first: the head that is read later can only be further on. */
    size_t tail = atomic_load(&ring->tail);
    return atomic_load(&ring->head) - tail;
}

uint64_t ring_dropped(const struct ring *ring)
{
    return atomic_load_explicit(&ring->dropped, memory_order_relaxed);
}
