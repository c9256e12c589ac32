/*
 * The table behind health.h: targets by (provider, model), their keys' entries, the providers'
 * keys. Only health*.c, all of it under health_table.lock. Nothing yields. The table owns
 * everything; pointers are good while the lock is held, an entry with an attempt under way until
 * that ends. NULL = no memory, or no room: the table is full of targets that are busy.
 */
#ifndef WEIR_ROUTE_HEALTH_PRIVATE_H
#define WEIR_ROUTE_HEALTH_PRIVATE_H

#include <pthread.h>

#include "base/list.h"
#include "route/health.h"

/* A key that was refused, whatever the model. */
struct key_bench {
    int64_t until_ns, benched_ns;
    uint32_t in_row;
};

struct health_provider {
    struct health_provider *next;
    unsigned target_count;
    struct key_bench benches[HEALTH_KEYS_MAX];
    struct str name; /* behind the struct */
};

/* Percentiles as they were counted last. */
struct health_times {
    int64_t counted_ns;
    int64_t p50_ns, p95_ns;
    uint32_t samples;
    bool is_counted;
};

struct health_entry {
    struct health_target *target;
    unsigned key, slot;
    uint32_t in_flight;
    struct breaker breaker;
    struct limits limits;
    int64_t benched_ns; /* when limits were last benched */
    enum outcome_class bench_for;
    uint64_t attempts;
    uint64_t outcomes[OUTCOME_CLASS_COUNT];
    enum outcome_class last_error;
    unsigned last_error_status;
    int64_t last_error_ns, last_used_ns;
};

struct health_target {
    struct health_target *next; /* of the bucket */
    struct list used;           /* in health_table.used, the longest unused first */
    uint64_t hash;
    struct health_provider *provider;
    struct str model; /* behind the struct */
    uint32_t in_flight;
    unsigned key_count; /* slots of `keys` */
    struct health_entry **keys;
    struct latency ttft, duration;
    struct health_times ttft_times, duration_times;
};

struct health_table {
    pthread_mutex_t lock;
    struct health_target **buckets; /* NULL = not initialised */
    uint64_t bucket_mask;
    struct list used;
    struct health_provider *providers;
    struct health_entry **slots;
    unsigned *free_slots; /* a stack */
    unsigned free_count, slot_count;
    unsigned slots_ever_used; /* from the first */
};
extern struct health_table health_table;

static inline void health_lock(void)
{
    pthread_mutex_lock(&health_table.lock);
}

static inline void health_unlock(void)
{
    pthread_mutex_unlock(&health_table.lock);
}

uint64_t health_hash(struct str provider, struct str model);
struct health_target *health_target_find(struct str provider, struct str model, uint64_t hash);
/* Finds or makes the entry; makes room where there is none. */
struct health_entry *health_entry_get(struct str provider, struct str model, uint64_t hash,
                                      unsigned key);
/* NULL when there was no attempt with that key. */
static inline struct health_entry *health_entry_of(const struct health_target *target, unsigned key)
{
    return target != NULL && key < target->key_count ? target->keys[key] : NULL;
}
struct health_provider *health_provider_find(struct str name);
/* May one key be used now? `entry` and `provider` may be NULL: nothing is known of them. */
enum health_verdict health_judge(const struct health_entry *entry,
                                 const struct health_provider *provider, unsigned key,
                                 int64_t tokens, enum health_lenience lenience, int64_t now_ns,
                                 int64_t *until_ns);
/* The percentiles of a histogram, counted anew a few times a second. */
void health_times_of(const struct latency *latency, struct health_times *times, int64_t now_ns);

/* Frees the routes (health_route.c). */
void health_routes_fini(void);

#endif
