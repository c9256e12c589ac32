/* Streams that nobody translates, ended at every place by another than their provider. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stream/ending.h"
#include "support/broken_stream.h"
#include "support/validate.h"

static const struct tale tale = {.thinking = "Let me think.",
                                 .text = "Here it is.",
                                 .call = "look",
                                 .arguments = "{\"city\":\"Paris\"}",
                                 .piece = 6,
                                 .input = 3,
                                 .output = 5};

struct stream {
    const struct dialect *dialect;
    struct llm_codec_settings codec;
    struct arena *arena;
    struct told told;
    struct stream_ending ending;
    struct frame_writer writer;
    struct buf sent;
    char label[80];
};

/* The client has been sent the first `count` events. */
static void begin(struct stream *s, enum dialect_id id, unsigned count)
{
    struct stream_observer observer;
    struct stream_event event;
    *s = (struct stream){.dialect = dialect_of(id),
                         .codec = {.model = STR("m"), .request_id = STR("r1")},
                         .arena = arena_new(4096),
                         .sent = BUF_INIT};
    tell(&s->told, s->dialect, &tale);
    snprintf(s->label, sizeof(s->label), "%s after %u events", s->dialect->name, count);
    stream_ending_init(&s->ending, s->dialect, &s->codec, s->arena);
    frame_writer_init(&s->writer, framing_of(s->dialect), &s->sent);
    struct stream_observer_settings settings = {.dialect = s->dialect,
                                                .framing = framing_of(s->dialect),
                                                .event_limit = 1 << 20,
                                                .arena = s->arena,
                                                .codec = &s->codec};
    assert_int_equal(stream_observer_init(&observer, &settings), 0);
    struct str rest = str_head(buf_str(&s->told.bytes), count > 0 ? s->told.ends[count - 1] : 0);
    buf_add_str(&s->sent, rest);
    while (stream_observer_next(&observer, &rest, &event) == 1) {
        if (event.frame.has_data)
            assert_int_equal(stream_ending_pass(&s->ending, &event), 0);
    }
    stream_observer_fini(&observer);
}

static void end(struct stream *s)
{
    frame_writer_fini(&s->writer);
    buf_fini(&s->sent);
    told_fini(&s->told);
    arena_free(s->arena);
}

static int fail_it(struct stream *s)
{
    struct llm_error error = LLM_ERROR_NONE;
    error.status = 502;
    error.message = TEXT_LIT("It broke off.");
    return stream_ending_fail(&s->ending, &error, &s->writer.frames);
}

static unsigned events_of(enum dialect_id id)
{
    struct told told;
    tell(&told, dialect_of(id), &tale);
    unsigned count = told.count;
    told_fini(&told);
    return count;
}

static void an_error_is_legal_wherever_it_comes(void **state)
{
    (void)state;
    for (enum dialect_id id = 0; id < DIALECT_COUNT; id++) {
        /* Before the reason to finish: with the last event or two. */
        for (unsigned count = 0; count + 3 < events_of(id); count++) {
            struct stream s;
            struct llm_answer answer;
            begin(&s, id, count);
            assert_int_equal(fail_it(&s), 0);
            read_back(s.arena, s.dialect, buf_str(&s.sent), &answer, s.label);
            if (!answer.is_error || !text_eq(answer.error.message, STR("It broke off.")))
                fail_msg("%s: the error is not told", s.label);
            end(&s);
        }
    }
}

static void there_is_but_one_error(void **state)
{
    (void)state;
    for (enum dialect_id id = 0; id < DIALECT_COUNT; id++) {
        struct stream s;
        struct stream_event event = {.kind = STREAM_ERROR};
        begin(&s, id, 3);
        size_t before = s.sent.len;
        event.frame.data = STR("{\"type\":\"error\",\"sequence_number\":3}");
        assert_int_equal(stream_ending_pass(&s.ending, &event), 0);
        assert_int_equal(fail_it(&s), 0);
        assert_int_equal(s.sent.len, before);
        end(&s);
    }
}

static void the_last_event_makes_the_stream_whole(void **state)
{
    (void)state;
    for (enum dialect_id id = 0; id < DIALECT_COUNT; id++) {
        bool has_last = id != DIALECT_GEMINI && id != DIALECT_OPENAI_RESPONSES;
        struct stream s;
        struct llm_answer answer;
        struct token_usage usage = TOKEN_USAGE_NONE;
        usage.output = 5;
        begin(&s, id, events_of(id) - has_last);
        size_t before = s.sent.len;
        stream_ending_complete(&s.ending, &usage, &s.writer.frames);
        assert_int_equal(s.sent.len > before, has_last);
        read_back(s.arena, s.dialect, buf_str(&s.sent), &answer, s.label);
        assert_false(answer.is_error);
        if (id == DIALECT_BEDROCK) /* whose usage comes last */
            assert_int_equal(answer.usage.output, 5);
        end(&s);
    }
}

/* Providers that number no events, and begin with something else. */
static void a_response_without_numbers_is_counted(void **state)
{
    static const char created[] = "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_7\","
                                  "\"model\":\"big\",\"created_at\":77}}";
    static const char *const came[] = {
        "{\"type\":\"keepalive\"}",
        created,
        "{\"type\":\"response.in_progress\",\"response\":{\"id\":\"resp_8\"}}",
    };
    struct stream s;
    (void)state;
    begin(&s, DIALECT_OPENAI_RESPONSES, 0);
    for (size_t i = 0; i < ARRAY_LEN(came); i++) {
        struct stream_event event = {.kind = STREAM_OPENING};
        event.frame.data = str_c(came[i]);
        assert_int_equal(stream_ending_pass(&s.ending, &event), 0);
    }
    assert_int_equal(fail_it(&s), 0);
    struct str sent = buf_str(&s.sent);
    assert_true(str_find(sent, STR("response.created")) < 0);
    assert_true(str_find(sent, STR("{\"type\":\"error\",\"sequence_number\":2,")) >= 0);
    assert_true(str_find(sent, STR("{\"type\":\"response.failed\",\"sequence_number\":3,")) >= 0);
    assert_true(str_find(sent, STR("\"id\":\"resp_7\"")) >= 0);
    assert_true(str_find(sent, STR("\"created_at\":77")) >= 0);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_legal_wherever_it_comes),
        cmocka_unit_test(there_is_but_one_error),
        cmocka_unit_test(the_last_event_makes_the_stream_whole),
        cmocka_unit_test(a_response_without_numbers_is_counted),
    };
    return cmocka_run_group_tests_name("stream/ending", tests, NULL, NULL);
}
