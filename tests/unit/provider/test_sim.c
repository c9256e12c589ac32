#include "provider/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/client.h"
#include "rt/loop.h"

/* One request to the simulated provider, and what came back. */
struct ask {
    enum http_method method;
    const char *path;
    const char *body;
    int64_t patience_ns; /* 0 = plenty */
    uint64_t fail_at;    /* the allocation that fails; 0 = none */
    /* The outcome. */
    int result;
    unsigned status;
    struct buf answer;
    char mark[16], retry_after[16];
    int64_t took_ns;
    uint64_t allocations;
    bool is_done;
};

static void copy_header(const struct http_call *call, struct str name, char out[16])
{
    snprintf(out, 16, "%.*s", STR_ARG(http_headers_get(&call->head.headers, name)));
}

static void call_task(void *arg)
{
    struct ask *ask = arg;
    struct arena *arena = arena_new(4096);
    struct http_origin origin = {.host_header = STR("sim"), .in_process = sim_serve};
    http_origin_seal(&origin);
    int64_t patience_ns = ask->patience_ns > 0 ? ask->patience_ns : 60 * NS_PER_SEC;
    struct http_timeouts timeouts = {.connect_ns = patience_ns,
                                     .tls_ns = patience_ns,
                                     .first_byte_ns = patience_ns,
                                     .idle_ns = patience_ns,
                                     .total_deadline_ns = CLOCK_NEVER};
    struct iovec iov = {(void *)(uintptr_t)ask->body, strlen(ask->body)};
    struct http_headers headers = {0};
    struct http_call_request request = {.method = ask->method,
                                        .target = str_c(ask->path),
                                        .headers = &headers,
                                        .body = &iov,
                                        .body_count = iov.iov_len > 0 ? 1 : 0,
                                        .body_bytes = iov.iov_len};
    struct http_call call = {0};
    int64_t start_ns = clock_mono_ns();
    ask->result =
        arena == NULL ? -ERR_NOMEM : http_call_start(&call, arena, &origin, &request, &timeouts);
    if (arena != NULL) {
        if (ask->result == 0)
            ask->result = http_call_head(&call);
        if (ask->result == 0) {
            ask->status = call.head.status;
            copy_header(&call, STR("x-weir-simulated"), ask->mark);
            copy_header(&call, STR("retry-after"), ask->retry_after);
            ask->result = http_call_collect(&call, 64 * 1024 * 1024, &ask->answer);
        }
        http_call_finish(&call);
    }
    ask->took_ns = clock_mono_ns() - start_ns;
    arena_free(arena);
    ask->is_done = true;
}

/* Runs the request on a loop of its own, and sees to it that nothing is left of it. */
static void run(struct ask *ask)
{
    int64_t deadline_ns = clock_mono_ns() + 90 * NS_PER_SEC;
    struct http_pool_settings settings = {
        .idle_per_origin = 4, .idle_total = 4, .idle_timeout_ns = 60 * NS_PER_SEC};
    struct loop *loop = loop_new(0);
    assert_non_null(loop);
    http_pool_init(&settings);
    mem_fail_at(ask->fail_at);
    if (task_spawn(RUN_NORMAL, "ask", call_task, ask) == NULL)
        ask->is_done = true;
    while (!ask->is_done && clock_mono_ns() < deadline_ns)
        loop_turn(loop, 10 * NS_PER_MS);
    assert_true(ask->is_done);
    http_pool_fini();
    while (task_count() > 0 && clock_mono_ns() < deadline_ns)
        loop_turn(loop, 10 * NS_PER_MS);
    assert_int_equal(task_count(), 0);
    ask->allocations = mem_count();
    mem_fail_at(0);
    loop_free(loop);
}

static struct ask post(const char *path, const char *body)
{
    struct ask ask = {.method = METHOD_POST, .path = path, .body = body, .answer = BUF_INIT};
    run(&ask);
    return ask;
}

static struct ask chat(const char *body)
{
    return post("/v1/chat/completions", body);
}

static struct ask get(const char *path)
{
    struct ask ask = {.method = METHOD_GET, .path = path, .body = "", .answer = BUF_INIT};
    run(&ask);
    return ask;
}

/* --- looking into answers ------------------------------------------------------------------------
 */

/* The string, or other value as JSON, at a JSON pointer; "" when there is none. */
static const char *at(struct str json, const char *pointer)
{
    static char text[64 * 1024];
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, 0);
    if (doc == NULL)
        fail_msg("not JSON: %.*s", STR_ARG(str_head(json, 500)));
    yyjson_val *value = yyjson_doc_ptr_get(doc, pointer);
    text[0] = '\0';
    if (yyjson_is_str(value)) {
        snprintf(text, sizeof(text), "%s", yyjson_get_str(value));
    } else if (value != NULL) {
        char *written = yyjson_val_write(value, 0, NULL);
        snprintf(text, sizeof(text), "%s", written);
        free(written);
    }
    yyjson_doc_free(doc);
    return text;
}

static void expect(const struct ask *ask, const char *pointer, const char *value)
{
    const char *found = at(buf_str(&ask->answer), pointer);
    if (strcmp(found, value) != 0)
        fail_msg("%s of %s is \"%s\", not \"%s\"", pointer, ask->body, found, value);
}

/* A stream put together again. */
struct told {
    unsigned chunks, tokens, usages, null_usages, choices;
    char text[64 * 1024];
    char role[16], finish[16], tool[64], usage[128], error[64];
    bool is_done, done_is_last;
};

static void append(char *to, size_t cap, const char *text)
{
    size_t len = strlen(to);
    snprintf(to + len, cap - len, "%s", text);
}

static void hear_choice(struct told *told, yyjson_val *choice)
{
    yyjson_val *delta = yyjson_obj_get(choice, "delta");
    yyjson_val *call = yyjson_arr_get_first(yyjson_obj_get(delta, "tool_calls"));
    yyjson_val *function = yyjson_obj_get(call, "function");
    told->choices =
        MAX(told->choices, (unsigned)yyjson_get_uint(yyjson_obj_get(choice, "index")) + 1);
    if (yyjson_get_uint(yyjson_obj_get(choice, "index")) > 0)
        return;
    yyjson_val *pieces[] = {yyjson_obj_get(delta, "content"), yyjson_obj_get(choice, "text"),
                            yyjson_obj_get(function, "arguments")};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        if (yyjson_get_len(pieces[i]) == 0)
            continue;
        append(told->text, sizeof(told->text), yyjson_get_str(pieces[i]));
        told->tokens++;
    }
    if (yyjson_is_str(yyjson_obj_get(delta, "role")))
        append(told->role, sizeof(told->role), yyjson_get_str(yyjson_obj_get(delta, "role")));
    if (yyjson_is_str(yyjson_obj_get(function, "name")))
        append(told->tool, sizeof(told->tool), yyjson_get_str(yyjson_obj_get(function, "name")));
    if (yyjson_is_str(yyjson_obj_get(choice, "finish_reason")))
        append(told->finish, sizeof(told->finish),
               yyjson_get_str(yyjson_obj_get(choice, "finish_reason")));
}

static struct told *hear(const struct ask *ask)
{
    static struct told told;
    memset(&told, 0, sizeof(told));
    struct str rest = buf_str(&ask->answer), line;
    while (str_cut(&rest, '\n', &line)) {
        if (line.len == 0)
            continue;
        assert_true(str_starts(line, STR("data: ")));
        line = str_skip(line, 6);
        told.done_is_last = str_eq(line, STR("[DONE]"));
        told.is_done |= told.done_is_last;
        yyjson_doc *doc = yyjson_read(line.ptr, line.len, 0);
        yyjson_val *chunk = yyjson_doc_get_root(doc);
        if (told.done_is_last)
            continue;
        assert_non_null(doc);
        told.chunks++;
        yyjson_val *error = yyjson_obj_get(chunk, "error");
        if (error != NULL) {
            append(told.error, sizeof(told.error), yyjson_get_str(yyjson_obj_get(error, "type")));
        } else {
            assert_string_equal(yyjson_get_str(yyjson_obj_get(chunk, "system_fingerprint")),
                                "weir-simulated");
        }
        yyjson_val *usage = yyjson_obj_get(chunk, "usage");
        told.null_usages += yyjson_is_null(usage);
        if (yyjson_is_obj(usage)) {
            told.usages++;
            assert_int_equal(yyjson_arr_size(yyjson_obj_get(chunk, "choices")), 0);
            char *written = yyjson_val_write(usage, 0, NULL);
            append(told.usage, sizeof(told.usage), written);
            free(written);
        }
        size_t i, n;
        yyjson_val *choice;
        yyjson_arr_foreach(yyjson_obj_get(chunk, "choices"), i, n, choice)
        {
            hear_choice(&told, choice);
        }
        yyjson_doc_free(doc);
    }
    return &told;
}

#define MESSAGE                                                     \
    "\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"}," \
    "{\"role\":\"user\",\"content\":\"Say caf\\u00e9 twice\\n\"}]"

/* --- tests
 * ----------------------------------------------------------------------------------------- */

static void echo_says_what_the_user_said(void **state)
{
    (void)state;
    struct ask ask = chat("{\"model\":\"echo?pace=0\"," MESSAGE "}");
    assert_int_equal(ask.result, 0);
    assert_int_equal(ask.status, 200);
    assert_string_equal(ask.mark, "true");
    expect(&ask, "/choices/0/message/content", "Say caf\xc3\xa9 twice\n");
    expect(&ask, "/choices/0/message/role", "assistant");
    expect(&ask, "/choices/0/finish_reason", "stop");
    expect(&ask, "/object", "chat.completion");
    expect(&ask, "/model", "sim/echo");
    expect(&ask, "/system_fingerprint", "weir-simulated");
    expect(&ask, "/usage", "{\"prompt_tokens\":5,\"completion_tokens\":4,\"total_tokens\":9}");
    buf_fini(&ask.answer);
}

static void the_same_request_has_the_same_answer(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"lorem?pace=0\",\"messages\":[]}",
        "{\"model\":\"story?pace=0\",\"messages\":[],\"stream\":true}",
    };
    struct ask before = {.answer = BUF_INIT};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct ask first = chat(bodies[i]), second = chat(bodies[i]);
        assert_true(first.answer.len > 100);
        assert_true(str_eq(buf_str(&first.answer), buf_str(&second.answer)));
        assert_false(str_eq(buf_str(&first.answer), buf_str(&before.answer)));
        buf_fini(&before.answer);
        buf_fini(&second.answer);
        before = first;
    }
    buf_fini(&before.answer);
}

static void a_stream_says_the_same_token_by_token(void **state)
{
    (void)state;
    struct ask whole = chat("{\"model\":\"story?pace=0\",\"messages\":[]}");
    struct ask stream = chat("{\"model\":\"story?pace=0\",\"messages\":[],\"stream\":true}");
    struct told *told = hear(&stream);
    assert_int_equal(stream.status, 200);
    assert_string_equal(stream.mark, "true");
    expect(&whole, "/choices/0/message/content", told->text);
    assert_string_equal(told->role, "assistant");
    assert_string_equal(told->finish, "stop");
    assert_true(told->tokens > 100);
    assert_true(told->done_is_last);
    assert_int_equal(told->usages, 0);
    assert_int_equal(told->null_usages, 0);
    buf_fini(&whole.answer);
    buf_fini(&stream.answer);
}

static void usage_comes_in_a_stream_when_it_is_asked_for(void **state)
{
    (void)state;
    struct ask ask = chat("{\"model\":\"lorem?pace=0&tokens=7\"," MESSAGE
                          ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    struct told *told = hear(&ask);
    assert_int_equal(told->tokens, 7);
    assert_int_equal(told->usages, 1);
    assert_int_equal(told->null_usages, told->chunks - 1);
    assert_string_equal(told->usage,
                        "{\"prompt_tokens\":5,\"completion_tokens\":7,\"total_tokens\":12}");
    buf_fini(&ask.answer);
}

static void limits_and_stops_end_an_answer(void **state)
{
    (void)state;
    struct ask ask = chat("{\"model\":\"lorem?pace=0\",\"messages\":[],\"max_tokens\":3}");
    expect(&ask, "/choices/0/message/content", "Lorem ipsum dolor");
    expect(&ask, "/choices/0/finish_reason", "length");
    expect(&ask, "/usage/completion_tokens", "3");
    buf_fini(&ask.answer);

    ask = chat("{\"model\":\"lorem?pace=0\",\"messages\":[],\"max_completion_tokens\":50}");
    expect(&ask, "/choices/0/finish_reason", "stop");
    buf_fini(&ask.answer);

    ask = chat("{\"model\":\"lorem?pace=0&tokens=120\",\"messages\":[]}");
    expect(&ask, "/usage/completion_tokens", "120");
    buf_fini(&ask.answer);

    ask = chat("{\"model\":\"lorem?pace=0\",\"messages\":[],\"stop\":[\"amet\",\" dolor\"]}");
    expect(&ask, "/choices/0/message/content", "Lorem ipsum");
    expect(&ask, "/choices/0/finish_reason", "stop");
    buf_fini(&ask.answer);
}

static void several_choices_are_told_apart(void **state)
{
    (void)state;
    struct ask ask = chat("{\"model\":\"lorem?pace=0&tokens=2\",\"messages\":[],\"n\":3}");
    expect(&ask, "/choices/2/index", "2");
    expect(&ask, "/choices/2/message/content", "Lorem ipsum");
    expect(&ask, "/usage/completion_tokens", "6");
    buf_fini(&ask.answer);
    ask = chat("{\"model\":\"lorem?pace=0&tokens=2\",\"messages\":[],\"n\":3,\"stream\":true}");
    struct told *told = hear(&ask);
    assert_int_equal(told->choices, 3);
    assert_int_equal(told->chunks, 3 * 4);
    assert_string_equal(told->text, "Lorem ipsum");
    buf_fini(&ask.answer);
}

#define TOOLS                                                                                  \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"parameters\":" \
    "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":"  \
    "\"integer\"}},\"required\":[\"city\"]}}},"                                                \
    "{\"type\":\"function\",\"function\":{\"name\":\"other\"}}]"

static void the_tool_model_calls_the_first_tool(void **state)
{
    (void)state;
    struct ask ask = chat("{\"model\":\"tool?pace=0\"," MESSAGE "," TOOLS "}");
    expect(&ask, "/choices/0/message/tool_calls/0/function/name", "get_weather");
    expect(&ask, "/choices/0/message/tool_calls/0/function/arguments", "{\"city\": \"Paris\"}");
    expect(&ask, "/choices/0/message/tool_calls/0/type", "function");
    expect(&ask, "/choices/0/message/content", "null");
    expect(&ask, "/choices/0/finish_reason", "tool_calls");
    char id[64];
    snprintf(id, sizeof(id), "%s", at(buf_str(&ask.answer), "/choices/0/message/tool_calls/0/id"));
    assert_true(strlen(id) > 8);
    buf_fini(&ask.answer);

    ask = chat("{\"model\":\"tool?pace=0\"," MESSAGE "," TOOLS ",\"stream\":true}");
    struct told *told = hear(&ask);
    assert_string_equal(told->tool, "get_weather");
    assert_string_equal(told->text, "{\"city\": \"Paris\"}");
    assert_string_equal(told->finish, "tool_calls");
    assert_true(told->tokens > 1);
    buf_fini(&ask.answer);

    ask = chat("{\"model\":\"tool?pace=0\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
               "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"sunny\"}]," TOOLS "}");
    expect(&ask, "/choices/0/message/content", "The tool answered: sunny");
    expect(&ask, "/choices/0/finish_reason", "stop");
    buf_fini(&ask.answer);
}

static void tool_choice_is_obeyed(void **state)
{
    (void)state;
    struct ask ask =
        chat("{\"model\":\"echo?pace=0\"," MESSAGE "," TOOLS ",\"tool_choice\":\"required\"}");
    expect(&ask, "/choices/0/message/tool_calls/0/function/name", "get_weather");
    buf_fini(&ask.answer);
    ask = chat("{\"model\":\"echo?pace=0\"," MESSAGE "," TOOLS
               ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"other\"}}}");
    expect(&ask, "/choices/0/message/tool_calls/0/function/name", "other");
    expect(&ask, "/choices/0/message/tool_calls/0/function/arguments", "{}");
    buf_fini(&ask.answer);
    ask = chat("{\"model\":\"tool?pace=0\"," MESSAGE "," TOOLS ",\"tool_choice\":\"none\"}");
    expect(&ask, "/choices/0/finish_reason", "stop");
    buf_fini(&ask.answer);
    ask = chat("{\"model\":\"echo?pace=0\"," MESSAGE "," TOOLS
               ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"nobody\"}}}");
    assert_int_equal(ask.status, 400);
    expect(&ask, "/error/param", "tool_choice");
    buf_fini(&ask.answer);
}

static void a_response_format_is_kept(void **state)
{
    (void)state;
    struct ask ask = chat("{\"model\":\"echo?pace=0\"," MESSAGE
                          ",\"response_format\":{\"type\":\"json_object\"}}");
    expect(&ask, "/choices/0/message/content", "{\"text\": \"Say caf\xc3\xa9 twice\\n\"}");
    buf_fini(&ask.answer);
    ask = chat("{\"model\":\"echo?pace=0\"," MESSAGE ",\"response_format\":{\"type\":"
               "\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{\"type\":\"object\","
               "\"properties\":{\"ok\":{\"type\":\"boolean\"}},\"required\":[\"ok\"]}}}}");
    expect(&ask, "/choices/0/message/content", "{\"ok\": true}");
    buf_fini(&ask.answer);
}

static void errors_come_when_they_are_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        unsigned status;
        const char *type, *code, *retry_after;
    } cases[] = {
        {"error", 500, "server_error", "null", ""},
        {"error?error=429", 429, "requests", "rate_limit_exceeded", "1"},
        {"lorem?error=401", 401, "invalid_request_error", "invalid_api_key", ""},
        {"lorem?error=503&delay=1ms", 503, "server_error", "null", "1"},
        {"lorem?error=418", 418, "invalid_request_error", "null", ""},
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        char body[256];
        snprintf(body, sizeof(body), "{\"model\":\"%s\",\"messages\":[],\"stream\":%s}",
                 cases[i / 2].model, i % 2 ? "true" : "false");
        struct ask ask = chat(body);
        assert_int_equal(ask.status, cases[i / 2].status);
        expect(&ask, "/error/type", cases[i / 2].type);
        expect(&ask, "/error/code", cases[i / 2].code);
        assert_string_equal(ask.retry_after, cases[i / 2].retry_after);
        assert_string_equal(ask.mark, "true");
        buf_fini(&ask.answer);
    }
    struct ask ask =
        chat("{\"model\":\"lorem?pace=0&error=503&after=3\",\"messages\":[],\"stream\":true}");
    struct told *told = hear(&ask);
    assert_int_equal(ask.status, 200);
    assert_int_equal(told->tokens, 3);
    assert_string_equal(told->error, "server_error");
    assert_string_equal(told->finish, "");
    assert_false(told->is_done);
    buf_fini(&ask.answer);
}

static void a_break_is_a_break(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        unsigned tokens;
    } cases[] = {
        {"break?pace=0", 10},
        {"lorem?pace=0&break=0", 0},
        {"lorem?pace=1ms&break=4", 4},
        {"echo?pace=0&break=99", 4}, /* a shorter answer breaks at its end */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[256];
        snprintf(body, sizeof(body), "{\"model\":\"%s\"," MESSAGE ",\"stream\":true}",
                 cases[i].model);
        struct ask ask = chat(body);
        assert_int_equal(ask.status, 200);
        assert_int_equal(ask.result, -ERR_RESET);
        struct told *told = hear(&ask);
        assert_int_equal(told->tokens, cases[i].tokens);
        assert_string_equal(told->finish, "");
        assert_false(told->is_done);
        buf_fini(&ask.answer);
    }
    struct ask ask = chat("{\"model\":\"break?pace=0\",\"messages\":[]}");
    assert_int_equal(ask.status, 200);
    assert_int_equal(ask.result, -ERR_RESET);
    buf_fini(&ask.answer);
}

static void a_stall_lasts_until_the_client_has_enough(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct ask ask = {
            .method = METHOD_POST,
            .path = "/v1/chat/completions",
            .body = i == 0 ? "{\"model\":\"lorem?pace=0&stall=3\",\"messages\":[],\"stream\":true}"
                           : "{\"model\":\"stall?pace=0\",\"messages\":[]}",
            .patience_ns = 200 * NS_PER_MS,
            .answer = BUF_INIT,
        };
        run(&ask); /* also: no task is left when the client has gone */
        assert_int_equal(ask.result, -ERR_TIMEOUT);
        assert_int_equal(hear(&ask)->tokens, i == 0 ? 3 : 0);
        buf_fini(&ask.answer);
    }
}

static void delay_and_pace_are_kept(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"lorem?tokens=6&pace=10ms&delay=0.05s\",\"messages\":[],\"stream\":true}",
        "{\"model\":\"lorem?tokens=5&pace=10ms&delay=50ms\",\"messages\":[]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct ask ask = chat(bodies[i]);
        assert_int_equal(ask.status, 200);
        assert_true(ask.took_ns >= 100 * NS_PER_MS);
        buf_fini(&ask.answer);
    }
}

static void a_probe_says_when_each_of_its_events_left(void **state)
{
    (void)state;
    struct ask ask = chat("{\"model\":\"probe?tokens=5&pace=10ms&idle=60ms\",\"messages\":[],"
                          "\"stream\":true}");
    struct told *told = hear(&ask);
    assert_int_equal(told->tokens, 5);
    struct str rest = str_c(told->text), item;
    int64_t sent_us, before_us = 0;
    for (unsigned i = 1; i <= 5; i++) {
        uint64_t number = 0;
        struct str name;
        assert_true(str_next(&rest, ' ', &item));
        assert_true(str_cut(&item, '@', &name) && str_to_u64(name, &number));
        assert_true(str_to_i64(item, &sent_us));
        assert_int_equal(number, i);
        assert_true(sent_us >= (i - 1) * 10000 + (i == 5 ? 60000 : 0) && sent_us >= before_us);
        before_us = sent_us;
    }
    assert_true(ask.took_ns >= 100 * NS_PER_MS);
    buf_fini(&ask.answer);
    ask = chat("{\"model\":\"probe?tokens=3&pace=0\",\"messages\":[]}");
    expect(&ask, "/choices/0/message/content", "1 2 3");
    buf_fini(&ask.answer);
}

static void what_is_not_there_is_explained(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        unsigned status;
        const char *param, *says;
    } cases[] = {
        {"{", 400, "null", "JSON"},
        {"[]", 400, "null", "JSON"},
        {"{\"messages\":[]}", 404, "model", "echo, lorem"},
        {"{\"model\":\"gpt-4o\",\"messages\":[]}", 404, "model", "\"gpt-4o\""},
        {"{\"model\":\"lorem?pase=1ms\",\"messages\":[]}", 400, "model", "\"pase\""},
        {"{\"model\":\"lorem?pace=fast\",\"messages\":[]}", 400, "model", "\"fast\""},
        {"{\"model\":\"lorem?pace=-1ms\",\"messages\":[]}", 400, "model", "\"-1ms\""},
        {"{\"model\":\"lorem?tokens=1e9\",\"messages\":[]}", 400, "model", "whole number"},
        {"{\"model\":\"lorem?error=200\",\"messages\":[]}", 400, "model", "400 to 599"},
        {"{\"model\":\"lorem\"}", 400, "messages", "array"},
        {"{\"model\":\"lorem\",\"messages\":[{}]}", 400, "messages", "role"},
        {"{\"model\":\"lorem\",\"messages\":[],\"n\":17}", 400, "n", "1 to 16"},
        {"{\"model\":\"lorem\",\"messages\":[],\"max_tokens\":0}", 400, "max_tokens", "from 1"},
        {"{\"model\":\"lorem\",\"messages\":[],\"stop\":7}", 400, "stop", "string"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ask ask = chat(cases[i].body);
        if (ask.status != cases[i].status)
            fail_msg("%s: status %u", cases[i].body, ask.status);
        expect(&ask, "/error/param", cases[i].param);
        if (strstr(at(buf_str(&ask.answer), "/error/message"), cases[i].says) == NULL)
            fail_msg("%s: %.*s", cases[i].body, STR_ARG(buf_str(&ask.answer)));
        assert_string_equal(ask.mark, "true");
        buf_fini(&ask.answer);
    }
}

static void text_completions_work_as_well(void **state)
{
    (void)state;
    struct ask ask =
        post("/v1/completions", "{\"model\":\"echo?pace=0\",\"prompt\":\"once upon a time\"}");
    expect(&ask, "/choices/0/text", "once upon a time");
    expect(&ask, "/object", "text_completion");
    expect(&ask, "/usage/prompt_tokens", "4");
    buf_fini(&ask.answer);
    ask = post("/v1/completions",
               "{\"model\":\"echo?pace=0\",\"prompt\":[\"once upon\",\"x\"],\"stream\":true}");
    struct told *told = hear(&ask);
    assert_string_equal(told->text, "once upon");
    assert_string_equal(told->finish, "stop");
    assert_true(told->done_is_last);
    buf_fini(&ask.answer);
}

static void the_models_are_listed(void **state)
{
    (void)state;
    struct ask ask = get("/v1/models");
    expect(&ask, "/object", "list");
    expect(&ask, "/data/0/id", "echo");
    expect(&ask, "/data/6/id", "stall");
    buf_fini(&ask.answer);
    ask = get("/v1/models/story");
    expect(&ask, "/id", "story");
    buf_fini(&ask.answer);
    ask = get("/v1/models/gpt-4o");
    assert_int_equal(ask.status, 404);
    buf_fini(&ask.answer);
    ask = get("/v1/embeddings");
    assert_int_equal(ask.status, 404);
    buf_fini(&ask.answer);
    ask = get("/v1/chat/completions");
    assert_int_equal(ask.status, 405);
    buf_fini(&ask.answer);
}

/* Whichever allocation fails, the client gets an answer, an error or a break, and nothing is left
 * behind. */
static void no_failed_allocation_does_harm(void **state)
{
    (void)state;
    uint64_t allocations = 1;
    for (uint64_t n = 0; n <= allocations; n++) {
        struct ask ask = {
            .method = METHOD_POST,
            .path = "/v1/chat/completions",
            .body = "{\"model\":\"tool?pace=0\"," MESSAGE "," TOOLS ",\"stream\":true}",
            .fail_at = n,
            .answer = BUF_INIT,
        };
        run(&ask);
        if (n == 0)
            allocations = ask.allocations;
        assert_true(ask.status == 200 || ask.status == 0 || ask.status >= 500);
        if (ask.status == 200 && ask.result == 0)
            assert_true(hear(&ask)->is_done);
        buf_fini(&ask.answer);
    }
    assert_true(allocations > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_says_what_the_user_said),
        cmocka_unit_test(the_same_request_has_the_same_answer),
        cmocka_unit_test(a_stream_says_the_same_token_by_token),
        cmocka_unit_test(usage_comes_in_a_stream_when_it_is_asked_for),
        cmocka_unit_test(limits_and_stops_end_an_answer),
        cmocka_unit_test(several_choices_are_told_apart),
        cmocka_unit_test(the_tool_model_calls_the_first_tool),
        cmocka_unit_test(tool_choice_is_obeyed),
        cmocka_unit_test(a_response_format_is_kept),
        cmocka_unit_test(errors_come_when_they_are_asked_for),
        cmocka_unit_test(a_break_is_a_break),
        cmocka_unit_test(a_stall_lasts_until_the_client_has_enough),
        cmocka_unit_test(delay_and_pace_are_kept),
        cmocka_unit_test(a_probe_says_when_each_of_its_events_left),
        cmocka_unit_test(what_is_not_there_is_explained),
        cmocka_unit_test(text_completions_work_as_well),
        cmocka_unit_test(the_models_are_listed),
        cmocka_unit_test(no_failed_allocation_does_harm),
    };
    return cmocka_run_group_tests_name("provider/sim", tests, NULL, NULL);
}
