#include "provider/sim_request.h"

#include <stdarg.h>

#include "base/clock.h"

const char *const sim_model_names[SIM_MODEL_COUNT + 1] = {
    [SIM_ECHO] = "echo",   [SIM_LOREM] = "lorem", [SIM_STORY] = "story", [SIM_TOOL] = "tool",
    [SIM_ERROR] = "error", [SIM_BREAK] = "break", [SIM_STALL] = "stall", [SIM_PROBE] = "probe",
};

enum { DEFAULT_PACE_MS = 15, PROBE_PACE_MS = 50, TOKEN_BYTES = 16 };

PRINTF_LIKE(5, 6)
static bool refuse(struct sim_refusal *refusal, struct arena *arena, const char *param,
                   const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    refusal->message = arena_vprintf(arena, format, args);
    va_end(args);
    refusal->status = code != NULL ? 404 : 400;
    refusal->param = param;
    refusal->code = code;
    return false;
}

/* --- tokens ---------------------------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

bool sim_next_token(struct str *text, struct str *token)
{
    size_t n = 0;
    while (n < text->len && n < TOKEN_BYTES && is_space(text->ptr[n]))
        n++;
    size_t end = MIN(text->len, n + TOKEN_BYTES);
    while (n < end && !is_space(text->ptr[n]))
        n++;
    if (n == end)
        while (n < text->len && ((unsigned char)text->ptr[n] & 0xc0) == 0x80)
            n++;
    *token = str_head(*text, n);
    *text = str_skip(*text, n);
    return n > 0;
}

uint64_t sim_count_tokens(struct str text)
{
    uint64_t count = 0;
    struct str token;
    while (sim_next_token(&text, &token))
        count++;
    return count;
}

/* --- the model's name and its options -----------------------------------------------------------
 */

static const struct {
    const char *name;
    uint16_t offset;
    bool is_span; /* "20ms", "1.5s"; else a number */
    int64_t max;
} options[] = {
#define OPTION(name, member, is_span, max)                       \
    {                                                            \
        name, offsetof(struct sim_options, member), is_span, max \
    }
    OPTION("tokens", tokens, false, SIM_TOKENS_MAX),
    OPTION("pace", pace_ns, true, 60 * NS_PER_SEC),
    OPTION("delay", delay_ns, true, 3600 * NS_PER_SEC),
    OPTION("idle", idle_ns, true, 3600 * NS_PER_SEC),
    OPTION("break", break_after, false, SIM_TOKENS_MAX),
    OPTION("stall", stall_after, false, SIM_TOKENS_MAX),
    OPTION("error", error, false, 599),
    OPTION("after", error_after, false, SIM_TOKENS_MAX),
#undef OPTION
};
#define OPTION_LIST "tokens, pace, delay, idle, break, stall, error, after"

/* "250us", "20ms", "1.5s", "0" */
static bool read_span(struct str text, int64_t *ns)
{
    static const struct {
        struct str unit;
        double ns;
    } units[] = {{STR_INIT("us"), 1e3}, {STR_INIT("ms"), 1e6}, {STR_INIT("s"), 1e9}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        double number;
        if (!str_ends(text, units[i].unit))
            continue;
        struct str digits = str_head(text, text.len - units[i].unit.len);
        if (!str_to_double(digits, &number) || number < 0 || number > 1e6)
            return false;
        *ns = (int64_t)(number * units[i].ns);
        return true;
    }
    *ns = 0;
    return str_eq(text, STR("0"));
}

static bool read_option(struct sim_options *into, struct str item, struct arena *arena,
                        struct sim_refusal *refusal)
{
    struct str value = item, name;
    str_cut(&value, '=', &name);
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (!str_eq(name, str_c(options[i].name)))
            continue;
        int64_t number;
        bool is_good = options[i].is_span ? read_span(value, &number) : str_to_i64(value, &number);
        if (!is_good || number < 0 || number > options[i].max)
            return refuse(refusal, arena, "model", NULL,
                          "The option %s of the simulated model is \"%.*s\"; expected %s.",
                          options[i].name, STR_ARG(str_head(value, 40)),
                          options[i].is_span ? "a time such as 20ms, 1.5s or 0" : "a whole number");
        memcpy((char *)into + options[i].offset, &number, sizeof(number));
        return true;
    }
    return refuse(refusal, arena, "model", NULL,
                  "The simulated model has no option \"%.*s\"; the options are " OPTION_LIST ".",
                  STR_ARG(str_head(name, 40)));
}

static bool read_model(struct sim_request *request, struct arena *arena, struct str text,
                       struct sim_refusal *refusal)
{
    struct str rest = text, name, item;
    request->options = (struct sim_options){
        .tokens = SIM_NEVER,
        .pace_ns = DEFAULT_PACE_MS * NS_PER_MS,
        .break_after = SIM_NEVER,
        .stall_after = SIM_NEVER,
        .error_after = SIM_NEVER,
    };
    bool has_options = str_cut(&rest, '?', &name);
    unsigned model = 0;
    while (model < SIM_MODEL_COUNT && !str_eq(name, str_c(sim_model_names[model])))
        model++;
    if (model == SIM_MODEL_COUNT)
        return refuse(refusal, arena, "model", "model_not_found",
                      "The simulated provider has no model \"%.*s\"; it has echo, lorem, story, "
                      "tool, error, break, stall and probe.",
                      STR_ARG(str_head(name, 80)));
    request->model = (enum sim_model)model;
    if (model == SIM_ERROR)
        request->options.error = 500;
    if (model == SIM_BREAK)
        request->options.break_after = 10;
    if (model == SIM_STALL)
        request->options.stall_after = 10;
    if (model == SIM_PROBE)
        request->options.pace_ns = PROBE_PACE_MS * NS_PER_MS;
    while (has_options && str_next(&rest, '&', &item)) {
        if (!read_option(&request->options, item, arena, refusal))
            return false;
    }
    if (request->options.error != 0 && request->options.error < 400)
        return refuse(refusal, arena, "model", NULL,
                      "The option error of the simulated model is no error: expected a status from "
                      "400 to 599.");
    return true;
}

/* --- messages ------------------------------------------------------------------------------------
 */

/* The text of a message: a string, or the text parts of an array. Escapes as they stand. */
static struct str content_raw(struct json_value content, struct str *last_part, uint64_t *tokens)
{
    if (content.kind == JSON_STRING)
        *last_part = json_string_raw(content);
    struct json_cursor cursor;
    struct json_value part;
    if (content.kind == JSON_ARRAY) {
        json_cursor_init(&cursor, content.text);
        while (json_iter_array(&cursor, &part) == 1) {
            struct json_value text;
            if (!json_find(part.text, "text", &text) || text.kind != JSON_STRING)
                continue;
            *last_part = json_string_raw(text);
            *tokens += sim_count_tokens(*last_part);
        }
        return *last_part;
    }
    *tokens += sim_count_tokens(*last_part);
    return *last_part;
}

static bool unescape(struct arena *arena, struct str raw, struct str *text,
                     struct sim_refusal *refusal)
{
    return json_unescape(arena, raw, text) == 0 ||
           refuse(refusal, arena, "messages", NULL, "A message holds a string that is not JSON.");
}

/* What stands between the tags by which a gateway says where an answer broke off. */
static bool read_anchor(struct sim_request *request, struct arena *arena, struct str raw)
{
    static const struct str begin = STR_INIT("<last_words>"), end = STR_INIT("</last_words>");
    struct str text;
    if (str_find(raw, begin) < 0 || json_unescape(arena, raw, &text) < 0)
        return false;
    ptrdiff_t first = str_find(text, begin), last = str_find(text, end);
    if (first < 0 || last < first)
        return false;
    size_t from = (size_t)first + begin.len;
    request->anchor = str_n(text.ptr + from, (size_t)last - from);
    return true;
}

/* The answer that the request has the beginning of: `said` is the assistant's last message. It is
 * gone on with where it stands last and that is asked for, or where `user` behind it asks. */
static bool read_begun(struct sim_request *request, struct arena *arena, struct str said,
                       bool is_prefix, struct str user, struct sim_refusal *refusal)
{
    if (said.ptr == NULL || (!is_prefix && !read_anchor(request, arena, user)))
        return true;
    return unescape(arena, said, &request->begun, refusal);
}

static bool is_prefix_wanted(struct json_value message)
{
    struct json_value prefix;
    return json_find(message.text, "prefix", &prefix) && prefix.kind == JSON_TRUE;
}

static bool read_messages(struct sim_request *request, struct arena *arena, struct str text,
                          bool goes_on, struct sim_refusal *refusal)
{
    struct json_cursor cursor;
    struct json_value message, role, content;
    struct str user = STR(""), user_before = STR(""), said = STR_EMPTY, tool = STR_EMPTY;
    bool is_prefix = false;
    json_cursor_init(&cursor, text);
    while (json_iter_array(&cursor, &message) == 1) {
        struct str part = STR("");
        if (!json_find(message.text, "role", &role) || role.kind != JSON_STRING)
            return refuse(refusal, arena, "messages", NULL, "A message has no role.");
        if (json_find(message.text, "content", &content))
            content_raw(content, &part, &request->prompt_tokens);
        tool = STR_EMPTY;
        is_prefix = false;
        if (json_string_eq(json_string_raw(role), STR("user"))) {
            user_before = user;
            user = part;
        } else if (json_string_eq(json_string_raw(role), STR("assistant"))) {
            said = part;
            is_prefix = goes_on || is_prefix_wanted(message);
        } else if (json_string_eq(json_string_raw(role), STR("tool")))
            tool = part;
    }
    if (!read_begun(request, arena, said, is_prefix, user, refusal))
        return false;
    if (request->begun.ptr != NULL && !is_prefix)
        user = user_before;
    return unescape(arena, user, &request->last_user, refusal) &&
           (tool.ptr == NULL || unescape(arena, tool, &request->tool_result, refusal));
}

/* A string, or an array of which the first string counts; token numbers cannot be echoed. */
static bool read_prompt(struct sim_request *request, struct arena *arena, struct json_value prompt,
                        struct sim_refusal *refusal)
{
    struct json_value first = prompt;
    if (prompt.kind == JSON_ARRAY) {
        struct json_cursor cursor;
        json_cursor_init(&cursor, prompt.text);
        if (json_iter_array(&cursor, &first) != 1)
            first.kind = JSON_NONE;
    }
    struct str raw = first.kind == JSON_STRING ? json_string_raw(first) : STR("");
    request->prompt_tokens = sim_count_tokens(raw);
    return unescape(arena, raw, &request->last_user, refusal);
}

/* --- tools
 * ----------------------------------------------------------------------------------------- */

static bool take_tool(struct sim_request *request, struct arena *arena, struct str tool,
                      struct str wanted)
{
    struct json_value name, parameters;
    struct str text;
    if (!json_find(tool, "function.name", &name) || name.kind != JSON_STRING ||
        json_unescape(arena, json_string_raw(name), &text) < 0)
        return false;
    if (wanted.ptr != NULL && !str_eq(text, wanted))
        return false;
    request->tool_name = text;
    if (json_find(tool, "function.parameters", &parameters))
        request->tool_schema = parameters.text;
    return true;
}

/*
 * The model "tool" calls the first tool it is offered; the others call one only when they must.
 * Once a tool has answered, nobody calls again: a conversation with tools must come to an end.
 */
static bool read_tools(struct sim_request *request, struct arena *arena, struct str tools,
                       struct json_value choice, struct sim_refusal *refusal)
{
    struct json_value name;
    struct str wanted = STR_EMPTY;
    struct str mode = choice.kind == JSON_STRING ? json_string_raw(choice) : STR("auto");
    bool must = str_eq(mode, STR("required"));
    if (choice.kind == JSON_OBJECT && json_find(choice.text, "function.name", &name)) {
        must = true;
        if (json_unescape(arena, json_string_raw(name), &wanted) < 0)
            wanted = STR_EMPTY;
    }
    if (str_eq(mode, STR("none")) || request->tool_result.ptr != NULL ||
        (!must && request->model != SIM_TOOL))
        return true;
    struct json_cursor cursor;
    struct json_value tool;
    json_cursor_init(&cursor, tools);
    while (json_iter_array(&cursor, &tool) == 1) {
        if (take_tool(request, arena, tool.text, wanted))
            return true;
    }
    return !must || refuse(refusal, arena, "tool_choice", NULL,
                           "tool_choice asks for a tool that is not among the tools.");
}

/* --- the request
 * ----------------------------------------------------------------------------------- */

enum want {
    WANT_MODEL,
    WANT_STREAM,
    WANT_INCLUDE_USAGE,
    WANT_MESSAGES,
    WANT_PROMPT,
    WANT_MAX_TOKENS,
    WANT_MAX_COMPLETION_TOKENS,
    WANT_N,
    WANT_STOP,
    WANT_TOOLS,
    WANT_TOOL_CHOICE,
    WANT_RESPONSE_FORMAT,
    WANT_CONTINUE,
    WANT_COUNT
};

static const struct json_want wants[WANT_COUNT] = {
    [WANT_MODEL] = {{STR_INIT("model")}},
    [WANT_STREAM] = {{STR_INIT("stream")}},
    [WANT_INCLUDE_USAGE] = {{STR_INIT("stream_options"), STR_INIT("include_usage")}},
    [WANT_MESSAGES] = {{STR_INIT("messages")}},
    [WANT_PROMPT] = {{STR_INIT("prompt")}},
    [WANT_MAX_TOKENS] = {{STR_INIT("max_tokens")}},
    [WANT_MAX_COMPLETION_TOKENS] = {{STR_INIT("max_completion_tokens")}},
    [WANT_N] = {{STR_INIT("n")}},
    [WANT_STOP] = {{STR_INIT("stop")}},
    [WANT_TOOLS] = {{STR_INIT("tools")}},
    [WANT_TOOL_CHOICE] = {{STR_INIT("tool_choice")}},
    [WANT_RESPONSE_FORMAT] = {{STR_INIT("response_format")}},
    [WANT_CONTINUE] = {{STR_INIT("continue_final_message")}},
};

struct reading {
    struct sim_request *request;
    struct arena *arena;
    struct str body;
    struct json_scan scan;
    struct sim_refusal *refusal;
};

static struct json_value value_of(const struct reading *r, enum want want)
{
    const struct json_found *found = &r->scan.found[want];
    struct json_value value = {.kind = found->kind, .text = STR_EMPTY};
    if (found->kind != JSON_NONE)
        value.text = json_span_str(r->body, found->value);
    return value;
}

/* A whole number of at least 1; left alone when it is not there or null. */
static bool read_number(const struct reading *r, enum want want, int64_t max, int64_t *out)
{
    struct json_value value = value_of(r, want);
    if (value.kind == JSON_NONE || value.kind == JSON_NULL)
        return true;
    if (json_number_i64(value, out) && *out >= 1 && *out <= max)
        return true;
    const char *name = wants[want].path[0].ptr;
    return refuse(r->refusal, r->arena, name, NULL, "%s is not a whole number from 1 to %lld.",
                  name, (long long)max);
}

static bool add_stop(const struct reading *r, struct json_value value)
{
    struct sim_request *request = r->request;
    struct str text;
    if (value.kind != JSON_STRING || request->stop_count == SIM_STOPS_MAX ||
        json_unescape(r->arena, json_string_raw(value), &text) < 0)
        return refuse(r->refusal, r->arena, "stop", NULL,
                      "stop is neither a string nor an array of up to 4 strings.");
    if (text.len > 0)
        request->stops[request->stop_count++] = text;
    return true;
}

static bool read_stops(const struct reading *r)
{
    struct json_value stop = value_of(r, WANT_STOP), item;
    if (stop.kind == JSON_NONE || stop.kind == JSON_NULL)
        return true;
    if (stop.kind != JSON_ARRAY)
        return add_stop(r, stop);
    struct json_cursor cursor;
    json_cursor_init(&cursor, stop.text);
    while (json_iter_array(&cursor, &item) == 1) {
        if (!add_stop(r, item))
            return false;
    }
    return true;
}

static void read_format(const struct reading *r)
{
    struct json_value format = value_of(r, WANT_RESPONSE_FORMAT), type, schema;
    if (format.kind != JSON_OBJECT || !json_find(format.text, "type", &type))
        return;
    if (json_string_eq(json_string_raw(type), STR("json_object")))
        r->request->format = SIM_FORMAT_JSON;
    if (json_string_eq(json_string_raw(type), STR("json_schema")) &&
        json_find(format.text, "json_schema.schema", &schema)) {
        r->request->format = SIM_FORMAT_SCHEMA;
        r->request->schema = schema.text;
    }
}

static bool read_limits(const struct reading *r)
{
    int64_t choices = 1;
    r->request->max_tokens = SIM_NEVER;
    bool is_good = read_number(r, WANT_MAX_TOKENS, INT64_MAX, &r->request->max_tokens) &&
                   read_number(r, WANT_MAX_COMPLETION_TOKENS, INT64_MAX, &r->request->max_tokens) &&
                   read_number(r, WANT_N, SIM_CHOICES_MAX, &choices);
    r->request->choices = (unsigned)choices;
    return is_good;
}

static bool read_chat(const struct reading *r)
{
    struct json_value messages = value_of(r, WANT_MESSAGES), tools = value_of(r, WANT_TOOLS);
    if (messages.kind != JSON_ARRAY)
        return refuse(r->refusal, r->arena, "messages", NULL, "messages is not an array.");
    read_format(r);
    bool goes_on = value_of(r, WANT_CONTINUE).kind == JSON_TRUE;
    return read_messages(r->request, r->arena, messages.text, goes_on, r->refusal) &&
           (tools.kind != JSON_ARRAY || read_tools(r->request, r->arena, tools.text,
                                                   value_of(r, WANT_TOOL_CHOICE), r->refusal));
}

bool sim_request_read(struct sim_request *request, struct arena *arena, struct str body,
                      bool is_chat, struct sim_refusal *refusal)
{
    struct reading r = {.request = request, .arena = arena, .body = body, .refusal = refusal};
    struct str model;
    *request = (struct sim_request){.is_chat = is_chat, .hash = str_hash(body)};
    if (json_scan_object(body, JSON_DEPTH_MAX, wants, WANT_COUNT, &r.scan) < 0)
        return refuse(refusal, arena, NULL, NULL, "The body is not a JSON object.");
    if (json_unescape(arena, json_string_raw(value_of(&r, WANT_MODEL)), &model) < 0)
        return refuse(refusal, arena, "model", NULL, "model is not a string.");
    if (!read_model(request, arena, model, refusal))
        return false;
    request->is_stream = value_of(&r, WANT_STREAM).kind == JSON_TRUE;
    request->include_usage = value_of(&r, WANT_INCLUDE_USAGE).kind == JSON_TRUE;
    return read_limits(&r) && read_stops(&r) &&
           (is_chat ? read_chat(&r)
                    : read_prompt(request, arena, value_of(&r, WANT_PROMPT), refusal));
}
