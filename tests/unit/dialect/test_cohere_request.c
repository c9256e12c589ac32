#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "dialect/dialect.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &cohere_dialect;
static const struct llm_quirks no_quirks;
static const struct llm_traits no_traits;

struct written {
    struct buf body, dropped, supplied;
};

static void written_fini(struct written *w)
{
    buf_fini(&w->body);
    buf_fini(&w->dropped);
    buf_fini(&w->supplied);
}

static void write_to(struct llm_request *request, const struct llm_traits *traits,
                     const struct llm_quirks *quirks, struct arena *arena, struct written *w)
{
    struct llm_target target = {
        .model = STR("m"), .is_stream = request->is_stream, .quirks = quirks, .traits = traits};
    struct llm_notes notes = {&w->dropped, &w->supplied};
    struct json_scan scan;
    *w = (struct written){BUF_INIT, BUF_INIT, BUF_INIT};
    assert_int_equal(dialect->write_request(request, &target, arena, &notes, &w->body), 0);
    if (json_scan_object(buf_str(&w->body), 64, NULL, 0, &scan) != 0)
        fail_msg("%s in %.*s", err_slot()->message, STR_ARG(buf_str(&w->body)));
}

static void assert_same(const struct written *w, const char *wanted)
{
    char where[512] = "";
    if (!json_equal(buf_str(&w->body), str_c(wanted), where, sizeof(where)))
        fail_msg("%s\ngot    %.*s\nwanted %s", where, STR_ARG(buf_str(&w->body)), wanted);
}

static void assert_dropped(const struct written *w, const char *wanted)
{
    if (!str_eq(buf_str(&w->dropped), str_c(wanted)))
        fail_msg("dropped %.*s, wanted %s", STR_ARG(buf_str(&w->dropped)), wanted);
    assert_int_equal(w->supplied.len, 0);
}

/* --- own requests ---------------------------------------------------------------------------- */

static void own_requests_come_back(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"m\",\"messages\":[]}",
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"system\",\"content\":\"be\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\\u00e9\\n\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\","
        "\"detail\":\"low\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y\"}}]}]}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
        "\"tool_plan\":\"I will\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":"
        "{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":\"c2\",\"type\":\"function\","
        "\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},{\"role\":\"tool\",\"tool_call_id\":"
        "\"c1\",\"content\":[{\"type\":\"document\",\"document\":{\"id\":\"d\",\"data\":{\"x\":\"1\"}}},"
        "{\"type\":\"text\",\"text\":\"t\"}]},{\"role\":\"tool\",\"tool_call_id\":\"c2\","
        "\"content\":\"plain\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
        "\"thinking\":\"hm\"},{\"type\":\"text\",\"text\":\"done\"}],\"citations\":[{\"start\":0,"
        "\"end\":4,\"text\":\"done\",\"sources\":[{\"type\":\"tool\",\"id\":\"c1:0\","
        "\"tool_output\":{\"x\":\"1\"}}],\"type\":\"TEXT_CONTENT\"}]}],\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":"
        "\"object\"}}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}],\"strict_tools\":true,"
        "\"tool_choice\":\"REQUIRED\"}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"documents\":["
        "\"just text\",{\"id\":\"a\",\"data\":{\"title\":\"T\",\"text\":\"body\"}},{\"data\":"
        "{\"k\":2}}],\"citation_options\":{\"mode\":\"FAST\"},\"safety_mode\":\"STRICT\","
        "\"priority\":3,\"future\":{\"x\":[1]}}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"new\",\"a\":1},"
        "{\"type\":\"document\",\"document\":{\"data\":\"d\"}}]}],\"documents\":[],"
        "\"strict_tools\":false,\"tool_choice\":\"NONE\"}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"max_tokens\":10,"
        "\"temperature\":0.30,\"p\":0.75,\"k\":5,\"seed\":18446744073709551615,"
        "\"frequency_penalty\":0.1,\"presence_penalty\":0.2,\"stop_sequences\":[\"a\",\"\\n\"],"
        "\"logprobs\":false,\"response_format\":{\"type\":\"json_object\",\"json_schema\":{\"type\":"
        "\"object\"}},\"thinking\":{\"type\":\"enabled\",\"token_budget\":100}}",
        ("{\"model\":\"m\",\"messages\":[],\"logprobs\":true,\"response_format\":{\"type\":\"text\"},"
         "\"thinking\":{\"type\":\"disabled\"}}"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct arena *arena = arena_new(2048);
        struct llm_request request;
        struct written w;
        if (dialect->read_request(str_c(bodies[i]), arena, &request) != 0)
            fail_msg("%s: %s", err_slot()->message, bodies[i]);
        write_to(&request, &no_traits, &no_quirks, arena, &w);
        assert_same(&w, bodies[i]);
        assert_dropped(&w, "");
        written_fini(&w);
        arena_free(arena);
    }
}

static void what_is_read_is_what_was_meant(void **state)
{
    (void)state;
    struct arena *arena = arena_new(2048);
    struct llm_request request;
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
        "\"image_url\":{\"url\":\"data:image\\/png;base64,QUJD\"}}]},{\"role\":\"assistant\","
        "\"tool_plan\":\"p\",\"content\":null}],\"documents\":[{\"id\":\"x\",\"data\":{\"title\":"
        "\"T\",\"snippet\":\"s\"}}],\"citation_options\":{\"mode\":\"OFF\"},\"seed\":null}";
    assert_int_equal(dialect->read_request(str_c(body), arena, &request), 0);
    const struct llm_block *document = request.messages->blocks, *image = document->next;
    assert_int_equal(document->kind, BLOCK_DOCUMENT);
    assert_true(text_eq(document->text, STR("s")));
    assert_true(text_eq(document->media.name, STR("T")));
    assert_false(document->wants_citations);
    assert_int_equal(image->kind, BLOCK_IMAGE);
    assert_true(text_eq(image->media.type, STR("image/png")));
    assert_true(text_eq(image->media.data, STR("QUJD")));
    assert_int_equal(request.messages->next->blocks->kind, BLOCK_THINKING);
    assert_int_equal(request.seed.len, 0);
    arena_free(arena);
}

static void wrong_types_are_named(void **state)
{
    (void)state;
#define Q(rest) "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}," rest "]}"
#define M(rest) "{\"model\":\"m\",\"messages\":[]," rest "}"
    static const struct {
        const char *body, *said;
    } cases[] = {
        {"{\"model\":1}", "'model' must be a string"},
        {"{\"messages\":{}}", "'messages' must be a list of messages"},
        {Q("3"), "'messages[1]' must be an object"},
        {Q("{\"role\":\"robot\",\"content\":\"\"}"),
         "'messages[1].role' must be one of user, assistant, system and tool"},
        {Q("{\"content\":\"\"}"),
         "'messages[1].role' must be one of user, assistant, system and tool"},
        {Q("{\"role\":\"user\",\"content\":3}"),
         "'messages[1].content' must be a string or a list of parts"},
        {Q("{\"role\":\"user\",\"content\":[\"a\"]}"),
         "'messages[1].content[0]' must be an object with a type"},
        {Q("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}"),
         "'messages[1].content[0].text' must be a string"},
        {Q("{\"role\":\"user\",\"content\":[{\"text\":\"a\"}]}"),
         "'messages[1].content[0].type' must be a string"},
        {Q("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":1}]}"),
         "'messages[1].content[0].image_url' must be an object with a url"},
        {Q("{\"role\":\"user\",\"content\":[{\"type\":\"document\",\"document\":{}}]}"),
         "'messages[1].content[0].document.data' is missing: it holds the document"},
        {Q("{\"role\":\"tool\",\"content\":\"a\"}"),
         "'messages[1].tool_call_id' must be the id of the call that is answered"},
        {Q("{\"role\":\"assistant\",\"tool_plan\":1}"), "'messages[1].tool_plan' must be a string"},
        {Q("{\"role\":\"assistant\",\"tool_calls\":{}}"),
         "'messages[1].tool_calls' must be a list"},
        {Q("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":1}}]}"),
         "'messages[1].tool_calls[0].function' must hold a name and arguments, both strings"},
        {M("\"tools\":{}"), "'tools' must be a list of tools"},
        {M("\"tools\":[{\"type\":\"function\"}]"), "'tools[0].function' must be an object"},
        {M("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":1}}]"),
         "'tools[0].function.parameters' must be a JSON schema"},
        {M("\"strict_tools\":1"), "'strict_tools' must be true or false"},
        {M("\"tool_choice\":\"auto\""), "'tool_choice' must be REQUIRED or NONE"},
        {M("\"temperature\":\"1\""), "'temperature' must be a number"},
        {M("\"k\":true"), "'k' must be a number"},
        {M("\"stop_sequences\":\"a\""), "'stop_sequences' must be a list of strings"},
        {M("\"stop_sequences\":[1]"), "'stop_sequences[0]' must be a string"},
        {M("\"response_format\":{\"type\":\"xml\"}"),
         "'response_format.type' must be text or json_object"},
        {M("\"thinking\":{\"type\":\"maybe\"}"), "'thinking.type' must be enabled or disabled"},
        {M("\"thinking\":{\"type\":\"enabled\",\"token_budget\":\"1\"}"),
         "'thinking.token_budget' must be a number"},
        {M("\"documents\":{}"), "'documents' must be a list of documents"},
        {Q("{\"role\":\"user\",\"content\":\"\"}],\"documents\":[3"),
         "'documents[0]' must be a string or an object with data"},
        {M("\"stream\":\"yes\""), "'stream' must be true or false"},
        {"[]", "the body is not a JSON object, or is nested too deeply"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_new(1024);
        struct llm_request request;
        assert_int_equal(dialect->read_request(str_c(cases[i].body), arena, &request),
                         -ERR_INVALID);
        assert_string_equal(err_slot()->message, cases[i].said);
        assert_int_equal(err_slot()->fault, FAULT_CLIENT);
        arena_free(arena);
    }
}

/* --- requests of others ---------------------------------------------------------------------- */

static struct llm_block *say(struct arena *arena, struct llm_request *request, enum llm_role role,
                             enum llm_block_kind kind, const char *text)
{
    struct llm_message *message = llm_message_add(arena, request, role);
    struct llm_block *block = llm_block_add(arena, &message->blocks, kind);
    block->text = text != NULL ? text_plain(str_c(text)) : TEXT_NONE;
    return block;
}

static struct llm_tool *offer(struct arena *arena, struct llm_request *request, const char *name)
{
    struct llm_tool *tool = llm_tool_add(arena, request);
    tool->name = text_plain(str_c(name));
    return tool;
}

static void a_tool_loop_of_anthropic(void **state)
{
    (void)state;
    struct arena *arena = arena_new(2048);
    struct llm_request q = {.source = DIALECT_ANTHROPIC, .max_tokens = STR("9")};
    struct written w;
    llm_block_add(arena, &q.system, BLOCK_TEXT)->text = TEXT_LIT("be brief");
    say(arena, &q, ROLE_USER, BLOCK_TEXT, "hi")->cache = CACHE_5M;
    struct llm_block *think = say(arena, &q, ROLE_ASSISTANT, BLOCK_THINKING, "look");
    struct llm_block *call = llm_block_add(arena, &think->next, BLOCK_TOOL_CALL);
    call->id = TEXT_LIT("toolu_1");
    call->name = TEXT_LIT("f");
    struct llm_block *result = say(arena, &q, ROLE_USER, BLOCK_TOOL_RESULT, NULL);
    result->id = TEXT_LIT("toolu_1");
    result->is_error = true;
    struct llm_block *inner = llm_block_add(arena, &result->blocks, BLOCK_TEXT);
    inner->text = TEXT_LIT("no \"such\" thing");
    llm_block_add(arena, &result->blocks, BLOCK_IMAGE)->media.url = TEXT_LIT("https://x/");
    llm_block_add(arena, &result->next, BLOCK_TEXT)->text = TEXT_LIT("go on");
    offer(arena, &q, "f");
    offer(arena, &q, "g")->schema = STR("{\"type\":\"object\",\"properties\":{}}");
    q.tool_choice = TOOL_CHOICE_NAMED;
    q.tool_choice_name = TEXT_LIT("g");
    q.parallel_tools = TRI_NO;
    q.user = TEXT_LIT("u");
    write_to(&q, &no_traits, &no_quirks, arena, &w);
    assert_same(
        &w, "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"
            "{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"tool_plan\":"
            "\"look\",\"tool_calls\":[{\"id\":\"toolu_1\",\"type\":\"function\",\"function\":"
            "{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":"
            "\"toolu_1\",\"content\":[{\"type\":\"text\",\"text\":\"no \\\"such\\\" thing\"}]},"
            "{\"role\":\"user\",\"content\":\"go on\"}],\"tools\":[{\"type\":\"function\","
            "\"function\":{\"name\":\"g\",\"parameters\":{\"type\":\"object\",\"properties\":{}}"
            "}}],\"tool_choice\":\"REQUIRED\",\"max_tokens\":9}");
    assert_dropped(&w, "cache_control, messages[2].content[0].is_error, "
                       "messages[2].content[0].content[1], "
                       "tool_choice.disable_parallel_tool_use, metadata.user_id");
    written_fini(&w);

    /* A model that thinks gets it as thinking. */
    struct llm_traits thinks = {.thinking = THINKING_BUDGET};
    struct json_value value;
    write_to(&q, &thinks, &no_quirks, arena, &w);
    assert_true(json_find(buf_str(&w.body), "messages[2].content[0].thinking", &value));
    assert_false(json_find(buf_str(&w.body), "messages[2].tool_plan", &value));
    written_fini(&w);
    arena_free(arena);
}

static void calls_of_gemini_get_ids(void **state)
{
    (void)state;
    struct arena *arena = arena_new(2048);
    struct llm_request q = {.source = DIALECT_GEMINI, .n = STR("2"), .top_k = STR("40")};
    static const char *const names[] = {"f", "g", "f"};
    struct written w;
    struct llm_message *calls = llm_message_add(arena, &q, ROLE_ASSISTANT);
    struct llm_message *results = llm_message_add(arena, &q, ROLE_USER);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        llm_block_add(arena, &calls->blocks, BLOCK_TOOL_CALL)->name = text_plain(str_c(names[i]));
        /* The second one first. */
        llm_block_add(arena, &results->blocks, BLOCK_TOOL_RESULT)->name =
            text_plain(str_c(names[(i + 1) % 3]));
    }
    write_to(&q, &no_traits, &no_quirks, arena, &w);
    static const char *const ids[] = {"call_1", "call_0", "call_2"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        char path[64];
        struct json_value value;
        snprintf(path, sizeof(path), "messages[%zu].tool_call_id", i + 1);
        assert_true(json_find(buf_str(&w.body), path, &value));
        assert_true(json_string_eq(json_string_raw(value), str_c(ids[i])));
    }
    assert_dropped(&w, "generationConfig.candidateCount");
    written_fini(&w);
    arena_free(arena);
}

static void documents_and_media(void **state)
{
    (void)state;
    struct arena *arena = arena_new(2048);
    struct llm_request q = {.source = DIALECT_ANTHROPIC};
    struct written w;
    struct llm_block *doc = say(arena, &q, ROLE_USER, BLOCK_DOCUMENT, "facts");
    doc->media.name = TEXT_LIT("F");
    doc->wants_citations = true;
    llm_block_add(arena, &doc->next, BLOCK_DOCUMENT)->media.data = TEXT_LIT("UERG");
    struct llm_block *image = llm_block_add(arena, &doc->next, BLOCK_IMAGE);
    image->media = (struct llm_media){.type = TEXT_LIT("image/webp"), .data = TEXT_LIT("AA==")};
    llm_block_add(arena, &doc->next, BLOCK_AUDIO)->media.data = TEXT_LIT("AA==");
    llm_block_add(arena, &doc->next, BLOCK_TEXT)->text = TEXT_LIT("what?");
    write_to(&q, &no_traits, &no_quirks, arena, &w);
    assert_same(&w, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                    "\"image_url\",\"image_url\":{\"url\":\"data:image/webp;base64,AA==\"}},"
                    "{\"type\":\"text\",\"text\":\"what?\"}]}],\"documents\":[{\"id\":\"doc:0\","
                    "\"data\":{\"title\":\"F\",\"text\":\"facts\"}}]}");
    assert_dropped(&w, "messages[0].content[1], messages[0].content[3]");
    written_fini(&w);

    doc->wants_citations = false;
    struct llm_traits blind = {.takes_images = TRI_NO};
    write_to(&q, &blind, &no_quirks, arena, &w);
    struct json_value mode;
    assert_true(json_find(buf_str(&w.body), "citation_options.mode", &mode));
    assert_true(json_string_eq(json_string_raw(mode), STR("OFF")));
    assert_dropped(&w, "messages[0].content[1], messages[0].content[2], messages[0].content[3]");
    written_fini(&w);
    arena_free(arena);
}

static void sampling_and_wishes(void **state)
{
    (void)state;
    struct arena *arena = arena_new(2048);
    static const struct str refused[] = {STR_INIT("seed")};
    struct llm_quirks quirks = {.refused_params = refused, .refused_param_count = 1};
    struct llm_traits traits = {.takes_sampling = TRI_NO, .thinking = THINKING_NONE};
    struct llm_request q = {.source = DIALECT_OPENAI_CHAT,
                            .is_stream = true,
                            .temperature = STR("1.50"),
                            .top_p = STR("0.9"),
                            .seed = STR("7"),
                            .n = STR("1"),
                            .logprobs = TRI_YES,
                            .top_logprobs = STR("3"),
                            .logit_bias = STR("{}"),
                            .service_tier = TEXT_LIT("flex"),
                            .reasoning = {.mode = REASONING_ON, .effort = TEXT_LIT("low")},
                            .format = {.kind = FORMAT_JSON_SCHEMA, .schema = STR("{\"a\":1}")}};
    struct written w;
    say(arena, &q, ROLE_DEVELOPER, BLOCK_TEXT, "d");
    llm_name_add(arena, &q.stop, TEXT_LIT("END"));
    llm_extra_add(arena, &q, STR_EMPTY, STR("verbosity"),
                  (struct json_value){JSON_STRING, STR("\"low\"")});
    write_to(&q, &no_traits, &no_quirks, arena, &w);
    assert_same(&w, "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"d\"}],"
                    "\"response_format\":{\"type\":\"json_object\",\"json_schema\":{\"a\":1}},"
                    "\"temperature\":1.50,\"p\":0.9,\"seed\":7,\"stop_sequences\":[\"END\"],"
                    "\"logprobs\":true,\"thinking\":{\"type\":\"enabled\",\"token_budget\":2048},"
                    "\"stream\":true}");
    assert_dropped(&w, "top_logprobs, logit_bias, service_tier, verbosity");
    written_fini(&w);
    write_to(&q, &traits, &quirks, arena, &w);
    assert_dropped(&w, "temperature, top_p, seed, top_logprobs, reasoning_effort, logit_bias, "
                       "service_tier, verbosity");
    written_fini(&w);
    arena_free(arena);
}

/* --- the same-dialect path ------------------------------------------------------------------- */

static void the_model_is_fitted_in_place(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024);
    struct str body = STR("{ \"model\" : \"a\\u0062\",\"stream\":true, \"x\":1e2 }");
    struct llm_target target = {.model = STR("c\"d"), .quirks = &no_quirks, .traits = &no_traits};
    struct llm_scan scan;
    struct llm_fit fit;
    struct iovec parts[8];
    assert_int_equal(dialect->scan(body, 64, arena, &scan), 0);
    assert_true(str_eq(scan.model, STR("ab")) && scan.is_stream && scan.includes_usage);
    dialect->fit(&scan, body, &target, true, arena, &fit);
    assert_false(fit.strips_usage);
    int n = json_splice_iov(body, fit.edits, fit.count, parts, 8);
    struct buf out = BUF_INIT;
    for (int i = 0; i < n; i++)
        buf_add(&out, parts[i].iov_base, parts[i].iov_len);
    assert_true(
        str_eq(buf_str(&out), STR("{ \"model\" : \"c\\\"d\",\"stream\":true, \"x\":1e2 }")));
    buf_fini(&out);
    target.model = STR("ab");
    dialect->fit(&scan, body, &target, true, arena, &fit);
    assert_int_equal(fit.count, 0);
    static const char *const bad[] = {"{}", "{\"model\":1}", "{\"model\":\"\"}",
                                      "{\"model\":\"a\",\"model\":\"b\"}",
                                      "{\"model\":\"a\",\"stream\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(dialect->scan(str_c(bad[i]), 64, arena, &scan), -ERR_INVALID);
        assert_true(str_eq(scan.bad_param, i == 4 ? STR("stream") : STR("model")));
    }
    arena_free(arena);
}

static void running_out_of_memory_is_told(void **state)
{
    (void)state;
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
        "\"a\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https:\\/\\/x\"}}]},{\"role\":"
        "\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\"}}]}],"
        "\"documents\":[\"x\"],\"stop_sequences\":[\"a\"],\"tools\":[],\"zzz\":1}";
    unsigned failures = 0;
    for (unsigned nth = 1; nth < 30; nth++) {
        struct arena *arena = arena_new(512);
        struct llm_request request;
        struct buf out = BUF_INIT, dropped = BUF_INIT, supplied = BUF_INIT;
        struct llm_notes notes = {&dropped, &supplied};
        struct llm_target target = {.model = STR("m"), .quirks = &no_quirks, .traits = &no_traits};
        mem_fail_at(nth);
        int r = dialect->read_request(str_c(body), arena, &request);
        if (r == 0)
            r = dialect->write_request(&request, &target, arena, &notes, &out);
        mem_fail_at(0);
        assert_true(r == 0 || r == -ERR_NOMEM);
        failures += r != 0;
        buf_fini(&out);
        buf_fini(&dropped);
        buf_fini(&supplied);
        arena_free(arena);
    }
    assert_true(failures > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_requests_come_back),
        cmocka_unit_test(what_is_read_is_what_was_meant),
        cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(a_tool_loop_of_anthropic),
        cmocka_unit_test(calls_of_gemini_get_ids),
        cmocka_unit_test(documents_and_media),
        cmocka_unit_test(sampling_and_wishes),
        cmocka_unit_test(the_model_is_fitted_in_place),
        cmocka_unit_test(running_out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
