#include "base/clock.h"
#include "gateway/attempts.h"
#include "gateway/cost.h"
#include "gateway/operation.h"
#include "gateway/params.h"
#include "gateway/relay_stream_private.h"
#include "gateway/resume.h"

/*
 * A stream that broke after its beginning was sent goes on with another target. What the client has
 * is read back from the bytes that were sent; the next provider is asked for the rest, and its
 * answer is joined on where the first one stopped. See docs/internals/continuation.md.
 */

bool relay_may_continue(const struct exchange *ex)
{
    return ex->attempts != NULL && ex->policy->mid_stream == MID_STREAM_CONTINUE &&
           ex->settings->journal.stream_bytes > 0 && ex->operation->upstream == OPERATION_CHAT &&
           attempts_has_more(ex);
}

/* Everything that is queued is whole events: the client gets them, and the journal has them. */
YIELDS static int flush(struct relay *relay)
{
    relay->is_breaking = true;
    int r = relay->copied.len > 0 || relay->run.len > 0 ? relay_send_now(relay, false) : 0;
    relay->is_breaking = false;
    return r;
}

/* For people who read the stream; SDKs skip comments. */
static void mark_seam(struct relay *relay, struct str from)
{
    const struct request_record *rec = &relay->ex->record;
    if (relay->writer.framing != FRAMING_SSE || relay->writer.has_no_comments)
        return;
    buf_printf(&relay->copied, ": weir failover from=%.*s to=%.*s/%.*s bytes=%zu\n\n",
               STR_ARG(from), STR_ARG(rec->provider), STR_ARG(rec->model), relay->journal.len);
}

/* How the rest is asked for: always by a translation, also in one's own dialect, since what comes
 * has to be joined. */
YIELDS static int prepare(struct relay *relay, struct continuation *c)
{
    struct exchange *ex = relay->ex;
    struct translation *t = ARENA_NEW(ex->arena, struct translation);
    if (t == NULL)
        return -ERR_NOMEM;
    exchange_set_target(ex);
    if (!exchange_is_offered(ex))
        return err_set(ERR_INVALID, FAULT_CLIENT, "the target does not offer it");
    ex->translation = t;
    ex->is_rewritten = true;
    int r = translation_init(t, ex->arena, ex->client, ex->provider, &ex->codec, buf_str(&ex->body),
                             ex->asked, ex->is_stream);
    if (r == 0 && ex->client->id == DIALECT_OPENAI_RESPONSES)
        t->settings.request = ex->codec.request = &t->request;
    if (r == 0)
        r = continuation_request(c, t, ex->provider, &ex->llm_target, &ex->rewritten);
    if (r == 0 && !buf_ok(&ex->rewritten))
        r = -ERR_NOMEM;
    ex->special_path = c->path;
    return r < 0 ? r : exchange_prepare_rest(ex);
}

/* Asks the target that attempts_continue has chosen: for the rest, or without `c` for the whole
 * again. 0: its stream has begun. */
YIELDS static int ask(struct relay *relay, struct continuation *c)
{
    struct exchange *ex = relay->ex;
    enum stream_framing framing;
    if (!exchange_forget_attempt(ex))
        return -ERR_NOMEM;
    int r = c != NULL ? prepare(relay, c) : exchange_prepare(ex);
    if (r == -ERR_INVALID)
        attempts_unfit(ex); /* it is not the target's fault */
    if (r == 0)
        r = exchange_attempt(ex);
    if (r < 0)
        return r;
    const struct h1_head *head = &ex->call.head;
    if (head->status >= 400) {
        relay_note_failed_answer(ex);
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "it answered %u", head->status);
    }
    if (head->status != 200 ||
        !stream_framing_of(http_headers_get(&head->headers, STR("content-type")),
                           ex->llm_target.variant == VARIANT_BEDROCK, &framing))
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "its answer is no stream");
    r = c != NULL ? continuation_start(c, ex->translation) : 0;
    if (r == 0)
        r = relay_set_up(relay, framing);
    if (r == 0)
        exchange_forget_head(ex);
    return r;
}

/* What the attempt that broke has told of its usage. */
static struct token_usage part_usage(const struct relay *relay)
{
    if (relay->continuation != NULL)
        return relay->continuation->attempt;
    return relay->way == RELAY_TRANSLATED ? relay->ex->translation->usage
                                          : relay->observer.summary.usage;
}

/* The old provider's part is over: what is known of it stays in the record. */
static void leave_old(struct relay *relay)
{
    struct exchange *ex = relay->ex;
    struct token_usage usage = part_usage(relay);
    relay_note_stream(relay);
    exchange_add_part_cost(ex, &usage);
    ex->part_usage = TOKEN_USAGE_NONE;
    ex->record.usage.is_partial = true;
    relay->is_left = true;
    stream_observer_fini(&relay->observer);
    relay->finished_ns = 0;
    relay->owes_lf = false;
}

YIELDS static int finish_whole(struct relay *relay, struct continuation *c)
{
    int r = continuation_complete(c, &relay->writer.frames);
    frame_write_end(&relay->writer);
    return r < 0 ? r : relay_send_now(relay, true);
}

/* Tries targets until one goes on. */
YIELDS static int go_on(struct relay *relay, struct continuation *c, int code)
{
    struct exchange *ex = relay->ex;
    struct err why = *err_slot();
    struct str parts[] = {ex->record.provider, STR("/"), ex->record.model};
    struct str from = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
    while (attempts_continue(ex)) {
        int r = ask(relay, c);
        if (r == 0) {
            relay->is_left = false;
            ex->record.continued++;
            metrics_count(METRIC_STREAMS_CONTINUED, 1);
            mark_seam(relay, from);
            return 0;
        }
        if (r == -ERR_CANCELED || r == -ERR_NOMEM)
            return r;
        attempts_failure(ex, r);
    }
    *err_slot() = why;
    return code;
}

/* Reads what the client has. */
static int read_delivered(struct relay *relay, struct continuation **out)
{
    struct exchange *ex = relay->ex;
    struct continuation *c = ARENA_NEW(ex->arena, struct continuation);
    /* What its encoder holds on to lives as long as it does. */
    struct llm_codec_settings *codec = ARENA_NEW(ex->arena, struct llm_codec_settings);
    struct token_usage *spent = ARENA_NEW(ex->arena, struct token_usage);
    if (c == NULL || codec == NULL || spent == NULL)
        return -ERR_NOMEM;
    *codec = ex->codec;
    if (relay->way == RELAY_TRANSLATED)
        codec->quirks = NULL;
    *spent = relay->continuation != NULL ? relay->continuation->usage : part_usage(relay);
    struct continuation_settings settings = {
        .client = ex->client,
        .framing = relay->writer.framing,
        .codec = codec,
        .spent = relay->way == RELAY_TRANSLATED ? spent : NULL,
    };
    int r = continuation_read(c, &settings, buf_str(&relay->journal));
    if (r < 0) {
        continuation_fini(c);
        return r;
    }
    *out = c;
    return 0;
}

/* A client that asked for it is told to forget what it has, and gets another answer from its first
 * token. That word is no part of the answer: the journal begins after it. */
YIELDS static int restart(struct relay *relay, int code)
{
    buf_fini(&relay->journal);
    int r = go_on(relay, NULL, code);
    if (r < 0)
        return r;
    frame_write(&relay->writer, STR("weir.reset"), STR("{\"type\":\"weir.reset\"}"));
    relay->keeps_journal = false;
    return flush(relay);
}

YIELDS int relay_continue(struct relay *relay, int code)
{
    struct exchange *ex = relay->ex;
    struct err why = *err_slot();
    bool restarts = resume_wants_restart(ex) && relay->writer.framing == FRAMING_SSE;
    struct continuation *c = NULL;
    attempts_failure(ex, code);
    int r = flush(relay);
    if (r == 0 && !relay->keeps_journal)
        r = -ERR_NOMEM;
    if (r == 0)
        r = read_delivered(relay, &c);
    if (r < 0)
        return r;
    leave_old(relay);
    if (c->verdict == CONTINUATION_COMPLETE) {
        r = finish_whole(relay, c);
        r = r < 0 ? r : 1;
    } else if (c->verdict == CONTINUATION_OVER ||
               (c->verdict == CONTINUATION_CANNOT && !restarts)) {
        *err_slot() = why;
        r = code;
    } else {
        r = restarts ? restart(relay, code) : go_on(relay, c, code);
    }
    relay_continue_fini(relay);
    /* Of an answer that began anew nothing was there before; where nobody gives one, it is `c` that
     * knows where the client's stream stands. */
    if (r == 0 && restarts)
        continuation_fini(c);
    else
        relay->continuation = c;
    relay->keeps_journal = r == 0 && relay_may_continue(ex);
    return r;
}

void relay_continue_fini(struct relay *relay)
{
    if (relay->continuation != NULL)
        continuation_fini(relay->continuation);
    relay->continuation = NULL;
}
