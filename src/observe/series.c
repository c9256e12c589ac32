#include "observe/series.h"

#include <pthread.h>

#include "base/mem.h"

enum {
    LABEL_BYTES_MAX = 128,
    SERIES_MIN = 64,
    TABLE_FIRST = 64, /* slots of a thread's table at first */
    WORDS_MAX = 256,
};

/* One label set. Immutable, but for the words that its threads add. */
struct series {
    uint64_t hash;
    unsigned kind;
    struct str labels[SERIES_LABELS_MAX];
    _Atomic(metric_word *) words[]; /* by thread */
};

struct slot {
    uint64_t hash;
    const struct series *series; /* NULL = empty */
    metric_word *words;
};

/* This thread's view: finds a label set without looking at anything that others write. */
static _Thread_local struct {
    bool is_ready;
    unsigned thread;
    struct slot *slots;
    size_t slot_count; /* a power of two */
    size_t used;
} own;

static struct {
    pthread_mutex_t lock; /* adding series */
    const struct series_kind *kinds;
    unsigned kind_count;
    unsigned thread_count;
    unsigned limit;
    unsigned usual_limit; /* beyond it only sets with a label called "other" are added */
    atomic_uint count;
    atomic_uint_fast64_t refused;
    _Atomic(struct series *) *all;   /* `limit` places, filled in order */
    _Atomic(struct series *) *table; /* the same by hash, open addressing, never full */
    size_t table_mask;
    /* One a kind with every label "other", there from the start, and its words for each thread. */
    struct series *last_resort[SERIES_KINDS_MAX];
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Multiplies and folds, eight bytes a step: label texts are short. */
static uint64_t mix(uint64_t h, uint64_t v)
{
    unsigned __int128 product = (unsigned __int128)(h ^ v) * 0x9e3779b97f4a7c15u;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_labels(unsigned kind, const struct str labels[])
{
    uint64_t h = kind + 0x2545f4914f6cdd1du;
    for (unsigned i = 0; i < registry.kinds[kind].label_count; i++) {
        struct str label = labels[i];
        h = mix(h, label.len);
        for (size_t at = 0; at < label.len; at += 8) {
            uint64_t v = 0;
            memcpy(&v, label.ptr + at, MIN(label.len - at, sizeof(v)));
            h = mix(h, v);
        }
    }
    return h;
}

static bool is_series(const struct series *series, uint64_t hash, unsigned kind,
                      const struct str labels[])
{
    if (series->hash != hash || series->kind != kind)
        return false;
    for (unsigned i = 0; i < registry.kinds[kind].label_count; i++) {
        if (!str_eq(series->labels[i], labels[i]))
            return false;
    }
    return true;
}

static struct series *series_new(unsigned kind, const struct str labels[], uint64_t hash)
{
    unsigned label_count = registry.kinds[kind].label_count;
    size_t head = sizeof(struct series) + registry.thread_count * sizeof(metric_word *);
    size_t bytes = head;
    for (unsigned i = 0; i < label_count; i++)
        bytes += labels[i].len;
    struct series *series = mem_calloc(1, bytes);
    if (series == NULL)
        return NULL;
    series->hash = hash;
    series->kind = kind;
    char *next = (char *)series + head;
    for (unsigned i = 0; i < label_count; i++) {
        if (labels[i].len > 0)
            memcpy(next, labels[i].ptr, labels[i].len);
        series->labels[i] = str_n(next, labels[i].len);
        next += labels[i].len;
    }
    return series;
}

static void series_free(struct series *series)
{
    for (unsigned t = 0; series != NULL && t < registry.thread_count; t++)
        mem_free(atomic_load_explicit(&series->words[t], memory_order_relaxed));
    mem_free(series);
}

static metric_word *words_new(unsigned kind)
{
    /* A cache line more, so that no other thread's words share one with these. */
    return mem_calloc(registry.kinds[kind].word_count + 8, sizeof(metric_word));
}

/* The place in the table that holds the series, or the empty one where it would stand. Series are
 * only ever added, so this needs no lock. */
static _Atomic(struct series *) *place_of(uint64_t hash, unsigned kind, const struct str labels[])
{
    size_t at = hash & registry.table_mask;
    for (;;) {
        struct series *series = atomic_load_explicit(&registry.table[at], memory_order_acquire);
        if (series == NULL || is_series(series, hash, kind, labels))
            return &registry.table[at];
        at = (at + 1) & registry.table_mask;
    }
}

/* With the lock held, or before there is a second thread. */
static void add_series(struct series *series)
{
    unsigned count = atomic_load(&registry.count);
    atomic_store_explicit(place_of(series->hash, series->kind, series->labels), series,
                          memory_order_release);
    atomic_store_explicit(&registry.all[count], series, memory_order_release);
    atomic_store(&registry.count, count + 1);
}

/* --- set-up ---------------------------------------------------------------------------------- */

static void add_last_resort(unsigned kind)
{
    struct str labels[SERIES_LABELS_MAX];
    for (unsigned i = 0; i < SERIES_LABELS_MAX; i++)
        labels[i] = SERIES_OTHER;
    struct series *series = series_new(kind, labels, hash_labels(kind, labels));
    CHECK(series != NULL);
    for (unsigned t = 0; t < registry.thread_count; t++) {
        atomic_store(&series->words[t], words_new(kind));
        CHECK(atomic_load(&series->words[t]) != NULL);
    }
    registry.last_resort[kind] = series;
    add_series(series);
}

void series_init(const struct series_kind *kinds, unsigned kind_count, unsigned threads,
                 unsigned series_max)
{
    CHECK(kind_count <= SERIES_KINDS_MAX);
    series_fini();
    registry.kinds = kinds;
    registry.kind_count = kind_count;
    registry.thread_count = MAX(threads, 1);
    registry.limit = MAX(series_max, SERIES_MIN);
    registry.usual_limit = registry.limit - registry.limit / 4;
    registry.all = mem_calloc_or_die(registry.limit, sizeof(*registry.all));
    size_t places = SERIES_MIN;
    while (places < (size_t)registry.limit * 2)
        places *= 2;
    registry.table = mem_calloc_or_die(places, sizeof(*registry.table));
    registry.table_mask = places - 1;
    for (unsigned kind = 0; kind < kind_count; kind++) {
        CHECK(kinds[kind].label_count <= SERIES_LABELS_MAX && kinds[kind].word_count <= WORDS_MAX);
        add_last_resort(kind);
    }
}

void series_fini(void)
{
    for (unsigned i = 0; registry.all != NULL && i < atomic_load(&registry.count); i++)
        series_free(atomic_load(&registry.all[i]));
    mem_free(registry.all);
    mem_free(registry.table);
    registry.all = registry.table = NULL;
    registry.kind_count = 0;
    atomic_store(&registry.count, 0);
    atomic_store(&registry.refused, 0);
}

void series_thread_init(unsigned thread)
{
    CHECK(thread < registry.thread_count && !own.is_ready);
    own.is_ready = true;
    own.thread = thread;
}

void series_thread_fini(void)
{
    mem_free(own.slots);
    own.slots = NULL;
    own.slot_count = own.used = 0;
    own.is_ready = false;
}

/* --- finding --------------------------------------------------------------------------------- */

static bool is_plain(struct str label)
{
    for (size_t i = 0; i < label.len; i++) {
        if (label.ptr[i] < ' ' || label.ptr[i] > '~')
            return false;
    }
    return label.len <= LABEL_BYTES_MAX;
}

/* Finds the set among those of all threads, or adds it; NULL when it may not be added. */
static struct series *enlist(unsigned kind, const struct str labels[], bool may_create)
{
    uint64_t hash = hash_labels(kind, labels);
    struct series *series = atomic_load(place_of(hash, kind, labels));
    if (series != NULL || !may_create)
        return series;
    int spare = registry.kinds[kind].spare_label;
    bool is_spare = spare >= 0 && str_eq(labels[spare], SERIES_OTHER);
    pthread_mutex_lock(&registry.lock);
    series = atomic_load(place_of(hash, kind, labels));
    unsigned limit = is_spare ? registry.limit : registry.usual_limit;
    if (series == NULL && atomic_load(&registry.count) < limit) {
        series = series_new(kind, labels, hash);
        if (series != NULL)
            add_series(series);
    }
    pthread_mutex_unlock(&registry.lock);
    return series;
}

static struct slot *find_slot(struct slot *slots, size_t slot_count, uint64_t hash, unsigned kind,
                              const struct str labels[])
{
    size_t at = hash & (slot_count - 1);
    while (slots[at].series != NULL &&
           (slots[at].hash != hash || !is_series(slots[at].series, hash, kind, labels)))
        at = (at + 1) & (slot_count - 1);
    return &slots[at];
}

/* Keeps the table at most half full; false when it cannot grow and has no room left. */
static bool make_room(void)
{
    if (own.used * 2 < own.slot_count)
        return true;
    size_t slot_count = MAX(own.slot_count * 2, TABLE_FIRST);
    struct slot *slots = mem_calloc(slot_count, sizeof(*slots));
    if (slots == NULL)
        return own.used + 1 < own.slot_count;
    for (size_t i = 0; i < own.slot_count; i++) {
        const struct slot *old = &own.slots[i];
        if (old->series != NULL)
            *find_slot(slots, slot_count, old->hash, old->series->kind, old->series->labels) = *old;
    }
    mem_free(own.slots);
    own.slots = slots;
    own.slot_count = slot_count;
    return true;
}

/* This thread's words of the series; NULL when there is no memory. */
static metric_word *words_of(struct series *series)
{
    metric_word *words = atomic_load_explicit(&series->words[own.thread], memory_order_relaxed);
    if (words == NULL && (words = words_new(series->kind)) != NULL)
        atomic_store_explicit(&series->words[own.thread], words, memory_order_release);
    if (words == NULL || !make_room())
        return words;
    struct slot *slot =
        find_slot(own.slots, own.slot_count, series->hash, series->kind, series->labels);
    own.used += slot->series == NULL;
    *slot = (struct slot){.hash = series->hash, .series = series, .words = words};
    return words;
}

/* The first time that this thread meets the label set. */
static metric_word *find_slowly(unsigned kind, const struct str wanted[], bool may_create)
{
    const struct series_kind *how = &registry.kinds[kind];
    struct str labels[SERIES_LABELS_MAX] = {STR_EMPTY};
    for (unsigned i = 0; i < how->label_count; i++)
        labels[i] = is_plain(wanted[i]) ? wanted[i] : SERIES_OTHER;
    struct series *series = enlist(kind, labels, may_create);
    if (series == NULL && !may_create)
        return NULL;
    if (series == NULL) {
        atomic_fetch_add_explicit(&registry.refused, 1, memory_order_relaxed);
        if (how->spare_label >= 0) {
            labels[how->spare_label] = SERIES_OTHER;
            series = enlist(kind, labels, true);
        }
    }
    metric_word *words = series != NULL ? words_of(series) : NULL;
    if (words == NULL)
        words = atomic_load(&registry.last_resort[kind]->words[own.thread]);
    return words;
}

metric_word *series_find(unsigned kind, const struct str labels[], bool may_create)
{
    CHECK(own.is_ready && kind < registry.kind_count);
    if (LIKELY(own.slot_count > 0)) {
        uint64_t hash = hash_labels(kind, labels);
        const struct slot *slot = find_slot(own.slots, own.slot_count, hash, kind, labels);
        if (LIKELY(slot->series != NULL))
            return slot->words;
    }
    return find_slowly(kind, labels, may_create);
}

/* --- reading --------------------------------------------------------------------------------- */

void series_visit(unsigned kind, series_visit_fn *fn, void *ctx)
{
    uint64_t sums[WORDS_MAX];
    unsigned count = atomic_load(&registry.count);
    unsigned words = registry.kinds[kind].word_count;
    for (unsigned i = 0; i < count; i++) {
        struct series *series = atomic_load_explicit(&registry.all[i], memory_order_acquire);
        if (series->kind != kind)
            continue;
        memset(sums, 0, words * sizeof(sums[0]));
        uint64_t any = 0;
        for (unsigned t = 0; t < registry.thread_count; t++) {
            metric_word *of_thread = atomic_load_explicit(&series->words[t], memory_order_acquire);
            for (unsigned w = 0; of_thread != NULL && w < words; w++) {
                uint64_t value = atomic_load_explicit(&of_thread[w], memory_order_relaxed);
                sums[w] += value;
                any |= value;
            }
        }
        if (any != 0)
            fn(ctx, series->labels, sums);
    }
}

unsigned series_count(void)
{
    return atomic_load(&registry.count);
}

unsigned series_limit(void)
{
    return registry.limit;
}

uint64_t series_refused(void)
{
    return atomic_load_explicit(&registry.refused, memory_order_relaxed);
}
