#include "provider/sim.h"

#include "base/clock.h"
#include "http/server.h"
#include "provider/sim_answer.h"

enum {
    /* Tokens that are due at once leave in writes of about this size. */
    WRITE_BYTES = 8 * 1024,
    BODY_BYTES_MAX = 1024 * 1024 * 1024, /* the gateway in front has its own, lower limit */
    CREATED = 1767225600,                /* 2026-01-01: the same request, the same answer */
};

static const struct http_server_settings settings = {
    .limits = {.head_bytes = 1024 * 1024,
               .target_bytes = 16 * 1024,
               .header_count = 256,
               .trailer_bytes = 8 * 1024,
               .chunk_ext_bytes = 1024,
               .pipeline_bytes = 64 * 1024,
               .body_bytes = BODY_BYTES_MAX},
    .head_timeout_ns = 60 * NS_PER_SEC,
    .body_timeout_ns = 60 * NS_PER_SEC,
    .keep_alive_timeout_ns = 3600 * NS_PER_SEC,
    .write_timeout_ns = 600 * NS_PER_SEC,
};

/* One answer on its way. */
struct call {
    struct http_request *r;
    struct sim_request request;
    struct sim_answer answer;
    struct http_headers headers;
    struct str head;  /* what every chunk, or the whole answer, begins with */
    struct str id;    /* hex digits that follow from the request */
    struct buf out;   /* chunks that were not written yet */
    int64_t due_ns;   /* of the next token */
    int64_t began_ns; /* when the request had come */
};

/* --- errors and heads ----------------------------------------------------------------------------
 */

static const struct {
    unsigned status;
    const char *type, *code;
} error_kinds[] = {
    {400, "invalid_request_error", NULL},
    {401, "invalid_request_error", "invalid_api_key"},
    {402, "insufficient_quota", "insufficient_quota"},
    {403, "invalid_request_error", "permission_denied"},
    {404, "invalid_request_error", "model_not_found"},
    {413, "invalid_request_error", "request_too_large"},
    {429, "requests", "rate_limit_exceeded"},
    {503, "server_error", NULL},
};

static bool set_headers(struct call *call, const char *content_type, unsigned status)
{
    struct http_headers *headers = &call->headers;
    struct arena *arena = call->r->arena;
    bool is_good = http_headers_add(headers, arena, STR("Content-Type"), str_c(content_type)) &&
                   http_headers_add(headers, arena, STR("x-weir-simulated"), STR("true"));
    if (call->id.len > 0)
        is_good &= http_headers_add(headers, arena, STR("x-request-id"),
                                    arena_printf(arena, "sim-%.*s", STR_ARG(call->id)));
    if (status == 429 || status == 503)
        is_good &= http_headers_add(headers, arena, STR("Retry-After"), STR("1"));
    return is_good;
}

static void add_error(struct buf *out, unsigned status, struct str message, const char *param,
                      const char *code)
{
    const char *type = status < 500 ? "invalid_request_error" : "server_error";
    for (size_t i = 0; i < ARRAY_LEN(error_kinds); i++) {
        if (error_kinds[i].status != status)
            continue;
        type = error_kinds[i].type;
        if (code == NULL)
            code = error_kinds[i].code;
    }
    BUF_LIT(out, "{\"error\":{\"message\":");
    buf_add_json(out, message);
    buf_printf(out, ",\"type\":\"%s\",\"param\":", type);
    if (param != NULL)
        buf_add_json(out, str_c(param));
    else
        BUF_LIT(out, "null");
    BUF_LIT(out, ",\"code\":");
    if (code != NULL)
        buf_add_json(out, str_c(code));
    else
        BUF_LIT(out, "null");
    BUF_LIT(out, "}}");
}

YIELDS static void respond_json(struct call *call, unsigned status, const struct buf *body)
{
    if (buf_ok(body) && set_headers(call, "application/json", status))
        http_respond(call->r, status, &call->headers, buf_str(body));
}

YIELDS static void respond_error(struct call *call, unsigned status, struct str message,
                                 const char *param, const char *code)
{
    buf_clear(&call->out);
    add_error(&call->out, status, message, param, code);
    respond_json(call, status, &call->out);
}

static struct str simulated_error(struct call *call)
{
    return arena_printf(call->r->arena, "This error %lld was asked for: the model is simulated.",
                        (long long)call->request.options.error);
}

/* --- parts of answers ----------------------------------------------------------------------------
 */

static bool make_head(struct call *call)
{
    const struct sim_request *request = &call->request;
    const char *object = !request->is_chat    ? "text_completion"
                         : request->is_stream ? "chat.completion.chunk"
                                              : "chat.completion";
    call->head =
        arena_printf(call->r->arena,
                     "{\"id\":\"%s-sim%.*s\",\"object\":\"%s\",\"created\":%d,\"model\":\"sim/%s\","
                     "\"system_fingerprint\":\"weir-simulated\",\"choices\":[",
                     request->is_chat ? "chatcmpl" : "cmpl", STR_ARG(call->id), object, CREATED,
                     sim_model_names[request->model]);
    return call->head.ptr != NULL;
}

static void add_usage(struct call *call)
{
    unsigned long long prompt = call->request.prompt_tokens;
    unsigned long long completion = call->answer.tokens * call->request.choices;
    buf_printf(&call->out,
               "\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,"
               "\"total_tokens\":%llu}",
               prompt, completion, prompt + completion);
}

/* A tool call as it begins: with all that it has but its arguments. */
static void add_tool_call(struct call *call, bool has_index, struct str arguments)
{
    struct buf *out = &call->out;
    BUF_LIT(out, "\"tool_calls\":[{");
    if (has_index)
        BUF_LIT(out, "\"index\":0,");
    buf_printf(out, "\"id\":\"call_sim%.*s\",\"type\":\"function\",\"function\":{\"name\":",
               STR_ARG(call->id));
    buf_add_json(out, call->request.tool_name);
    BUF_LIT(out, ",\"arguments\":");
    buf_add_json(out, arguments);
    BUF_LIT(out, "}}]");
}

static void add_finish(struct buf *out, const char *finish)
{
    BUF_LIT(out, ",\"logprobs\":null,\"finish_reason\":");
    if (finish != NULL)
        buf_add_json(out, str_c(finish));
    else
        BUF_LIT(out, "null");
    buf_add_char(out, '}');
}

/* --- whole answers -------------------------------------------------------------------------------
 */

static void add_whole_choice(struct call *call, unsigned index)
{
    struct buf *out = &call->out;
    const struct sim_answer *answer = &call->answer;
    buf_printf(out, "%s{\"index\":%u,", index > 0 ? "," : "", index);
    if (!call->request.is_chat) {
        BUF_LIT(out, "\"text\":");
        buf_add_json(out, answer->text);
    } else {
        BUF_LIT(out, "\"message\":{\"role\":\"assistant\",\"content\":");
        if (answer->is_tool_call)
            BUF_LIT(out, "null,");
        else
            buf_add_json(out, answer->text);
        if (answer->is_tool_call)
            add_tool_call(call, false, answer->text);
        BUF_LIT(out, ",\"refusal\":null}");
    }
    add_finish(out, answer->finish);
}

/* The answer breaks off in the middle of its body. */
YIELDS static void respond_broken(struct call *call)
{
    struct iovec iov = {call->out.ptr, call->out.len / 2};
    if (buf_ok(&call->out) && set_headers(call, "application/json", 200) &&
        http_response_start(call->r, 200, &call->headers, (int64_t)call->out.len) == 0 &&
        http_response_write(call->r, &iov, 1, false, CLOCK_NEVER) == 0)
        http_response_abort(call->r);
}

YIELDS static void answer_whole(struct call *call)
{
    const struct sim_options *options = &call->request.options;
    int64_t took_ns =
        clock_add_ns(options->pace_ns * (int64_t)call->answer.tokens, options->idle_ns);
    int64_t due_ns = options->stall_after >= 0 ? CLOCK_NEVER : clock_add_ns(call->due_ns, took_ns);
    if (due_ns > loop_now_ns() && task_sleep_until(due_ns) < 0)
        return;
    buf_add_str(&call->out, call->head);
    for (unsigned i = 0; i < call->request.choices; i++)
        add_whole_choice(call, i);
    BUF_LIT(&call->out, "],");
    add_usage(call);
    buf_add_char(&call->out, '}');
    if (options->break_after >= 0)
        respond_broken(call);
    else
        respond_json(call, 200, &call->out);
}

/* --- streams
 * --------------------------------------------------------------------------------------- */

YIELDS static int flush(struct call *call, bool is_last)
{
    if (!buf_ok(&call->out))
        return -ERR_NOMEM;
    struct iovec iov = {call->out.ptr, call->out.len};
    int result = 0;
    if (call->out.len > 0 || is_last)
        result = http_response_write(call->r, &iov, call->out.len > 0 ? 1 : 0, is_last,
                                     loop_now_ns() + settings.write_timeout_ns);
    buf_clear(&call->out);
    return result;
}

static void begin_chunk(struct call *call)
{
    BUF_LIT(&call->out, "data: ");
    buf_add_str(&call->out, call->head);
}

static void end_chunk(struct call *call)
{
    buf_add_str(&call->out,
                call->request.include_usage ? STR("],\"usage\":null}\n\n") : STR("]}\n\n"));
}

enum piece { PIECE_FIRST, PIECE_TOKEN, PIECE_LAST };

static void add_delta(struct call *call, enum piece piece, struct str token)
{
    struct buf *out = &call->out;
    bool is_tool = call->answer.is_tool_call;
    if (!call->request.is_chat) {
        BUF_LIT(out, "\"text\":");
        buf_add_json(out, token);
        return;
    }
    BUF_LIT(out, "\"delta\":{");
    if (piece == PIECE_FIRST)
        buf_add_str(out, is_tool ? STR("\"role\":\"assistant\",\"content\":null,")
                                 : STR("\"role\":\"assistant\",\"content\":\"\""));
    if (piece == PIECE_FIRST && is_tool)
        add_tool_call(call, true, STR(""));
    if (piece == PIECE_TOKEN && is_tool)
        BUF_LIT(out, "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":");
    if (piece == PIECE_TOKEN && !is_tool)
        BUF_LIT(out, "\"content\":");
    if (piece == PIECE_TOKEN)
        buf_add_json(out, token);
    if (piece == PIECE_TOKEN && is_tool)
        BUF_LIT(out, "}}]");
    buf_add_char(out, '}');
}

/* A chunk for each choice. */
static void add_chunks(struct call *call, enum piece piece, struct str token)
{
    for (unsigned i = 0; i < call->request.choices; i++) {
        begin_chunk(call);
        buf_printf(&call->out, "{\"index\":%u,", i);
        add_delta(call, piece, token);
        add_finish(&call->out, piece == PIECE_LAST ? call->answer.finish : NULL);
        end_chunk(call);
    }
}

enum step { STEP_ON, STEP_END };

/* A misfortune comes after so many tokens, or at the end of a shorter answer. */
static bool is_due(int64_t after, int64_t sent, bool is_end)
{
    return after >= 0 && (sent == after || is_end);
}

/* What is to happen instead of the next token. */
YIELDS static enum step meet_fate(struct call *call, int64_t sent, bool is_end)
{
    const struct sim_options *options = &call->request.options;
    if (is_due(options->break_after, sent, is_end)) {
        if (flush(call, false) == 0)
            http_response_abort(call->r);
        return STEP_END;
    }
    if (is_due(options->stall_after, sent, is_end)) {
        if (flush(call, false) == 0)
            task_sleep_until(CLOCK_NEVER);
        return STEP_END;
    }
    if (options->error != 0 && is_due(options->error_after, sent, is_end)) {
        BUF_LIT(&call->out, "data: ");
        add_error(&call->out, (unsigned)options->error, simulated_error(call), NULL, NULL);
        BUF_LIT(&call->out, "\n\n");
        flush(call, true);
        return STEP_END;
    }
    return STEP_ON;
}

/* Waits until the next token is due; what is ready leaves before. */
YIELDS static int keep_pace(struct call *call)
{
    if (call->due_ns > loop_now_ns()) {
        int result = flush(call, false);
        if (result == 0)
            result = task_sleep_until(call->due_ns);
        if (result < 0)
            return result;
    }
    call->due_ns = clock_add_ns(call->due_ns, call->request.options.pace_ns);
    return call->out.len >= WRITE_BYTES ? flush(call, false) : 0;
}

YIELDS static void end_stream(struct call *call)
{
    add_chunks(call, PIECE_LAST, STR(""));
    if (call->request.include_usage) {
        begin_chunk(call);
        BUF_LIT(&call->out, "],");
        add_usage(call);
        BUF_LIT(&call->out, "}\n\n");
    }
    BUF_LIT(&call->out, "data: [DONE]\n\n");
    flush(call, true);
}

/* The model "probe" says with each number when it leaves, so that who reads it knows what the way
 * has done to it: "17@850123", in microseconds since the request had come. */
static struct str stamp(const struct call *call, struct str token, char *text, size_t size)
{
    bool is_text = call->request.format == SIM_FORMAT_TEXT && !call->answer.is_tool_call;
    if (call->request.model != SIM_PROBE || !is_text)
        return token;
    int64_t us = (clock_mono_ns() - call->began_ns) / NS_PER_US;
    int n = snprintf(text, size, "%.*s@%lld", STR_ARG(token), (long long)us);
    return str_n(text, (size_t)n);
}

/* The silence that was asked for comes before the last token. */
static void lie_idle(struct call *call, struct str rest)
{
    struct str token;
    if (call->request.options.idle_ns == 0 || !sim_next_token(&rest, &token) || rest.len > 0)
        return;
    call->due_ns = clock_add_ns(call->due_ns, call->request.options.idle_ns);
}

YIELDS static void answer_stream(struct call *call)
{
    struct http_headers *headers = &call->headers;
    if (!set_headers(call, "text/event-stream; charset=utf-8", 200) ||
        !http_headers_add(headers, call->r->arena, STR("Cache-Control"), STR("no-cache")) ||
        http_response_start(call->r, 200, headers, -1) < 0)
        return;
    struct str rest = call->answer.text, token;
    for (int64_t sent = 0;; sent++) {
        bool is_end = rest.len == 0;
        char text[64];
        lie_idle(call, rest);
        if ((sent == 0 || !is_end) && keep_pace(call) < 0)
            return;
        if (sent == 0 && call->request.is_chat)
            add_chunks(call, PIECE_FIRST, STR(""));
        if (meet_fate(call, sent, is_end) == STEP_END)
            return;
        if (is_end)
            break;
        sim_next_token(&rest, &token);
        add_chunks(call, PIECE_TOKEN, stamp(call, token, text, sizeof(text)));
    }
    end_stream(call);
}

/* --- endpoints
 * ------------------------------------------------------------------------------------- */

YIELDS static void serve_completion(struct call *call, bool is_chat)
{
    struct http_request *r = call->r;
    struct sim_request *request = &call->request;
    struct sim_refusal refusal = {0};
    if (http_request_collect(r, BODY_BYTES_MAX, CLOCK_NEVER, &call->out) < 0)
        return;
    /* The request keeps strings of the body; `out` is used for the answer. */
    struct str body = buf_str(&call->out);
    struct buf answer = BUF_INIT;
    bool is_read = sim_request_read(request, r->arena, body, is_chat, &refusal);
    char digits[16];
    for (unsigned i = 0; i < sizeof(digits); i++)
        digits[i] = "0123456789abcdef"[request->hash >> (4 * i) & 15];
    call->id = arena_dup(r->arena, str_n(digits, sizeof(digits)));
    bool is_made = is_read && sim_answer_make(request, r->arena, &call->answer) && make_head(call);
    struct buf held = call->out;
    call->out = answer;
    call->began_ns = clock_mono_ns();
    call->due_ns = clock_add_ns(call->began_ns, request->options.delay_ns);
    bool fails_at_once =
        request->options.error != 0 && (!request->is_stream || request->options.error_after < 0);
    if (!is_read)
        respond_error(call, refusal.status, refusal.message, refusal.param, refusal.code);
    else if (!is_made)
        respond_error(call, 500, STR("out of memory"), NULL, NULL);
    else if (fails_at_once && task_sleep_until(call->due_ns) == 0)
        respond_error(call, (unsigned)request->options.error, simulated_error(call), NULL, NULL);
    else if (!fails_at_once && request->is_stream)
        answer_stream(call);
    else if (!fails_at_once)
        answer_whole(call);
    buf_fini(&held);
}

YIELDS static void serve_chat(struct call *call)
{
    serve_completion(call, true);
}

YIELDS static void serve_text(struct call *call)
{
    serve_completion(call, false);
}

static void add_model(struct buf *out, const char *name)
{
    buf_printf(out,
               "{\"id\":\"%s\",\"object\":\"model\",\"created\":%d,"
               "\"owned_by\":\"weir-simulated\"}",
               name, CREATED);
}

YIELDS static void serve_models(struct call *call)
{
    BUF_LIT(&call->out, "{\"object\":\"list\",\"data\":[");
    for (unsigned i = 0; i < SIM_MODEL_COUNT; i++) {
        if (i > 0)
            buf_add_char(&call->out, ',');
        add_model(&call->out, sim_model_names[i]);
    }
    BUF_LIT(&call->out, "]}");
    respond_json(call, 200, &call->out);
}

YIELDS static void serve_model(struct call *call)
{
    struct str name = str_skip(call->r->path, STR("/v1/models/").len);
    for (unsigned i = 0; i < SIM_MODEL_COUNT; i++) {
        if (!str_eq(name, str_c(sim_model_names[i])))
            continue;
        add_model(&call->out, sim_model_names[i]);
        respond_json(call, 200, &call->out);
        return;
    }
    respond_error(call, 404, STR("The simulated provider has no such model."), "model", NULL);
}

static const struct {
    enum http_method method;
    struct str path; /* glob */
    YIELDS void (*serve)(struct call *call);
} endpoints[] = {
    {METHOD_POST, STR_INIT("/v1/chat/completions"), serve_chat},
    {METHOD_POST, STR_INIT("/v1/completions"), serve_text},
    {METHOD_GET, STR_INIT("/v1/models"), serve_models},
    {METHOD_GET, STR_INIT("/v1/models/*"), serve_model},
};

/* Finds the endpoint and lets it answer; what there is not is a 404, another method a 405. */
YIELDS static void dispatch(struct call *call)
{
    unsigned status = 404;
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        if (!str_glob(endpoints[i].path, call->r->path))
            continue;
        if (endpoints[i].method == call->r->method) {
            endpoints[i].serve(call);
            return;
        }
        status = 405;
    }
    respond_error(call, status,
                  STR("The simulated provider serves /v1/chat/completions, /v1/completions and "
                      "/v1/models."),
                  NULL, NULL);
}

YIELDS static void serve(struct http_request *r, void *ctx)
{
    (void)ctx;
    struct call call = {.r = r, .out = BUF_INIT};
    http_request_watch_hangup(r, task_self());
    dispatch(&call);
    http_request_watch_hangup(r, NULL);
    buf_fini(&call.out);
}

void sim_serve(int fd, void *ctx)
{
    static const struct net_addr nobody;
    http_serve(fd, &nobody, NULL, &settings, serve, ctx);
}
