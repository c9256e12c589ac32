/*
 * Journals: answers that outlive their connection, as numbered events. The interface of the stores
 * that hold them: one in memory (journal_memory.h), others may share them between processes.
 * Loop threads, inside tasks; journal_sweep and journal_unref from anywhere.
 * What is tagged YIELDS may wait.
 * A journal is counted: create and find give a reference, journal_unref takes it back. A reader has
 * its own; it is the caller's and must leave before its memory goes. One producer writes; any
 * number read. -ERR_NOMEM, -ERR_CANCELED, -ERR_TIMEOUT; what else can be is said by the verdicts.
 */
#ifndef WEIR_STREAM_JOURNAL_STORE_H
#define WEIR_STREAM_JOURNAL_STORE_H

#include "base/buf.h"
#include "base/list.h"
#include "http/message.h"
#include "rt/task.h"

enum { JOURNAL_ID_LEN = 36, JOURNAL_DIGEST_BYTES = 32 };

/* How much is kept, and for how long. */
struct journal_limits {
    uint64_t stream_bytes; /* of one journal */
    uint64_t total_bytes;  /* of all in the store */
    int64_t ttl_ns;        /* after its end */
};

/* What a journal is made with. Strings are copied. */
struct journal_spec {
    struct str owner;    /* who may read it */
    struct str once_key; /* empty, or what makes a second request of the owner the same one */
    uint8_t digest[JOURNAL_DIGEST_BYTES]; /* of the request, to tell a re-used key */
    struct journal_limits limits;
};

enum journal_verdict {
    JOURNAL_NEW,      /* create: it was made */
    JOURNAL_FOUND,    /* find: it is there; create: the owner's once_key has it already */
    JOURNAL_CONFLICT, /* create: the once_key stands for another request */
    JOURNAL_UNKNOWN,  /* find: no such id, or another's */
    JOURNAL_GONE,     /* find: it was there */
    JOURNAL_NO_MEMORY,
};

/* Why one is not there any more. */
enum journal_gone {
    JOURNAL_GONE_TTL,    /* its time after the end is over */
    JOURNAL_GONE_ROOM,   /* it made room for others */
    JOURNAL_GONE_UNREAD, /* nobody read it for so long that it was given up */
    JOURNAL_GONE_COUNT
};

/* The head of the answer. */
struct journal_head {
    unsigned status;
    int64_t content_length; /* -1 = as long as it gets */
    struct http_headers headers;
};

/* Bytes of the answer, as up to three pieces. What is not numbered (comments) is replayed along
 * with what stands around it. */
enum { JOURNAL_PIECES = 3 };
struct journal_event {
    struct str pieces[JOURNAL_PIECES];
    bool is_numbered;
};

struct journal_store;
struct journal_store_ops;

/* Embedded in what the store makes. */
struct journal {
    const struct journal_store_ops *ops;
    struct journal_store *store;
    char id[JOURNAL_ID_LEN]; /* cannot be guessed */
};

/* Who reads: in the caller's memory. */
struct journal_reader {
    struct list node;
    struct journal *journal;
    uint64_t position; /* the store's own */
    /* Filled in by attach: the numbers of the events that are kept; last < first when none is. */
    uint64_t first, last;
};

/* Where a reader that has everything up to event n stands. */
enum journal_place {
    JOURNAL_HERE,    /* attached */
    JOURNAL_READ,    /* that was all, and nothing will follow */
    JOURNAL_BEYOND,  /* there is no event n yet */
    JOURNAL_DROPPED, /* events after n are not kept any more */
    JOURNAL_CUT,     /* that was all that came before the answer broke off */
};

struct journal_store_ops {
    YIELDS enum journal_verdict (*create)(struct journal_store *store,
                                          const struct journal_spec *spec, struct journal **out);
    YIELDS enum journal_verdict (*find)(struct journal_store *store, struct str id,
                                        struct str owner, struct journal **out,
                                        enum journal_gone *why);
    int64_t (*sweep)(struct journal_store *store, int64_t now_ns);
    YIELDS int (*put_head)(struct journal *journal, const struct journal_head *head);
    int (*append)(struct journal *journal, const struct journal_event *event);
    YIELDS int (*pass)(struct journal *journal);
    YIELDS void (*end)(struct journal *journal, bool is_whole, bool keeps_once);
    YIELDS void (*forget_once)(struct journal *journal);
    YIELDS bool (*give_up)(struct journal *journal, enum journal_gone why);
    int64_t (*unread_since)(struct journal *journal);
    YIELDS enum journal_place (*attach)(struct journal *journal, struct journal_reader *reader,
                                        uint64_t after);
    YIELDS int (*get_head)(struct journal_reader *reader, struct arena *arena,
                           struct journal_head *head, int64_t deadline_ns);
    YIELDS int (*read)(struct journal_reader *reader, struct buf *out, size_t most, bool *is_last,
                       int64_t deadline_ns);
    YIELDS void (*leave)(struct journal_reader *reader);
    void (*unref)(struct journal *journal);
};

struct journal_store {
    const struct journal_store_ops *ops;
};

/* Makes a journal, or finds the one that the owner's once_key stands for. */
YIELDS static inline enum journal_verdict journal_create(struct journal_store *store,
                                                         const struct journal_spec *spec,
                                                         struct journal **out)
{
    return store->ops->create(store, spec, out);
}

/* Finds a journal of the owner; *why is set for JOURNAL_GONE. */
YIELDS static inline enum journal_verdict journal_find(struct journal_store *store, struct str id,
                                                       struct str owner, struct journal **out,
                                                       enum journal_gone *why)
{
    return store->ops->find(store, id, owner, out, why);
}

/* Lets go of what is past its time. When the next one will be; CLOCK_NEVER when none is ended. */
static inline int64_t journal_sweep(struct journal_store *store, int64_t now_ns)
{
    return store->ops->sweep(store, now_ns);
}

/* --- the producer --- */

/* Once, before the first event. The head is copied. */
YIELDS static inline int journal_put_head(struct journal *journal, const struct journal_head *head)
{
    return journal->ops->put_head(journal, head);
}

/* Appends an event, whatever room there is; the numbered ones count from 1. Its bytes may lie in
 * the loop's read buffer. */
static inline int journal_append(struct journal *journal, const struct journal_event *event)
{
    return journal->ops->append(journal, event);
}

/*
 * After a run of appends: tells readers that there is something new, and waits while more is held
 * than may be: until readers have got what is to be overwritten; where nobody reads, until somebody
 * comes and does.
 */
YIELDS static inline int journal_pass(struct journal *journal)
{
    return journal->ops->pass(journal);
}

/* Nothing follows. Not whole: it was cut. keeps_once: a second request with its once_key is
 * answered by it. */
YIELDS static inline void journal_end(struct journal *journal, bool is_whole, bool keeps_once)
{
    journal->ops->end(journal, is_whole, keeps_once);
}

/* A second request with its once_key is a new one from now on. */
YIELDS static inline void journal_forget_once(struct journal *journal)
{
    journal->ops->forget_once(journal);
}

/* Takes it out of the store, unless somebody reads it: then false. */
YIELDS static inline bool journal_give_up(struct journal *journal, enum journal_gone why)
{
    return journal->ops->give_up(journal, why);
}

/* When its last reader left (clock_mono_ns); 0 while there is one. */
static inline int64_t journal_unread_since(struct journal *journal)
{
    return journal->ops->unread_since(journal);
}

/* --- readers --- */

/* Begins to read after event `after` (0: from the first). JOURNAL_HERE: the reader must leave. */
YIELDS static inline enum journal_place journal_attach(struct journal *journal,
                                                       struct journal_reader *reader,
                                                       uint64_t after)
{
    return journal->ops->attach(journal, reader, after);
}

/* Waits for the head and copies it into the arena. -ERR_RESET when the journal ended without. */
YIELDS static inline int journal_get_head(struct journal_reader *reader, struct arena *arena,
                                          struct journal_head *head, int64_t deadline_ns)
{
    return reader->journal->ops->get_head(reader, arena, head, deadline_ns);
}

/*
 * Waits for events and appends their bytes to *out, whole ones, about `most` bytes. 0, with
 * *is_last when nothing follows (there may be no bytes then); -ERR_RESET when it was cut here.
 */
YIELDS static inline int journal_read(struct journal_reader *reader, struct buf *out, size_t most,
                                      bool *is_last, int64_t deadline_ns)
{
    return reader->journal->ops->read(reader, out, most, is_last, deadline_ns);
}

YIELDS static inline void journal_leave(struct journal_reader *reader)
{
    reader->journal->ops->leave(reader);
}

static inline void journal_unref(struct journal *journal)
{
    journal->ops->unref(journal);
}

static inline struct str journal_id(const struct journal *journal)
{
    return str_n(journal->id, JOURNAL_ID_LEN);
}

#endif
