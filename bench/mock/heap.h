/*
 * The things that are due, soonest first: a binary heap over nodes that their owners embed.
 * One thread; nothing yields.
 * The heap owns its array of pointers, the caller owns the nodes.
 * heap_put ends the program when memory runs out, for a bench has nothing better to do.
 * A node knows its place, so that it can be taken out at any time.
 */
#ifndef WEIR_BENCH_MOCK_HEAP_H
#define WEIR_BENCH_MOCK_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint64_t due_ns;
    size_t place; /* 0: in no heap */
};

struct heap {
    struct heap_node **nodes; /* nodes[1] is due first */
    size_t count;
    size_t room;
};

/* Puts a node in, or moves it, to be due at `due_ns`. */
void heap_put(struct heap *heap, struct heap_node *node, uint64_t due_ns);
/* Takes a node out; nothing happens if it is not in. */
void heap_remove(struct heap *heap, struct heap_node *node);
/* The node that is due first, or NULL. */
struct heap_node *heap_first(const struct heap *heap);

#endif
