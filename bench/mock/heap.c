#include "heap.h"

#include <stdio.h>
#include <stdlib.h>

static void place_at(struct heap *heap, size_t place, struct heap_node *node)
{
    heap->nodes[place] = node;
    node->place = place;
}

static void sift_up(struct heap *heap, struct heap_node *node)
{
    size_t place = node->place;
    while (place > 1 && heap->nodes[place / 2]->due_ns > node->due_ns) {
        place_at(heap, place, heap->nodes[place / 2]);
        place /= 2;
    }
    place_at(heap, place, node);
}

static void sift_down(struct heap *heap, struct heap_node *node)
{
    size_t place = node->place;
    while (place * 2 <= heap->count) {
        size_t child = place * 2;
        if (child < heap->count && heap->nodes[child + 1]->due_ns < heap->nodes[child]->due_ns)
            child++;
        if (heap->nodes[child]->due_ns >= node->due_ns)
            break;
        place_at(heap, place, heap->nodes[child]);
        place = child;
    }
    place_at(heap, place, node);
}

void heap_put(struct heap *heap, struct heap_node *node, uint64_t due_ns)
{
    node->due_ns = due_ns;
    if (node->place == 0) {
        if (heap->count + 2 > heap->room) {
            heap->room = heap->room == 0 ? 1024 : heap->room * 2;
            heap->nodes = realloc(heap->nodes, heap->room * sizeof(struct heap_node *));
            if (heap->nodes == NULL) {
                fputs("mock: out of memory\n", stderr);
                exit(1);
            }
        }
        place_at(heap, ++heap->count, node);
    }
    sift_up(heap, node);
    sift_down(heap, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (node->place == 0)
        return;
    struct heap_node *last = heap->nodes[heap->count--];
    if (last != node) {
        place_at(heap, node->place, last);
        sift_up(heap, last);
        sift_down(heap, last);
    }
    node->place = 0;
}

struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[1] : NULL;
}
