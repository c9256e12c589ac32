#include "support/validate.h"

/* docs.cohere.com/reference/chat, /reference/chat-stream (v2) */

static const char finish_reasons[] = "COMPLETE STOP_SEQUENCE MAX_TOKENS TOOL_CALL ERROR TIMEOUT";

static bool check_usage(struct validator *v, yyjson_val *usage)
{
    yyjson_val *tokens = yyjson_obj_get(usage, "tokens");
    return usage == NULL ||
           (valid_members(v, "usage", usage, "billed_units?:o tokens?:o cached_tokens?:n") &&
            (tokens == NULL ||
             valid_members(v, "tokens", tokens, "input_tokens?:n output_tokens?:n")));
}

static bool check_call(struct validator *v, yyjson_val *call)
{
    return valid_members(v, "tool_calls[]", call, "id:s type=function function:o") &&
           valid_members(v, "function", yyjson_obj_get(call, "function"), "name:s arguments:s");
}

static yyjson_val *message_of(yyjson_val *data)
{
    return yyjson_obj_get(yyjson_obj_get(data, "delta"), "message");
}

/* --- the stream --- */

static bool on_start(struct validator *v, yyjson_val *data)
{
    if (v->has_begun)
        return invalid(v, "a second message-start");
    v->has_begun = true;
    return valid_members(v, "event", data, "id:s delta:o") &&
           valid_members(v, "message", message_of(data), "role=assistant");
}

static bool begin_block(struct validator *v, yyjson_val *data, const char *kind)
{
    int64_t index = yyjson_get_sint(yyjson_obj_get(data, "index"));
    if (v->is_open || v->has_finish)
        return invalid(v, "a block begins where none can");
    v->is_open = true;
    /* Content and calls are counted apart. */
    size_t of = strcmp(kind, "call") == 0;
    if (index != v->next_call[of])
        return invalid(v, "the index is not %lld", (long long)v->next_call[of]);
    v->next_call[of]++;
    v->next_block = index;
    snprintf(v->kind, sizeof(v->kind), "%s", kind);
    return valid_members(v, "event", data, "index:i delta:o");
}

static bool is_in(struct validator *v, yyjson_val *data, const char *kind)
{
    if (!v->is_open || strcmp(v->kind, kind) != 0 ||
        yyjson_get_sint(yyjson_obj_get(data, "index")) != v->next_block)
        return invalid(v, "of a block that is not open");
    return true;
}

static bool on_content_start(struct validator *v, yyjson_val *data)
{
    yyjson_val *content = yyjson_obj_get(message_of(data), "content");
    const char *type = valid_string(content, "type");
    if (!valid_word(v, "content.type", yyjson_obj_get(content, "type"), "text thinking"))
        return false;
    return begin_block(v, data, type) &&
           valid_members(v, "content", content,
                         strcmp(type, "text") == 0 ? "text:s" : "thinking:s");
}

static bool on_content_delta(struct validator *v, yyjson_val *data)
{
    yyjson_val *content = yyjson_obj_get(message_of(data), "content");
    return is_in(v, data, v->kind) && strcmp(v->kind, "call") != 0 &&
           valid_members(v, "content", content,
                         strcmp(v->kind, "text") == 0 ? "text:s" : "thinking:s");
}

static bool on_end(struct validator *v, yyjson_val *data)
{
    if (!is_in(v, data, v->kind))
        return false;
    v->is_open = false;
    return true;
}

static bool on_call_start(struct validator *v, yyjson_val *data)
{
    return begin_block(v, data, "call") &&
           check_call(v, yyjson_obj_get(message_of(data), "tool_calls"));
}

static bool on_call_delta(struct validator *v, yyjson_val *data)
{
    yyjson_val *call = yyjson_obj_get(message_of(data), "tool_calls");
    return is_in(v, data, "call") &&
           valid_members(v, "function", yyjson_obj_get(call, "function"), "arguments:s");
}

static bool on_plan(struct validator *v, yyjson_val *data)
{
    return valid_members(v, "message", message_of(data), "tool_plan:s");
}

static bool on_citation(struct validator *v, yyjson_val *data)
{
    return valid_members(v, "event", data, "index:i");
}

static bool on_message_end(struct validator *v, yyjson_val *data)
{
    yyjson_val *delta = yyjson_obj_get(data, "delta");
    if (v->is_open || v->has_finish)
        return invalid(v, "message-end where none can be");
    v->has_finish = v->is_over = true;
    if (strcmp(valid_string(delta, "finish_reason"), "ERROR") == 0)
        v->has_error = true;
    return valid_members(v, "delta", delta, "finish_reason:s") &&
           valid_word(v, "finish_reason", yyjson_obj_get(delta, "finish_reason"), finish_reasons) &&
           check_usage(v, yyjson_obj_get(delta, "usage"));
}

static const struct {
    const char *type;
    bool (*check)(struct validator *v, yyjson_val *data);
} events[] = {
    {"message-start", on_start},         {"content-start", on_content_start},
    {"content-delta", on_content_delta}, {"content-end", on_end},
    {"tool-plan-delta", on_plan},        {"tool-call-start", on_call_start},
    {"tool-call-delta", on_call_delta},  {"tool-call-end", on_end},
    {"citation-start", on_citation},     {"citation-end", on_citation},
    {"message-end", on_message_end},
};

static bool event(struct validator *v, struct str type, yyjson_val *data, struct str text)
{
    if (str_eq(text, STR("[DONE]")))
        return v->is_over || invalid(v, "[DONE] before the end");
    if (v->is_over)
        return invalid(v, "something after the end");
    if (!str_eq(type, str_c(valid_string(data, "type"))))
        return invalid(v, "the event's name is not its type");
    /* An error may end what is open. */
    if (str_eq(type, STR("message-end")) &&
        strcmp(valid_string(yyjson_obj_get(data, "delta"), "finish_reason"), "ERROR") == 0)
        v->is_open = false;
    else if (!v->has_begun && !str_eq(type, STR("message-start")))
        return invalid(v, "something before message-start");
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (str_eq(type, str_c(events[i].type)))
            return events[i].check(v, data);
    }
    return invalid(v, "there is no such event");
}

static bool end(struct validator *v)
{
    return v->is_over || invalid(v, "no message-end");
}

/* --- whole --- */

static bool answer(struct validator *v, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *item, *message = yyjson_obj_get(root, "message");
    if (!valid_members(v, "answer", root, "id:s finish_reason:s message:o usage?:o") ||
        !valid_word(v, "finish_reason", yyjson_obj_get(root, "finish_reason"), finish_reasons) ||
        !check_usage(v, yyjson_obj_get(root, "usage")) ||
        !valid_members(v, "message", message,
                       "role=assistant content?:x tool_calls?:a tool_plan?:z citations?:x"))
        return false;
    yyjson_arr_foreach(yyjson_obj_get(message, "content"), i, n, item)
    {
        const char *type = valid_string(item, "type");
        if (!valid_word(v, "content.type", yyjson_obj_get(item, "type"), "text thinking") ||
            !valid_members(v, "content[]", item,
                           strcmp(type, "text") == 0 ? "text:s" : "thinking:s"))
            return false;
    }
    yyjson_arr_foreach(yyjson_obj_get(message, "tool_calls"), i, n, item)
    {
        if (!check_call(v, item))
            return false;
    }
    return true;
}

static bool error(struct validator *v, yyjson_val *root)
{
    return valid_members(v, "error", root, "message:s id?:s");
}

static bool check_message(struct validator *v, yyjson_val *message)
{
    size_t i, n;
    yyjson_val *item, *content = yyjson_obj_get(message, "content");
    const char *role = valid_string(message, "role");
    if (!valid_word(v, "role", yyjson_obj_get(message, "role"), "system user assistant tool"))
        return false;
    if (strcmp(role, "tool") == 0 && !valid_members(v, "tool message", message, "tool_call_id:s"))
        return false;
    if (content == NULL && yyjson_obj_get(message, "tool_calls") == NULL)
        return invalid(v, "a message of %s without content", role);
    yyjson_arr_foreach(content, i, n, item)
    {
        const char *type = valid_string(item, "type");
        if (!valid_word(v, "content.type", yyjson_obj_get(item, "type"),
                        "text thinking image_url document"))
            return false;
        if (strcmp(type, "image_url") == 0 &&
            !valid_members(v, "image_url", yyjson_obj_get(item, "image_url"), "url:s"))
            return false;
    }
    yyjson_arr_foreach(yyjson_obj_get(message, "tool_calls"), i, n, item)
    {
        if (!check_call(v, item))
            return false;
    }
    return true;
}

static bool request(struct validator *v, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *item;
    if (!valid_members(v, "request", root,
                       "model:s messages:a stream?:b max_tokens?:i temperature?:n p?:n k?:i "
                       "tools?:a tool_choice?:s response_format?:o stop_sequences?:a seed?:i "
                       "thinking?:o documents?:a") ||
        !valid_names(v, "request", root,
                     "model messages stream max_tokens temperature p k tools tool_choice "
                     "response_format stop_sequences seed thinking documents citation_options "
                     "safety_mode frequency_penalty presence_penalty logprobs strict_tools "
                     "priority raw_prompting"))
        return false;
    yyjson_arr_foreach(yyjson_obj_get(root, "messages"), i, n, item)
    {
        if (!check_message(v, item))
            return false;
    }
    yyjson_arr_foreach(yyjson_obj_get(root, "tools"), i, n, item)
    {
        if (!valid_members(v, "tools[]", item, "type=function function:o") ||
            !valid_members(v, "function", yyjson_obj_get(item, "function"),
                           "name:s parameters?:o description?:s"))
            return false;
    }
    yyjson_val *choice = yyjson_obj_get(root, "tool_choice");
    return choice == NULL || valid_word(v, "tool_choice", choice, "REQUIRED NONE");
}

const struct validation validation_cohere = {event, end, request, answer, error};
