#include "gateway/resume.h"

#include <openssl/evp.h>

#include "base/clock.h"
#include "gateway/detached.h"
#include "gateway/exchange.h"
#include "gateway/headers.h"
#include "gateway/operation.h"
#include "gateway/query.h"
#include "gateway/resume_producer.h"

enum {
    ONCE_KEY_BYTES_MAX = 255,
    /* Handed to the client at once, at most about. */
    READ_BYTES = 64 * 1024,
};

/* How long the last words of a shutdown may take. */
#define LAST_WORDS_NS NS_PER_SEC

/* --- what a client asks for
 * ------------------------------------------------------------------------
 */

static struct str header_of(const struct exchange *ex, struct str name)
{
    return str_trim(http_headers_get(&ex->http->headers, name));
}

static bool asks_for(const struct exchange *ex, struct str token)
{
    return http_headers_has_token(&ex->http->headers, STR("x-weir-resume"), token);
}

bool resume_wants_restart(const struct exchange *ex)
{
    return asks_for(ex, STR("restart"));
}

/* The policy of the route that is asked for. Looked up by its name alone: a plan would count as a
 * turn. */
static const struct route_policy *policy_of(const struct exchange *ex)
{
    const struct settings *settings = ex->settings;
    ptrdiff_t suffix = str_rindex(ex->asked, ':');
    struct str plain = suffix < 0 ? ex->asked : str_head(ex->asked, (size_t)suffix);
    for (unsigned i = 0; i < settings->route_count; i++) {
        const struct route *route = &settings->routes[i];
        if (str_eq(route->name, ex->asked) || str_eq(route->name, plain))
            return &route->policy;
    }
    return &settings->routing;
}

/* The client may come back for the rest: the stream has an id, and its events have numbers. */
static bool is_resumable(const struct exchange *ex)
{
    enum route_resume resume = policy_of(ex)->resume;
    if (!ex->is_stream || resume == RESUME_NEVER)
        return false;
    return resume == RESUME_ALWAYS || asks_for(ex, STR("true"));
}

bool resume_takes(struct exchange *ex)
{
    if (detached_of(ex->http) != NULL)
        return false;
    return http_headers_get(&ex->http->headers, STR("idempotency-key")).ptr != NULL ||
           is_resumable(ex);
}

/* --- reading a journal to the client
 * ----------------------------------------------------------------
 */

YIELDS static int send_head(struct exchange *ex, struct journal_reader *reader, bool is_part)
{
    struct journal_head head;
    int r = journal_get_head(reader, ex->head_arena, &head, CLOCK_NEVER);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < head.headers.count; i++)
        exchange_answer_header(ex, head.headers.items[i].name, head.headers.items[i].value);
    if (ex->answer.count < head.headers.count)
        return refuse_no_memory(ex);
    return http_response_start(ex->http, head.status, &ex->answer,
                               is_part ? -1 : head.content_length);
}

/* The stream runs now, perhaps for minutes: what was only needed to begin it is given back. */
static void settle_down(struct exchange *ex)
{
    if (ex->head_arena == NULL || !ex->http->head_sent)
        return;
    exchange_forget_head(ex);
    task_trim_stack();
}

YIELDS static int send_rest(struct exchange *ex, struct journal_reader *reader, int64_t deadline_ns)
{
    bool is_last = false;
    while (!is_last) {
        struct buf bytes = BUF_INIT;
        int r = journal_read(reader, &bytes, READ_BYTES, &is_last, deadline_ns);
        struct iovec iov = {bytes.ptr, bytes.len};
        if (r == 0)
            r = http_response_write(ex->http, &iov, bytes.len > 0, is_last, CLOCK_NEVER);
        buf_fini(&bytes);
        if (r < 0)
            return r;
        settle_down(ex);
    }
    return 0;
}

YIELDS static int send_all(struct exchange *ex, struct journal_reader *reader, bool is_part)
{
    int r = send_head(ex, reader, is_part);
    if (r == 0)
        r = send_rest(ex, reader, CLOCK_NEVER);
    if (r != -ERR_CANCELED || task_cancel_reason(ex->task) != ERR_CANCELED)
        return r;
    /* A shutdown: the producers are told, too, and say so in their streams. */
    detached_cancel_all();
    task_shield();
    if (ex->http->status == 0)
        r = send_head(ex, reader, is_part);
    if (ex->http->status != 0)
        r = send_rest(ex, reader, clock_add_ns(loop_now_ns(), LAST_WORDS_NS));
    task_unshield();
    return r;
}

YIELDS static void follow(struct exchange *ex, struct journal_reader *reader, bool is_part)
{
    exchange_wait_begins(ex);
    http_request_watch_hangup(ex->http, ex->task);
    if (send_all(ex, reader, is_part) < 0 && ex->http->status != 0)
        http_response_abort(ex->http);
    journal_leave(reader);
}

/* --- POST
 * --------------------------------------------------------------------------------------------
 */

static struct str owner_of(const struct exchange *ex)
{
    return ex->key == NULL ? STR_EMPTY : ex->key->name;
}

/* What makes two requests the same one. */
static bool digest_request(const struct exchange *ex, uint8_t digest[JOURNAL_DIGEST_BYTES])
{
    const struct http_request *http = ex->http;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool is_done = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
                   EVP_DigestUpdate(md, http->target.ptr, http->target.len) == 1 &&
                   EVP_DigestUpdate(md, "\n", 1) == 1 &&
                   EVP_DigestUpdate(md, ex->body.ptr, ex->body.len) == 1 &&
                   EVP_DigestFinal_ex(md, digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    return is_done;
}

YIELDS static int check_headers(struct exchange *ex)
{
    const struct http_headers *headers = &ex->http->headers;
    struct str once = header_of(ex, STR("idempotency-key"));
    bool has_once = http_headers_get(headers, STR("idempotency-key")).ptr != NULL;
    if (!has_once || (once.len > 0 && once.len <= ONCE_KEY_BYTES_MAX))
        return 0;
    refuse(ex, REFUSE_HEADER, STR("Idempotency-Key"),
           "The header Idempotency-Key must have 1 to %d characters; it has %zu.",
           ONCE_KEY_BYTES_MAX, once.len);
    return -ERR_INVALID;
}

/* Starts the producer, which takes the reference to the journal. */
YIELDS static int produce(struct exchange *ex, struct journal *journal)
{
    struct producer_settings settings = {
        .journal = journal,
        .adds_ids = is_resumable(ex),
        .grace_ns = policy_of(ex)->resume_grace_ns,
        /* A translation may be longer than what it is made of. */
        .event_bytes = 2 * ex->settings->event_bytes,
    };
    int r = producer_start(ex, &settings);
    if (r < 0) {
        journal_end(journal, false, false);
        journal_unref(journal);
        return refuse_no_memory(ex);
    }
    ex->is_told_elsewhere = true;
    return 0;
}

YIELDS static void read_new(struct exchange *ex, struct journal *journal,
                            struct journal_reader *reader)
{
    /* Nobody else knows it yet. */
    CHECK(journal_attach(journal, reader, 0) == JOURNAL_HERE);
    if (produce(ex, journal) < 0)
        journal_leave(reader);
    else
        follow(ex, reader, false);
}

/* The same request once more. */
YIELDS static void read_again(struct exchange *ex, struct journal *journal,
                              struct journal_reader *reader)
{
    enum journal_place place = journal_attach(journal, reader, 0);
    journal_unref(journal);
    if (place != JOURNAL_HERE) {
        refuse(ex, REFUSE_STREAM_GONE, STR("Idempotency-Key"),
               "The answer to the first request with this Idempotency-Key cannot be repeated: it "
               "is longer than what is kept of an answer (journal.bytes).");
        return;
    }
    ex->record.model_asked = arena_dup(ex->arena, ex->record.model_asked);
    ex->asked = ex->record.model_asked;
    buf_fini(&ex->body);
    exchange_answer_header(ex, STR("x-weir-idempotent-replay"), STR("true"));
    follow(ex, reader, false);
}

YIELDS void resume_run(struct exchange *ex)
{
    struct journal_store *store = producer_store();
    struct journal_reader *reader = ARENA_NEW(ex->arena, struct journal_reader);
    struct journal *journal = NULL;
    struct journal_spec spec = {
        .owner = owner_of(ex),
        .once_key = header_of(ex, STR("idempotency-key")),
        .limits = {ex->settings->journal.stream_bytes, ex->settings->journal.total_bytes,
                   ex->settings->journal.ttl_ns},
    };
    if (check_headers(ex) < 0)
        return;
    if (store == NULL || reader == NULL || !digest_request(ex, spec.digest)) {
        refuse_no_memory(ex);
        return;
    }
    switch (journal_create(store, &spec, &journal)) {
    case JOURNAL_NEW:
        read_new(ex, journal, reader);
        break;
    case JOURNAL_FOUND:
        read_again(ex, journal, reader);
        break;
    case JOURNAL_CONFLICT:
        refuse(ex, REFUSE_ONCE_KEY_REUSED, STR("Idempotency-Key"),
               "This Idempotency-Key was used for another request. Use a new key for each request "
               "that is not the same one sent again.");
        break;
    case JOURNAL_UNKNOWN:
    case JOURNAL_GONE:
    case JOURNAL_NO_MEMORY:
        refuse_no_memory(ex);
    }
}

/* --- GET /v1/streams/{id}
 * ----------------------------------------------------------------------------
 */

static const char *const gone_words[JOURNAL_GONE_COUNT] = {
    [JOURNAL_GONE_TTL] = "it ended, and its time after that is over (journal.ttl)",
    [JOURNAL_GONE_ROOM] = "it ended, and made room for others (journal.total)",
    [JOURNAL_GONE_UNREAD] = "nobody came back for it in time, and it was given up (resume_grace)",
};

/* The number of the last event that the client has. */
YIELDS static int read_last_event(struct exchange *ex, uint64_t *last)
{
    struct str said = header_of(ex, STR("last-event-id"));
    if (said.len == 0)
        said = query_value(ex->http->query, STR("last_event_id"), ex->arena);
    *last = 0;
    if (said.len == 0 || str_to_u64(said, last))
        return 0;
    refuse(ex, REFUSE_HEADER, STR("Last-Event-ID"),
           "Last-Event-ID must be the number of an event of this stream, not '%.*s'.",
           STR_ARG(str_head(said, 64)));
    return -ERR_INVALID;
}

YIELDS static void refuse_place(struct exchange *ex, enum journal_place place,
                                const struct journal_reader *reader, uint64_t after)
{
    unsigned long long first = reader->first, last = reader->last, n = after;
    if (place == JOURNAL_READ) {
        /* A browser's EventSource comes back until it is told that nothing follows. */
        http_respond(ex->http, 204, &ex->answer, STR_EMPTY);
    } else if (place == JOURNAL_BEYOND) {
        refuse(ex, REFUSE_STREAM_RANGE, STR("Last-Event-ID"),
               "The stream has no event %llu: its events so far are 1 to %llu.", n, last);
    } else if (place == JOURNAL_CUT) {
        refuse(ex, REFUSE_STREAM_GONE, STR_EMPTY,
               "The stream broke off after event %llu; nothing follows.", last);
    } else {
        refuse(ex, REFUSE_STREAM_GONE, STR("Last-Event-ID"),
               "The events after %llu are not all kept any more, only those from %llu to %llu "
               "(journal.bytes).",
               n, first, last);
    }
}

YIELDS static void read_from(struct exchange *ex, struct journal *journal)
{
    struct journal_reader *reader = ARENA_NEW(ex->arena, struct journal_reader);
    uint64_t after;
    if (reader == NULL || read_last_event(ex, &after) < 0) {
        if (reader == NULL)
            refuse_no_memory(ex);
        journal_unref(journal);
        return;
    }
    enum journal_place place = journal_attach(journal, reader, after);
    journal_unref(journal);
    ex->record.is_stream = true;
    if (place == JOURNAL_HERE)
        follow(ex, reader, after > 0);
    else
        refuse_place(ex, place, reader, after);
}

YIELDS void streams_get(struct exchange *ex)
{
    struct journal_store *store = producer_store();
    struct journal *journal = NULL;
    enum journal_gone why = JOURNAL_GONE_TTL;
    if (store == NULL) {
        refuse_no_memory(ex);
        return;
    }
    switch (journal_find(store, ex->path.model, owner_of(ex), &journal, &why)) {
    case JOURNAL_FOUND:
        read_from(ex, journal);
        break;
    case JOURNAL_GONE:
        refuse(ex, REFUSE_STREAM_GONE, STR_EMPTY, "The stream '%.*s' is not kept any more: %s.",
               STR_ARG(ex->path.model), gone_words[why]);
        break;
    default:
        refuse(ex, REFUSE_STREAM_UNKNOWN, STR_EMPTY,
               "There is no stream '%.*s'. Its id is in the header x-weir-stream-id of the answer, "
               "and it is there for the API key that asked.",
               STR_ARG(str_head(ex->path.model, 64)));
    }
}

void resume_cancel_all(void)
{
    detached_cancel_all();
}
