/* Recorded streams, cut after each of their events and gone on with by another provider: what the
 * client reads is legal, and its text is what was recorded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/err.h"
#include "event_stream_recording.h"
#include "recordings.h"
#include "support/broken_stream.h"
#include "support/validate.h"

enum { CUTS_MAX = 40 };

struct counts {
    const struct dialect *client;
    bool is_legal; /* the recording itself, to a strict reader: look-alikes' are not all */
    unsigned legal, streams, went_on, complete, cannot, unread;
};

/* Where each of its events ends. */
static unsigned find_ends(const struct dialect *client, struct str bytes, size_t *ends,
                          unsigned max)
{
    struct frame_splitter splitter;
    struct frame frame;
    struct str rest = bytes;
    unsigned count = 0;
    frame_splitter_init(&splitter, framing_of(client), 1 << 24);
    while (count < max && frame_next(&splitter, &rest, &frame) == 1)
        ends[count++] = bytes.len - rest.len;
    frame_splitter_fini(&splitter);
    return count;
}

static bool is_legal(const struct dialect *client, struct str bytes)
{
    struct frame_splitter splitter;
    struct validator v;
    struct frame frame;
    bool ok = true;
    validator_init(&v, client->id);
    frame_splitter_init(&splitter, framing_of(client), 1 << 24);
    while (ok && frame_next(&splitter, &bytes, &frame) == 1)
        ok = !frame.has_data || validator_event(&v, frame.type, frame.data);
    ok = ok && validator_end(&v);
    frame_splitter_fini(&splitter);
    validator_fini(&v);
    return ok;
}

static bool read_whole(struct arena *arena, const struct dialect *client, struct str bytes,
                       struct llm_answer *answer)
{
    struct broken b;
    broken_read(&b, client, bytes);
    bool is_whole = (b.c.verdict == CONTINUATION_OVER || b.c.verdict == CONTINUATION_COMPLETE) &&
                    !b.c.is_error && b.c.reason == NULL;
    broken_fini(&b);
    if (is_whole)
        read_back(arena, client, bytes, answer, NULL);
    return is_whole && answer->choices != NULL;
}

static void go_on(struct counts *counts, struct str sent, const char *text, const char *name,
                  const char *arguments, const char *path)
{
    static const struct dialect *const providers[] = {&anthropic_dialect, &openai_chat_dialect};
    const struct dialect *provider = providers[counts->client == &anthropic_dialect];
    struct broken b;
    struct told answer;
    struct llm_answer read;
    broken_read(&b, counts->client, sent);
    if (b.c.verdict == CONTINUATION_CANNOT || b.c.verdict == CONTINUATION_OVER) {
        counts->cannot++;
        broken_fini(&b);
        return;
    }
    if (b.c.verdict == CONTINUATION_COMPLETE) {
        counts->complete++;
        broken_fini(&b);
        return;
    }
    assert_int_equal(broken_ask(&b, provider, false, ""), 0);
    struct tale tale = {
        .text = text, .call = name, .arguments = arguments, .piece = 50, .input = 1, .output = 1};
    if (b.c.verdict == CONTINUATION_TEXT)
        tale.text += b.c.text_sound - b.c.anchor.len;
    if (tale.text[0] == '\0')
        tale.text = NULL;
    tell(&answer, provider, &tale);
    if (broken_answer(&b, &answer) != 0)
        fail_msg("%s, after %zu bytes: %s", path, sent.len, err_slot()->message);
    read_back(b.arena, counts->client, buf_str(&b.stream), &read, counts->is_legal ? path : NULL);
    struct str all = text_of_kind(b.arena, &read, BLOCK_TEXT);
    if (!str_eq(all, str_c(text)))
        fail_msg("%s, after %zu bytes, verdict %d: '%.*s', not '%s'", path, sent.len, b.c.verdict,
                 STR_ARG(all), text);
    if (name != NULL) {
        assert_non_null(read.choices);
        assert_int_equal(read.choices->finish, FINISH_TOOL_CALLS);
    }
    counts->went_on++;
    told_fini(&answer);
    broken_fini(&b);
}

static const struct llm_block *only_call(const struct llm_answer *answer, bool *has_many)
{
    const struct llm_block *call = NULL;
    for (const struct llm_block *b = answer->choices->blocks; b != NULL; b = b->next) {
        if (b->kind != BLOCK_TOOL_CALL)
            continue;
        *has_many = *has_many || call != NULL;
        call = b;
    }
    return call;
}

static void try_recording(const struct recording *recording, void *ctx)
{
    static size_t ends[1 << 16];
    struct counts *counts = ctx;
    struct arena *arena = arena_new(4096);
    struct llm_answer answer;
    struct buf bytes = BUF_INIT;
    bool has_many = false;
    if (counts->client == &bedrock_dialect)
        event_stream_recording(recording, &bytes);
    else if (str_eq(recording->framing, STR("sse")))
        buf_add_str(&bytes, recording->body);
    if (recording->status == 200 && bytes.len > 0 &&
        read_whole(arena, counts->client, buf_str(&bytes), &answer)) {
        const struct llm_block *call = only_call(&answer, &has_many);
        unsigned count = find_ends(counts->client, buf_str(&bytes), ends, ARRAY_LEN(ends));
        char *text = arena_cstr(arena, text_of_kind(arena, &answer, BLOCK_TEXT));
        char *name = call != NULL ? arena_cstr(arena, text_or(arena, call->name, STR_EMPTY)) : NULL;
        struct str arguments = text_of_kind(arena, &answer, BLOCK_TOOL_CALL);
        counts->streams++;
        counts->is_legal = is_legal(counts->client, buf_str(&bytes));
        counts->legal += counts->is_legal;
        for (unsigned i = 0; !has_many && i < count; i += 1 + count / CUTS_MAX)
            go_on(counts, str_head(buf_str(&bytes), ends[i]), text, name,
                  arena_cstr(arena, arguments), recording->path);
    } else if (bytes.len > 0) {
        counts->unread++;
    }
    buf_fini(&bytes);
    arena_free(arena);
}

static void test_recorded_streams_are_gone_on_with(void **state)
{
    static const struct {
        const struct dialect *client;
        const char *apis[4];
    } rows[] = {
        {&openai_chat_dialect, {"openai.chat", "azure.chat", "mistral.chat", NULL}},
        {&anthropic_dialect, {"anthropic.messages", NULL}},
        {&gemini_dialect, {"gemini.*", NULL}},
        {&bedrock_dialect, {"bedrock.converse*", NULL}},
        {&cohere_dialect, {"cohere.chat*", NULL}},
        {&openai_responses_dialect, {"openai.responses", NULL}},
    };
    (void)state;
    if (!recordings_are_here()) {
        print_message("no recordings here\n");
        skip();
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct counts counts = {.client = rows[i].client};
        recordings_each(rows[i].apis, try_recording, &counts);
        print_message(
            "%s: %u streams (%u legal), %u were gone on with, %u were complete, %u cannot be; "
            "%u streams not tried\n",
            rows[i].client->name, counts.streams, counts.legal, counts.went_on, counts.complete,
            counts.cannot, counts.unread);
        assert_true(counts.streams == 0 || counts.went_on > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded_streams_are_gone_on_with)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
