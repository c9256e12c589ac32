#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/openai_chat/response.h"
#include "recordings.h"
#include "stream/observer.h"

/*
 * Recorded answers of every provider that speaks OpenAI's chat dialect: what is read from them is
 * what a full JSON parser finds there, and no cut of a stream changes it.
 */

static const char *const chat_apis[] = {
    "openai.chat",     "openai.completions",  "azure.chat",          "groq.chat",
    "mistral.chat",    "openrouter.chat",     "deepseek.chat",       "xai.chat",
    "zai.chat",        "together.chat",       "cerebras.chat",       "huggingface.chat",
    "perplexity.chat", "vllm.chat",           "llamacpp.chat",       "moonshot.chat",
    "alibaba.chat",    "vercel-gateway.chat", "github-copilot.chat", NULL};

enum { LIMIT = 16 * 1024 * 1024, CUT_EVERYWHERE_BYTES = 24 * 1024, SAMPLED_CUTS = 300 };

static int64_t int_at(yyjson_val *object, const char *outer, const char *name)
{
    if (outer != NULL)
        object = yyjson_obj_get(object, outer);
    yyjson_val *value = yyjson_obj_get(object, name);
    return yyjson_is_int(value) ? yyjson_get_sint(value) : -1;
}

static void expect_usage(const char *path, yyjson_val *usage, const struct token_usage *got)
{
    if (int_at(usage, NULL, "prompt_tokens") != got->input ||
        int_at(usage, NULL, "completion_tokens") != got->output)
        fail_msg("%s: input %lld output %lld", path, (long long)got->input, (long long)got->output);
    int64_t cached = int_at(usage, "prompt_tokens_details", "cached_tokens");
    if (cached >= 0 && cached != got->cache_read)
        fail_msg("%s: cached %lld", path, (long long)got->cache_read);
    int64_t reasoning = int_at(usage, "completion_tokens_details", "reasoning_tokens");
    if (reasoning >= 0 && reasoning != got->reasoning)
        fail_msg("%s: reasoning %lld", path, (long long)got->reasoning);
}

static void check_answer(const struct recording *rec, void *ctx)
{
    unsigned *checked = ctx;
    if (!str_eq(rec->framing, STR("json")) || rec->body.len == 0)
        return;
    struct openai_answer answer;
    yyjson_doc *doc = yyjson_read(rec->body.ptr, rec->body.len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (yyjson_is_obj(root)) {
        if (openai_answer_read(rec->body, &answer) != 0)
            fail_msg("%s cannot be read", rec->path);
        yyjson_val *usage = yyjson_obj_get(root, "usage");
        assert_int_equal(answer.has_usage, yyjson_is_obj(usage));
        if (answer.has_usage)
            expect_usage(rec->path, usage, &answer.usage);
        if (rec->status == 200 && answer.is_error)
            fail_msg("%s is taken for an error", rec->path);
        (*checked)++;
    }
    yyjson_doc_free(doc);
}

static void whole_answers_are_read_as_a_full_parser_does(void **state)
{
    (void)state;
    unsigned checked = 0;
    if (!recordings_are_here()) {
        print_message("no recorded traffic here (set WEIR_WIRE_DIR)\n");
        skip();
    }
    recordings_each(chat_apis, check_answer, &checked);
    print_message("%u recorded answers\n", checked);
    assert_true(checked > 0);
}

/* What a stream came to. */
struct total {
    struct token_usage usage;
    uint64_t events, seen, finished, raw_bytes;
    bool has_usage, is_done, is_broken;
    unsigned kinds[STREAM_DONE + 1];
};

static struct total read_in_two(struct str stream, size_t cut)
{
    struct total total;
    struct stream_observer o;
    struct stream_event event;
    struct str parts[] = {str_head(stream, cut), str_skip(stream, cut)};
    memset(&total, 0, sizeof(total));
    struct stream_observer_settings settings = {
        .dialect = &openai_chat_dialect, .framing = FRAMING_SSE, .event_limit = LIMIT};
    assert_int_equal(stream_observer_init(&o, &settings), 0);
    for (int i = 0; i < 2; i++) {
        while (stream_observer_next(&o, &parts[i], &event) == 1) {
            total.raw_bytes += event.frame.raw.len;
            total.kinds[event.kind] += event.kind != STREAM_COMMENT;
        }
    }
    if (stream_observer_finish(&o, &event) == 1) {
        total.raw_bytes += event.frame.raw.len;
        total.kinds[event.kind] += event.kind != STREAM_COMMENT;
    }
    total.usage = o.summary.usage;
    total.events = o.events;
    total.seen = o.choices_seen;
    total.finished = o.choices_finished;
    total.has_usage = o.summary.has_usage;
    total.is_done = o.is_done;
    total.is_broken = o.is_broken;
    stream_observer_fini(&o);
    return total;
}

/* Member by member: the bytes between and behind the members say nothing. */
static bool are_same(const struct total *a, const struct total *b)
{
    const size_t usage_bytes = offsetof(struct token_usage, is_partial) + sizeof(bool);
    return memcmp(&a->usage, &b->usage, usage_bytes) == 0 && a->events == b->events &&
           a->seen == b->seen && a->finished == b->finished && a->raw_bytes == b->raw_bytes &&
           a->has_usage == b->has_usage && a->is_done == b->is_done &&
           a->is_broken == b->is_broken && memcmp(a->kinds, b->kinds, sizeof(a->kinds)) == 0;
}

static void check_meaning(const struct recording *rec, const struct total *whole)
{
    if (whole->raw_bytes != rec->body.len)
        fail_msg("%s: %llu of %zu bytes", rec->path, (unsigned long long)whole->raw_bytes,
                 rec->body.len);
    if (recording_has(rec, "usage_in_stream") != whole->has_usage)
        fail_msg("%s: usage %d", rec->path, whole->has_usage);
    if (recording_has(rec, "sse_done") != whole->is_done)
        fail_msg("%s: done %d", rec->path, whole->is_done);
    if (recording_has(rec, "midstream_error") != whole->is_broken)
        fail_msg("%s: broken %d", rec->path, whole->is_broken);
    bool is_whole = whole->seen != 0 && (whole->seen & ~whole->finished) == 0;
    if (is_whole == (recording_has(rec, "truncated") || recording_has(rec, "midstream_error")) &&
        whole->kinds[STREAM_CONTENT] > 0 && !whole->is_broken)
        fail_msg("%s: whole %d", rec->path, is_whole);
}

static void check_stream(const struct recording *rec, void *ctx)
{
    unsigned *checked = ctx;
    if (!str_eq(rec->framing, STR("sse")) || rec->body.len == 0)
        return;
    struct total whole = read_in_two(rec->body, rec->body.len);
    check_meaning(rec, &whole);
    bool is_everywhere = rec->body.len <= CUT_EVERYWHERE_BYTES;
    size_t cuts = is_everywhere ? rec->body.len : SAMPLED_CUTS;
    for (size_t i = 0; i < cuts; i++) {
        size_t cut = is_everywhere ? i : i * rec->body.len / SAMPLED_CUTS;
        struct total t = read_in_two(rec->body, cut);
        if (!are_same(&t, &whole))
            fail_msg("%s differs when cut at %zu", rec->path, cut);
    }
    (*checked)++;
}

static void streams_mean_the_same_at_every_cut(void **state)
{
    (void)state;
    unsigned checked = 0;
    if (!recordings_are_here()) {
        print_message("no recorded traffic here (set WEIR_WIRE_DIR)\n");
        skip();
    }
    recordings_each(chat_apis, check_stream, &checked);
    print_message("%u recorded streams\n", checked);
    assert_true(checked > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_answers_are_read_as_a_full_parser_does),
        cmocka_unit_test(streams_mean_the_same_at_every_cut),
    };
    return cmocka_run_group_tests_name("dialect/wire-openai-chat", tests, NULL, NULL);
}
