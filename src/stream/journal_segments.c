#include "stream/journal_segments.h"

#include "base/mem.h"

/* Small streams stay small: each segment has twice the room of the one before. */
enum { SEGMENT_BYTES_MIN = 1024, SEGMENT_BYTES_MAX = 16 * 1024 };

struct segment {
    struct list node;
    uint64_t position; /* of its first record */
    uint64_t number;   /* of the last event before it */
    size_t len, cap;
    char bytes[];
};

/* Before the bytes of each event. */
struct record {
    uint32_t len;
    uint32_t is_numbered;
};

static struct segment *segment_of(struct list *node)
{
    return CONTAINER_OF(node, struct segment, node);
}

static struct record record_at(const struct segment *segment, size_t at)
{
    struct record record;
    memcpy(&record, segment->bytes + at, sizeof(record));
    return record;
}

void journal_segments_init(struct journal_segments *s)
{
    *s = (struct journal_segments){.bytes = 0};
    list_init(&s->list);
}

static void free_first(struct journal_segments *s)
{
    struct segment *segment = segment_of(list_pop(&s->list));
    s->bytes -= sizeof(*segment) + segment->cap;
    mem_free(segment);
}

void journal_segments_fini(struct journal_segments *s)
{
    while (!list_is_empty(&s->list))
        free_first(s);
}

bool journal_segments_is_empty(const struct journal_segments *s)
{
    return list_is_empty(&s->list);
}

static struct segment *last_segment(const struct journal_segments *s)
{
    return list_is_empty(&s->list) ? NULL : segment_of(s->list.prev);
}

static struct segment *first_segment(const struct journal_segments *s)
{
    return list_is_empty(&s->list) ? NULL : segment_of(s->list.next);
}

static size_t event_bytes(const struct journal_event *event)
{
    size_t bytes = 0;
    for (int i = 0; i < JOURNAL_PIECES; i++)
        bytes += event->pieces[i].len;
    return bytes;
}

static size_t next_cap(const struct journal_segments *s, size_t record_bytes)
{
    const struct segment *last = last_segment(s);
    size_t cap = last == NULL ? SEGMENT_BYTES_MIN : MIN(last->cap * 2, SEGMENT_BYTES_MAX);
    return MAX(cap, record_bytes);
}

size_t journal_segments_need(const struct journal_segments *s, const struct journal_event *event)
{
    const struct segment *last = last_segment(s);
    size_t bytes = sizeof(struct record) + event_bytes(event);
    if (last != NULL && last->cap - last->len >= bytes)
        return 0;
    return sizeof(struct segment) + next_cap(s, bytes);
}

bool journal_segments_add(struct journal_segments *s, const struct journal_event *event)
{
    struct segment *last = last_segment(s);
    size_t bytes = sizeof(struct record) + event_bytes(event);
    if (bytes > UINT32_MAX)
        return false;
    if (last == NULL || last->cap - last->len < bytes) {
        size_t cap = next_cap(s, bytes);
        last = mem_alloc(sizeof(*last) + cap);
        if (last == NULL)
            return false;
        last->position = s->end;
        last->number = s->last;
        last->len = 0;
        last->cap = cap;
        CHECK(s->list.prev != NULL);
        list_push(&s->list, &last->node);
        s->bytes += sizeof(*last) + cap;
    }
    struct record record = {(uint32_t)(bytes - sizeof(record)), event->is_numbered};
    char *at = last->bytes + last->len;
    memcpy(at, &record, sizeof(record));
    at += sizeof(record);
    for (int i = 0; i < JOURNAL_PIECES; i++) {
        struct str piece = event->pieces[i];
        if (piece.len > 0)
            memcpy(at, piece.ptr, piece.len);
        at += piece.len;
    }
    last->len += bytes;
    s->end += bytes;
    s->last += event->is_numbered;
    return true;
}

void journal_segments_trim(struct journal_segments *s, size_t keep, uint64_t floor)
{
    while (s->bytes > keep && !list_is_empty(&s->list)) {
        const struct segment *first = first_segment(s);
        if (first->position + first->len > floor)
            return;
        free_first(s);
    }
}

uint64_t journal_segments_begin(const struct journal_segments *s)
{
    const struct segment *first = first_segment(s);
    return first == NULL ? s->end : first->position;
}

uint64_t journal_segments_first(const struct journal_segments *s)
{
    const struct segment *first = first_segment(s);
    return first == NULL ? s->last + 1 : first->number + 1;
}

bool journal_segments_find(const struct journal_segments *s, uint64_t after, uint64_t *position)
{
    *position = 0;
    if (after == 0)
        return journal_segments_begin(s) == 0;
    if (after + 1 < journal_segments_first(s))
        return false;
    *position = journal_segments_begin(s);
    LIST_FOR_EACH(node, &s->list)
    {
        const struct segment *segment = segment_of(node);
        uint64_t number = segment->number;
        if (number >= after)
            return true; /* the position of before, where this one begins */
        for (size_t at = 0; at < segment->len;) {
            struct record record = record_at(segment, at);
            at += sizeof(record) + record.len;
            number += record.is_numbered;
            *position = segment->position + at;
            if (number == after)
                return true;
        }
    }
    return true;
}

/* The segment that the position lies in: readers are mostly near the end. */
static struct segment *segment_at(const struct journal_segments *s, uint64_t position)
{
    for (struct list *node = s->list.prev; node != &s->list; node = node->prev) {
        struct segment *segment = segment_of(node);
        if (segment->position <= position)
            return segment;
    }
    return NULL;
}

void journal_segments_copy(const struct journal_segments *s, uint64_t *position, size_t most,
                           struct buf *out)
{
    struct segment *segment = *position < s->end ? segment_at(s, *position) : NULL;
    while (segment != NULL && out->len < most) {
        size_t at = (size_t)(*position - segment->position);
        while (at < segment->len && out->len < most) {
            struct record record = record_at(segment, at);
            buf_add(out, segment->bytes + at + sizeof(record), record.len);
            at += sizeof(record) + record.len;
        }
        *position = segment->position + at;
        bool is_more = at == segment->len && segment->node.next != &s->list;
        segment = is_more ? segment_of(segment->node.next) : NULL;
    }
}
