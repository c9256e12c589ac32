#include "base/mem.h"
#include "route/health_private.h"

struct health_table health_table = {.lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP};

/* How many busy targets are looked at in search of an idle one to evict. */
enum { EVICTION_TRIES = 64 };

void health_init(unsigned entries_max)
{
    struct health_table *t = &health_table;
    unsigned count = entries_max > 0 ? entries_max : HEALTH_ENTRIES_DEFAULT;
    size_t buckets = 64;
    while (buckets < count)
        buckets *= 2;
    t->buckets = mem_calloc_or_die(buckets, sizeof(*t->buckets));
    t->bucket_mask = buckets - 1;
    t->slots = mem_calloc_or_die(count, sizeof(struct health_entry *));
    t->free_slots = mem_calloc_or_die(count, sizeof(unsigned));
    t->slot_count = t->free_count = count;
    t->slots_ever_used = 0;
    for (unsigned i = 0; i < count; i++)
        t->free_slots[i] = count - 1 - i; /* the lowest is taken first */
    t->providers = NULL;
    list_init(&t->used);
}

/* --- providers --- */

struct health_provider *health_provider_find(struct str name)
{
    struct health_provider *p = health_table.providers;
    while (p != NULL && !str_eq(p->name, name))
        p = p->next;
    return p;
}

static struct health_provider *provider_get(struct str name)
{
    struct health_provider *p = health_provider_find(name);
    if (p != NULL)
        return p;
    p = mem_calloc(1, sizeof(*p) + name.len);
    if (p == NULL)
        return NULL;
    if (name.len > 0)
        memcpy(p + 1, name.ptr, name.len);
    p->name = str_n((const char *)(p + 1), name.len);
    p->next = health_table.providers;
    health_table.providers = p;
    return p;
}

static void provider_drop_if_unused(struct health_provider *provider)
{
    struct health_provider **at = &health_table.providers;
    if (provider->target_count > 0)
        return;
    while (*at != provider)
        at = &(*at)->next;
    *at = provider->next;
    mem_free(provider);
}

/* --- targets --- */

/* Eight bytes a step: names are asked for several times a request. */
static uint64_t hash_more(uint64_t hash, struct str s)
{
    uint64_t word;
    for (; s.len >= sizeof(word); s = str_skip(s, sizeof(word))) {
        memcpy(&word, s.ptr, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
        hash ^= hash >> 32;
    }
    word = s.len;
    for (size_t i = 0; i < s.len; i++)
        word = word << 8 | (unsigned char)s.ptr[i];
    hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 32;
}

uint64_t health_hash(struct str provider, struct str model)
{
    return hash_more(hash_more(0, provider), model);
}

struct health_target *health_target_find(struct str provider, struct str model, uint64_t hash)
{
    struct health_target *t = health_table.buckets[hash & health_table.bucket_mask];
    while (t != NULL &&
           (t->hash != hash || !str_eq(t->model, model) || !str_eq(t->provider->name, provider)))
        t = t->next;
    return t;
}

static struct health_target *target_new(struct str provider, struct str model, uint64_t hash)
{
    struct health_target **bucket = &health_table.buckets[hash & health_table.bucket_mask];
    struct health_target *t = mem_calloc(1, sizeof(*t) + model.len);
    struct health_provider *owner = t != NULL ? provider_get(provider) : NULL;
    if (owner == NULL) {
        mem_free(t);
        return NULL;
    }
    if (model.len > 0)
        memcpy(t + 1, model.ptr, model.len);
    t->model = str_n((const char *)(t + 1), model.len);
    t->hash = hash;
    t->provider = owner;
    owner->target_count++;
    t->next = *bucket;
    *bucket = t;
    list_push(&health_table.used, &t->used);
    return t;
}

static void target_free(struct health_target *target)
{
    struct health_target **at = &health_table.buckets[target->hash & health_table.bucket_mask];
    while (*at != target)
        at = &(*at)->next;
    *at = target->next;
    list_remove(&target->used);
    for (unsigned i = 0; i < target->key_count; i++) {
        struct health_entry *entry = target->keys[i];
        if (entry == NULL)
            continue;
        health_table.slots[entry->slot] = NULL;
        health_table.free_slots[health_table.free_count++] = entry->slot;
        mem_free(entry);
    }
    target->provider->target_count--;
    provider_drop_if_unused(target->provider);
    mem_free(target->keys);
    mem_free(target);
}

void health_fini(void)
{
    struct health_table *t = &health_table;
    health_routes_fini();
    if (t->buckets == NULL)
        return;
    LIST_FOR_EACH(node, &t->used)
    target_free(CONTAINER_OF(node, struct health_target, used));
    mem_free(t->buckets);
    mem_free(t->slots);
    mem_free(t->free_slots);
    t->buckets = NULL;
    t->slot_count = t->slots_ever_used = 0;
}

/* --- entries --- */

static bool make_room(const struct health_target *keep)
{
    int tries = 0;
    LIST_FOR_EACH(node, &health_table.used)
    {
        struct health_target *target = CONTAINER_OF(node, struct health_target, used);
        if (health_table.free_count > 0 || tries++ == EVICTION_TRIES)
            break;
        if (target->in_flight == 0 && target != keep)
            target_free(target);
    }
    return health_table.free_count > 0;
}

static bool has_place(struct health_target *target, unsigned key)
{
    if (key < target->key_count)
        return true;
    struct health_entry **keys = mem_calloc(key + 1, sizeof(struct health_entry *));
    if (keys == NULL)
        return false;
    if (target->key_count > 0)
        memcpy(keys, target->keys, target->key_count * sizeof(struct health_entry *));
    mem_free(target->keys);
    target->keys = keys;
    target->key_count = key + 1;
    return true;
}

static struct health_entry *entry_new(struct health_target *target, unsigned key)
{
    if (!has_place(target, key) || (health_table.free_count == 0 && !make_room(target)))
        return NULL;
    struct health_entry *entry = MEM_NEW(struct health_entry);
    if (entry == NULL)
        return NULL;
    entry->target = target;
    entry->key = key;
    entry->slot = health_table.free_slots[--health_table.free_count];
    health_table.slots[entry->slot] = entry;
    health_table.slots_ever_used = MAX(health_table.slots_ever_used, entry->slot + 1);
    target->keys[key] = entry;
    return entry;
}

struct health_entry *health_entry_get(struct str provider, struct str model, uint64_t hash,
                                      unsigned key)
{
    struct health_target *target = health_target_find(provider, model, hash);
    struct health_entry *entry = health_entry_of(target, key);
    if (entry != NULL)
        return entry;
    bool is_new = target == NULL;
    if (is_new)
        target = target_new(provider, model, hash);
    entry = target != NULL ? entry_new(target, key) : NULL;
    if (entry == NULL && is_new && target != NULL)
        target_free(target);
    return entry;
}

/* --- what people see --- */

unsigned health_rows(void)
{
    health_lock();
    unsigned count = health_table.slots_ever_used;
    health_unlock();
    return count;
}

static void fill_row(struct health_entry *entry, int64_t now_ns, struct arena *arena,
                     struct health_row *row)
{
    struct health_target *target = entry->target;
    const struct key_bench *bench = &target->provider->benches[entry->key];
    int64_t until_ns;
    health_times_of(&target->ttft, &target->ttft_times, now_ns);
    health_times_of(&target->duration, &target->duration_times, now_ns);
    *row = (struct health_row){
        .provider = arena_dup(arena, target->provider->name),
        .model = arena_dup(arena, target->model),
        .key = entry->key,
        .verdict = health_judge(entry, target->provider, entry->key, 0, false, now_ns, &until_ns),
        .breaker = entry->breaker,
        .state = breaker_shown(&entry->breaker, now_ns),
        .limits = entry->limits,
        .key_bench_until_ns = bench->until_ns > now_ns ? bench->until_ns : 0,
        .in_flight = entry->in_flight,
        .attempts = entry->attempts,
        .recent = breaker_recent(&entry->breaker, now_ns),
        .last_error = entry->last_error,
        .last_error_status = entry->last_error_status,
        .last_error_ns = entry->last_error_ns,
        .last_used_ns = entry->last_used_ns,
        .ttft_p50_ns = target->ttft_times.p50_ns,
        .ttft_p95_ns = target->ttft_times.p95_ns,
        .duration_p50_ns = target->duration_times.p50_ns,
        .duration_p95_ns = target->duration_times.p95_ns,
        .ttft_samples = target->ttft_times.samples,
    };
    memcpy(row->outcomes, entry->outcomes, sizeof(row->outcomes));
}

bool health_row(unsigned index, int64_t now_ns, struct arena *arena, struct health_row *row)
{
    health_lock();
    struct health_entry *entry = index < health_table.slot_count ? health_table.slots[index] : NULL;
    if (entry != NULL)
        fill_row(entry, now_ns, arena, row);
    health_unlock();
    return entry != NULL;
}

void health_forget(struct str provider)
{
    health_lock();
    struct health_provider *owner =
        health_table.buckets != NULL ? health_provider_find(provider) : NULL;
    if (owner != NULL)
        memset(owner->benches, 0, sizeof(owner->benches));
    for (unsigned i = 0; owner != NULL && i < health_table.slot_count; i++) {
        struct health_entry *entry = health_table.slots[i];
        if (entry == NULL || entry->target->provider != owner)
            continue;
        entry->breaker = (struct breaker){0};
        entry->limits = (struct limits){0};
    }
    health_unlock();
}
