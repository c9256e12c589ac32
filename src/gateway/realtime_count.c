#include "gateway/realtime_count.h"

#include <pthread.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"

struct counted {
    struct list node;
    unsigned sessions;
    size_t len;
    char name[];
};

enum { BUCKETS = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list buckets[BUCKETS];
static bool is_ready;

/* With the lock held. */
static struct list *bucket_of(struct str name)
{
    for (unsigned i = 0; !is_ready && i < BUCKETS; i++)
        list_init(&buckets[i]);
    is_ready = true;
    return &buckets[str_hash(name) % BUCKETS];
}

static struct counted *find(struct str name)
{
    LIST_FOR_EACH(node, bucket_of(name))
    {
        struct counted *c = CONTAINER_OF(node, struct counted, node);
        if (str_eq(str_n(c->name, c->len), name))
            return c;
    }
    return NULL;
}

static struct counted *add(struct str name)
{
    struct counted *c = mem_calloc(1, sizeof(*c) + name.len);
    if (c == NULL)
        return NULL;
    c->len = name.len;
    if (name.len > 0)
        memcpy(c->name, name.ptr, name.len);
    list_push(bucket_of(name), &c->node);
    return c;
}

int realtime_count_enter(struct str key_name, unsigned most)
{
    int r = 0;
    pthread_mutex_lock(&lock);
    struct counted *c = find(key_name);
    if (c != NULL && most > 0 && c->sessions >= most)
        r = -ERR_BUSY;
    else if (c == NULL && (c = add(key_name)) == NULL)
        r = -ERR_NOMEM;
    else
        c->sessions++;
    pthread_mutex_unlock(&lock);
    return r;
}

void realtime_count_leave(struct str key_name)
{
    pthread_mutex_lock(&lock);
    struct counted *c = find(key_name);
    CHECK(c != NULL && c->sessions > 0);
    if (--c->sessions == 0) {
        list_remove(&c->node);
        mem_free(c);
    }
    pthread_mutex_unlock(&lock);
}
