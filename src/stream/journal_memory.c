#include "stream/journal_memory.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rt/loop.h"
#include "rt/random.h"
#include "stream/journal_segments.h"

/*
 * The store's lock guards its tables and lists; each journal's own guards what is in it. Whoever
 * holds a journal's lock takes no other.
 */

enum {
    BUCKETS = 4096,
    /* Ids that are remembered after their journals. */
    GONE_REMEMBERED = 4096,
    SECRET_BYTES = 16,
    /* However little a config allows. */
    STREAM_BYTES_MIN = 4096,
};

/* How often a producer looks whether others have left room, and others are asked to make some. */
#define ROOM_RETRY_NS (50 * NS_PER_MS)

struct gone {
    uint64_t id_hash, owner_hash;
    enum journal_gone why;
};

struct memory_journal {
    struct journal base;
    atomic_uint refs;
    /* The store's. */
    struct list age; /* in `running` or `ended` */
    struct memory_journal *next_id, *next_once;
    bool is_stored, has_once;
    int64_t expires_ns;
    struct str owner, once_key; /* behind the struct */
    uint8_t digest[JOURNAL_DIGEST_BYTES];
    struct journal_limits limits;
    size_t own_bytes; /* of the struct */
    /* Its own. */
    pthread_mutex_t lock;
    bool has_head, is_ended, is_whole;
    bool producer_waits;
    struct journal_head head; /* in one block at head.headers.items */
    size_t head_bytes;
    struct journal_segments segments;
    struct list readers;
    uint64_t left_position; /* of the last reader that left */
    int64_t unread_since_ns;
    struct list waiters;
};

struct memory_store {
    struct journal_store base;
    atomic_uint_fast64_t bytes;
    pthread_mutex_t lock;
    atomic_uint_fast64_t total_bytes; /* as the newest journal's limits say */
    struct memory_journal *by_id[BUCKETS], *by_once[BUCKETS];
    struct list running, ended; /* ended: oldest first */
    atomic_size_t running_count;
    size_t ended_count;
    int64_t trimmed_ns; /* when the running ones were last asked for room */
    struct gone gone[GONE_REMEMBERED];
    size_t gone_next;
    uint64_t gone_counts[JOURNAL_GONE_COUNT];
    atomic_uint_fast64_t waits;
};

static struct memory_journal *memory_of(struct journal *journal)
{
    return CONTAINER_OF(journal, struct memory_journal, base);
}

static struct memory_store *store_of(struct journal_store *store)
{
    return CONTAINER_OF(store, struct memory_store, base);
}

static struct memory_store *store_of_journal(const struct memory_journal *j)
{
    return store_of(j->base.store);
}

static void lock(struct memory_journal *j)
{
    pthread_mutex_lock(&j->lock);
}

static void unlock(struct memory_journal *j)
{
    pthread_mutex_unlock(&j->lock);
}

/* --- waiting
 * -------------------------------------------------------------------------------------- A waiter
 * lives on its task's stack. Other threads wake it by mail to its loop; it does not go before that
 * mail has come.
 */

struct waiter {
    struct mail mail;
    struct list node;
    struct memory_journal *journal;
    struct loop *loop;
    struct task *task;
    bool is_posted;
};

static void on_mail(struct mail *mail)
{
    struct waiter *w = CONTAINER_OF(mail, struct waiter, mail);
    lock(w->journal);
    w->is_posted = false;
    unlock(w->journal);
    /* The task is of this thread: it cannot have gone meanwhile. */
    task_wake(w->task);
}

/* With the journal's lock, as all that follows here. */
static void wake_all(struct memory_journal *j)
{
    LIST_FOR_EACH(node, &j->waiters)
    {
        struct waiter *w = CONTAINER_OF(node, struct waiter, node);
        if (w->loop == loop_self()) {
            task_wake(w->task);
        } else if (!w->is_posted) {
            w->is_posted = true;
            loop_post(w->loop, &w->mail);
        }
    }
}

/* Waits until something has changed in the journal; the lock is given back meanwhile. */
YIELDS static int wait_for_change(struct memory_journal *j, int64_t deadline_ns)
{
    struct waiter w = {
        .mail.fn = on_mail,
        .journal = j,
        .loop = loop_self(),
        .task = task_self(),
    };
    list_push(&j->waiters, &w.node);
    unlock(j);
    int r = task_park(deadline_ns);
    lock(j);
    list_remove(&w.node);
    while (w.is_posted) {
        unlock(j);
        task_shield();
        task_park(CLOCK_NEVER);
        task_unshield();
        lock(j);
    }
    return r;
}

/* --- memory
 * ---------------------------------------------------------------------------------------
 */

static void account(struct memory_store *store, size_t before, size_t after)
{
    atomic_fetch_add_explicit(&store->bytes, after - before, memory_order_relaxed);
}

static void unref(struct journal *journal)
{
    struct memory_journal *j = memory_of(journal);
    if (atomic_fetch_sub_explicit(&j->refs, 1, memory_order_acq_rel) != 1)
        return;
    account(store_of_journal(j), j->own_bytes + j->head_bytes + j->segments.bytes, 0);
    journal_segments_fini(&j->segments);
    mem_free(j->head.headers.items);
    pthread_mutex_destroy(&j->lock);
    mem_free(j);
}

static void ref(struct memory_journal *j)
{
    atomic_fetch_add_explicit(&j->refs, 1, memory_order_relaxed);
}

/* --- tables: with the store's lock
 * ----------------------------------------------------------------
 */

static struct memory_journal **id_bucket(struct memory_store *store, struct str id)
{
    return &store->by_id[str_hash(id) % BUCKETS];
}

static struct memory_journal **once_bucket(struct memory_store *store, struct str key)
{
    return &store->by_once[str_hash(key) % BUCKETS];
}

static void unlink_once(struct memory_store *store, struct memory_journal *j)
{
    if (!j->has_once)
        return;
    struct memory_journal **link = once_bucket(store, j->once_key);
    while (*link != j)
        link = &(*link)->next_once;
    *link = j->next_once;
    j->has_once = false;
}

/* Takes it out of the store and remembers its id. */
static void drop(struct memory_store *store, struct memory_journal *j, enum journal_gone why)
{
    if (!j->is_stored)
        return;
    struct memory_journal **link = id_bucket(store, journal_id(&j->base));
    while (*link != j)
        link = &(*link)->next_id;
    *link = j->next_id;
    unlink_once(store, j);
    list_remove(&j->age);
    if (j->expires_ns != 0)
        store->ended_count--;
    else
        store->running_count--;
    j->is_stored = false;
    store->gone[store->gone_next] =
        (struct gone){str_hash(journal_id(&j->base)), str_hash(j->owner), why};
    store->gone_next = (store->gone_next + 1) % GONE_REMEMBERED;
    store->gone_counts[why]++;
    unref(&j->base);
}

static bool is_read(struct memory_journal *j)
{
    lock(j);
    bool has_readers = !list_is_empty(&j->readers);
    unlock(j);
    return has_readers;
}

/* What is past its time goes; those that somebody reads stay until the next time. The list is in
 * the order of their ends. */
static int64_t drop_expired(struct memory_store *store, int64_t now_ns)
{
    int64_t next_ns = CLOCK_NEVER;
    LIST_FOR_EACH(node, &store->ended)
    {
        struct memory_journal *j = CONTAINER_OF(node, struct memory_journal, age);
        if (j->expires_ns > now_ns)
            return MIN(next_ns, j->expires_ns);
        if (is_read(j))
            next_ns = now_ns + NS_PER_SEC;
        else
            drop(store, j, JOURNAL_GONE_TTL);
    }
    return next_ns;
}

/* True when the bound would be passed; in it, the least that each running one may hold is set
 * aside. */
static bool is_over(struct memory_store *store, size_t need)
{
    uint64_t total = atomic_load_explicit(&store->total_bytes, memory_order_relaxed);
    uint64_t aside = (JOURNAL_LEAST_BYTES + LOOP_SCRATCH_BYTES) *
                     (uint64_t)atomic_load_explicit(&store->running_count, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&store->bytes, memory_order_relaxed);
    return bytes + need > total - MIN(aside, total / 2);
}

/* Where readers would lose nothing that they have not got. Without a reader, half of what may be
 * kept is for the one that comes back: it may not have got all that was sent. */
static uint64_t floor_of(const struct memory_journal *j)
{
    if (list_is_empty(&j->readers)) {
        uint64_t kept = j->limits.stream_bytes / 2;
        return j->left_position > kept ? j->left_position - kept : 0;
    }
    uint64_t floor = UINT64_MAX;
    LIST_FOR_EACH(node, &j->readers)
    {
        const struct journal_reader *reader = CONTAINER_OF(node, struct journal_reader, node);
        floor = MIN(floor, reader->position);
    }
    return floor;
}

static void trim(struct memory_journal *j, size_t keep)
{
    size_t before = j->segments.bytes;
    journal_segments_trim(&j->segments, keep, floor_of(j));
    account(store_of_journal(j), before, j->segments.bytes);
}

/* The oldest ended ones go; if that is not enough, the running ones keep no more than their share
 * of what their readers have got. */
static void make_room(struct memory_store *store, size_t need)
{
    pthread_mutex_lock(&store->lock);
    LIST_FOR_EACH(node, &store->ended)
    {
        struct memory_journal *j = CONTAINER_OF(node, struct memory_journal, age);
        if (!is_over(store, need))
            break;
        if (!is_read(j))
            drop(store, j, JOURNAL_GONE_ROOM);
    }
    int64_t now_ns = loop_now_ns();
    if (is_over(store, need) && now_ns - store->trimmed_ns >= ROOM_RETRY_NS) {
        size_t share = (size_t)(store->total_bytes / (store->running_count + 1) / 2);
        store->trimmed_ns = now_ns;
        LIST_FOR_EACH(node, &store->running)
        {
            struct memory_journal *j = CONTAINER_OF(node, struct memory_journal, age);
            lock(j);
            trim(j, share);
            unlock(j);
        }
    }
    pthread_mutex_unlock(&store->lock);
}

/* --- making and finding
 * ---------------------------------------------------------------------------
 */

static struct str copy_to(char **at, struct str s)
{
    struct str copy = {*at, s.len};
    if (s.len > 0)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return copy;
}

static struct memory_journal *journal_new(struct memory_store *store,
                                          const struct journal_spec *spec)
{
    size_t bytes = sizeof(struct memory_journal) + spec->owner.len + spec->once_key.len;
    struct memory_journal *j = mem_alloc(bytes);
    uint8_t secret[SECRET_BYTES];
    if (j == NULL)
        return NULL;
    *j = (struct memory_journal){
        .base = {.ops = store->base.ops, .store = &store->base},
        .refs = 2, /* the store's and the caller's */
        .limits = spec->limits,
        .own_bytes = bytes,
        .is_stored = true,
        .unread_since_ns = clock_mono_ns(),
    };
    char *at = (char *)(j + 1);
    j->owner = copy_to(&at, spec->owner);
    j->once_key = copy_to(&at, spec->once_key);
    memcpy(j->digest, spec->digest, sizeof(j->digest));
    j->limits.stream_bytes = MAX(j->limits.stream_bytes, STREAM_BYTES_MIN);
    random_secret(secret, sizeof(secret));
    memcpy(j->base.id, "stm_", JOURNAL_ID_LEN - 2 * SECRET_BYTES);
    str_to_hex(secret, sizeof(secret), j->base.id + JOURNAL_ID_LEN - 2 * SECRET_BYTES);
    pthread_mutex_init(&j->lock, NULL);
    journal_segments_init(&j->segments);
    list_init(&j->readers);
    list_init(&j->waiters);
    account(store, 0, bytes);
    return j;
}

static struct memory_journal *find_once(struct memory_store *store, const struct journal_spec *spec)
{
    struct memory_journal *j = *once_bucket(store, spec->once_key);
    while (j != NULL && (!str_eq(j->once_key, spec->once_key) || !str_eq(j->owner, spec->owner)))
        j = j->next_once;
    return j;
}

static void put_in(struct memory_store *store, struct memory_journal *j)
{
    struct memory_journal **bucket = id_bucket(store, journal_id(&j->base));
    j->next_id = *bucket;
    *bucket = j;
    if (j->once_key.len > 0) {
        bucket = once_bucket(store, j->once_key);
        j->next_once = *bucket;
        *bucket = j;
        j->has_once = true;
    }
    list_push(&store->running, &j->age);
    store->running_count++;
}

YIELDS static enum journal_verdict create(struct journal_store *base,
                                          const struct journal_spec *spec, struct journal **out)
{
    struct memory_store *store = store_of(base);
    enum journal_verdict verdict = JOURNAL_NO_MEMORY;
    pthread_mutex_lock(&store->lock);
    store->total_bytes = spec->limits.total_bytes;
    drop_expired(store, clock_mono_ns());
    struct memory_journal *j = spec->once_key.len > 0 ? find_once(store, spec) : NULL;
    if (j != NULL) {
        bool is_same = memcmp(j->digest, spec->digest, sizeof(j->digest)) == 0;
        verdict = is_same ? JOURNAL_FOUND : JOURNAL_CONFLICT;
        if (is_same)
            ref(j);
    } else if ((j = journal_new(store, spec)) != NULL) {
        put_in(store, j);
        verdict = JOURNAL_NEW;
    }
    pthread_mutex_unlock(&store->lock);
    *out = j == NULL || verdict == JOURNAL_CONFLICT ? NULL : &j->base;
    return verdict;
}

static bool was_there(const struct memory_store *store, struct str id, struct str owner,
                      enum journal_gone *why)
{
    uint64_t id_hash = str_hash(id), owner_hash = str_hash(owner);
    for (size_t i = 0; i < GONE_REMEMBERED; i++) {
        const struct gone *gone = &store->gone[i];
        if (gone->id_hash == id_hash && gone->owner_hash == owner_hash) {
            *why = gone->why;
            return true;
        }
    }
    return false;
}

YIELDS static enum journal_verdict find(struct journal_store *base, struct str id, struct str owner,
                                        struct journal **out, enum journal_gone *why)
{
    struct memory_store *store = store_of(base);
    enum journal_verdict verdict = JOURNAL_UNKNOWN;
    *out = NULL;
    pthread_mutex_lock(&store->lock);
    drop_expired(store, clock_mono_ns());
    struct memory_journal *j = *id_bucket(store, id);
    while (j != NULL && !str_eq_secret(journal_id(&j->base), id))
        j = j->next_id;
    if (j == NULL && was_there(store, id, owner, why)) {
        verdict = JOURNAL_GONE;
    } else if (j != NULL && str_eq(j->owner, owner)) {
        ref(j);
        *out = &j->base;
        verdict = JOURNAL_FOUND;
    }
    pthread_mutex_unlock(&store->lock);
    return verdict;
}

static int64_t sweep(struct journal_store *base, int64_t now_ns)
{
    struct memory_store *store = store_of(base);
    pthread_mutex_lock(&store->lock);
    int64_t next_ns = drop_expired(store, now_ns);
    pthread_mutex_unlock(&store->lock);
    return next_ns;
}

/* --- the producer
 * ---------------------------------------------------------------------------------
 */

/* Names and values behind the items, in one block. */
static struct http_header *copy_headers(const struct http_headers *headers, size_t *bytes)
{
    *bytes = headers->count * sizeof(struct http_header) + 1;
    for (uint32_t i = 0; i < headers->count; i++)
        *bytes += headers->items[i].name.len + headers->items[i].value.len;
    struct http_header *items = mem_alloc(*bytes);
    if (items == NULL)
        return NULL;
    char *at = (char *)(items + headers->count);
    for (uint32_t i = 0; i < headers->count; i++) {
        items[i].name = copy_to(&at, headers->items[i].name);
        items[i].value = copy_to(&at, headers->items[i].value);
    }
    return items;
}

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the journal");
}

YIELDS static int put_head(struct journal *journal, const struct journal_head *head)
{
    struct memory_journal *j = memory_of(journal);
    size_t bytes;
    struct http_header *items = copy_headers(&head->headers, &bytes);
    if (items == NULL)
        return no_memory();
    lock(j);
    CHECK(!j->has_head);
    j->head = *head;
    j->head.headers = (struct http_headers){items, head->headers.count, head->headers.count};
    j->head_bytes = bytes;
    j->has_head = true;
    account(store_of_journal(j), 0, bytes);
    wake_all(j);
    unlock(j);
    return 0;
}

/* What the stream may hold now. */
static size_t limit_of(const struct memory_journal *j)
{
    size_t limit = (size_t)j->limits.stream_bytes;
    return is_over(store_of_journal(j), 0) ? MIN(limit, JOURNAL_LEAST_BYTES) : limit;
}

static int append(struct journal *journal, const struct journal_event *event)
{
    struct memory_journal *j = memory_of(journal);
    struct memory_store *store = store_of_journal(j);
    lock(j);
    size_t need = journal_segments_need(&j->segments, event);
    if (need > 0 && is_over(store, need)) {
        unlock(j);
        make_room(store, need);
        lock(j);
    }
    size_t limit = limit_of(j);
    if (need > 0 && j->segments.bytes + need > limit)
        trim(j, need < limit ? limit - need : 0);
    size_t before = j->segments.bytes;
    bool is_added = journal_segments_add(&j->segments, event);
    account(store, before, j->segments.bytes);
    unlock(j);
    return is_added ? 0 : no_memory();
}

/* Room by overwriting what was read: a stream whose readers have everything always goes on. */
static bool has_room(struct memory_journal *j)
{
    size_t limit = limit_of(j);
    if (j->segments.bytes > limit)
        trim(j, limit);
    return j->segments.bytes <= limit;
}

YIELDS static int pass(struct journal *journal)
{
    struct memory_journal *j = memory_of(journal);
    struct memory_store *store = store_of_journal(j);
    int r = 0;
    lock(j);
    wake_all(j);
    bool has_waited = false;
    while (r == 0 && !has_room(j)) {
        if (!has_waited)
            atomic_fetch_add_explicit(&store->waits, 1, memory_order_relaxed);
        has_waited = true;
        /* What others give back wakes nobody here. */
        int64_t deadline_ns =
            is_over(store, 0) ? clock_add_ns(loop_now_ns(), ROOM_RETRY_NS) : CLOCK_NEVER;
        j->producer_waits = true;
        r = wait_for_change(j, deadline_ns);
        j->producer_waits = false;
        if (r != -ERR_TIMEOUT)
            continue;
        unlock(j);
        make_room(store, 0);
        lock(j);
        r = 0;
    }
    unlock(j);
    return r;
}

YIELDS static void end(struct journal *journal, bool is_whole, bool keeps_once)
{
    struct memory_journal *j = memory_of(journal);
    struct memory_store *store = store_of_journal(j);
    pthread_mutex_lock(&store->lock);
    lock(j);
    CHECK(!j->is_ended);
    j->is_ended = true;
    j->is_whole = is_whole;
    wake_all(j);
    unlock(j);
    if (!keeps_once || !is_whole)
        unlink_once(store, j);
    if (j->is_stored) {
        list_remove(&j->age);
        list_push(&store->ended, &j->age);
        store->running_count--;
        store->ended_count++;
        j->expires_ns = MAX(clock_add_ns(clock_mono_ns(), j->limits.ttl_ns), 1);
    }
    pthread_mutex_unlock(&store->lock);
}

YIELDS static void forget_once(struct journal *journal)
{
    struct memory_store *store = store_of(journal->store);
    pthread_mutex_lock(&store->lock);
    unlink_once(store, memory_of(journal));
    pthread_mutex_unlock(&store->lock);
}

YIELDS static bool give_up(struct journal *journal, enum journal_gone why)
{
    struct memory_journal *j = memory_of(journal);
    struct memory_store *store = store_of_journal(j);
    pthread_mutex_lock(&store->lock);
    bool is_unread = !is_read(j);
    if (is_unread)
        drop(store, j, why);
    pthread_mutex_unlock(&store->lock);
    return is_unread;
}

static int64_t unread_since(struct journal *journal)
{
    struct memory_journal *j = memory_of(journal);
    lock(j);
    int64_t since_ns = list_is_empty(&j->readers) ? j->unread_since_ns : 0;
    unlock(j);
    return since_ns;
}

/* --- readers
 * --------------------------------------------------------------------------------------
 */

static enum journal_place place_of(struct memory_journal *j, struct journal_reader *reader,
                                   uint64_t after)
{
    const struct journal_segments *s = &j->segments;
    if (after > s->last)
        return JOURNAL_BEYOND;
    if (j->is_ended && after == s->last && after > 0)
        return j->is_whole ? JOURNAL_READ : JOURNAL_CUT;
    return journal_segments_find(s, after, &reader->position) ? JOURNAL_HERE : JOURNAL_DROPPED;
}

YIELDS static enum journal_place attach(struct journal *journal, struct journal_reader *reader,
                                        uint64_t after)
{
    struct memory_journal *j = memory_of(journal);
    lock(j);
    *reader = (struct journal_reader){
        .journal = journal,
        .first = journal_segments_first(&j->segments),
        .last = j->segments.last,
    };
    list_init(&reader->node);
    enum journal_place place = place_of(j, reader, after);
    if (place == JOURNAL_HERE) {
        list_push(&j->readers, &reader->node);
        ref(j);
    }
    unlock(j);
    return place;
}

static bool copy_head(const struct journal_head *from, struct arena *arena, struct journal_head *to)
{
    *to = *from;
    to->headers = (struct http_headers){0};
    for (uint32_t i = 0; i < from->headers.count; i++) {
        struct str name = arena_dup(arena, from->headers.items[i].name);
        struct str value = arena_dup(arena, from->headers.items[i].value);
        if (name.ptr == NULL || value.ptr == NULL ||
            !http_headers_add(&to->headers, arena, name, value))
            return false;
    }
    return true;
}

YIELDS static int get_head(struct journal_reader *reader, struct arena *arena,
                           struct journal_head *head, int64_t deadline_ns)
{
    struct memory_journal *j = memory_of(reader->journal);
    int r = 0;
    lock(j);
    while (r == 0 && !j->has_head && !j->is_ended)
        r = wait_for_change(j, deadline_ns);
    bool is_there = r == 0 && j->has_head;
    unlock(j);
    /* It does not change any more. */
    if (is_there)
        return copy_head(&j->head, arena, head) ? 0 : no_memory();
    return r < 0 ? r : err_set(ERR_RESET, FAULT_UPSTREAM, "the answer ended before it began");
}

YIELDS static int read_on(struct journal_reader *reader, struct buf *out, size_t most,
                          bool *is_last, int64_t deadline_ns)
{
    struct memory_journal *j = memory_of(reader->journal);
    int r = 0;
    lock(j);
    while (r == 0 && reader->position == j->segments.end && !j->is_ended)
        r = wait_for_change(j, deadline_ns);
    if (r == 0)
        journal_segments_copy(&j->segments, &reader->position, most, out);
    if (j->producer_waits)
        wake_all(j);
    bool is_end = r == 0 && j->is_ended && reader->position == j->segments.end;
    bool is_cut = is_end && !j->is_whole;
    unlock(j);
    *is_last = is_end && !is_cut;
    if (r == 0 && !buf_ok(out))
        return no_memory();
    if (is_cut && out->len == 0)
        return err_set(ERR_RESET, FAULT_UPSTREAM, "the answer was broken off");
    return r;
}

YIELDS static void leave(struct journal_reader *reader)
{
    struct memory_journal *j = memory_of(reader->journal);
    lock(j);
    list_remove(&reader->node);
    if (list_is_empty(&j->readers)) {
        j->left_position = reader->position;
        j->unread_since_ns = clock_mono_ns();
    }
    if (j->producer_waits)
        wake_all(j);
    unlock(j);
    unref(&j->base);
}

/* --- the store
 * ------------------------------------------------------------------------------------
 */

static const struct journal_store_ops memory_ops = {
    .create = create,
    .find = find,
    .sweep = sweep,
    .put_head = put_head,
    .append = append,
    .pass = pass,
    .end = end,
    .forget_once = forget_once,
    .give_up = give_up,
    .unread_since = unread_since,
    .attach = attach,
    .get_head = get_head,
    .read = read_on,
    .leave = leave,
    .unref = unref,
};

struct journal_store *journal_memory_new(void)
{
    struct memory_store *store = MEM_NEW(struct memory_store);
    if (store == NULL)
        return NULL;
    store->base.ops = &memory_ops;
    pthread_mutex_init(&store->lock, NULL);
    list_init(&store->running);
    list_init(&store->ended);
    return &store->base;
}

void journal_memory_free(struct journal_store *base)
{
    struct memory_store *store = store_of(base);
    pthread_mutex_lock(&store->lock);
    LIST_FOR_EACH(node, &store->ended)
    {
        drop(store, CONTAINER_OF(node, struct memory_journal, age), JOURNAL_GONE_TTL);
    }
    LIST_FOR_EACH(node, &store->running)
    {
        drop(store, CONTAINER_OF(node, struct memory_journal, age), JOURNAL_GONE_TTL);
    }
    pthread_mutex_unlock(&store->lock);
    pthread_mutex_destroy(&store->lock);
    mem_free(store);
}

void journal_memory_stats(struct journal_store *base, struct journal_memory_stats *stats)
{
    struct memory_store *store = store_of(base);
    pthread_mutex_lock(&store->lock);
    *stats = (struct journal_memory_stats){
        .running = store->running_count,
        .ended = store->ended_count,
        .bytes = atomic_load_explicit(&store->bytes, memory_order_relaxed),
        .bytes_max = atomic_load_explicit(&store->total_bytes, memory_order_relaxed),
        .waits = atomic_load_explicit(&store->waits, memory_order_relaxed),
    };
    memcpy(stats->gone, store->gone_counts, sizeof(stats->gone));
    pthread_mutex_unlock(&store->lock);
}
