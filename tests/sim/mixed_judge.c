#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim/mixed_run.h"
#include "support/json_equal.h"
#include "support/validate.h"

/*
 * What a client may see of an answer, however it was come by: all of it and a good end, or the
 * beginning of it and an error; one beginning, one end, and no call that looks finished and is not.
 */

struct mixed_seen mixed_seen;

void mixed_fail(const struct mixed_run *run, const char *format, ...)
{
    char why[400];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    print_error("seed %llu, %s, %u targets, continued %u times\n%.*s\n",
                (unsigned long long)run->seed, run->client->name, run->target_count, run->continued,
                STR_ARG(buf_str(&run->sent)));
    fail_msg("%s", why);
}

/* --- calls --- */

static const char *arguments_of(const struct mixed_run *run, unsigned number)
{
    const char *const all[] = {run->tale.arguments, run->tale.other_arguments};
    return number < ARRAY_LEN(all) ? all[number] : NULL;
}

static bool are_whole(const struct mixed_run *run, unsigned number, struct str got)
{
    const char *whole = arguments_of(run, number);
    char where[200];
    return whole != NULL && ((got.len == 0 && strcmp(whole, "{}") == 0) ||
                             (got.len > 0 && json_equal(got, str_c(whole), where, sizeof(where))));
}

static void check_call(struct mixed_run *run, const struct llm_block *block, unsigned number,
                       bool is_whole)
{
    const char *name = number == 0 ? run->tale.call : number == 1 ? run->tale.other_call : NULL;
    struct str got = text_or(run->arena, block->arguments, STR_EMPTY);
    if (name == NULL || !text_eq(block->name, str_c(name)))
        mixed_fail(run, "call %u is another", number);
    bool is_good = are_whole(run, number, got);
    if (!is_good && (is_whole || !str_starts(str_c(arguments_of(run, number)), got)))
        mixed_fail(run, "call %u has the arguments %.*s", number, STR_ARG(got));
}

/* --- reading as a client does --- */

enum { CALLS_MAX = 4 };

struct reading {
    struct llm_sink sink; /* before the fold: who is told to be finished must be whole */
    struct mixed_run *run;
    struct llm_fold fold;
    unsigned calls, blocks[CALLS_MAX];
    struct buf arguments[CALLS_MAX];
    unsigned frames; /* with data */
    bool has_end;    /* one that is seen without an event of its own */
};

static int read_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct reading *r = CONTAINER_OF(sink, struct reading, sink);
    bool is_call = event->kind == EVENT_BLOCK_START && event->block_kind == BLOCK_TOOL_CALL;
    if (is_call && r->calls < CALLS_MAX)
        r->blocks[r->calls++] = event->block;
    for (unsigned i = 0; i < r->calls; i++) {
        if (r->blocks[i] != event->block)
            continue;
        if (event->kind == EVENT_DELTA && event->delta == DELTA_ARGUMENTS)
            text_append_plain(&r->arguments[i], event->text);
        else if (event->kind == EVENT_BLOCK_STOP && !r->run->was_garbled_as_is &&
                 !are_whole(r->run, i, buf_str(&r->arguments[i])))
            mixed_fail(r->run, "call %u looks finished with %.*s", i,
                       STR_ARG(buf_str(&r->arguments[i])));
    }
    return llm_sink_put(&r->fold.sink, event);
}

/* Strictly: what is not legal in the dialect fails. Else what cannot be read is skipped. */
static void read_bytes(struct reading *r, struct mixed_run *run, struct str bytes, bool is_strict)
{
    const struct dialect *client = run->client;
    struct arena *arena = arena_new(4096);
    struct llm_decoder *decoder = client->decoder_new(arena, &run->codec);
    struct frame_splitter splitter;
    struct validator v;
    struct frame frame;
    *r = (struct reading){.sink = {read_event}, .run = run};
    llm_fold_init(&r->fold, run->arena);
    validator_init(&v, client->id);
    frame_splitter_init(&splitter, framing_of(client), 1 << 20);
    while (frame_next(&splitter, &bytes, &frame) == 1) {
        if (!frame.has_data)
            continue;
        r->frames++;
        if (is_strict && !validator_event(&v, frame.type, frame.data))
            mixed_fail(run, "%s", v.why);
        int result = client->decode(decoder, frame.type, frame.data, &r->sink);
        if (is_strict && result != 0)
            mixed_fail(run, "an event cannot be read");
    }
    if (is_strict && !validator_end(&v))
        mixed_fail(run, "%s", v.why);
    r->has_end = r->fold.answer.is_done || r->fold.answer.is_error;
    if (!r->has_end && client->id == DIALECT_GEMINI) /* which has no last event */
        r->has_end = client->decode_end(decoder, &r->sink) == 0;
    frame_splitter_fini(&splitter);
    validator_fini(&v);
    arena_free(arena);
    for (unsigned i = 0; i < CALLS_MAX; i++)
        buf_fini(&r->arguments[i]);
}

/* --- what must hold --- */

static void judge_answer(struct mixed_run *run, struct str sent)
{
    struct reading r;
    unsigned calls = 0;
    read_bytes(&r, run, sent, true);
    const struct llm_answer *answer = &r.fold.answer;
    bool is_whole = !answer->is_error;
    if (!r.has_end || answer->is_error == answer->is_done)
        mixed_fail(run, "there are two ends, or none");
    if (is_whole && !run->is_whole)
        mixed_fail(run, "a good end after a failure");
    if (run->is_whole && !is_whole && !run->observer.is_broken)
        mixed_fail(run, "an error after a good end");
    struct str whole = run->tale.text != NULL ? str_c(run->tale.text) : STR_EMPTY;
    struct str text = text_of_kind(run->arena, answer, BLOCK_TEXT);
    if (is_whole ? !str_eq(text, whole) : !str_starts(whole, text))
        mixed_fail(run, "the text is not\n%.*s\nbut\n%.*s", STR_ARG(whole), STR_ARG(text));
    const struct llm_choice *choice = answer->choices;
    for (const struct llm_block *b = choice != NULL ? choice->blocks : NULL; b != NULL;
         b = b->next) {
        if (b->kind == BLOCK_TOOL_CALL)
            check_call(run, b, calls++, is_whole);
    }
    unsigned wanted = (run->tale.call != NULL) + (run->tale.other_call != NULL);
    if (is_whole && calls != wanted)
        mixed_fail(run, "%u calls instead of %u", calls, wanted);
    mixed_seen.whole += is_whole;
    mixed_seen.broken += !is_whole;
    mixed_seen.continued += is_whole && run->continued > 0;
}

/* All events that are whole. */
static struct str whole_events(struct str bytes)
{
    size_t len = bytes.len;
    while (len > 0 && !str_ends(str_head(bytes, len), STR("\n\n")))
        len--;
    return str_head(bytes, len);
}

/* What a provider garbled itself its own client gets, byte for byte: the answer has a hole, but
 * there is still one end. */
static void judge_garbled(struct mixed_run *run, struct str sent)
{
    static const char *const starts[] = {"response.created", "message-start", "message_start"};
    struct reading of_provider, of_client;
    struct str came = whole_events(buf_str(&run->wire));
    if (!str_starts(sent, came))
        mixed_fail(run, "it is not what came");
    read_bytes(&of_provider, run, came, false);
    read_bytes(&of_client, run, sent, false);
    if (!of_client.has_end)
        mixed_fail(run, "there is no end");
    if (!run->is_whole && of_client.fold.answer.is_done)
        mixed_fail(run, "a good end after a failure");
    unsigned more = of_client.frames - of_provider.frames;
    if (of_provider.has_end ? more > 0 : more > 2)
        mixed_fail(run, "%u events came after what came", more);
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        if (str_find(str_skip(sent, came.len), str_c(starts[i])) >= 0)
            mixed_fail(run, "it begins again");
    }
    mixed_seen.garbled++;
}

void mixed_judge(struct mixed_run *run)
{
    struct str sent = str_skip(buf_str(&run->sent), run->sent_before);
    if (!run->has_begun)
        assert_int_equal(sent.len, 0);
    else if (run->was_garbled_as_is)
        judge_garbled(run, sent);
    else
        judge_answer(run, sent);
    mixed_seen.refused += !run->has_begun;
}
