#include "stream/realtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct timings {
    int64_t first[4], barge_in[4];
    unsigned firsts, barge_ins;
    int64_t audio_ns, text_ns; /* the last of each */
};

static void note(void *ctx, enum realtime_timing timing, int64_t ns)
{
    struct timings *t = ctx;
    if (timing == REALTIME_FIRST_DELTA)
        t->first[t->firsts++] = ns;
    else if (timing == REALTIME_FIRST_AUDIO)
        t->audio_ns = ns;
    else if (timing == REALTIME_FIRST_TEXT)
        t->text_ns = ns;
    else
        t->barge_in[t->barge_ins++] = ns;
}

/* A text message in pieces of `step` bytes, one frame. */
static void say(struct realtime_observer *o, bool is_from_client, const char *text, size_t step,
                int64_t now_ns)
{
    size_t len = strlen(text);
    for (size_t at = 0; at < len; at += step) {
        struct ws_piece piece = {
            .opcode = WS_TEXT,
            .message = WS_TEXT,
            .is_first = at == 0,
            .is_last = at + step >= len,
            .is_final = true,
            .frame_bytes = len,
            .bytes = (char *)(uintptr_t)text + at,
            .len = MIN(step, len - at),
        };
        realtime_observe(o, is_from_client, &piece, now_ns);
    }
}

#define DONE                                                                                   \
    "{\"type\":\"response.done\",\"response\":{\"output\":[{\"usage\":{\"input_tokens\":9}}]," \
    "\"usage\":{\"total_tokens\":150,\"input_tokens\":100,\"output_tokens\":50,"               \
    "\"input_token_details\":{\"text_tokens\":40,\"audio_tokens\":60,\"cached_tokens\":20},"   \
    "\"output_token_details\":{\"text_tokens\":10,\"audio_tokens\":40}}}}"

/* Whole, and cut everywhere. */
static const size_t steps[] = {1 << 20, 1, 7};

static void tokens_of_all_answers_are_added(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct realtime_observer o;
        realtime_observer_init(&o, REALTIME_OPENAI, NULL, NULL);
        say(&o, false,
            "{\"event_id\":\"e\",\"type\":\"session.created\",\"session\":"
            "{\"model\":\"gpt-realtime\"}}",
            steps[i], 1);
        say(&o, false, DONE, steps[i], 2);
        say(&o, false, DONE, steps[i], 3);
        assert_int_equal(o.answers, 2);
        assert_int_equal(o.usage.input, 200);
        assert_int_equal(o.usage.output, 100);
        assert_int_equal(o.usage.audio_input, 120);
        assert_int_equal(o.usage.audio_output, 80);
        assert_int_equal(o.usage.cache_read, 40);
        assert_int_equal(o.usage.image_input, -1);
        assert_true(o.usage.input_includes_cached);
        assert_true(str_eq(str_n(o.model, o.model_len), STR("gpt-realtime")));
        realtime_observer_fini(&o);
    }
}

static void the_first_delta_is_timed_from_the_wish(void **state)
{
    struct timings t = {0};
    struct realtime_observer o;
    (void)state;
    realtime_observer_init(&o, REALTIME_OPENAI, note, &t);
    say(&o, true, "{\"type\":\"response.create\"}", 100, 1000);
    say(&o, false, "{\"type\":\"response.created\"}", 100, 1200);
    say(&o, false, "{\"type\":\"response.output_audio.delta\",\"delta\":\"AAAA\"}", 100, 1500);
    say(&o, false, "{\"type\":\"response.output_audio.delta\",\"delta\":\"AAAA\"}", 100, 1600);
    say(&o, false, DONE, 1000, 1700);
    /* The provider heard the end of speech by itself. */
    say(&o, false, "{\"type\":\"input_audio_buffer.speech_stopped\"}", 100, 2000);
    say(&o, false, "{\"type\":\"response.created\"}", 100, 2100);
    say(&o, false, "{\"type\":\"response.text.delta\",\"delta\":\"a\"}", 100, 2250);
    assert_int_equal(t.firsts, 2);
    assert_int_equal(t.first[0], 500);
    assert_int_equal(t.first[1], 250);
    assert_int_equal(t.barge_ins, 0);
    realtime_observer_fini(&o);
}

static void an_interruption_is_timed_to_the_last_delta(void **state)
{
    struct timings t = {0};
    struct realtime_observer o;
    (void)state;
    realtime_observer_init(&o, REALTIME_OPENAI, note, &t);
    say(&o, true, "{\"type\":\"response.cancel\"}", 100, 10); /* nothing to interrupt */
    say(&o, false, "{\"type\":\"response.created\"}", 100, 100);
    say(&o, false, "{\"type\":\"response.audio.delta\"}", 100, 200);
    say(&o, true, "{\"type\":\"response.cancel\"}", 100, 300);
    say(&o, true, "{\"type\":\"conversation.item.truncate\"}", 100, 310);
    say(&o, false, "{\"type\":\"response.audio.delta\"}", 100, 380);
    say(&o, false, DONE, 1000, 500);
    /* Another one, that stops at once. */
    say(&o, false, "{\"type\":\"response.created\"}", 100, 600);
    say(&o, false, "{\"type\":\"response.audio.delta\"}", 100, 700);
    say(&o, false, "{\"type\":\"input_audio_buffer.speech_started\"}", 100, 800);
    say(&o, false, DONE, 1000, 900);
    assert_int_equal(t.barge_ins, 2);
    assert_int_equal(t.barge_in[0], 80);
    assert_int_equal(t.barge_in[1], 0);
    realtime_observer_fini(&o);
}

static void clients_cannot_speak_for_the_provider(void **state)
{
    struct realtime_observer o;
    (void)state;
    realtime_observer_init(&o, REALTIME_OPENAI, NULL, NULL);
    say(&o, true, DONE, 1000, 1);
    assert_int_equal(o.answers, 0);
    assert_int_equal(o.usage.input, -1);
    realtime_observer_fini(&o);
}

static void what_cannot_be_read_is_passed_over(void **state)
{
    struct realtime_observer o;
    char part[4096];
    (void)state;
    memset(part, 'x', sizeof(part));
    realtime_observer_init(&o, REALTIME_OPENAI, NULL, NULL);
    struct ws_piece piece = {.opcode = WS_TEXT,
                             .message = WS_TEXT,
                             .is_first = true,
                             .is_final = true,
                             .bytes = part,
                             .len = sizeof(part)};
    for (int i = 0; i <= REALTIME_EVENT_MAX / 4096; i++) {
        realtime_observe(&o, false, &piece, 1);
        piece.is_first = false;
        assert_true(o.from_upstream.bytes.len <= REALTIME_EVENT_MAX);
    }
    piece.is_last = true;
    realtime_observe(&o, false, &piece, 1);
    piece = (struct ws_piece){.opcode = WS_TEXT,
                              .message = WS_TEXT,
                              .is_first = true,
                              .is_last = true,
                              .is_final = true,
                              .is_compressed = true,
                              .bytes = part,
                              .len = 10};
    realtime_observe(&o, false, &piece, 1);
    say(&o, false, "no JSON", 100, 1);
    assert_int_equal(o.unread, 3);
    say(&o, false, DONE, 1000, 2);
    assert_int_equal(o.answers, 1);
    realtime_observer_fini(&o);
}

#define TURN                                                                                  \
    "{\"serverContent\":{\"turnComplete\":true},\"usageMetadata\":{\"promptTokenCount\":30,"  \
    "\"responseTokenCount\":20,\"thoughtsTokenCount\":5,\"promptTokensDetails\":"             \
    "[{\"modality\":\"TEXT\",\"tokenCount\":10},{\"modality\":\"AUDIO\",\"tokenCount\":20}]," \
    "\"responseTokensDetails\":[{\"modality\":\"AUDIO\",\"tokenCount\":20}]}}"

static void turns_of_gemini_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct timings t = {0};
        struct realtime_observer o;
        realtime_observer_init(&o, REALTIME_GEMINI, note, &t);
        say(&o, true, "{\"clientContent\":{\"turns\":[],\"turnComplete\":true}}", steps[i], 100);
        say(&o, false, "{\"usageMetadata\":{\"promptTokenCount\":7}}", steps[i], 150);
        say(&o, false, "{\"serverContent\":{\"modelTurn\":{\"parts\":[]}}}", steps[i], 300);
        say(&o, true, "{\"realtimeInput\":{\"activityStart\":{}}}", steps[i], 400);
        say(&o, false, "{\"serverContent\":{\"modelTurn\":{\"parts\":[]}}}", steps[i], 450);
        say(&o, false, "{\"serverContent\":{\"interrupted\":true}}", steps[i], 460);
        say(&o, false, TURN, steps[i], 500);
        say(&o, false, "{\"serverContent\":{\"modelTurn\":{},\"interrupted\":false}}", steps[i],
            600);
        say(&o, false, TURN, steps[i], 700);
        assert_int_equal(o.answers, 2);
        assert_int_equal(t.firsts, 2);
        assert_int_equal(t.first[0], 200);
        assert_int_equal(t.barge_ins, 1);
        assert_int_equal(t.barge_in[0], 50);
        /* The last word of each turn counts. */
        assert_int_equal(o.usage.input, 60);
        assert_int_equal(o.usage.output, 50);
        assert_int_equal(o.usage.reasoning, 10);
        assert_int_equal(o.usage.audio_input, 40);
        assert_int_equal(o.usage.audio_output, 40);
        assert_int_equal(o.unread, 0);
        realtime_observer_fini(&o);
    }
}

static void sound_and_text_are_timed_by_themselves(void **state)
{
    (void)state;
    struct timings t = {0};
    struct realtime_observer o;
    realtime_observer_init(&o, REALTIME_OPENAI, note, &t);
    say(&o, true, "{\"type\":\"response.create\"}", 100, 100);
    say(&o, false, "{\"type\":\"response.created\"}", 100, 110);
    say(&o, false, "{\"type\":\"response.output_audio_transcript.delta\"}", 100, 120);
    say(&o, false, "{\"type\":\"response.output_audio.delta\"}", 100, 150);
    say(&o, false, "{\"type\":\"response.output_audio.delta\"}", 100, 170);
    assert_int_equal(t.firsts, 1);
    assert_int_equal(t.first[0], 20);
    assert_int_equal(t.text_ns, 20);
    assert_int_equal(t.audio_ns, 50);
    realtime_observer_fini(&o);

    realtime_observer_init(&o, REALTIME_GEMINI, note, &t);
    say(&o, true, "{\"clientContent\":{\"turnComplete\":true}}", 100, 1000);
    say(&o, false, "{\"serverContent\":{\"modelTurn\":{\"parts\":[{\"inlineData\":{}}]}}}", 100,
        1030);
    say(&o, false, "{\"serverContent\":{\"outputTranscription\":{\"text\":\"x\"}}}", 100, 1070);
    assert_int_equal(t.audio_ns, 30);
    assert_int_equal(t.text_ns, 70);
    realtime_observer_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_of_all_answers_are_added),
        cmocka_unit_test(the_first_delta_is_timed_from_the_wish),
        cmocka_unit_test(an_interruption_is_timed_to_the_last_delta),
        cmocka_unit_test(clients_cannot_speak_for_the_provider),
        cmocka_unit_test(what_cannot_be_read_is_passed_over),
        cmocka_unit_test(turns_of_gemini_are_read),
        cmocka_unit_test(sound_and_text_are_timed_by_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
