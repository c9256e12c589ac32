#include "gateway/response_store.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

enum { BUCKETS = 1024 };

struct entry {
    struct list age;    /* oldest first */
    struct entry *next; /* in its bucket */
    int64_t expires_ns;
    uint64_t bytes;
    struct stored_response stored; /* its texts lie behind the struct */
};

static struct {
    pthread_mutex_t lock;
    struct entry *buckets[BUCKETS];
    struct list ages;
    bool has_list;
    uint64_t bytes, bytes_max;
    int64_t ttl_ns;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct entry **bucket_of(struct str id)
{
    return &store.buckets[str_hash(id) % BUCKETS];
}

static void drop(struct entry *entry)
{
    struct entry **link = bucket_of(entry->stored.id);
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    list_remove(&entry->age);
    store.bytes -= entry->bytes;
    mem_free(entry);
}

/* The oldest go first: those whose time is over, then as many as the bound asks for. */
static void make_room(uint64_t bytes)
{
    int64_t now_ns = clock_mono_ns();
    while (!list_is_empty(&store.ages)) {
        struct entry *oldest = CONTAINER_OF(store.ages.next, struct entry, age);
        if (oldest->expires_ns > now_ns && store.bytes + bytes <= store.bytes_max)
            return;
        drop(oldest);
    }
}

static void lock_store(void)
{
    pthread_mutex_lock(&store.lock);
    if (!store.has_list) {
        list_init(&store.ages);
        store.has_list = true;
    }
}

void response_store_configure(uint64_t bytes_max, int64_t ttl_ns)
{
    lock_store();
    store.bytes_max = bytes_max;
    store.ttl_ns = ttl_ns;
    make_room(0);
    pthread_mutex_unlock(&store.lock);
}

bool response_store_is_on(void)
{
    lock_store();
    bool is_on = store.bytes_max > 0;
    pthread_mutex_unlock(&store.lock);
    return is_on;
}

static struct str copy_to(char **at, struct str s)
{
    struct str copy = {*at, s.len};
    if (s.len > 0)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return copy;
}

static struct entry *entry_new(const struct stored_response *s)
{
    size_t bytes = sizeof(struct entry) + s->id.len + s->key.len + s->response.len + s->items.len;
    struct entry *entry = mem_alloc(bytes);
    if (entry == NULL)
        return NULL;
    char *at = (char *)(entry + 1);
    *entry = (struct entry){.bytes = bytes};
    entry->stored.id = copy_to(&at, s->id);
    entry->stored.key = copy_to(&at, s->key);
    entry->stored.response = copy_to(&at, s->response);
    entry->stored.items = copy_to(&at, s->items);
    return entry;
}

static struct entry *find(struct str id, struct str key)
{
    for (struct entry *entry = *bucket_of(id); entry != NULL; entry = entry->next) {
        if (str_eq(entry->stored.id, id) && str_eq(entry->stored.key, key) &&
            entry->expires_ns > clock_mono_ns())
            return entry;
    }
    return NULL;
}

void response_store_put(const struct stored_response *stored)
{
    lock_store();
    struct entry *entry = store.bytes_max > 0 ? entry_new(stored) : NULL;
    if (entry != NULL && entry->bytes > store.bytes_max) {
        mem_free(entry);
        entry = NULL;
    }
    if (entry != NULL) {
        struct entry **bucket = bucket_of(stored->id);
        make_room(entry->bytes);
        entry->expires_ns = clock_add_ns(clock_mono_ns(), store.ttl_ns);
        entry->next = *bucket;
        *bucket = entry;
        list_push(&store.ages, &entry->age);
        store.bytes += entry->bytes;
    }
    pthread_mutex_unlock(&store.lock);
}

bool response_store_get(struct str id, struct str key, struct buf *response, struct buf *items)
{
    lock_store();
    const struct entry *entry = find(id, key);
    if (entry != NULL && response != NULL)
        buf_add_str(response, entry->stored.response);
    if (entry != NULL && items != NULL)
        buf_add_str(items, entry->stored.items);
    pthread_mutex_unlock(&store.lock);
    return entry != NULL;
}

bool response_store_delete(struct str id, struct str key)
{
    lock_store();
    struct entry *entry = find(id, key);
    if (entry != NULL)
        drop(entry);
    pthread_mutex_unlock(&store.lock);
    return entry != NULL;
}
